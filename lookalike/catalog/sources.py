"""Where a catalogue comes from: folders of classes, tables, and the days (spans) of either.

Opening a source reads names and rows, never an image that lies in a file of its own, and never follows a path out of
the source's root.
"""

import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lookalike.catalog.account import Account, Kept, account_of, accounted
from lookalike.catalog.class_folders import images_in, is_system
from lookalike.catalog.columns import IMAGE, Columns
from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason
from lookalike.catalog.names import Files, exact_local, exact_remote
from lookalike.catalog.notes import Note, Notes, in_a_line
from lookalike.catalog.product import FIELDS, CatalogImage, Kind
from lookalike.catalog.rows import Found, Keep, Reading, dead_row, in_categories, read_row
from lookalike.catalog.taxonomy import SEPARATOR, CategoryId, rename_category
from lookalike.catalog.written import Conventions, conventions_of
from lookalike.configs.settings import IngestSettings
from lookalike.errors import in_words
from lookalike.storage.address import is_remote, open_folder
from lookalike.storage.folder import Folder, joined
from lookalike.tables.files import is_table, open_table
from lookalike.tables.table import Header, Table, TableError

_SPAN_FOLDER = re.compile(r"span=(\d{4}-\d{2}-\d{2})")
_MANIFEST = "manifest"  # the table of this name goes before others beside it
_SURVEYED_ROWS = 10_000  # from which conventions are inferred
_WAY_OUT = f"where another column names them, --set 'ingest.columns=ITS NAME={IMAGE}' says so"


AS_USUAL = IngestSettings()


@dataclass(frozen=True)
class Source:
    """What a source holds: usable rows sorted by name and product, what was set aside, and the spans that were read.

    spans: oldest first; empty when the source has none.
    notes: what was assumed, left out or passed over.
    """

    rows: list[CatalogImage]
    dead: list[DeadLetter]
    spans: list[str]
    notes: Notes


@dataclass(frozen=True)
class Part:
    """What is read at one go: a table, or a folder, of one span ('' = the source has none).

    address: its path, or where it is in an object store.
    """

    address: str
    span: str


def not_kept(_content: bytes, _sha256: str) -> str:
    """Where a picture that a row carries lies, for those who want to know of it alone: nowhere."""
    return ""


def kept_in(address: str) -> Keep:
    """Pictures that rows carry become files of a folder, by their content."""
    folder = open_folder(address)

    def keep(content: bytes, sha256: str) -> str:
        with folder.writing(sha256) as path:
            path.write_bytes(content)
        return joined(address, sha256)

    return keep


def open_source(
    source: str,
    *,
    window_spans: int,
    settings: IngestSettings = AS_USUAL,
    renamed: Mapping[CategoryId, CategoryId] | None = None,
    keep: Keep = not_kept,
) -> Source:
    """The rows of a catalogue; all images of a product carry the same facts of it.

    source: a path, or an address of an object store (s3://, gs://, az://); one of
      - a table of any kind; `image` is a path relative to its folder;
      - a folder that holds such a table;
      - a folder of class folders, where nested folders are the levels of the category and images outside any
        folder are unlabelled;
      - a folder of span=YYYY-MM-DD folders, each one of the two above: the newest window_spans are read.

    settings: what the shop says of its data.
    renamed: old → new ids of categories that have moved; what lies below them moves along.
    keep: what becomes of pictures that rows carry.

    What is ignored is told in the notes. What the rows of a product make of each other: see `merge_product`.

    All is in memory; `parts_of`, `read_part` and `merge_product` are the same bit by bit.

    Raises DataError when nothing usable is there, in the source or in one of its spans, and when a table
    cannot be read at all; ValueError when window_spans is below 1.
    """
    parts = parts_of(source, window_spans)
    read = _Sorted()
    with accounted(lambda: account_of_rows(Source(read.rows, read.dead, [], read.notes))):
        for part in parts:
            read.add_all(read_part(part, settings, keep))
    products: defaultdict[str, list[CatalogImage]] = defaultdict(list)
    for row in read.rows:
        products[row.product_id].append(_renamed(row, renamed or {}))
    merged = _Sorted(dead=read.dead, notes=read.notes)
    for stated in products.values():
        merged.add_all(chain.from_iterable(merge_product(stated, parts[-1].span)))
    rows = sorted(merged.rows, key=lambda row: row.stated_as)
    return Source(rows, merged.dead, [part.span for part in parts if part.span], merged.notes)


@dataclass
class _Sorted:
    """What was found, by its kind."""

    rows: list[CatalogImage] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)
    notes: Notes = field(default_factory=Notes)

    def add_all(self, many: Iterable[Found]) -> None:
        for found in many:
            match found:
                case DeadLetter():
                    self.dead.append(found)
                case Note():
                    self.notes.add(found)
                case _:
                    self.rows.append(found)


def account_of_rows(source: Source) -> Account:
    """What is known before a picture was opened."""
    products = {row.product_id for row in source.rows}
    categories = {row.category for row in source.rows} - {""}
    return account_of(Kept(len(source.rows), len(products), len(categories)), source.dead, source.notes, "")


