"""Where a catalogue comes from: folders of classes, manifests, and the days (spans) of either.

Opening a source reads names and rows, never an image, and never follows a path out of the source's root.
"""

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason
from lookalike.catalog.manifests import MANIFEST_SUFFIXES, ManifestRow, read_manifest
from lookalike.catalog.product import (
    FIELDS,
    CatalogImage,
    Kind,
    is_known,
)
from lookalike.catalog.rows import Locate, UnusableError, dead_row, in_categories, parse_image_id, read_row
from lookalike.catalog.taxonomy import SEPARATOR, CategoryId, rename_category
from lookalike.errors import in_words
from lookalike.storage.address import is_remote, open_folder
from lookalike.storage.folder import joined

# Formats that are refused later are listed too: a photo that cannot be used is counted, not passed over.
IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".heif", ".jp2", ".jxl", ".svg"),
    }
)

_SPAN_FOLDER = re.compile(r"span=(\d{4}-\d{2}-\d{2})")
_MANIFESTS = tuple(f"manifest{suffix}" for suffix in MANIFEST_SUFFIXES)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """What a source holds: usable rows sorted by name and product, what was set aside, and the spans that were read.

    spans: oldest first; empty when the source has none.
    """

    rows: list[CatalogImage]
    dead: list[DeadLetter]
    spans: list[str]


@dataclass(frozen=True)
class Part:
    """What is read at one go: a manifest, or a folder, of one span ('' = the source has none).

    address: its path, or where it is in an object store.
    """

    address: str
    span: str


def open_source(source: str, *, window_spans: int, renamed: Mapping[CategoryId, CategoryId] | None = None) -> Source:
    """The rows of a catalogue; all images of a product carry the same facts of it.

    source: a path, or an address of an object store (s3://, gs://, az://); one of
      - a manifest file; `image` is a path relative to its folder;
      - a folder that holds manifest.csv, .jsonl or .parquet;
      - a folder of class folders, where nested folders are the levels of the category and images outside any
        folder are unlabelled;
      - a folder of span=YYYY-MM-DD folders, each one of the two above: the newest window_spans are read.

    renamed: old → new ids of categories that have moved; what lies below them moves along.

    Hidden files and files without an image's extension are ignored in folders; unknown columns are ignored with a
    warning. What the rows of a product make of each other: see `merge_product`.

    All is in memory; `parts_of`, `read_part` and `merge_product` are the same bit by bit.

    Raises DataError when nothing usable is there, in the source or in one of its spans, and when a manifest
    cannot be read at all; ValueError when window_spans is below 1.
    """
    parts = parts_of(source, window_spans)
    products: defaultdict[str, list[CatalogImage]] = defaultdict(list)
    rows: list[CatalogImage] = []
    dead: list[DeadLetter] = []
    for found in chain.from_iterable(map(read_part, parts)):
        if isinstance(found, DeadLetter):
            dead.append(found)
        else:
            products[found.product_id].append(_renamed(found, renamed or {}))
    for stated in products.values():
        kept, superseded = merge_product(stated)
        rows += kept
        dead += superseded
    return Source(sorted(rows, key=lambda row: row.stated_as), dead, [part.span for part in parts if part.span])


def parts_of(source: str, window_spans: int) -> list[Part]:
    """The parts of a source, the oldest span first. Raises as `open_source` does."""
    if window_spans < 1:
        raise ValueError(f"window_spans must be at least 1, got {window_spans}")
    if _is_remote(source):
        return _remote_parts(source.rstrip("/"), window_spans)
    path = Path(source)
    if not path.exists():
        raise DataError(f"a source must be a folder or a manifest, there is none at {source}")
    return [Part(str(location), span) for span, location in _locations(path, window_spans)]


def read_part(part: Part) -> Iterator[CatalogImage | DeadLetter]:
    """Every row of a part, one in memory at a time. Raises DataError, at the end where no row was usable."""
    num_rows, num_dead, first = 0, 0, ""
    for found in _remote_rows(part) if _is_remote(part.address) else _local_rows(part):
        if isinstance(found, DeadLetter):
            num_dead, first = num_dead + 1, first or found.detail
        else:
            num_rows += 1
        yield found
    if not num_rows:
        unusable = f"; the first of {num_dead} unusable: {first}" if num_dead else ""
        raise DataError(
            f"a source and each of its spans must hold at least one image, got none in {part.address}{unusable}"
        )


def merge_product(rows: Sequence[CatalogImage]) -> tuple[list[CatalogImage], list[DeadLetter]]:
    """What the rows of one product come to; they are given oldest first.

    Every image carries the facts of the whole product: what the newest row that states a fact says. Its categories are
    all that its newest span with any states, the first one first. An image that comes twice keeps its newest row; the
    others are dead letters.
    """
    facts = _facts(rows) if len(rows) > 1 else {}
    return _keep_newest(replace(row, **facts) for row in rows)


