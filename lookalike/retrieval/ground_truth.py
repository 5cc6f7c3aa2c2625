"""Which gallery images answer which query: the same product, the same category, or part of its path."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
Texts = Sequence[str]  # never an array of numpy's: that pads each text to the longest
Mask = npt.NDArray[np.bool_]

CATEGORY_SEPARATOR = ">"
PRODUCT, CATEGORY = 0, 1  # the first axis of arrays that hold both levels
NO_ROW = -1


@dataclass(frozen=True)
class RetrievalTable:
    """What is known about the images behind a matrix of embeddings: row i describes embedding i.

    picture: num_images texts, equal for images that show the very same picture; never empty.
    product_id: num_images texts, never empty.
    category: num_images texts, a path such as "Clothing > Tops"; "" = unlabelled.
    domain: num_images texts, "catalog" or "wild".
    """

    picture: Texts
    product_id: Texts
    category: Texts
    domain: Texts

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in vars(self).items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns must have equal lengths, got {lengths}")

    def __len__(self) -> int:
        return len(self.picture)

    @classmethod
    def of(cls, rows: Collection[object]) -> "RetrievalTable":
        """Reads the four columns off objects that have them as attributes (such as CatalogImage)."""
        names = ("picture", "product_id", "category", "domain")
        return cls(*([getattr(row, name) for row in rows] for name in names))

    def select(self, rows: IntArray) -> "RetrievalTable":
        """Takes rows by number."""
        return RetrievalTable(*([values[row] for row in rows.tolist()] for values in vars(self).values()))


@dataclass(frozen=True)
class GroundTruth:
    """Which gallery rows answer which query. The first axis of three of its arrays is the level: product, category.

    query_pictures: [num_queries], gallery_pictures: [num_items] int64: equal codes are one picture, which answers no
      question about itself.
    query_codes: [2, num_queries], gallery_codes: [2, num_items] int64: equal codes answer each other; -1 is unlabelled.
    num_relevant: [2, num_queries] int64, gallery rows that answer the query, those of its own picture not counted.
    query_levels: [num_queries, deepest], gallery_levels: [num_items, deepest] int64, a code for each leading part of
      the category path, -1 and -2 beyond its end so that ends never match.
    """

    query_pictures: IntArray
    gallery_pictures: IntArray
    query_codes: IntArray
    gallery_codes: IntArray
    num_relevant: IntArray
    query_levels: IntArray
    gallery_levels: IntArray

    @classmethod
    def between(cls, queries: RetrievalTable, gallery: RetrievalTable) -> "GroundTruth":
        """Compares two tables."""
        pictures = _shared_codes(queries.picture, gallery.picture)
        product = _shared_codes(queries.product_id, gallery.product_id)
        category = _shared_codes(queries.category, gallery.category)
        query_codes, gallery_codes = (np.stack(pair) for pair in zip(product, category, strict=True))
        return cls(
            *pictures,
            query_codes,
            gallery_codes,
            np.stack([_count_relevant(*codes, *pictures) for codes in (product, category)]),
            *_level_codes(queries.category, gallery.category),
        )

    def hits(self, queries: slice, ids: IntArray) -> Mask:
        """[2, num_queries, depth]: whether result ids[q, rank] answers query q."""
        codes = self.query_codes[:, queries, None]
        answers: Mask = (self.gallery_codes[:, ids] == codes) & (codes >= 0) & (ids != NO_ROW)
        return answers

    def shared_levels(self, queries: slice, ids: IntArray) -> IntArray:
        """[num_queries, depth]: leading category levels that result ids[q, rank] shares with query q."""
        same = self.gallery_levels[ids] == self.query_levels[queries, None]
        shared: IntArray = same.sum(axis=-1) * (ids != NO_ROW)
        return shared

    def is_own(self, queries: slice, ids: IntArray) -> Mask:
        """[num_queries, depth]: whether result ids[q, rank] shows the picture of query q."""
        own: Mask = self.gallery_pictures[ids] == self.query_pictures[queries, None]
        return own

    @property
    def most_own(self) -> int:
        """The largest number of gallery rows that any query has to pass over."""
        return int(_count(self.query_pictures, self.gallery_pictures).max(initial=0))

    @property
    def query_depth(self) -> IntArray:
        """[num_queries]: levels of each query's category."""
        depth: IntArray = (self.query_levels >= 0).sum(axis=1)
        return depth


def _shared_codes(queries: Texts, gallery: Texts) -> tuple[IntArray, IntArray]:
    """Numbers the labels of both sides alike, from 0; "" is -1."""
    code_of = {"": -1}

    def codes(labels: Texts) -> IntArray:
        return np.array([code_of.setdefault(label, len(code_of) - 1) for label in labels], np.int64)

    return codes(queries), codes(gallery)


def _count_relevant(
    query_codes: IntArray, gallery_codes: IntArray, query_pictures: IntArray, gallery_pictures: IntArray
) -> IntArray:
    answers = _count(query_codes, gallery_codes)
    # One number for each pair of picture and label; the largest label and 2 leave room for -1.
    base = max(query_codes.max(initial=0), gallery_codes.max(initial=0)) + 2
    own = _count(query_pictures * base + query_codes + 1, gallery_pictures * base + gallery_codes + 1)
    return np.where(query_codes >= 0, answers - own, 0)


def _count(wanted: IntArray, codes: IntArray) -> IntArray:
    """[len(wanted)] int64: how often each code is among the others."""
    distinct, counts = np.unique(codes, return_counts=True)
    place = np.minimum(np.searchsorted(distinct, wanted), len(distinct) - 1)
    return np.where(distinct[place] == wanted, counts[place], 0).astype(np.int64)


def _level_codes(queries: Texts, gallery: Texts) -> tuple[IntArray, IntArray]:
    """Codes of every leading part of the category paths: [rows, deepest path]."""
    code_of: dict[tuple[str, ...], int] = {}
    paths = {category: _path(category) for category in {*queries, *gallery}}
    deepest = max(map(len, paths.values()))

    def codes(categories: Texts, beyond_end: int) -> IntArray:
        table = np.full((len(categories), deepest), beyond_end, np.int64)
        for row, category in enumerate(categories):
            path = paths[category]
            for level in range(len(path)):
                table[row, level] = code_of.setdefault(path[: level + 1], len(code_of))
        return table

    return codes(queries, -1), codes(gallery, -2)


def _path(category: str) -> tuple[str, ...]:
    parts = (part.strip() for part in category.split(CATEGORY_SEPARATOR))
    return tuple(part for part in parts if part)
