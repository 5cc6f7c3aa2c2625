"""One row of a source, whatever it came from: its cells become an image, or a dead letter with the reason."""

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from lookalike.catalog.dead_letters import DeadLetter, Reason
from lookalike.catalog.product import (
    ATTRIBUTE_PREFIX,
    FIELDS,
    CatalogImage,
    Field,
    Kind,
    is_attribute,
    parse_crop,
    parse_price,
)
from lookalike.catalog.taxonomy import SEPARATOR, CategoryId, parse_category
from lookalike.errors import kind_of

MAX_CELL_CHARS = 10_000
_MAX_ID_CHARS = 1_000
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SHA256 = re.compile(r"[0-9a-f]{64}")

Locate = Callable[[str], tuple[str, str]]
"""What an image is called in a source → its id, and where it lies. Raises ValueError or UnusableError."""


class UnusableError(Exception):
    """One row or file that is set aside, with the reason of its dead letter."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def read_row(cells: Mapping[str, Any], locate: Locate, span: str, where: str = "") -> CatalogImage | DeadLetter:
    """The image that cells by column state; `where` names the row in the words of its dead letter."""
    try:
        return _parse_row(cells, locate, span)
    except UnusableError as error:
        reason, detail = error.reason, str(error)
    except ValueError as error:
        reason, detail = Reason.BAD_ROW, str(error)
    image = cells.get("image")
    image_id = image if isinstance(image, str) and image else where
    return dead_row(image_id, reason, f"{where}: {detail}" if where else detail, span, _category_or_none(cells))


def _category_or_none(cells: Mapping[str, Any]) -> str:
    try:
        return next(iter(_categories(cells.get("category"))), "")
    except ValueError:
        return ""


def dead_row(image_id: str, reason: Reason, detail: str, span: str, category: str = "") -> DeadLetter:
    """The dead letter of what is no image yet."""
    # A name that is not UTF-8 comes with lone surrogates, which no file of ours could hold.
    printable = image_id[:_MAX_ID_CHARS].encode("utf-8", "backslashreplace").decode()
    return DeadLetter(image_id=printable, uri=printable, reason=reason, detail=detail, category=category, span=span)


def _parse_row(cells: Mapping[str, Any], locate: Locate, span: str) -> CatalogImage:
    """Raises ValueError naming the column, or UnusableError when the path is at fault."""
    image_id, uri = locate(_cell(cells, "image"))
    facts = {one.name: _value(one, cells) for one in FIELDS if one.column and one.name not in ("image_id", "category")}
    row = CatalogImage(image_id, uri=uri, span=span, attributes=_attributes(cells), **facts)
    return in_categories(row, _categories(cells.get("category")))


def _value(one: Field, cells: Mapping[str, Any]) -> Any:
    if one.kind is Kind.CROP:
        return parse_crop(cells.get(one.column))
    text = _cell(cells, one.column)
    return _READ.get(one.name, _as_it_is)(text)


def _as_it_is(text: str) -> str:
    return text


def parse_image_id(image: str) -> str:
    """The shortest form of a relative path. Raises ValueError, or UnusableError where it leaves its root."""
    if not image:
        raise ValueError("image must be a path, got nothing")
    if image.startswith("/") or _SCHEME.match(image):
        raise UnusableError(Reason.OUTSIDE_ROOT, f"image must be a path relative to its root, got {image}")
    image_id = posixpath.normpath(image)
    if image_id.split("/")[0] == "..":
        raise UnusableError(Reason.OUTSIDE_ROOT, f"image must stay inside its root, got {image}")
    return image_id


def in_categories(row: CatalogImage, categories: Iterable[CategoryId]) -> CatalogImage:
    """The row in a set of categories, the first one first."""
    first, *others = dict.fromkeys(categories) or [""]
    return replace(row, category=first, other_categories=tuple(others))


def _cell(cells: Mapping[str, Any], column: str) -> str:
    """The cell as stripped text; '' where it is missing."""
    value = cells.get(column)
    match value:
        case None:
            return ""
        case bool():
            text = str(value).lower()
        case float() if value != value:  # how a data frame writes a missing value
            return ""
        case float() if value.is_integer():  # and how it writes whole numbers beside missing ones
            text = str(int(value))
        case int() | float() | Decimal() | str():
            text = str(value).strip()
        case _:
            raise ValueError(f"{column} must be text or a number, got {kind_of(value)}")
    _check_text(column, text)
    return text


def _check_text(column: str, text: str) -> None:
    if len(text) > MAX_CELL_CHARS:
        raise ValueError(f"{column[:40]} must be at most {MAX_CELL_CHARS} characters long, got {len(text)}")
    if "\0" in text or _LONE_SURROGATE.search(text):
        raise ValueError(f"{column[:40]} must be Unicode text without NUL, got {text[:40]!a}")


def _categories(cell: Any) -> list[CategoryId]:
    """The categories of a cell, which holds one path or a list of them."""
    paths = cell if isinstance(cell, list | tuple) else [cell]
    texts = [SEPARATOR.join(parse_category(_cell({"category": path}, "category"))) for path in paths]
    return [text for text in texts if text]


def _attributes(cells: Mapping[str, Any]) -> dict[str, str]:
    """Name to value of the attributes that are stated, sorted by name."""
    for column in cells:
        _check_text("a column name", column)
    named = {column.removeprefix(ATTRIBUTE_PREFIX): _cell(cells, column) for column in cells if is_attribute(column)}
    return {name: value for name, value in sorted(named.items()) if value}


def _sha256(text: str) -> str:
    if text and not _SHA256.fullmatch(text.lower()):
        raise ValueError(f"sha256 must be 64 hexadecimal digits, got {text[:80]!r}")
    return text.lower()


# How the text of a column is read where it is not kept as it is.
_READ = {
    "domain": lambda text: text or "catalog",
    "price": parse_price,
    "currency": str.upper,  # ISO 4217 writes EUR
    "availability": lambda text: "_".join(text.casefold().split()),  # "In stock" and in_stock are one value
    "sha256": _sha256,
}
