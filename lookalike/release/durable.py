"""Writes that a kill or a full disk cannot leave half done: atomic replacement, flushing, one writer at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING_PREFIX = ".staging-"
"""What a killed writer leaves behind has a name that begins like this."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, waiting for it; the system frees it when the process ends, however it ends."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_unfinished(path: Path, text: str) -> Path:
    """Writes the coming contents of a file beside it, down to the disk; `Path.replace` then puts them there."""
    staging = path.with_name(STAGING_PREFIX + path.name)
    with staging.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return staging


def replace_file(path: Path, text: str) -> None:
    """Gives a file new contents in one step: readers see the old or the new, never a part."""
    write_unfinished(path, text).replace(path)
    sync(path.parent)


def replace_link(path: Path, target: str, *, staging: Path) -> None:
    """Points a symbolic link somewhere in one step, whether or not it existed; `target` is relative to the link."""
    staging.symlink_to(target)
    staging.replace(path)
    sync(path.parent)


def sync_tree(directory: Path) -> None:
    """Flushes every file and directory below, and the directory itself, to disk."""
    for path in directory.rglob("*"):
        sync(path)
    sync(directory)


def sync(path: Path) -> None:
    """Flushes to disk a file's contents, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
