"""One row of a source, whatever it came from: its cells become images, or a dead letter with the reason."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from lookalike.catalog.columns import IMAGE, VARIANTS_OF
from lookalike.catalog.dead_letters import DeadLetter, Reason
from lookalike.catalog.names import Locate, UnusableError
from lookalike.catalog.notes import Note
from lookalike.catalog.prices import read_price
from lookalike.catalog.product import (
    ATTRIBUTE_PREFIX,
    FIELDS,
    CatalogImage,
    Field,
    Kind,
    is_attribute,
    parse_availability,
    parse_crop,
    parse_price,
)
from lookalike.catalog.taxonomy import SEPARATOR, CategoryId, parse_category
from lookalike.catalog.written import (
    AS_USUAL,
    SPLIT_WORDS,
    Conventions,
    as_text,
    is_nothing,
    look_the_same,
    plain_text,
    split_categories,
)

MAX_CELL_CHARS = 10_000
_MAX_ID_CHARS = 1_000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BETWEEN_IMAGES = re.compile(r"[,;|\n]")
_AS_WRITTEN = ("image_id", "category", "price", "currency")  # read by rules of their own

Found = CatalogImage | DeadLetter | Note
"""What comes of reading: images, what was set aside, and what is to be told."""

Keep = Callable[[bytes, str], str]
"""A picture that a row carries, and its sha256 → where it can be read. Raises UnusableError."""


@dataclass(frozen=True)
class Reading:
    """How the rows of a source are read.

    merges_variants: what has one `item_group_id` is one product.
    """

    locate: Locate
    keep: Keep
    span: str = ""
    conventions: Conventions = AS_USUAL
    merges_variants: bool = False


class _Picture(NamedTuple):
    image_id: str
    uri: str
    sha256: str = ""


def read_row(cells: Mapping[str, Any], reading: Reading, where: str = "") -> Iterator[Found]:
    """The images that cells by column state, a dead letter for each that cannot be used, and what is to be told.

    where: names the row in the words of a dead letter or note.
    """
    told: list[Note] = []
    cell = cells.get(IMAGE)
    try:
        pictures, lost = _pictures(cell, reading, where, told)
        images = _images(cells, pictures, reading, where, told)
    except (UnusableError, ValueError) as error:
        yield _dead(_name_of(cell) or where, error, cells, reading, where)
        return
    yield from images
    yield from (_dead(name, error, cells, reading, where) for name, error in lost)
    yield from told


def _dead(name: str, error: Exception, cells: Mapping[str, Any], reading: Reading, where: str) -> DeadLetter:
    reason = error.reason if isinstance(error, UnusableError) else Reason.BAD_ROW
    detail = f"{where}: {error}" if where else str(error)
    return dead_row(name, reason, detail, reading.span, _category_or_none(cells, reading))


def _name_of(cell: Any) -> str:
    match cell:
        case str():
            return "" if is_nothing(cell.strip()) else cell.strip()
        case {"path": str(path)}:
            return path
        case [first, *_]:
            return _name_of(first)
        case _:
            return ""


def _category_or_none(cells: Mapping[str, Any], reading: Reading) -> str:
    try:
        return next(iter(_categories(cells.get("category"), reading.conventions)), "")
    except ValueError:
        return ""


def dead_row(image_id: str, reason: Reason, detail: str, span: str, category: str = "") -> DeadLetter:
    """The dead letter of what is no image yet."""
    # A name that is not UTF-8 comes with lone surrogates, which no file of ours could hold.
    printable = image_id[:_MAX_ID_CHARS].encode("utf-8", "backslashreplace").decode()
    return DeadLetter(image_id=printable, uri=printable, reason=reason, detail=detail, category=category, span=span)


def _images(
    cells: Mapping[str, Any], pictures: Sequence[_Picture], reading: Reading, where: str, notes: list[Note]
) -> list[CatalogImage]:
    """Raises ValueError naming the column."""
    categories = _categories(cells.get("category"), reading.conventions)
    facts = {one.name: _value(one, cells, where, notes) for one in FIELDS if one.column and one.name not in _AS_WRITTEN}
    facts |= _price(cells, reading.conventions, where, notes)
    facts["attributes"] = _attributes(cells, where, notes)
    variants_of = _cell(cells, VARIANTS_OF) if reading.merges_variants else ""
    facts["product_id"] = variants_of or facts["product_id"] or (pictures[0].image_id if len(pictures) > 1 else "")
    rows = []
    for picture in pictures:
        stated = facts | {"sha256": picture.sha256 or (facts["sha256"] if len(pictures) == 1 else "")}
        row = CatalogImage(picture.image_id, uri=picture.uri, span=reading.span, **stated)
        rows.append(in_categories(row, categories))
    return rows


_Lost = list[tuple[str, UnusableError]]
"""Pictures that cannot be used, by the names that a row gives them."""


def _pictures(cell: Any, reading: Reading, where: str, notes: list[Note]) -> tuple[list[_Picture], _Lost]:
    """Raises ValueError, and UnusableError where not one picture of the row can be used."""
    match cell:
        case [] | ():
            raise UnusableError(Reason.NO_IMAGE, "image must be a path, got nothing")
        case list() | tuple():
            return _of_several([(_name_of(one), partial(_picture, one, reading, where, notes)) for one in cell])
        case str() if _BETWEEN_IMAGES.search(cell):
            try:
                return [_picture(cell, reading, where, notes)], []
            except UnusableError as error:  # it is no name with a comma, so it may be several
                names = [name.strip() for name in _BETWEEN_IMAGES.split(cell) if name.strip()]
                several = [(name, partial(_picture, name, reading, where, notes)) for name in names]
                if error.reason is not Reason.MISSING_FILE or len(several) < 2:
                    raise
                return _of_several(several)
        case _:
            return [_picture(cell, reading, where, notes)], []


def _of_several(several: Sequence[tuple[str, Callable[[], _Picture]]]) -> tuple[list[_Picture], _Lost]:
    found: list[_Picture] = []
    lost: _Lost = []
    for name, read in several:
        try:
            found.append(read())
        except UnusableError as error:
            lost.append((name, error))
    if not found:
        raise lost[0][1]
    return found, lost


def _picture(cell: Any, reading: Reading, where: str, notes: list[Note]) -> _Picture:
    match cell:
        case {"bytes": bytes(content), **others}:
            sha256 = hashlib.sha256(content).hexdigest()
            name = as_text(others.get("path")) or f"{where}.{sha256[:12]}"
            return _Picture(name, reading.keep(content, sha256), sha256)
        case {"path": str(path)}:
            return _named(_checked(IMAGE, path), reading, notes)
        case bytes():
            raise ValueError("image must be a path, or {bytes, path}, got bytes alone")
        case _:
            name = cell.strip() if isinstance(cell, str) else _cell({IMAGE: cell}, IMAGE)
            if not name or is_nothing(name):
                raise UnusableError(Reason.NO_IMAGE, "image must be a path, got nothing")
            return _named(_checked(IMAGE, name), reading, notes)


def _named(name: str, reading: Reading, notes: list[Note]) -> _Picture:
    found = reading.locate(name)
    if not found.is_exact:
        stated, own = (ascii(text) if look_the_same(name, found.image_id) else text for text in (name, found.image_id))
        notes.append(Note("images were found by a name that is spelt in another way", f"{stated} → {own}"))
    return _Picture(found.image_id, found.uri)


def _value(one: Field, cells: Mapping[str, Any], where: str, notes: list[Note]) -> Any:
    if one.kind is Kind.CROP:
        return parse_crop(cells.get(one.column))
    if not one.is_shown_only:
        return _READ.get(one.name, _as_it_is)(_cell(cells, one.column))
    try:
        return _READ.get(one.name, plain_text)(_cell(cells, one.column))
    except ValueError as error:
        notes.append(_left_out(one.column, error, where))
        return ""


def _left_out(column: str, error: ValueError, where: str) -> Note:
    return Note(f"{column[:40]} was left out where it could not be read", f"{where}: {error}")


def _price(cells: Mapping[str, Any], conventions: Conventions, where: str, notes: list[Note]) -> dict[str, str]:
    cell = cells.get("price")
    price, currency = "", ""
    try:
        text = _cell(cells, "price")
        price, currency = read_price(text, conventions.decimal) if isinstance(cell, str) and text else (text, "")
        price = parse_price(price)
    except ValueError as error:
        price = ""
        notes.append(_left_out("price", error, where))
    stated = _value(_CURRENCY, cells, where, notes)
    return {"price": price, "currency": stated or (currency if price else "")}


def _as_it_is(text: str) -> str:
    return text


def in_categories(row: CatalogImage, categories: Iterable[CategoryId]) -> CatalogImage:
    """The row in a set of categories, the first one first."""
    first, *others = dict.fromkeys(categories) or [""]
    return replace(row, category=first, other_categories=tuple(others))


def _cell(cells: Mapping[str, Any], column: str) -> str:
    """The cell as text; '' where it says nothing."""
    try:
        text = as_text(cells.get(column))
    except ValueError as error:
        raise ValueError(f"{column[:40]} {error}") from error
    return _checked(column, text)


def _checked(column: str, text: str) -> str:
    if len(text) > MAX_CELL_CHARS:
        raise ValueError(f"{column[:40]} must be at most {MAX_CELL_CHARS} characters long, got {len(text)}")
    if "\0" in text or _LONE_SURROGATE.search(text):
        raise ValueError(f"{column[:40]} must be Unicode text without NUL, got {text[:40]!a}")
    return text


def _categories(cell: Any, conventions: Conventions) -> list[CategoryId]:
    """The categories of a cell, which holds one path or several."""
    texts = [_cell({"category": one}, "category") for one in (cell if isinstance(cell, list | tuple) else [cell])]
    paths = [path for text in texts for path in split_categories(text, conventions)]
    return [category for path in paths if (category := SEPARATOR.join(parse_category(path)))]


def _attributes(cells: Mapping[str, Any], where: str, notes: list[Note]) -> dict[str, str]:
    """Name to value of the attributes that are stated, sorted by name."""
    found: dict[str, str] = {}
    for column in filter(is_attribute, cells):
        try:
            found[_checked("a column name", column).removeprefix(ATTRIBUTE_PREFIX)] = plain_text(_cell(cells, column))
        except ValueError as error:
            notes.append(_left_out(column.encode("utf-8", "backslashreplace").decode(), error, where))
    return {name: value for name, value in sorted(found.items()) if value}


def _sha256(text: str) -> str:
    if text and not _SHA256.fullmatch(text.lower()):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {text[:80]!r}")
    return text.lower()


# How the text of a column is read where it is not plain text.
_READ: dict[str, Callable[[str], str]] = {
    "domain": lambda text: text or "catalog",
    "currency": str.upper,  # ISO 4217 writes EUR
    "url": _as_it_is,
    "availability": parse_availability,
    "sha256": _sha256,
    "split": lambda text: SPLIT_WORDS.get(text.casefold(), text),
}
_CURRENCY = next(one for one in FIELDS if one.name == "currency")
