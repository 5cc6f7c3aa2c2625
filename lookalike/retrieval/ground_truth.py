"""Which gallery images answer which query: the same product, the same category, or part of its path."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
StrArray = npt.NDArray[np.str_]
Mask = npt.NDArray[np.bool_]

CATEGORY_SEPARATOR = ">"
PRODUCT, CATEGORY = 0, 1  # the first axis of arrays that hold both levels
NO_ROW = -1


@dataclass(frozen=True)
class RetrievalTable:
    """What is known about the images behind a matrix of embeddings: row i describes embedding i.

    image_id, product_id: [num_images] text, never empty.
    category: [num_images] text, a path such as "Clothing > Tops"; "" = unlabelled.
    domain: [num_images] text, "catalog" or "wild".
    """

    image_id: StrArray
    product_id: StrArray
    category: StrArray
    domain: StrArray

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in vars(self).items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"columns must have equal lengths, got {lengths}")

    def __len__(self) -> int:
        return len(self.image_id)

    @classmethod
    def of(cls, rows: Collection[object]) -> "RetrievalTable":
        """Reads the four columns off objects that have them as attributes (such as CatalogImage)."""
        return cls(*(_column(rows, name) for name in ("image_id", "product_id", "category", "domain")))

    def select(self, rows: IntArray | Mask) -> "RetrievalTable":
        """Takes rows by number or by mask."""
        return RetrievalTable(*(values[rows] for values in vars(self).values()))


@dataclass(frozen=True)
class GroundTruth:
    """Which gallery rows answer which query. The first axis of three of its arrays is the level: product, category.

    own_row: [num_queries] int64, the gallery row that is the query itself, or -1.
    query_codes: [2, num_queries], gallery_codes: [2, num_items] int64: equal codes answer each other; -1 is unlabelled.
    num_relevant: [2, num_queries] int64, gallery rows that answer the query, itself not counted.
    query_levels: [num_queries, deepest], gallery_levels: [num_items, deepest] int64, a code for each leading part of
      the category path, -1 and -2 beyond its end so that ends never match.
    """

    own_row: IntArray
    query_codes: IntArray
    gallery_codes: IntArray
    num_relevant: IntArray
    query_levels: IntArray
    gallery_levels: IntArray

    @classmethod
    def between(cls, queries: RetrievalTable, gallery: RetrievalTable) -> "GroundTruth":
        """Compares two tables. Raises ValueError where an image id occurs twice in the gallery."""
        own_row = _rows_of(queries.image_id, gallery.image_id)
        product = _shared_codes(queries.product_id, gallery.product_id)
        category = _shared_codes(queries.category, gallery.category)
        query_codes, gallery_codes = (np.stack(pair) for pair in zip(product, category, strict=True))
        return cls(
            own_row,
            query_codes,
            gallery_codes,
            np.stack([_count_relevant(*codes, own_row) for codes in (product, category)]),
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

    @property
    def query_depth(self) -> IntArray:
        """[num_queries]: levels of each query's category."""
        depth: IntArray = (self.query_levels >= 0).sum(axis=1)
        return depth


def _rows_of(wanted: StrArray, ids: StrArray) -> IntArray:
    row_of = {image_id: row for row, image_id in enumerate(ids.tolist())}
    if len(row_of) != len(ids):
        raise ValueError(f"gallery image ids must be unique, got {len(ids) - len(row_of)} repeated")
    return np.array([row_of.get(image_id, NO_ROW) for image_id in wanted.tolist()], np.int64)


def _shared_codes(queries: StrArray, gallery: StrArray) -> tuple[IntArray, IntArray]:
    """Numbers the labels of both sides alike, from 0; "" is -1."""
    labels = np.concatenate([queries, gallery])
    codes = np.where(labels == "", -1, np.unique(labels, return_inverse=True)[1]).astype(np.int64)
    return codes[: len(queries)], codes[len(queries) :]


def _count_relevant(query_codes: IntArray, gallery_codes: IntArray, own_row: IntArray) -> IntArray:
    labelled = gallery_codes[gallery_codes >= 0]
    counts = np.bincount(labelled, minlength=max(query_codes.max(initial=0), gallery_codes.max(initial=0)) + 1)
    finds_itself = (own_row != NO_ROW) & (gallery_codes[own_row] == query_codes)
    return np.where(query_codes >= 0, counts[query_codes] - finds_itself, 0)


def _level_codes(queries: StrArray, gallery: StrArray) -> tuple[IntArray, IntArray]:
    """Codes of every leading part of the category paths: [rows, deepest path]."""
    code_of: dict[tuple[str, ...], int] = {}
    paths = {category: _path(category) for category in np.unique(np.concatenate([queries, gallery])).tolist()}
    deepest = max(map(len, paths.values()))

    def codes(categories: StrArray, beyond_end: int) -> IntArray:
        table = np.full((len(categories), deepest), beyond_end, np.int64)
        for row, category in enumerate(categories.tolist()):
            path = paths[category]
            for level in range(len(path)):
                table[row, level] = code_of.setdefault(path[: level + 1], len(code_of))
        return table

    return codes(queries, -1), codes(gallery, -2)


def _path(category: str) -> tuple[str, ...]:
    parts = (part.strip() for part in category.split(CATEGORY_SEPARATOR))
    return tuple(part for part in parts if part)


def _column(rows: Iterable[object], name: str) -> StrArray:
    return np.array([getattr(row, name) for row in rows], np.str_)
