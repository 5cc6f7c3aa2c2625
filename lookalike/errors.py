"""What a user can mend: one kind of error, told in one line, with a code for programs and a status for scripts."""

import errno
from collections.abc import Mapping
from typing import Any, ClassVar

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BAD_DATA = 65  # sysexits.h: EX_DATAERR
EXIT_AWAITING_REVIEW = 75  # sysexits.h: EX_TEMPFAIL
EXIT_REJECTED = 76

_WAYS_OUT = {
    errno.EACCES: "give this user the right to it, or choose another place",
    errno.ECONNREFUSED: "start what should listen there, or name another address",
    errno.EDQUOT: "free some space, or choose another place",
    errno.EISDIR: "move it away, or name a file",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "put it back, or name another one",
    errno.ENOSPC: "free some space, or choose another place",
    errno.ENOTDIR: "move it away, or name a folder",
    errno.EPERM: "give this user the right to it, or choose another place",
    errno.EROFS: "make it writable, or choose another place",
}


class UserError(Exception):
    """Something a user can mend; anything else that is raised is a defect of ours.

    The message says in one line what was expected, what came, where, and what to do, in the user's words.

    code: what programs read; it never changes. A subclass without one has its parent's.
    exit_status: of the command. A subclass without one has its parent's.
    account: what had become of a source's images by then (`catalog.account`), None where that is not known.
    """

    account: Mapping[str, Any] | None = None
    code: ClassVar[str] = "FAILED"
    exit_status: ClassVar[int] = EXIT_FAILED

    def __init_subclass__(cls, *, code: str = "", exit_status: int | None = None) -> None:
        super().__init_subclass__()
        if code:
            cls.code = code
        if exit_status is not None:
            cls.exit_status = exit_status


class SystemRefusedError(UserError, code="SYSTEM_REFUSED"):
    """The operating system does not let us use a file, a folder or an address."""

    @classmethod
    def of(cls, error: OSError) -> "SystemRefusedError":
        """What the system said, with the way out where there is one that always fits."""
        way_out = _WAYS_OUT.get(_refused(error).errno or 0)
        return cls("; ".join(filter(None, [in_words(error), way_out])))


def in_words(error: OSError) -> str:
    """What the system refused and at which path, without the error's number and class."""
    refused = _refused(error)
    if not refused.strerror:
        return str(refused)
    said = refused.strerror[0].lower() + refused.strerror[1:]
    return f"{refused.filename}: {said}" if refused.filename else said


def _refused(error: OSError) -> OSError:
    """What the system itself said: urllib wraps it."""
    reason = getattr(error, "reason", None)
    return _refused(reason) if isinstance(reason, OSError) else error


def kind_of(value: object) -> str:
    """What a value of a JSON or Parquet file is, in a user's words."""
    return next((words for kind, words in _KINDS.items() if isinstance(value, kind)), "something else")


_KINDS: dict[type | tuple[type, ...], str] = {
    type(None): "nothing",
    bool: "true or false",
    (int, float): "a number",
    str: "text",
    (list, tuple): "a list",
    dict: "an object",
}
