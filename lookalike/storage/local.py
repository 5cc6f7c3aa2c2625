"""A folder of a POSIX file system.

What it has and an object store lacks: a tree appears and disappears in one rename; a second tree costs no bytes (hard
links); the system frees a lock the moment its holder dies; what was renamed and flushed survives a power cut.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lookalike.storage.folder import ChangedError, File, Folder, OutsideError, Stamped, checked_name, joined

STAGING_PREFIX = ".staging-"
"""What a killed writer leaves behind has a name that begins like this, directly below its folder."""

_REPLACE_LOCK = ".replace.lock"


@dataclass
class LocalFolder:
    """A directory, which the first write makes. Everything below it must lie on one file system.

    address: its path.
    """

    address: str

    @property
    def _root(self) -> Path:
        return Path(self.address)

    def read(self, name: str, *, max_bytes: int | None = None, offset: int = 0) -> bytes:
        """See Folder."""
        with self.open(name) as file:
            if offset:
                file.seek(offset)
            return file.read() if max_bytes is None else file.read(max_bytes + 1)

    def open(self, name: str) -> BinaryIO:
        """See Folder. A regular file; never a device, nor a FIFO, which would block for ever."""
        # Every link is resolved already, so one that is here now came later.
        descriptor = os.open(self._existing(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise OSError(errno.EINVAL, "expected a regular file", joined(self.address, name))
        return os.fdopen(descriptor, "rb")

    def files(self, below: str = "") -> Iterator[File]:
        """See Folder. Names only: nothing is opened, and no folder that is a link is entered."""
        for name in self.children(below):
            path = joined(checked_name(below, self.address), name).lstrip("/")
            if name.endswith("/"):
                yield from self.files(path.rstrip("/"))
            else:
                yield File(path, self._num_bytes(path))

    def children(self, below: str = "") -> list[str]:
        """See Folder."""
        try:
            with os.scandir(self._existing(below)) as entries:
                return sorted(
                    entry.name + "/" * entry.is_dir(follow_symlinks=False)
                    for entry in entries
                    if not entry.name.startswith(STAGING_PREFIX) and entry.name != _REPLACE_LOCK
                )
        except (FileNotFoundError, NotADirectoryError):
            return []

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """See Folder. On the disk when the block has ended."""
        target = self._place(name)
        staging = self._staging(target.suffix)
        try:
            yield staging
            sync(staging)
            staging.replace(target)
            sync(target.parent)
        finally:
            staging.unlink(missing_ok=True)

    def read_stamped(self, name: str) -> Stamped:
        """See Folder. The stamp is a digest of the content, as an object store's is: times are too coarse to tell."""
        data = self.read(name)
        return Stamped(data, _digest(data))

    def replace(self, name: str, data: bytes, stamp: str | None) -> str:
        """See Folder."""
        self._place(_REPLACE_LOCK)
        with flocked(self._root / _REPLACE_LOCK):
            if self._stamp(name) != stamp:
                raise ChangedError(errno.EAGAIN, "changed since it was read", joined(self.address, name))
            with self.writing(name) as staging:
                staging.write_bytes(data)
        return _digest(data)

    def publish(self, directory: Path, name: str, *, last: str) -> None:
        """See Folder. One rename, so that `last` comes with the others; a directory of another disk is copied first."""
        _check_last(directory, last)
        sync_tree(directory)
        target = self._place(name)
        try:
            _rename_to_absent(directory, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy(directory, target, shutil.copy2)

    def duplicate(self, name: str, to: str, *, last: str) -> None:
        """See Folder. Hard links, copies where the file system refuses these."""
        source = self._existing(name)
        _check_last(source, last)
        self._copy(source, self._place(to), _link_or_copy)

    def remove(self, name: str, *, first: str = "") -> None:  # noqa: ARG002 - all go at once, `first` too
        """See Folder. In one step: a half-deleted tree is never seen."""
        doomed, staging = self._within(name), self._staging()
        with suppress(FileNotFoundError, NotADirectoryError):
            doomed.rename(staging)
            sync(doomed.parent)
            _delete(staging)

    def _existing(self, name: str) -> Path:
        """The file or folder that a name means, every link followed. Raises OutsideError where one leads out."""
        root = self._root.resolve()
        try:
            path = (root / checked_name(name, self.address)).resolve(strict=True)
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), joined(self.address, name)) from error
        except RuntimeError as error:  # links in a circle
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), joined(self.address, name)) from error
        return self._inside(path, root, name)

    def _within(self, name: str) -> Path:
        """Where a name is to be written or removed: its folder's links are followed, its own is not."""
        if not (inner := checked_name(name, self.address)):
            raise OutsideError(errno.EACCES, "expected a name inside the folder, got the folder", self.address)
        root = self._root.resolve()
        path = root / inner
        return self._inside(path.parent.resolve(), root, name) / path.name

    def _inside(self, path: Path, root: Path, name: str) -> Path:
        if not path.is_relative_to(root):
            raise OutsideError(errno.EACCES, "a link must stay inside its folder", joined(self.address, name))
        return path

    def _place(self, name: str) -> Path:
        """Where a name is to be written, its folders made."""
        path = self._within(name)
        _make(path.parent)
        return path

    def _staging(self, suffix: str = "") -> Path:
        """A name of this attempt alone, directly below the root, so that one look finds what a kill left."""
        return self._root.resolve() / f"{STAGING_PREFIX}{uuid.uuid4().hex}{suffix}"

    def _copy(self, source: Path, target: Path, copy_file: Callable[[str, str], object]) -> None:
        staging = self._staging()
        try:
            shutil.copytree(source, staging, symlinks=True, copy_function=copy_file)
            sync_tree(staging)
            _rename_to_absent(staging, target)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _stamp(self, name: str) -> str | None:
        try:
            return self.read_stamped(name).stamp
        except FileNotFoundError:
            return None

    def _num_bytes(self, name: str) -> int:
        path = self._root / name
        try:
            return path.stat().st_size
        except OSError:  # a link to nowhere; reading it tells
            return path.lstat().st_size


