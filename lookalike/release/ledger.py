"""Which release serves (CURRENT), which have served (history.jsonl), and which version numbers are spent."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from lookalike.documents import read_document
from lookalike.release.durable import replace_file, sync, write_unfinished
from lookalike.release.manifest import ReleaseError


@dataclass(frozen=True)
class Pointer:
    """The content of CURRENT: the release that serves, and how it came to serve.

    event: push or rollback. previous: the version that served before, if any. at: ISO 8601, UTC.
    """

    version: int
    manifest_sha256: str
    event: str
    previous: int | None
    decision_id: str
    at: str


class Ledger:
    """The store's small files. Any process may read; writing is for the holder of the store's lock.

    history.jsonl has every content that CURRENT has had, one a line, so that what a kill left out can be put back.
    """

    def __init__(self, root: Path) -> None:
        self._current_file = root / "CURRENT"
        self._history_file = root / "history.jsonl"
        self._last_version_file = root / ".last_version"

    def current(self) -> Pointer | None:
        """What CURRENT says, None before the first push. Raises ReleaseError where it cannot be read."""
        return next(iter(_read(self._current_file)), None)

    def history(self) -> list[Pointer]:
        """Everything CURRENT has said, oldest first, itself the last. Raises ReleaseError where it cannot be read."""
        current, history = _read(self._current_file), _read(self._history_file)
        return history if current == history[-1:] else history + current

    def point_at(self, pointer: Pointer) -> None:
        """Flips CURRENT and writes it down."""
        # On disk before the flip, so that a full disk is found before anything has changed.
        staged_history = write_unfinished(self._history_file, _lines([*self.history(), pointer]))
        replace_file(self._current_file, _lines([pointer]))
        staged_history.replace(self._history_file)
        sync(self._history_file.parent)

    def complete_history(self) -> None:
        """Writes down what a killed `point_at` did not."""
        history = self.history()
        if history != _read(self._history_file):
            replace_file(self._history_file, _lines(history))

    def last_version(self) -> int:
        """The highest version number ever spent, 0 if none."""
        return max([self._spent(), *(pointer.version for pointer in self.history())])

    def _spent(self) -> int:
        try:
            return int(self._last_version_file.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except ValueError as error:
            raise ReleaseError(
                f"{self._last_version_file} must hold the highest version ever released, got no number; write that "
                "number into it"
            ) from error

    def spend_version(self, version: int) -> None:
        """Remembers that a version number has been given away, even if its release is removed."""
        replace_file(self._last_version_file, f"{version}\n")


def _read(path: Path) -> list[Pointer]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [read_document(Pointer, line) for line in data.splitlines() or [data]]
    except ValueError as error:
        raise ReleaseError(
            f"{path} must name a version and its manifest on each line, but {error}; restore it from a backup: "
            "CURRENT is the last line of history.jsonl"
        ) from error


def _lines(pointers: Iterable[Pointer]) -> str:
    return "".join(json.dumps(asdict(pointer)) + "\n" for pointer in pointers)
