"""How shops write text, prices and categories, and what each of them means."""

import html
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

from lookalike.catalog.prices import decimal_mark
from lookalike.errors import kind_of

# What programs write where there is nothing: pandas, databases, spreadsheets and people.
_NOTHING = frozenset(
    {"nan", "<na>", "nat", "null", "none", "n/a", "#n/a", "#value!", "#ref!", "undefined", "-", "–", "—"}
)
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "val": "eval", "valid": "eval", "validation": "eval", "eval": "eval", "dev": "eval",
    "test": "test", "testing": "test",
}  # fmt: skip
_TAG = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->|</?[a-z][^<>]*>", re.IGNORECASE | re.DOTALL)
_JOINERS = "\u200c\u200d"  # part of the spelling in Persian and Indic scripts, and of emoji
_LEVELS = ">"
_INFERRED_LEVELS = ("›", "»", "＞", "/", "|")
_MIN_SHARE = 0.5  # of the categories must hold a separator that is inferred


def is_nothing(text: str) -> bool:
    """Whether a cell says that nothing is there."""
    return text.casefold() in _NOTHING


def as_text(value: Any) -> str:
    """A cell of any kind as text: white space of any width is one space; '' where it says nothing.

    Raises ValueError: for what no text can be made of.
    """
    if value is None or value != value:  # a data frame writes NaN for a missing value
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(filter(None, map(as_text, value)))
    text = " ".join(_as_it_is(value).split())
    return "" if is_nothing(text) else text


def _as_it_is(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float() if value.is_integer():  # as a data frame writes whole numbers beside missing ones
            return str(int(value))
        case str() | int() | float() | Decimal():
            return str(value)
        case date() | time():
            return value.isoformat()
    raise ValueError(f"must be text or a number, got {kind_of(value)}")


def plain_text(text: str) -> str:
    """Without HTML: tags are left out, entities are what they stand for."""
    return " ".join(html.unescape(_TAG.sub(" ", text)).split()) if "<" in text or "&" in text else text


def same_to_people(text: str) -> str:
    """Composed (NFC), white space as one space, without marks that nobody sees but joiners, which are spelling."""
    composed = unicodedata.normalize("NFC", " ".join(text.split()))
    if composed.isprintable():
        return composed
    return "".join(one for one in composed if unicodedata.category(one) != "Cf" or one in _JOINERS)


def look_the_same(one: str, other: str) -> bool:
    """Whether people cannot tell two texts apart, so that they are shown by their code points."""
    return same_to_people(one) == same_to_people(other)


@dataclass(frozen=True)
class Conventions:
    """What a whole column says of how its cells are written.

    decimal: the mark before cents, '' where the column bears out neither.
    levels: the mark between the levels of a category.
    several: the marks between several categories of one cell.
    """

    decimal: str = "."
    levels: str = _LEVELS
    several: str = ";|"

    def in_words(self) -> str:
        """What is out of the usual, '' where nothing is."""
        decimal = {".": "", ",": "decimal comma", "": ""}[self.decimal]
        levels = f"levels of categories parted by {self.levels!r}" if self.levels != _LEVELS else ""
        return ", ".join(filter(None, [decimal, levels]))


AS_USUAL = Conventions()


def conventions_of(rows: Iterable[Mapping[str, Any]]) -> Conventions:
    """The conventions that the columns price and category of some rows bear out."""
    marks: Counter[str] = Counter()
    levels: Counter[str] = Counter()
    num_categories = 0
    for row in rows:
        if isinstance(price := row.get("price"), str):
            marks[decimal_mark(price)] += 1
        for category in _texts(row.get("category")):
            num_categories += 1
            levels.update({mark for mark in (_LEVELS, *_INFERRED_LEVELS) if mark in html.unescape(category)})
    return Conventions(_decimal(marks), _level_mark(levels, num_categories))


def _texts(cell: Any) -> list[str]:
    return [one for one in (cell if isinstance(cell, list | tuple) else [cell]) if isinstance(one, str) and one.strip()]


def _decimal(marks: Counter[str]) -> str:
    if marks["."] and marks[","]:
        return ""
    return "," if marks[","] else "." if marks["."] else ""


def _level_mark(levels: Counter[str], num_categories: int) -> str:
    if levels[_LEVELS]:
        return _LEVELS
    best = max(_INFERRED_LEVELS, key=lambda mark: levels[mark])
    return best if levels[best] and levels[best] >= _MIN_SHARE * num_categories else _LEVELS


def split_categories(cell: str, conventions: Conventions) -> list[str]:
    """The categories of a cell, their levels parted by '>'. Commas part whole paths, for names have commas too."""
    text = html.unescape(cell)
    marks = conventions.several.replace(conventions.levels, "")
    several = re.split(f"[{re.escape(marks)}]", text) if marks else [text]
    if len(several) == 1 and marks:
        by_comma = text.split(",")
        if all(conventions.levels in one for one in by_comma):
            several = by_comma
    return [one.replace(conventions.levels, _LEVELS) for one in several]
