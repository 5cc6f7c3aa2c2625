"""Whether the files of a directory are still those that were looked at before."""

from pathlib import Path

FileStates = tuple[tuple[str, int, int], ...]
"""The path, size in bytes and time of writing in ns of every file, by path."""


def read_file_states(directory: Path) -> FileStates:
    """Equal as long as nothing below the directory was written, replaced or removed; links are followed.

    Raises OSError where a file goes while it is looked at.
    """
    files = [(path, path.stat()) for path in sorted(directory.rglob("*")) if path.is_file()]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in files)
