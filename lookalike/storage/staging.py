"""Local folders for what reads and writes paths alone, such as TensorFlow, in place of remote addresses."""

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from lookalike.storage.address import is_remote, local_path, open_folder
from lookalike.storage.folder import Folder, joined
from lookalike.storage.local import STAGING_PREFIX, LocalFolder


@contextmanager
def fetched(address: str) -> Iterator[Path]:
    """The folder at an address, to read from: a local one is itself, a remote one is fetched and gone in the end."""
    if not is_remote(address):
        yield local_path(address)
        return
    with _scratch(address) as directory:
        fetch(open_folder(address), directory)
        yield directory


@contextmanager
def fetched_file(folder: Folder, name: str) -> Iterator[Path]:
    """One file of a folder, to read from: a local one is itself, a remote one is fetched and gone in the end."""
    if isinstance(folder, LocalFolder):
        yield local_path(joined(folder.address, name))
        return
    with _scratch(joined(folder.address, name)) as directory:
        path = directory / PurePosixPath(name).name
        _fetch_file(folder, name, path)
        yield path


@contextmanager
def published(address: str) -> Iterator[Path]:
    """A folder to write to what shall be at an address, which is this writer's own.

    A local one is the directory itself, made where it is missing. A remote one is a new folder, which takes the place
    of what is at the address when the block ends well.
    """
    if not is_remote(address):
        directory = local_path(address)
        directory.mkdir(parents=True, exist_ok=True)
        yield directory
        return
    with _scratch(address) as directory:
        yield directory
        _replace(directory, address)


@contextmanager
def workplace(folder: Folder) -> Iterator[Path]:
    """An empty local directory of this attempt alone, to be filled and published; gone when the block ends.

    That of a local folder lies on its file system, so that publishing is a rename; `sweep` removes what a kill left.
    """
    if not isinstance(folder, LocalFolder):
        with _scratch(folder.address) as directory:
            yield directory
        return
    directory = local_path(folder.address) / f"{STAGING_PREFIX}{uuid.uuid4().hex}"
    directory.mkdir(parents=True)  # with the rights of any new folder, unlike tempfile's
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def fetch(folder: Folder, directory: Path, below: str = "") -> None:
    """Copies what is below a name into a local directory, which is made; file by file, in bounded memory."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in folder.files(below):
        path = directory / PurePosixPath(file.name).relative_to(below)
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch_file(folder, file.name, path)


def _fetch_file(folder: Folder, name: str, path: Path) -> None:
    with folder.open(name) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


@contextmanager
def _scratch(address: str) -> Iterator[Path]:
    """An empty folder called like the address, for errors name it."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch, PurePosixPath(address).name)
        directory.mkdir()
        yield directory


def _replace(directory: Path, address: str) -> None:
    parent, _, name = address.rstrip("/").rpartition("/")
    folder = open_folder(parent)
    folder.remove(name)  # of an attempt before: its owner alone knows the address until we say that it is done
    files = [path for path in directory.rglob("*") if path.is_file()]
    if files:
        # TFX counts the files of some artifacts, so that none can be added to mark the end: the smallest comes last.
        last = min(files, key=lambda path: (path.stat().st_size, path))
        folder.publish(directory, name, last=last.relative_to(directory).as_posix())
