"""Which rows of a gallery lie in a category or below it."""

import difflib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lookalike.catalog.taxonomy import SEPARATOR, parse_category
from lookalike.errors import EXIT_USAGE, UserError
from lookalike.release.contents import Catalog

Levels = tuple[str, ...]
Rows = npt.NDArray[np.int64]
_NUM_LIKE = 3  # that are suggested
_NO_ROWS: Rows = np.empty(0, np.int64)


class UnknownCategoryError(UserError, code="UNKNOWN_CATEGORY", exit_status=EXIT_USAGE):
    """No image of the release has this category or one below it."""


@dataclass(frozen=True)
class Subtree:
    """The rows of a category and of all below it.

    main: those whose first category it is. A slice where a gallery is ordered, so that nothing is copied; the rows
      themselves in a release of before galleries were.
    others: [num_others] int64, ascending: those that are in it by a further category alone.
    """

    main: slice | Rows
    others: Rows


class Subtrees:
    """The subtrees of a catalogue."""

    def __init__(self, catalog: Catalog):
        self._rows = {levels: _as_slice(rows) for levels, rows in _first_categories(catalog).items()}
        self._others = _further_categories(catalog)

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Number of images in or below every category path, in path order."""
        sizes: Counter[Levels] = Counter()
        for levels, rows in self._rows.items():
            for path in _paths(levels):
                sizes[path] += len(row_numbers(rows))
        paths = {path for levels in self._others for path in _paths(levels)}
        sizes.update({path: len(self.below(path).others) for path in paths})
        return {SEPARATOR.join(path): size for path, size in sorted(sizes.items())}

    def below(self, path: Levels) -> Subtree:
        """The subtree of a path. Raises UnknownCategoryError where it holds no image."""
        main = [rows for levels, rows in self._rows.items() if levels[: len(path)] == path]
        others = [rows for levels, rows in self._others.items() if levels[: len(path)] == path]
        if not main and not others:
            near = "; ".join(self._like(path))
            told = f", such as {near}" if near else ""
            raise UnknownCategoryError(f"category must be one of the release's{told}, got {SEPARATOR.join(path)}")
        joined = _join(main)
        return Subtree(joined, np.setdiff1d(_concatenate(others), row_numbers(joined)) if others else _NO_ROWS)

    def _like(self, path: Levels) -> list[str]:
        """A few categories that are nearly called so, by the whole path or by the last level alone."""
        known = {
            SEPARATOR.join(levels).casefold(): SEPARATOR.join(levels) for levels in map(parse_category, self.sizes)
        }
        asked = SEPARATOR.join(path).casefold()
        ends = [name for name in known if parse_category(name)[-1:] == parse_category(asked)[-1:]]
        close = difflib.get_close_matches(asked, known, n=_NUM_LIKE)
        return [known[name] for name in dict.fromkeys([*ends, *close])][:_NUM_LIKE]


def _first_categories(catalog: Catalog) -> dict[Levels, Rows]:
    rows: dict[Levels, list[int]] = {}
    for row, category in enumerate(catalog.categories):
        rows.setdefault(parse_category(category), []).append(row)
    return {levels: np.array(found, np.int64) for levels, found in rows.items()}


def _further_categories(catalog: Catalog) -> dict[Levels, Rows]:
    rows: dict[Levels, list[int]] = {}
    for row, categories in catalog.other_categories.items():
        for category in categories:
            rows.setdefault(parse_category(category), []).append(row)
    return {levels: np.array(found, np.int64) for levels, found in rows.items()}


def _join(parts: list[slice | Rows]) -> slice | Rows:
    slices = sorted((part for part in parts if isinstance(part, slice)), key=lambda part: part.start)
    if len(slices) == len(parts) and all(one.stop == next_.start for one, next_ in pairwise(slices)):
        return slice(slices[0].start, slices[-1].stop) if slices else slice(0, 0)
    return _as_slice(np.sort(_concatenate([row_numbers(part) for part in parts])))


def _as_slice(rows: Rows) -> slice | Rows:
    """Ascending rows as a slice where they have no gap."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    return slice(start, stop) if stop - start == len(rows) else rows


def row_numbers(rows: slice | Rows) -> Rows:
    """[num_rows] int64: the rows of a slice, or the rows themselves."""
    return np.arange(rows.start, rows.stop) if isinstance(rows, slice) else rows


def _concatenate(parts: list[Rows]) -> Rows:
    return np.concatenate([_NO_ROWS, *parts])


def _paths(levels: Levels) -> Iterator[Levels]:
    return (levels[:depth] for depth in range(1, len(levels) + 1))