def fingerprint(source: Source) -> str:
    """64 hex digits over all that a run makes of the source: rows, images' content, what was set aside.

    Where files lie does not matter. Reads every image whose manifest states no sha256.
    """
    rows = (row_digest(row, row.sha256 or content_sha256(row.uri)) for row in source.rows)
    return sum_of_digests(chain(rows, map(letter_digest, source.dead)))


def sum_of_digests(digests: Iterable[str]) -> str:
    """The sum modulo 2^256 of numbers in hex: the same in any order, and whatever was added up before.

    (A sum of hashes tells sets apart that nobody made to collide: Bellare and Micciancio 1997, AdHash.)
    """
    return f"{sum(int(digest, 16) for digest in digests) % 2**256:064x}"


def row_digest(row: CatalogImage, original_sha256: str) -> str:
    """What a row adds to the fingerprint; original_sha256 is of the file that it names, as stated or as read."""
    # Only what is stated: a field that a later version adds makes no other day of an old source.
    facts = {one.name: value for one in FIELDS if one.name != "uri" and (value := getattr(row, one.name))}
    return _digest([facts, original_sha256])


def letter_digest(letter: DeadLetter) -> str:
    """What a row that could not be used adds to the fingerprint."""
    return _digest([letter.image_id, letter.reason.value, letter.span])


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def content_sha256(uri: str) -> str:
    """Of a file, in hex; "unreadable" where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with _opened(uri) as file:
            while chunk := file.read(1024 * 1024):
                digest.update(chunk)
    except OSError:
        return "unreadable"  # it becomes a dead letter when it is ingested; it must not stop the run here
    return digest.hexdigest()


def _opened(uri: str) -> BinaryIO:
    if not is_remote(uri):
        return Path(uri).open("rb")
    parent, _, name = uri.rpartition("/")
    return open_folder(parent).open(name)


def _locations(path: Path, window_spans: int) -> list[tuple[str, Path]]:
    """Span and place of each part of the source, oldest first."""
    if not path.is_dir():
        return [("", path)]
    spans = sorted((span, child) for child in path.iterdir() if (span := _span_of(child)))
    return spans[-window_spans:] or [("", path)]


def _span_of(folder: Path) -> str:
    """'2026-11-20' for a folder span=2026-11-20, '' for anything else."""
    if not folder.is_dir() or not (day := _day_of(folder.name, str(folder.parent))):
        return ""
    if folder.is_symlink():
        raise DataError(f"a span folder must be a real folder, got the symbolic link {folder}")
    return day


def _day_of(name: str, parent: str) -> str:
    match = _SPAN_FOLDER.fullmatch(name)
    if match is None:
        return ""
    try:
        date.fromisoformat(match[1])
    except ValueError as error:
        where = joined(parent, name)
        raise DataError(f"a span folder must be named after a day, span=YYYY-MM-DD: {error}, got {where}") from None
    return match[1]


def _local_rows(part: Part) -> Iterator[CatalogImage | DeadLetter]:
    location = Path(part.address)
    manifest = location if location.is_file() else _manifest_in(location)
    root = (location if location.is_dir() else location.parent).resolve()
    return _read_rows(manifest, partial(_locate, root=root), part.span) if manifest else _walk(root, part.span)


def _manifest_in(folder: Path) -> Path | None:
    found = [name for name in _MANIFESTS if (folder / name).exists()]
    if not found:
        return None
    manifest = folder / _only_manifest(found, str(folder))
    if not manifest.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"a manifest must lie inside its folder, got a symbolic link out of it: {manifest}")
    return manifest


def _only_manifest(found: list[str], address: str) -> str:
    if len(found) > 1:
        raise DataError(f"a folder must hold one manifest, got {', '.join(found)} in {address}")
    return found[0]


def _renamed(row: CatalogImage, renamed: Mapping[CategoryId, CategoryId]) -> CatalogImage:
    return in_categories(row, [rename_category(category, renamed) for category in row.categories]) if renamed else row


def _facts(rows: Sequence[CatalogImage]) -> dict[str, Any]:
    """What the rows of one product say of it, the newer word before the older."""
    facts: dict[str, Any] = {}
    for one in FIELDS:
        values = [value for row in rows if (value := getattr(row, one.name))] if one.of_product else []
        if values and one.kind is Kind.ATTRIBUTES:
            facts[one.name] = {name: text for stated in values for name, text in stated.items()}
        elif values:
            facts[one.name] = values[-1]
    categorised = [row for row in rows if row.category]
    newest = [category for row in categorised if row.span == categorised[-1].span for category in row.categories]
    first, *others = dict.fromkeys(newest) or [""]
    return facts | {"category": first, "other_categories": tuple(others)}


def _keep_newest(rows: Iterable[CatalogImage]) -> tuple[list[CatalogImage], list[DeadLetter]]:
    """One row for each image of a product, the last that comes; the others as dead letters."""
    newest: dict[tuple[str, str, tuple[float, ...]], CatalogImage] = {}
    dead: list[DeadLetter] = []
    for row in rows:
        if (older := newest.get(row.stated_as)) is not None:
            where = f"span {row.span}" if row.span else "a later row"
            dead.append(
                DeadLetter.of(older, Reason.DUPLICATE_ID, f"an image of a product must come once, {where} has it")
            )
        newest[row.stated_as] = row
    return list(newest.values()), dead


# Folders of classes


def _walk(root: Path, span: str) -> Iterator[CatalogImage | DeadLetter]:
    """A row for each image file below the root, its folders being its category."""
    for folder, child_folders, names in os.walk(root, onerror=_refuse_unreadable):
        child_folders[:] = sorted(name for name in child_folders if not name.startswith("."))
        for name in child_folders:
            if (path := Path(folder, name)).is_symlink():  # which os.walk does not enter
                detail = "a class folder must be a real folder, got a symbolic link"
                yield dead_row(_relative(path, root), Reason.OUTSIDE_ROOT, detail, span)
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield _file_row(Path(folder, name), root, span)


def _refuse_unreadable(error: OSError) -> None:
    raise DataError(f"every folder of a source must be readable: {in_words(error)}") from error


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _file_row(path: Path, root: Path, span: str) -> CatalogImage | DeadLetter:
    return _class_row(_relative(path, root), partial(_locate, root=root), span)


def _class_row(name: str, locate: Locate, span: str) -> CatalogImage | DeadLetter:
    """The row of an image in class folders, by its name below the root."""
    return read_row({"image": name, "category": SEPARATOR.join(name.split("/")[:-1])}, locate, span)


def _locate(image: str, *, root: Path) -> tuple[str, str]:
    """image_id and resolved path of an image; resolving looks at names only, and opens nothing."""
    image_id = parse_image_id(image)
    try:
        path = (root / image_id).resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        raise UnusableError(Reason.MISSING_FILE, f"image must be a file that can be reached, got {image}") from None
    if not path.is_relative_to(root):
        raise UnusableError(Reason.OUTSIDE_ROOT, f"image must stay inside its root, {image} is a link out of it")
    if not path.is_file():
        raise UnusableError(Reason.MISSING_FILE, f"image must be a regular file, got {image}")
    return image_id, str(path)


# Object stores


def _is_remote(address: str) -> bool:
    try:
        return is_remote(address)
    except ValueError as error:
        raise DataError(f"a source must be a folder or a manifest: {error}") from error


def _remote_parts(source: str, window_spans: int) -> list[Part]:
    if source.lower().endswith(MANIFEST_SUFFIXES):
        return [Part(source, "")]
    with _told(source):
        children = open_folder(source).children()
    if not children:
        raise DataError(f"a source must be a folder or a manifest, there is none at {source}")
    folders = [name.rstrip("/") for name in children if name.endswith("/")]
    spans = sorted((day, joined(source, name)) for name in folders if (day := _day_of(name, source)))
    return [Part(address, span) for span, address in spans[-window_spans:]] or [Part(source, "")]


def _remote_rows(part: Part) -> Iterator[CatalogImage | DeadLetter]:
    with _told(part.address):
        manifest = part.address if part.address.lower().endswith(MANIFEST_SUFFIXES) else _remote_manifest(part.address)
        if not manifest:
            yield from _remote_walk(part)
            return
        root, _, name = manifest.rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, name)
            with open_folder(root).open(name) as found, path.open("wb") as copy:
                shutil.copyfileobj(found, copy)
            try:
                yield from _read_rows(path, partial(_locate_remote, root=root), part.span)
            except DataError as error:
                raise DataError(str(error).replace(directory, root)) from error


def _remote_manifest(address: str) -> str:
    found = [name for name in open_folder(address).children() if name in _MANIFESTS]
    return joined(address, _only_manifest(found, address)) if found else ""


def _remote_walk(part: Part) -> Iterator[CatalogImage | DeadLetter]:
    for file in open_folder(part.address).files():
        is_hidden = any(level.startswith(".") for level in file.name.split("/"))
        if not is_hidden and PurePosixPath(file.name).suffix.lower() in IMAGE_SUFFIXES:
            yield _class_row(file.name, partial(_locate_remote, root=part.address), part.span)


def _locate_remote(image: str, *, root: str) -> tuple[str, str]:
    """image_id and address of an image; whether it is there is seen when it is read."""
    image_id = parse_image_id(image)
    return image_id, joined(root, image_id)


@contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"a source must be readable, {address} is not: {in_words(error)}") from error


# Manifests


def _read_rows(manifest: Path, locate: Locate, span: str) -> Iterator[CatalogImage | DeadLetter]:
    unknown: set[str] = set()
    for row in read_manifest(manifest):
        unknown |= {column for column in row.cells if not is_known(column)}
        yield _manifest_row(row, manifest, locate, span)
    if unknown:
        log.warning("%s: columns nobody reads are ignored: %.1000s", manifest, ascii(sorted(unknown)))


def _manifest_row(row: ManifestRow, manifest: Path, locate: Locate, span: str) -> CatalogImage | DeadLetter:
    where = f"{manifest.name}:{row.line}"
    if row.fault:
        return dead_row(where, Reason.BAD_ROW, f"{where}: {row.fault}", span)
    return read_row(row.cells, locate, span, where)
