"""The tree of categories: how a path is written, and which paths are leaves."""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = " > "

CategoryId = str
"""What names a category in code and on disk; today that is its path."""


def parse_category(text: str) -> tuple[str, ...]:
    """Split 'Clothing > Tops > T-shirt' into its levels, outermost first; () for text without a level.

    Spaces around levels and empty levels are dropped.
    Raises ValueError when a level holds a control character, as a name broken on its way here would.
    """
    levels = tuple(level for part in text.split(SEPARATOR.strip()) if (level := part.strip()))
    for level in levels:
        if not level.isprintable():
            raise ValueError(f"a category must be printable text, got {level!r}")
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
    """A frozen tree of categories, which its leaves determine.

    leaves: sorted category paths, the classes to learn.
    A category is written as one string, its levels joined by SEPARATOR; '' is the root.
    """

    leaves: tuple[str, ...]

    @classmethod
    def from_categories(cls, categories: Iterable[str]) -> "Taxonomy":
        """The smallest tree that holds all categories; unlabelled ('') ones are passed over.

        Raises ValueError when two siblings differ only by case or by Unicode form: they would be
        one class to people and two to the model.
        """
        paths = {parse_category(category) for category in categories} - {()}
        nodes = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
        _refuse_lookalike_siblings(nodes)
        inner = {path[:-1] for path in nodes}
        return cls(tuple(sorted(SEPARATOR.join(path) for path in nodes - inner)))

    def to_json(self) -> str:
        """The leaves as JSON, the same bytes for the same tree."""
        return json.dumps({"leaves": self.leaves}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "Taxonomy":
        """The inverse of to_json. Raises ValueError when the text is not what to_json writes."""
        match json.loads(text):
            case {"leaves": [*leaves]} if all(isinstance(leaf, str) for leaf in leaves):
                taxonomy = cls.from_categories(leaves)
            case _:
                raise ValueError(f"a taxonomy must be a JSON object with 'leaves', got {text[:80]!r}")
        if list(taxonomy.leaves) != leaves:
            raise ValueError("the leaves of a taxonomy must be sorted, canonical and without inner nodes")
        return taxonomy

    def is_leaf(self, category: str) -> bool:
        """Whether the category is a leaf, and so a class to learn."""
        return category in self._leaf_set

    @cached_property
    def _leaf_set(self) -> frozenset[str]:
        return frozenset(self.leaves)


def _refuse_lookalike_siblings(nodes: Iterable[tuple[str, ...]]) -> None:
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in sorted(nodes):
        key = (*path[:-1], unicodedata.normalize("NFC", path[-1]).casefold())
        if key in seen:
            names = f"{SEPARATOR.join(seen[key])!r} and {SEPARATOR.join(path)!r}"
            raise ValueError(f"sibling categories must differ by more than case or Unicode form, got {names}")
        seen[key] = path