def parts_of(source: str, window_spans: int) -> list[Part]:
    """The parts of a source, the oldest span first. Raises as `open_source` does."""
    if window_spans < 1:
        raise ValueError(f"window_spans must be at least 1, got {window_spans}")
    if _is_remote(source):
        return _remote_parts(source.rstrip("/"), window_spans)
    path = Path(source)
    if not path.exists():
        raise DataError(f"a source must be a folder or a table, there is none at {source}")
    return [Part(str(location), span) for span, location in _locations(path, window_spans)]


def read_part(part: Part, settings: IngestSettings = AS_USUAL, keep: Keep = not_kept) -> Iterator[Found]:
    """Every row of a part, one in memory at a time. Raises DataError, at the end where no row was usable."""
    num_rows, num_dead, first, notes = 0, 0, "", Notes()
    for found in _rows(part, settings, keep):
        if isinstance(found, DeadLetter):
            num_dead, first = num_dead + 1, first or found.detail
        elif isinstance(found, Note):
            notes.add(found)
        else:
            num_rows += 1
        yield found
    if not num_rows:
        unusable = f"the first of {num_dead} unusable: {first}" if num_dead else ""
        why = "; ".join(filter(None, [unusable, *map(in_a_line, notes.to_document())]))
        raise DataError(
            f"a source and each of its spans must hold at least one image, got none in {part.address}"
            + (f"; {why}" if why else "")
        )


def _rows(part: Part, settings: IngestSettings, keep: Keep) -> Iterator[Found]:
    try:
        yield from (_remote_rows if _is_remote(part.address) else _local_rows)(part, settings, keep)
    except TableError as error:
        raise DataError(str(error)) from error


def merge_product(rows: Sequence[CatalogImage], last_span: str) -> tuple[list[CatalogImage], list[DeadLetter | Note]]:
    """What the rows of one product come to, and what is told of it; they are given oldest first.

    last_span: of the whole source.

    Every image carries the facts of the whole product: what the newest row that states a fact says. Its categories are
    all that its newest span with any states, the first one first. An image that comes twice keeps its newest row; the
    others are dead letters.
    """
    facts = _facts(rows) if len(rows) > 1 else {}
    kept, told = _keep_newest(replace(row, **facts) for row in rows)
    if any(set(row.categories) - set(kept[-1].categories) for row in rows):
        told.append(Note("categories of earlier days gave way to those of the newest", kept[-1].product_id))
    if kept[-1].span != last_span:
        told.append(Note("products that the last day does not list stay as they were", kept[-1].product_id))
    return kept, told


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


def _keep_newest(rows: Iterable[CatalogImage]) -> tuple[list[CatalogImage], list[DeadLetter | Note]]:
    """One row for each image of a product, the last that comes; the others as dead letters."""
    newest: dict[tuple[str, str, tuple[float, ...]], CatalogImage] = {}
    dead: list[DeadLetter | Note] = []
    for row in rows:
        if (older := newest.get(row.stated_as)) is not None:
            where = f"span {row.span}" if row.span else "a later row"
            dead.append(
                DeadLetter.of(older, Reason.DUPLICATE_ID, f"an image of a product must come once, {where} has it")
            )
        newest[row.stated_as] = row
    return list(newest.values()), dead


# Local


def _local_rows(part: Part, settings: IngestSettings, keep: Keep) -> Iterator[Found]:
    location = Path(part.address)
    is_folder = location.is_dir() and not is_table(location.name)
    root = (location if is_folder else location.parent).resolve()
    folder = open_folder(str(root))
    reading = _reading(Files(folder, exact_local(root)), part, settings, keep)
    if not is_folder:
        yield from _table_rows(location, location.name, reading, settings)
        return
    _refuse_links_out(location, root)
    table, notes = _table_among(folder.children(), str(root), partial(_has_images, root, settings))
    yield from notes
    if table:
        yield from _table_rows(root / table, table, reading, settings)
    else:
        yield from _class_rows(folder, root, reading)


def _refuse_links_out(folder: Path, root: Path) -> None:
    for path in folder.iterdir():
        if is_table(path.name) and path.is_symlink() and not path.resolve().is_relative_to(root):
            raise DataError(f"a table must lie inside its folder, got a symbolic link out of it: {path}")


def _has_images(root: Path, settings: IngestSettings, name: str) -> bool:
    return _is_usable(root / name, settings)


# Object stores


def _is_remote(address: str) -> bool:
    try:
        return is_remote(address)
    except ValueError as error:
        raise DataError(f"a source must be a folder or a table: {error}") from error


def _remote_parts(source: str, window_spans: int) -> list[Part]:
    with _told(source):
        children = open_folder(source).children()
    if not children and is_table(source):
        return [Part(source, "")]
    if not children:
        raise DataError(f"a source must be a folder or a table, there is none at {source}")
    folders = [name.rstrip("/") for name in children if name.endswith("/")]
    spans = sorted((day, joined(source, name)) for name in folders if (day := _day_of(name, source)))
    return [Part(address, span) for span, address in spans[-window_spans:]] or [Part(source, "")]