def replace_file(path: Path, text: str) -> None:
    """Gives a file new contents in one step: readers see the old or the new, never a part."""
    with LocalFolder(str(path.parent)).writing(path.name) as staging:
        staging.write_text(text, encoding="utf-8")


def sweep(folder: Folder) -> None:
    """Removes what writers that were killed left behind in a folder, and nobody sees.

    For who knows that nobody else is writing: it holds the lock, or its workers are gone. A writer that comes back to
    life afterwards fails, and publishes nothing. An object store needs none of it: there nothing unfinished has a name,
    but for a tree without its last file, which the next attempt to publish it removes.
    """
    if isinstance(folder, LocalFolder):
        for path in Path(folder.address).glob(f"{STAGING_PREFIX}*"):
            _delete(path)


@contextmanager
def flocked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, waiting for it; the system frees it when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sync_tree(directory: Path) -> None:
    """Flushes every file and directory below, and the directory itself, to disk."""
    for path in directory.rglob("*"):
        if not path.is_symlink():
            sync(path)
    sync(directory)


def sync(path: Path) -> None:
    """Flushes to disk a file's contents, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make(directory: Path) -> None:
    """Makes a directory and its parents, each on the disk."""
    if not directory.is_dir():
        _make(directory.parent)
        directory.mkdir(exist_ok=True)
        sync(directory.parent)


def _check_last(directory: Path, last: str) -> None:
    if not (directory / last).is_file():
        raise FileNotFoundError(errno.ENOENT, "what is published must hold the file that comes last", directory / last)


def _rename_to_absent(source: Path, target: Path) -> None:
    """POSIX renames a folder over an empty one, and refuses any other: the test and the rename are one step."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        raise
    sync(target.parent)


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:  # links across file systems, or on one that has none
        shutil.copy2(source, target)
    return target


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
