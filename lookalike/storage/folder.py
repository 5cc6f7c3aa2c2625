"""What the rooms need of a place that holds files, whatever it is made of."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol


class File(NamedTuple):
    """A file below a folder.

    name: relative to the folder, '/'-separated.   num_bytes: its size.
    """

    name: str
    num_bytes: int


class Stamped(NamedTuple):
    """What a file holds, and a stamp that changes whenever the file does."""

    data: bytes
    stamp: str


class ChangedError(OSError):
    """A conditional write came too late: the file is not as it was when it was read."""


class OutsideError(PermissionError):
    """A name leads out of its folder: by '..', by an absolute path, or by a link."""


class Folder(Protocol):
    """Files below one address. Names are relative and '/'-separated; one that leads out raises OutsideError.

    What is not there raises FileNotFoundError; what else goes wrong is an OSError that names the address.
    """

    address: str

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """The whole of a file; at most max_bytes + 1 of it, so that a caller sees that there is more."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read bit by bit, in bounded memory."""

    def files(self, below: str = "") -> Iterator[File]:
        """Every published file below a name, however deep, sorted by name."""

    def children(self, below: str = "") -> list[str]:
        """The names directly below, sorted; those of folders end with '/'. [] where there is nothing."""

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A local path to write one file to, published under its name when the block ends well, else removed.

        Each attempt has a path of its own: a worker and its retry never write into each other's file. The last one to
        publish stays.
        """

    def read_stamped(self, name: str) -> Stamped:
        """A small file with the stamp that `replace` asks for."""

    def replace(self, name: str, data: bytes, stamp: str | None) -> str:
        """Writes a small file only if it is still as it was read; None: only if it is absent.

        Returns the new stamp. Raises ChangedError.
        """

    def publish(self, directory: Path, name: str, *, last: str) -> None:
        """Takes over a finished local directory under a name that is not there yet, its file `last` at the end.

        Who waits for `last` never sees a part. The directory may be gone afterwards.
        """

    def duplicate(self, name: str, to: str, *, last: str) -> None:
        """Makes a second tree of the same files, as `publish` would: hard links on POSIX, copies elsewhere."""

    def remove(self, name: str, *, first: str = "") -> None:
        """Removes a file, or all files below a name, `first` before the others; nothing where nothing is."""
