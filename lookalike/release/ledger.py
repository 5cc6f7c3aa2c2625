"""Which release serves (CURRENT), which have served (history.jsonl), and which version numbers are spent."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from lookalike.documents import read_document
from lookalike.release.manifest import ReleaseError
from lookalike.storage.folder import Folder, joined

CURRENT_FILE = "CURRENT"
HISTORY_FILE = "history.jsonl"
LAST_VERSION_FILE = ".last_version"

log = logging.getLogger(__name__)


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
    Every write is conditional: a writer that lost its lock on an object store fails, and changes nothing.
    """

    def __init__(self, folder: Folder) -> None:
        self._folder = folder

    def current(self) -> Pointer | None:
        """What CURRENT says, None before the first push. Raises ReleaseError where it cannot be read."""
        return next(iter(self._read(CURRENT_FILE)[0]), None)

    def history(self) -> list[Pointer]:
        """Everything CURRENT has said, oldest first, itself the last. Raises ReleaseError where it cannot be read."""
        current, history = self._read(CURRENT_FILE)[0], self._read(HISTORY_FILE)[0]
        return history if current == history[-1:] else history + current

    def point_at(self, pointer: Pointer) -> None:
        """Flips CURRENT and writes it down."""
        self.complete_history()
        self._folder.replace(CURRENT_FILE, _lines([pointer]), self._read(CURRENT_FILE)[1])
        try:
            self.complete_history()
        except OSError as error:  # the release serves all the same, and the next writer writes it down
            log.warning("what CURRENT says could not be added to %s: %s", self._address(HISTORY_FILE), error)

    def complete_history(self) -> None:
        """Writes down what a killed `point_at` did not."""
        history = self.history()
        written, stamp = self._read(HISTORY_FILE)
        if history != written:
            self._folder.replace(HISTORY_FILE, _lines(history), stamp)

    def last_version(self) -> int:
        """The highest version number ever spent, 0 if none."""
        return max([self._spent()[0], *(pointer.version for pointer in self.history())])

    def spend_version(self, version: int) -> None:
        """Remembers that a version number has been given away, even if its release is removed."""
        self._folder.replace(LAST_VERSION_FILE, f"{version}\n".encode(), self._spent()[1])

    def _spent(self) -> tuple[int, str | None]:
        try:
            found = self._folder.read_stamped(LAST_VERSION_FILE)
        except FileNotFoundError:
            return 0, None
        try:
            return int(found.data.decode("ascii")), found.stamp
        except ValueError as error:
            raise ReleaseError(
                f"{self._address(LAST_VERSION_FILE)} must hold the highest version ever released, got no number; write "
                "that number into it"
            ) from error

    def _read(self, name: str) -> tuple[list[Pointer], str | None]:
        try:
            found = self._folder.read_stamped(name)
        except FileNotFoundError:
            return [], None
        try:
            return [read_document(Pointer, line) for line in found.data.splitlines() or [found.data]], found.stamp
        except ValueError as error:
            raise ReleaseError(
                f"{self._address(name)} must name a version and its manifest on each line, but {error}; restore it "
                "from a backup: CURRENT is the last line of history.jsonl"
            ) from error

    def _address(self, name: str) -> str:
        return joined(self._folder.address, name)


def _lines(pointers: Iterable[Pointer]) -> bytes:
    return "".join(json.dumps(asdict(pointer)) + "\n" for pointer in pointers).encode()
