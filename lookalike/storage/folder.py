"""What the rooms need of a place that holds files, whatever it is made of."""

import errno
import posixpath
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

    address: of the folder itself, a path or scheme://bucket/prefix.

    What is not there raises FileNotFoundError; what else goes wrong is an OSError that names the address.
    """

    address: str

    def read(self, name: str, *, max_bytes: int | None = None, offset: int = 0) -> bytes:
        """A file from an offset to its end; at most max_bytes + 1 of it, so that a caller sees that there is more."""

    def open(self, name: str) -> BinaryIO:
        """A file to be read bit by bit, in bounded memory."""

    def files(self, below: str = "") -> Iterator[File]:
        """Every published file below a name, however deep, sorted by name.

        A link is listed as the file that it stands for; reading one that leads out raises OutsideError.
        """

    def children(self, below: str = "") -> list[str]:
        """The names directly below, sorted; those of folders end with '/'. [] where there is nothing."""

    def writing(self, name: str) -> AbstractContextManager[Path]:
        """A local path to write one file to, published under its name when the block ends well, else removed.

        Each attempt has a path of its own: a worker and its retry never write into each other's file. The last one to
        publish stays. The path ends as the name does, for writers that go by it.
        """

    def read_stamped(self, name: str) -> Stamped:
        """A small file with the stamp that `replace` asks for."""

    def replace(self, name: str, data: bytes, stamp: str | None) -> str:
        """Writes a small file only if it is still as it was read; None: only if it is absent.

        The stamp is of the content: a file that came back to what it held counts as unchanged, so what must tell two
        writes apart holds something of each.

        Returns the new stamp. Raises ChangedError; after any other OSError the write may have happened.
        """

    def publish(self, directory: Path, name: str, *, last: str) -> None:
        """Takes over a finished local directory under a name that is not there yet, its file `last` at the end.

        Who waits for `last` never sees a part. The directory may be gone afterwards. What an attempt that died left
        under the name, without `last`, is removed first. Raises FileExistsError.
        """

    def duplicate(self, name: str, to: str, *, last: str) -> None:
        """Makes a second tree of the same files, as `publish` would: hard links on POSIX, copies elsewhere."""

    def remove(self, name: str, *, first: str = "") -> None:
        """Removes a file, or all files below a name, `first` before the others; nothing where nothing is."""


def checked_name(name: str, address: str) -> str:
    """The name in its shortest form; '' for the folder itself. Raises OutsideError, and OSError where it holds NUL."""
    if name.startswith("/") or ".." in name.split("/"):
        raise OutsideError(errno.EACCES, "a name must stay inside its folder", joined(address, name))
    if "\0" in name:
        raise OSError(errno.EINVAL, "a name must hold no NUL", joined(address, name))
    return posixpath.normpath(name) if posixpath.normpath(name) != "." else ""


def joined(address: str, name: str) -> str:
    """The address of what a name means in the folder at an address."""
    return f"{address.rstrip('/')}/{name}" if name else address
