"""The tree of categories: how a path is written, which paths are leaves, and how near two of them are."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = " > "


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


@dataclass(frozen=True)
class Taxonomy:
    """A frozen tree of categories, which its leaves determine.

    leaves: sorted category paths; their order numbers the classes of a classifier.
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
            case {"leaves": [*leaves]}:
                taxonomy = cls.from_categories(leaves)
            case _:
                raise ValueError(f"a taxonomy must be a JSON object with 'leaves', got {text[:80]!r}")
        if list(taxonomy.leaves) != leaves:
            raise ValueError("the leaves of a taxonomy must be sorted, canonical and without inner nodes")
        return taxonomy

    @cached_property
    def version(self) -> str:
        """sha256 of the content, hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def is_leaf(self, category: str) -> bool:
        """Whether the category is a leaf, and so a class to learn."""
        return category in self._leaf_set

    def parent(self, category: str) -> str:
        """The category one level up; '' for an outermost one. Raises ValueError when it is not in the tree."""
        return SEPARATOR.join(self._levels(category)[:-1])

    def ancestors(self, category: str) -> tuple[str, ...]:
        """All categories above, outermost first. Raises ValueError when it is not in the tree."""
        levels = self._levels(category)
        return tuple(SEPARATOR.join(levels[:depth]) for depth in range(1, len(levels)))

    def depth(self, category: str) -> int:
        """Number of levels, 1 for an outermost category. Raises ValueError when it is not in the tree."""
        return len(self._levels(category))

    def common_depth(self, first: str, second: str) -> int:
        """Number of leading levels that both share. Raises ValueError when one is not in the tree."""
        depth = 0
        for one, other in zip(self._levels(first), self._levels(second), strict=False):
            if one != other:
                break
            depth += 1
        return depth

    @cached_property
    def _leaf_set(self) -> frozenset[str]:
        return frozenset(self.leaves)

    @cached_property
    def _levels_by_category(self) -> dict[str, tuple[str, ...]]:
        paths = [tuple(leaf.split(SEPARATOR)) for leaf in self.leaves]
        return {SEPARATOR.join(path[:depth]): path[:depth] for path in paths for depth in range(1, len(path) + 1)}

    def _levels(self, category: str) -> tuple[str, ...]:
        if category not in self._levels_by_category:
            raise ValueError(
                f"category must be one of the taxonomy's {len(self.leaves)} leaves or above, got {category!r}"
            )
        return self._levels_by_category[category]


def _refuse_lookalike_siblings(nodes: Iterable[tuple[str, ...]]) -> None:
    seen: dict[tuple[str, ...], tuple[str, ...]] = {}
    for path in sorted(nodes):
        key = (*path[:-1], unicodedata.normalize("NFC", path[-1]).casefold())
        if key in seen:
            names = [SEPARATOR.join(seen[key]), SEPARATOR.join(path)]
            raise ValueError(f"sibling categories must differ by more than case or Unicode form, got {names}")
        seen[key] = path
