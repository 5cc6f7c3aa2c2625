"""What a user can mend: one kind of error, told in one line, with a code for programs and a status for scripts."""

from typing import ClassVar

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_DATA = 65  # sysexits.h: EX_DATAERR
EXIT_AWAITING_REVIEW = 75  # sysexits.h: EX_TEMPFAIL
EXIT_REJECTED = 76


class UserError(Exception):
    """Something a user can mend; anything else that is raised is a defect of ours.

    The message says in one line what was expected, what came, where, and what to do, in the user's words.

    Attributes:
      code: what programs read; it never changes. A subclass without one has its parent's.
      exit_status: of the command. A subclass without one has its parent's.
    """

    code: ClassVar[str] = "FAILED"
    exit_status: ClassVar[int] = EXIT_FAILED

    def __init_subclass__(cls, *, code: str = "", exit_status: int | None = None) -> None:
        super().__init_subclass__()
        if code:
            cls.code = code
        if exit_status is not None:
            cls.exit_status = exit_status
