"""Asks the built index photos that are not in it: how much of the exact answer it finds, and how fast."""

import json
import time

import numpy as np
import numpy.typing as npt
from tfx import v1 as tfx

from components import artifacts
from components.component import component
from components.verdict import StageVerdict
from lookalike.configs.settings import IndexSettings
from lookalike.release.contents import EMBEDDINGS_FILE, read_embeddings
from lookalike.retrieval import exact
from lookalike.retrieval.metrics import latency_percentiles_ms, neighbour_recall
from lookalike.retrieval.scann_index import ScannIndex
from lookalike.storage.staging import fetched

K = 10


@component
def IndexEvaluator(
    embeddings: tfx.dsl.components.InputArtifact[artifacts.Embeddings],
    index: tfx.dsl.components.InputArtifact[artifacts.Index],
    verdict: tfx.dsl.components.OutputArtifact[artifacts.VerdictArtifact],
    settings: tfx.dsl.components.Parameter[str],
) -> None:
    """Measures the index as loaded from disk."""
    limits = IndexSettings(**json.loads(settings))
    with fetched(embeddings.uri) as vectors, fetched(index.uri) as saved:
        gallery = read_embeddings(vectors / EMBEDDINGS_FILE)
        queries = read_embeddings(vectors / artifacts.QUERIES_FILE)[: limits.max_queries]
        evaluate(ScannIndex.load(saved), queries, gallery, limits.min_recall_at_10).save(verdict.uri)


def evaluate(
    index: ScannIndex, queries: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], min_recall: float
) -> StageVerdict:
    """recall@10 against exact search, and the latency of one query at a time.

    index: over the rows of `gallery`.
    queries: [num_queries, dim] float32, L2-normalised, not in the gallery.
    gallery: [num_items, dim] float32.
    min_recall: below it the verdict is no; it is no without queries, too.
    """
    if not len(queries):
        return StageVerdict(False, ["at least one held-out photo must try the index out, got none"], {})
    k = min(K, len(gallery))
    truth = exact.search(queries, gallery, k)
    found, latencies_s = [], []
    for query in queries:
        start = time.perf_counter()
        found.append(index.search(query[None], k).ids[0])
        latencies_s.append(time.perf_counter() - start)
    recall = neighbour_recall(exact.score(queries, gallery, np.stack(found)), truth.scores, k)
    facts = {
        "recall_at_10": recall,
        artifacts.MIN_RECALL: min_recall,
        "num_queries": len(queries),
        "num_items": len(gallery),
        "kind": index.spec.kind,
    }
    reason = f"recall@10 against exact search at least {min_recall:.3f}, got {recall:.3f} on {len(queries)} queries"
    return StageVerdict(recall >= min_recall, [reason], facts | latency_percentiles_ms(latencies_s))