def _remote_rows(part: Part, settings: IngestSettings, keep: Keep) -> Iterator[Found]:
    with _told(part.address), tempfile.TemporaryDirectory() as directory:
        copies = Path(directory)
        parent, _, name = part.address.rpartition("/")
        folder = open_folder(parent if is_table(name) else part.address)
        reading = _reading(Files(folder, exact_remote(folder)), part, settings, keep)
        if not is_table(name):
            has_images = partial(_has_remote_images, folder, copies, settings)
            name, notes = _table_among(folder.children(), part.address, has_images)
            yield from notes
        if name:
            _fetch(folder, name, copies)
        try:
            yield from (
                _table_rows(copies / name, name, reading, settings) if name else _class_rows(folder, None, reading)
            )
        except TableError as error:
            raise TableError(str(error).replace(directory, folder.address)) from error


def _has_remote_images(folder: Folder, copies: Path, settings: IngestSettings, name: str) -> bool:
    _fetch(folder, name, copies)
    return _is_usable(copies / name, settings)


def _fetch(folder: Folder, name: str, copies: Path) -> None:
    """A table to a local folder: a file, or all parts below its name."""
    parts = [file.name for file in folder.files(name)] or [name]
    for part in parts:
        (copies / part).parent.mkdir(parents=True, exist_ok=True)
        with folder.open(part) as found, (copies / part).open("wb") as copy:
            shutil.copyfileobj(found, copy)


@contextmanager
def _told(address: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"a source must be readable, {address} is not: {in_words(error)}") from error


# Wherever they lie


def _reading(files: Files, part: Part, settings: IngestSettings, keep: Keep) -> Reading:
    return Reading(files.locate, keep, part.span, merges_variants=settings.variants == "merge")


def _table_among(children: Iterable[str], address: str, has_images: Callable[[str], bool]) -> tuple[str, list[Note]]:
    """The table that lists the images of a folder, '' where none does, and which ones were passed over.

    Raises DataError where several do, unless one of them is called manifest.
    """
    tables = [name.rstrip("/") for name in children if _may_be_table(name)]
    manifests = [name for name in tables if name.partition(".")[0].casefold() == _MANIFEST]
    usable = manifests or [name for name in tables if has_images(name)]
    if len(usable) > 1:
        raise DataError(
            f"a folder must hold one table of images, got {', '.join(usable)} in {address}: name one by --data"
        )
    notes = [
        Note(f"tables that name no images were passed over; {_WAY_OUT}", name)
        for name in tables
        if name not in (*usable, *manifests)
    ]
    if usable and not manifests:
        notes.append(Note("the images are those that a table beside them lists", usable[0]))
    return (usable[0] if usable else ""), notes


def _may_be_table(child: str) -> bool:
    name = child.rstrip("/")  # a folder of Parquet parts has the name of a file
    return is_table(name) and not is_system(name) and (name == child or name.lower().endswith(".parquet"))


def _is_usable(path: Path, settings: IngestSettings) -> bool:
    try:
        first = next(iter(open_table(path, _header(settings)).rows), None)
    except TableError:
        return False
    return first is not None and (bool(first.fault) or bool(first.cells.get(IMAGE)))


def _header(settings: IngestSettings) -> Header:
    return Header(Columns(_stated_columns(settings)).column_of, IMAGE, _WAY_OUT)


def _stated_columns(settings: IngestSettings) -> dict[str, str]:
    """Theirs → ours; each is written theirs=ours."""
    return {theirs.strip(): ours.strip() for theirs, _, ours in (one.rpartition("=") for one in settings.columns)}


def _table_rows(path: Path, name: str, reading: Reading, settings: IngestSettings) -> Iterator[Found]:
    table = open_table(path, _header(settings))
    conventions = _conventions(path, settings)
    if assumed := ", ".join(filter(None, [table.assumed, conventions.in_words()])):
        yield Note(f"{name} was read as: {assumed}")
    yield from _found_in(table, name, replace(reading, conventions=conventions))
    for unwanted in sorted(table.unwanted):
        yield Note("columns that nobody reads were passed over", f"{name}: {unwanted!a}"[:100])


def _conventions(path: Path, settings: IngestSettings) -> Conventions:
    surveyed = islice(open_table(path, _header(settings)).rows, _SURVEYED_ROWS)
    inferred = conventions_of(row.cells for row in surveyed)
    return replace(inferred, levels=settings.category_separator) if settings.category_separator else inferred


def _found_in(table: Table, name: str, reading: Reading) -> Iterator[Found]:
    for row in table.rows:
        where = f"{name}:{row.line}"
        if row.fault:
            yield dead_row(where, Reason.BAD_ROW, f"{where}: {row.fault}", reading.span)
        else:
            yield from read_row(row.cells, reading, where)


def _class_rows(folder: Folder, root: Path | None, reading: Reading) -> Iterator[Found]:
    as_named = replace(reading, conventions=Conventions(several=""))
    for found in images_in(folder, root):
        if isinstance(found, Note):
            yield found
        else:
            category = SEPARATOR.join(found.categories)
            yield from read_row({IMAGE: {"path": found.name}, "category": category, "split": found.split}, as_named)
