"""Which file a source means by a name: the one that has it, or the only one that is nearly named so."""

import difflib
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from lookalike.catalog.dead_letters import Reason
from lookalike.storage.folder import Folder, OutsideError, joined

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_REMOTE = re.compile(r"(?:https?|ftp):/+", re.IGNORECASE)
_QUERY = re.compile(r"[?#].*$")
# A suggestion compares all names of a folder, and is not worth seconds.
_MAX_COMPARED = 10_000
_MAX_SUGGESTIONS = 20
_NUM_LISTINGS = 64  # of folders that are remembered


class UnusableError(Exception):
    """One row or file that is set aside, with the reason of its dead letter."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Located:
    """Where an image lies.

    image_id: its name below the root.   uri: what to read.   is_exact: whether it was named so.
    """

    image_id: str
    uri: str
    is_exact: bool = True


Locate = Callable[[str], Located]
"""What an image is called in a source → where it lies. Raises ValueError or UnusableError."""


class Files:
    """The files below a folder, by the names that a table gives them."""

    def __init__(self, folder: Folder, exact: Callable[[str], str]) -> None:
        """exact: name → uri. Raises UnusableError: there is no such file, or it must not be read."""
        self._folder = folder
        self._exact = exact
        self._listing = lru_cache(_NUM_LISTINGS)(self._list)
        self._num_suggested = 0

    def locate(self, image: str) -> Located:
        """See Locate."""
        image_id = parse_image_id(self._inside(image))
        try:
            return Located(image_id, self._exact(image_id))
        except UnusableError as error:
            if error.reason is not Reason.MISSING_FILE:
                raise
            for name in filter(None, map(self._nearly, _spellings(image_id))):
                return Located(name, self._exact(name), is_exact=False)
            raise UnusableError(error.reason, f"{error}{self._suggestion(image_id)}") from error

    def _inside(self, image: str) -> str:
        """An absolute path below the root, without the root."""
        return image.removeprefix(f"{self._folder.address.rstrip('/')}/")

    def _nearly(self, name: str) -> str:
        """The only file whose name differs by case and Unicode form alone, '' where there is none."""
        found = ""
        for level in name.split("/"):
            names = self._listing(found).get(_plain(level), ())
            if len(names) != 1:
                return ""
            found = posixpath.join(found, names[0])
        return found

    def _list(self, below: str) -> dict[str, list[str]]:
        names: dict[str, list[str]] = {}
        try:
            children = self._folder.children(below)
        except (OutsideError, NotADirectoryError):
            return {}
        for child in children:
            names.setdefault(_plain(child.rstrip("/")), []).append(child.rstrip("/"))
        return names

    def _suggestion(self, name: str) -> str:
        below = posixpath.dirname(name)
        names = [one for same in self._listing(below).values() for one in same]
        self._num_suggested += 1
        if len(names) > _MAX_COMPARED or self._num_suggested > _MAX_SUGGESTIONS:
            return ""
        close = difflib.get_close_matches(posixpath.basename(name), names, n=1, cutoff=0.8)
        return f"; did it mean {posixpath.join(below, close[0])}?" if close else ""


def parse_image_id(image: str) -> str:
    """The shortest form of a relative path. Raises ValueError, or UnusableError where it leaves its root."""
    if not image:
        raise ValueError("image must be a path, got nothing")
    if _REMOTE.match(image):
        raise UnusableError(
            Reason.OUTSIDE_ROOT, f"image must be a path relative to its root: download the pictures first, got {image}"
        )
    if image.startswith("/") or _SCHEME.match(image):
        raise UnusableError(Reason.OUTSIDE_ROOT, f"image must be a path relative to its root, got {image}")
    image_id = posixpath.normpath(image)
    if image_id.split("/")[0] == "..":
        raise UnusableError(Reason.OUTSIDE_ROOT, f"image must stay inside its root, got {image}")
    return image_id


def exact_local(root: Path) -> Callable[[str], str]:
    """Resolving looks at names only, and opens nothing."""

    def exact(image_id: str) -> str:
        try:
            path = (root / image_id).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            raise UnusableError(
                Reason.MISSING_FILE, f"image must be a file that can be reached, got {image_id}"
            ) from None
        if not path.is_relative_to(root):
            raise UnusableError(Reason.OUTSIDE_ROOT, f"image must stay inside its root, {image_id} is a link out of it")
        if not path.is_file():
            raise UnusableError(Reason.MISSING_FILE, f"image must be a regular file, got {image_id}")
        return str(path)

    return exact


def exact_remote(folder: Folder) -> Callable[[str], str]:
    """By the listing of its folder, which costs a request for a thousand names."""

    @lru_cache(_NUM_LISTINGS)
    def names(below: str) -> frozenset[str]:
        return frozenset(folder.children(below))

    def exact(image_id: str) -> str:
        below, name = posixpath.split(image_id)
        if name not in names(below):
            raise UnusableError(Reason.MISSING_FILE, f"image must be a file that can be reached, got {image_id}")
        return joined(folder.address, image_id)

    return exact


def _spellings(name: str) -> Iterator[str]:
    """What may be meant by a name that no file has: a path of Windows, of a URL, or one with a query."""
    seen = {""}
    for one in (name, name.replace("\\", "/"), unquote(name), _QUERY.sub("", name), unquote(_QUERY.sub("", name))):
        spelling = posixpath.normpath(one) if one else ""
        if spelling not in seen and not spelling.startswith(("/", "..")):
            yield spelling
            seen.add(spelling)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
