"""The tree of categories: how a path is written, and which paths hold images."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lookalike.catalog.written import same_to_people

SEPARATOR = " > "
_NOT_TEXT = re.compile("[\0-\x1f\x7f-\x9f\ufffd\ud800-\udfff]")

CategoryId = str
"""What names a category in code and on disk; today that is its path."""


def parse_category(text: str) -> tuple[str, ...]:
    """Split 'Clothing > Tops > T-shirt' into its levels, outermost first; () for text without a level.

    Spaces around levels and empty levels are dropped; levels that look the same are the same.
    Raises ValueError when a level holds a control character, as a name broken on its way here would.
    """
    levels = tuple(level for part in text.split(SEPARATOR.strip()) if (level := same_to_people(part)))
    for level in levels:
        if _NOT_TEXT.search(level):
            raise ValueError(f"a category must be printable text, got {level!a}")
    return levels


def rename_category(category: CategoryId, renamed: Mapping[CategoryId, CategoryId]) -> CategoryId:
    """The category under its new id, old → new; what lies below a renamed category moves with it.

    The deepest of several that fit decides, once: a new id is not looked up again.
    """
    levels = parse_category(category)
    for depth in range(len(levels), 0, -1):
        if (new := renamed.get(SEPARATOR.join(levels[:depth]))) is not None:
            return SEPARATOR.join((*parse_category(new), *levels[depth:]))
    return category


@dataclass(frozen=True)
class Taxonomy:
    """A frozen tree of categories, each written as one string, its levels joined by SEPARATOR.

    categories: sorted; those that hold images, which are the classes to learn. Inner ones may be among them.
    """

    categories: tuple[str, ...]

    @classmethod
    def from_categories(cls, categories: Iterable[str]) -> "Taxonomy":
        """The tree of all categories; unlabelled ('') ones are passed over.

        Raises ValueError when two siblings differ only by case or by Unicode form: they would be
        one class to people and two to the model.
        """
        paths = {parse_category(category) for category in categories} - {()}
        _refuse_lookalike_siblings({path[:depth] for path in paths for depth in range(1, len(path) + 1)})
        return cls(tuple(sorted(SEPARATOR.join(path) for path in paths)))

    def to_json(self) -> str:
        """The categories as JSON, the same bytes for the same tree."""
        return json.dumps({"categories": self.categories}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Taxonomy":
        """The inverse of to_json. Raises ValueError when the text is not what to_json writes."""
        match json.loads(text):
            case {"categories": [*categories]} | {"leaves": [*categories]} if all(  # 0.2.0 kept leaves alone
                isinstance(category, str) for category in categories
            ):
                taxonomy = cls.from_categories(categories)
            case _:
                raise ValueError(f"a taxonomy must be a JSON object with 'categories', got {text[:80]!r}")
        if list(taxonomy.categories) != categories:
            raise ValueError("the categories of a taxonomy must be sorted and canonical")
        return taxonomy


def _refuse_lookalike_siblings(nodes: Iterable[tuple[str, ...]]) -> None:
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in sorted(nodes):
        key = (*path[:-1], unicodedata.normalize("NFC", path[-1]).casefold())
        if key in seen:
            names = f"{SEPARATOR.join(seen[key])!r} and {SEPARATOR.join(path)!r}"
            raise ValueError(f"sibling categories must differ by more than case or Unicode form, got {names}")
        seen[key] = path
