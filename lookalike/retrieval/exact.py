"""Exact nearest neighbours by inner product: the ground truth that every approximate index is measured against."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatMatrix = npt.NDArray[np.float32]
IdMatrix = npt.NDArray[np.int64]

# At most this many scores are held at once unless the caller says otherwise (256 MiB of float32).
_MAX_SCORES = 2**26


@dataclass(frozen=True)
class Neighbours:
    """What a search found, best first.

    ids: [num_queries, k] int64, row numbers of the gallery.
    scores: [num_queries, k] float32, inner products, descending along each row.
    """

    ids: IdMatrix
    scores: FloatMatrix


def search(queries: FloatMatrix, gallery: FloatMatrix, k: int, *, chunk: int | None = None) -> Neighbours:
    """Finds the k gallery vectors with the largest inner product for every query.

    queries: [num_queries, dim] float32.
    gallery: [num_items, dim] float32.
    k: how many to return, 1 to num_items.
    chunk: queries scored at once; by default as many as fit a fixed amount of memory.

    Returns the neighbours in descending order of score, equal scores by smaller id.
    Raises ValueError on a k out of range, shapes or types that do not fit, NaN or infinity.
    """
    check_vectors("queries", queries)
    check_vectors("gallery", gallery)
    check_dims(queries, gallery.shape[1])
    check_k(k, len(gallery))
    ids = np.empty((len(queries), k), np.int64)
    scores = np.empty((len(queries), k), np.float32)
    for block in _blocks(len(queries), chunk or max(1, _MAX_SCORES // len(gallery))):
        for row, row_scores in zip(range(block.start, block.stop), queries[block] @ gallery.T, strict=True):
            ids[row] = _top_ids(row_scores, k)
            scores[row] = row_scores[ids[row]]
    return Neighbours(ids, scores)


def score(queries: FloatMatrix, gallery: FloatMatrix, ids: IdMatrix) -> FloatMatrix:
    """Gives the exact inner products of neighbours found by other means (whose own scores may be quantized).

    queries: [num_queries, dim] float32; gallery: [num_items, dim] float32; ids: [num_queries, k] int64.

    Returns [num_queries, k] float32, in the order of `ids`.
    """
    scores = [query @ gallery[row].T for query, row in zip(queries, ids, strict=True)]
    return np.array(scores, np.float32).reshape(ids.shape)


def check_vectors(name: str, vectors: FloatMatrix) -> None:
    """Raises ValueError, naming the argument, unless it is a finite float32 matrix."""
    if vectors.ndim != 2 or vectors.dtype != np.float32:
        raise ValueError(f"{name} must be a [rows, dim] float32 array, got {vectors.shape} {vectors.dtype}")
    # No sum of float32 overflows float64, so the sum is finite exactly when every number is.
    with np.errstate(invalid="ignore"):
        finite = np.isfinite(vectors.sum(dtype=np.float64))
    if not finite:
        bad_row = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"{name} must be finite, got NaN or infinity in row {bad_row}")


def check_dims(queries: FloatMatrix, dim: int) -> None:
    """Raises ValueError unless the queries have the gallery's dimension."""
    if queries.shape[1] != dim:
        raise ValueError(f"queries must have the gallery's dimension {dim}, got {queries.shape[1]}")


def check_k(k: int, num_items: int) -> None:
    """Raises ValueError unless 1 ≤ k ≤ num_items."""
    if num_items < 1:
        raise ValueError("gallery must hold at least one vector, got none")
    if not 1 <= k <= num_items:
        raise ValueError(f"k must be between 1 and the gallery size {num_items}, got {k}")


def _blocks(num_rows: int, size: int) -> Iterator[slice]:
    for start in range(0, num_rows, size):
        yield slice(start, min(start + size, num_rows))


def _top_ids(scores: FloatMatrix, k: int) -> IdMatrix:
    """Ranks one row of scores; candidates come in id order, and a stable sort keeps ties that way."""
    kth_score = np.partition(scores, len(scores) - k)[len(scores) - k]
    candidates = np.flatnonzero(scores >= kth_score)
    best: IdMatrix = candidates[np.argsort(-scores[candidates], kind="stable")[:k]]
    return best
