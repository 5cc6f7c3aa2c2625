"""How good a ranking is: retrieval metrics by product and category, and how near approximate search is to exact."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lookalike.retrieval.exact import FloatMatrix, IdMatrix, Neighbours, check_vectors, search
from lookalike.retrieval.ground_truth import CATEGORY, NO_ROW, PRODUCT, GroundTruth, IntArray, Mask, Texts
from lookalike.retrieval.ground_truth import RetrievalTable as RetrievalTable  # part of evaluate_retrieval's signature

TRACKS = ("wild→catalog", "catalog→catalog")
METRICS = (
    "recall_at_1",
    "recall_at_4",
    "recall_at_10",
    "precision_at_4",
    "map_at_r",
    "hierarchical_precision_at_4",
)
SHOWN = 10  # neighbours kept per query for pages that show pictures

FloatArray = npt.NDArray[np.float64]
Summarise = Callable[[FloatArray], dict[str, Any]]

_QUERIES_PER_BLOCK = 256  # bounds the memory of full rankings in large categories
_MAX_DRAWS = 2**20  # bootstrap draws held at once


@dataclass(frozen=True)
class RetrievalEvaluation:
    """The result of `evaluate_retrieval`: means for a report, and what each query found for a page.

    metrics: JSON-ready, see `evaluate_retrieval`.
    neighbours: ids [num_queries, 10] int64, rows of the given gallery, -1 where the gallery ran out; their scores.
    product_hits, category_hits: [num_queries, 10] bool, whether that neighbour is the query's product or category.
    answerable_by_product, answerable_by_category: [num_queries] bool, whether the query counts in those metrics.
    """

    metrics: dict[str, Any]
    neighbours: Neighbours
    product_hits: Mask
    category_hits: Mask
    answerable_by_product: Mask
    answerable_by_category: Mask


def recall_at_k(relevant: Mask, k: int) -> FloatArray:
    """Gives 1 where at least one of the first k results is relevant, else 0 (the retrieval literature's recall@k).

    relevant: [num_queries, depth] bool, results in rank order. Returns [num_queries].
    """
    recall: FloatArray = relevant[:, :k].any(axis=1).astype(np.float64)
    return recall


def precision_at_k(relevant: Mask, k: int) -> FloatArray:
    """Gives the share of relevant results among k places; places the gallery could not fill count as wrong.

    relevant: [num_queries, depth] bool, results in rank order. Returns [num_queries].
    """
    precision: FloatArray = relevant[:, :k].sum(axis=1) / k
    return precision


def average_precision_at_r(relevant: Mask, num_relevant: IntArray) -> FloatArray:
    """Gives average precision over the first R results, R = the query's number of relevant items.

    Musgrave, Belongie, Lim, "A Metric Learning Reality Check" (2020), eq. 2:
    AP@R = 1/R · Σ_{i=1..R} P(i) if result i is relevant else 0.

    relevant: [num_queries, depth ≥ max R] bool, results in rank order.
    num_relevant: [num_queries] int64. Returns [num_queries], NaN where R = 0.
    """
    ranks = np.arange(1, relevant.shape[1] + 1)
    counted = relevant & (ranks <= num_relevant[:, None])
    precision = np.cumsum(counted, axis=1) / ranks
    return _divide((precision * counted).sum(axis=1), num_relevant)


def hierarchical_precision_at_k(shared_levels: IntArray, query_depth: IntArray, k: int) -> FloatArray:
    """Gives the mean, over k places, of the share of the query's category path that a result has in common.

    shared_levels: [num_queries, depth] int64, leading levels each result shares with the query, in rank order.
    query_depth: [num_queries] int64, levels of the query's own category.

    Returns [num_queries], NaN where the query has no category.
    """
    return _divide(shared_levels[:, :k].sum(axis=1) / k, query_depth)


def bootstrap_interval(
    values: FloatArray, *, confidence: float = 0.95, num_resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Gives the percentile bootstrap interval of the mean, resampling queries with replacement.

    values: [num_queries] float64, one value a query.

    Raises ValueError when there are no queries.
    """
    if not len(values):
        raise ValueError("values must hold at least one query, got none")
    rng = np.random.default_rng(seed)
    resamples_at_once = max(1, _MAX_DRAWS // len(values))
    means = [
        values[rng.integers(len(values), size=(min(resamples_at_once, num_resamples - done), len(values)))].mean(axis=1)
        for done in range(0, num_resamples, resamples_at_once)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(means), [tail, 1 - tail])
    return float(low), float(high)


def neighbour_recall(found_scores: FloatMatrix, exact_scores: FloatMatrix, k: int, *, tolerance: float = 1e-5) -> float:
    """Gives the share of an approximate search's top k that is as good as the exact k-th neighbour.

    Compares scores, not ids, so that any of several items tied at rank k counts (ann-benchmarks' recall).

    found_scores: [num_queries, ≥ k] float32, exact inner products of what was found (`exact.score`).
    exact_scores: [num_queries, ≥ k] float32, from `exact.search`.
    Raises ValueError where there are no queries, or fewer than k results.
    """
    if found_scores.shape[0] != exact_scores.shape[0] or not len(found_scores):
        raise ValueError(f"need the same queries, at least 1, got {found_scores.shape} and {exact_scores.shape}")
    if not 1 <= k <= min(found_scores.shape[1], exact_scores.shape[1]):
        raise ValueError(f"need at least k = {k} scores, got {found_scores.shape} and {exact_scores.shape}")
    kth_score = exact_scores[:, k - 1 : k]
    return float((found_scores[:, :k] >= kth_score - tolerance).mean())


def latency_percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float]:
    """Gives p50_ms, p95_ms and p99_ms of latencies in seconds. Raises ValueError when there are none."""
    if not len(latencies_s):
        raise ValueError("latencies_s must hold at least one measurement, got none")
    values = np.percentile(np.asarray(latencies_s) * 1000, [50, 95, 99])
    return dict(zip(("p50_ms", "p95_ms", "p99_ms"), values.tolist(), strict=True))


def evaluate_retrieval(
    query_embeddings: FloatMatrix,
    gallery_embeddings: FloatMatrix,
    queries: RetrievalTable,
    gallery: RetrievalTable,
    *,
    gallery_domains: Collection[str] = ("catalog",),
    num_resamples: int = 1000,
    seed: int = 0,
) -> RetrievalEvaluation:
    """Measures exact search of labelled queries in a gallery, by product and by category.

    query_embeddings: [num_queries, dim] float32, L2-normalised; `queries` describes its rows.
    gallery_embeddings: [num_items, dim] float32, L2-normalised; `gallery` describes its rows.
    gallery_domains: only gallery images of these domains are searched.

    A query never finds its own picture, under whatever product; other images of its product stay in the gallery. By
    product, a query counts where its product has another image in the gallery; by category, where it is labelled and
    its category does.
    The metrics are {"product": {"overall": M, "wild→catalog": M, "catalog→catalog": M}, "category": {the same tracks,
    "by_category": {category: M}}}, the tracks by the query's domain. Each M has num_queries, num_labelled_queries (over
    which hierarchical precision is taken), every name of METRICS, and intervals (95 %, bootstrap by query) with
    [low, high] for each; a mean over no query is None.

    Raises ValueError on embeddings and tables that do not fit, or nothing to search.
    """
    _check_fit("queries", query_embeddings, queries)
    _check_fit("gallery", gallery_embeddings, gallery)
    searched = np.flatnonzero(_is_among(gallery.domain, gallery_domains))
    if not len(searched):
        raise ValueError(f"gallery must hold an image of the domains {sorted(gallery_domains)}, got none")
    truth = GroundTruth.between(queries, gallery.select(searched))
    ranking = _rank(query_embeddings, gallery_embeddings[searched], truth)
    by_product, by_category = truth.num_relevant > 0
    summarise = partial(_summary, num_resamples=num_resamples, seed=seed)
    return RetrievalEvaluation(
        metrics={
            "product": _by_track(ranking.values[PRODUCT], by_product, queries.domain, summarise),
            "category": _by_track(ranking.values[CATEGORY], by_category, queries.domain, summarise)
            | {"by_category": _by_label(ranking.values[CATEGORY], by_category, queries.category, summarise)},
        },
        neighbours=Neighbours(np.where(ranking.ids == NO_ROW, NO_ROW, searched[ranking.ids]), ranking.scores),
        product_hits=ranking.hits[PRODUCT],
        category_hits=ranking.hits[CATEGORY],
        answerable_by_product=by_product,
        answerable_by_category=by_category,
    )


@dataclass(frozen=True)
class _Ranking:
    """values: [2, num_queries, len(METRICS)]; ids, scores: [num_queries, SHOWN]; hits: [2, num_queries, SHOWN]."""

    values: FloatArray
    ids: IdMatrix
    scores: FloatMatrix
    hits: Mask


def _rank(query_vectors: FloatMatrix, gallery_vectors: FloatMatrix, truth: GroundTruth) -> _Ranking:
    num_queries = len(query_vectors)
    ranking = _Ranking(
        values=np.empty((2, num_queries, len(METRICS))),
        ids=np.full((num_queries, SHOWN), NO_ROW, np.int64),
        scores=np.full((num_queries, SHOWN), -np.inf, np.float32),
        hits=np.zeros((2, num_queries, SHOWN), np.bool_),
    )
    for start in range(0, num_queries, _QUERIES_PER_BLOCK):
        rows = slice(start, start + _QUERIES_PER_BLOCK)
        depth = max(SHOWN, int(truth.num_relevant[:, rows].max()))
        found = _others(query_vectors[rows], gallery_vectors, truth, rows, depth)
        hits = truth.hits(rows, found.ids)
        shared = truth.shared_levels(rows, found.ids[:, :4])
        for level in (PRODUCT, CATEGORY):
            ranking.values[level, rows] = _values(
                hits[level], truth.num_relevant[level, rows], shared, truth.query_depth[rows]
            )
        shown = min(SHOWN, found.ids.shape[1])
        ranking.ids[rows, :shown] = found.ids[:, :shown]
        ranking.scores[rows, :shown] = found.scores[:, :shown]
        ranking.hits[:, rows, :shown] = hits[:, :, :shown]
    return ranking


def _others(queries: FloatMatrix, gallery: FloatMatrix, truth: GroundTruth, rows: slice, depth: int) -> Neighbours:
    """Searches `depth` deep, passing over the query's own picture; -1 stands where the gallery ends before."""
    found = search(queries, gallery, min(depth + truth.most_own, len(gallery)))
    is_own = truth.is_own(rows, found.ids)
    own_last = np.argsort(is_own, axis=1, kind="stable")[:, :depth]
    ids = np.where(is_own, NO_ROW, found.ids)
    scores = np.where(is_own, -np.inf, found.scores).astype(np.float32)
    return Neighbours(np.take_along_axis(ids, own_last, axis=1), np.take_along_axis(scores, own_last, axis=1))


def _values(hits: Mask, num_relevant: IntArray, shared_levels: IntArray, query_depth: IntArray) -> FloatArray:
    """[num_queries, len(METRICS)], in the order of METRICS."""
    columns = (
        recall_at_k(hits, 1),
        recall_at_k(hits, 4),
        recall_at_k(hits, 10),
        precision_at_k(hits, 4),
        average_precision_at_r(hits, num_relevant),
        hierarchical_precision_at_k(shared_levels, query_depth, 4),
    )
    return np.stack(columns, axis=1)


def _is_among(texts: Texts, wanted: Collection[str]) -> Mask:
    return np.array([text in wanted for text in texts], np.bool_)


def _by_track(values: FloatArray, answerable: Mask, domains: Texts, summarise: Summarise) -> dict[str, Any]:
    tracks = {track: summarise(values[answerable & _is_among(domains, [track.split("→")[0]])]) for track in TRACKS}
    return {"overall": summarise(values[answerable])} | tracks


def _by_label(values: FloatArray, answerable: Mask, labels: Texts, summarise: Summarise) -> dict[str, Any]:
    rows_of: dict[str, list[int]] = {}
    for row in np.flatnonzero(answerable).tolist():
        rows_of.setdefault(labels[row], []).append(row)
    return {label: summarise(values[rows]) for label, rows in sorted(rows_of.items())}


def _summary(values: FloatArray, *, num_resamples: int, seed: int) -> dict[str, Any]:
    """Means and intervals of the columns, over the queries for which each is defined."""
    columns = {name: column[~np.isnan(column)] for name, column in zip(METRICS, values.T, strict=True)}
    return {
        "num_queries": len(values),
        "num_labelled_queries": len(columns["hierarchical_precision_at_4"]),
        **{name: float(column.mean()) if len(column) else None for name, column in columns.items()},
        "intervals": {
            name: list(bootstrap_interval(column, num_resamples=num_resamples, seed=seed)) if len(column) else None
            for name, column in columns.items()
        },
    }


def _check_fit(name: str, embeddings: FloatMatrix, table: RetrievalTable) -> None:
    check_vectors(f"{name}' embeddings", embeddings)
    if len(embeddings) != len(table):
        raise ValueError(f"{name} must have one embedding a row, got {len(embeddings)} for {len(table)} rows")


def _divide(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> FloatArray:
    """Gives NaN where the denominator is 0."""
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
