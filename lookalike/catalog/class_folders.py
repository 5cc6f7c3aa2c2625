"""Folders as a catalogue: nested class folders are levels of the category, and what is none is passed over and told."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.notes import Note
from lookalike.catalog.originals import looks_like_an_image
from lookalike.catalog.product import SPLITS
from lookalike.catalog.written import SPLIT_WORDS
from lookalike.errors import in_words
from lookalike.storage.folder import Folder
from lookalike.tables.files import is_table

# Formats that are refused later are listed too: a photo that cannot be used is counted, not passed over.
_IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg"),
    }
)
# What systems keep beside pictures: Synology, macOS, Linux, Windows, QNAP.
_SYSTEM = frozenset(
    {"@eadir", "#recycle", "__macosx", "lost+found", "$recycle.bin", "system volume information", "@recycle"}
)
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db"})
_DAY = re.compile(r"(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])")
_SIGNATURE_BYTES = 32

NO_IMAGES = "files that are no images were passed over"
BY_CONTENT = "images without the extension of one were known by their content"
SKIPPED = "hidden folders and those of systems were passed over"
CIRCLES = "links that lead in circles were not followed"


class ClassImage(NamedTuple):
    """An image below the root. categories: its folders, outermost first.   split: '' where no folder says."""

    name: str
    categories: tuple[str, ...]
    split: str


def images_in(folder: Folder, root: Path | None) -> Iterator[ClassImage | Note]:
    """The images below a folder in class folders, with what was passed over.

    root: of a local folder, whose links are followed as long as they stay inside.

    Top folders that are all named after splits are splits. Raises DataError: a class folder is a link that leads out,
    or the top folders are days.
    """
    top = {name.rstrip("/") for name in folder.children() if name.endswith("/") and not is_system(name.rstrip("/"))}
    _refuse_days(top, folder.address)
    splits = _splits_of(top)
    if splits:
        yield Note("folders at the top were taken for splits", ", ".join(f"{k} = {v}" for k, v in splits.items()))
    for found in _names(folder, root):
        if isinstance(found, Note):
            yield found
            continue
        *levels, _ = found.split("/")
        split = splits.get(levels[0], "") if levels else ""
        yield ClassImage(found, tuple(levels[1:] if split else levels), split)


def is_system(name: str) -> bool:
    """Whether a folder or file is hidden, or kept by a system for itself."""
    return name.startswith(".") or name.casefold() in _SYSTEM | _SYSTEM_FILES


def _refuse_days(top: Iterable[str], address: str) -> None:
    days = sorted(name for name in top if _DAY.fullmatch(name))
    if days and len(days) == len(list(top)):
        digits = re.sub(r"\D", "", days[0])
        named = f"span={digits[:4]}-{digits[4:6]}-{digits[6:]}"
        raise DataError(f"days must be folders named span=YYYY-MM-DD: rename {days[0]} in {address} to {named}, …")


def _splits_of(top: set[str]) -> dict[str, str]:
    """Folder → split, where all top folders are named after different splits and one of them is for training."""
    splits = {name: SPLIT_WORDS.get(name.casefold(), "") for name in sorted(top)}
    named = set(splits.values())
    return splits if len(splits) == len(named) > 1 and named <= set(SPLITS) and "train" in named else {}


def _names(folder: Folder, root: Path | None) -> Iterator[str | Note]:
    paths = (file.name for file in folder.files()) if root is None else _walk(root)
    for name in paths:
        if isinstance(name, Note):
            yield name
        elif hidden := next((level for level in name.split("/") if is_system(level)), ""):
            yield Note(SKIPPED, name[: name.index(hidden) + len(hidden)])
        elif PurePosixPath(name).suffix.lower() in _IMAGE_SUFFIXES:
            yield name
        elif looks_like_an_image(_first_bytes(folder, name)):
            yield Note(BY_CONTENT, name)
            yield name
        elif "/" in name or not is_table(name):  # tables at the top are told by who looks for one
            yield Note(NO_IMAGES, name)


def _first_bytes(folder: Folder, name: str) -> bytes:
    try:
        return folder.read(name, max_bytes=_SIGNATURE_BYTES)
    except OSError:  # a link to nothing, a pipe, or no right to read it
        return b""


def _walk(root: Path) -> Iterator[str | Note]:
    """The name of each file, links to folders inside the root followed."""
    for folder, child_folders, names in os.walk(root, onerror=_refuse_unreadable, followlinks=True):
        why = {name: _why_not(Path(folder, name), root) for name in sorted(child_folders)}
        child_folders[:] = [name for name, reason in why.items() if not reason]
        yield from (Note(reason, _relative(Path(folder, name), root)) for name, reason in why.items() if reason)
        yield from (_relative(Path(folder, name), root) for name in sorted(names) if not is_system(name))


def _why_not(folder: Path, root: Path) -> str:
    """Why a folder is not entered, '' where it is."""
    if is_system(folder.name):
        return SKIPPED
    return CIRCLES if folder.is_symlink() and _leads_back(folder, root) else ""


def _leads_back(link: Path, root: Path) -> bool:
    """Whether following a link would come by it again. Raises DataError where it leads out of the root."""
    target = link.resolve()
    if not target.is_relative_to(root):
        raise DataError(
            f"a class folder must lie inside its root, got a link out of it: {link}; move the folder there, or copy it"
        )
    return link.parent.resolve().is_relative_to(target)


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"every folder of a source must be readable: {in_words(error)}") from error


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
