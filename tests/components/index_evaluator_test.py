import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from components import artifacts
from components.index_builder import IndexBuilder
from components.index_evaluator import IndexEvaluator, evaluate
from components.verdict import StageVerdict
from lookalike.configs.settings import IndexSettings
from lookalike.retrieval.exact import Neighbours
from lookalike.retrieval.scann_index import IndexSpec, ScannIndex, build


def unit_vectors(count, seed, dim=16):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def gallery():
    return unit_vectors(60, seed=0)


@pytest.fixture(scope="module")
def queries():
    return unit_vectors(5, seed=1)


class ShuffledIndex:
    """Answers as if the rows of the gallery had been mixed up between embedding and indexing."""

    spec = IndexSpec("exact")

    def __init__(self, gallery):
        self._shuffled = gallery[np.random.default_rng(2).permutation(len(gallery))]

    def search(self, queries, k):
        scores = queries @ self._shuffled.T
        ids = np.argsort(-scores, axis=1)[:, :k]
        return Neighbours(ids, np.take_along_axis(scores, ids, axis=1))


def test_an_exact_index_finds_everything(tmp_path, gallery, queries):
    build(gallery, IndexSpec("exact"), tmp_path)
    verdict = evaluate(ScannIndex.load(tmp_path), queries, gallery, min_recall=1.0)
    assert verdict.passed
    assert verdict.facts["recall_at_10"] == 1.0
    assert (verdict.facts["num_queries"], verdict.facts["num_items"], verdict.facts["kind"]) == (5, 60, "exact")
    assert 0 < verdict.facts["p50_ms"] <= verdict.facts["p95_ms"] <= verdict.facts["p99_ms"]


def test_an_index_of_shuffled_rows_fails_the_floor_with_numbers(gallery, queries):
    verdict = evaluate(ShuffledIndex(gallery), queries, gallery, min_recall=0.95)
    assert not verdict.passed
    assert verdict.facts["recall_at_10"] < 0.5  # by chance 10 of 60
    [reason] = verdict.reasons
    assert reason.startswith("recall@10 against exact search at least 0.950, got 0.")
    assert reason.endswith("on 5 queries")


def test_a_gallery_smaller_than_ten_is_asked_for_all_it_has(tmp_path, queries):
    few = unit_vectors(3, seed=3)
    build(few, IndexSpec("exact"), tmp_path)
    assert evaluate(ScannIndex.load(tmp_path), queries, few, min_recall=1.0).passed


def test_an_index_that_nothing_tried_out_does_not_pass(tmp_path, gallery):
    build(gallery, IndexSpec("exact"), tmp_path)
    verdict = evaluate(ScannIndex.load(tmp_path), gallery[:0], gallery, min_recall=0.0)
    assert not verdict.passed
    assert "at least one held-out photo" in verdict.reasons[0]


@pytest.mark.parametrize(("exact_below", "kind"), [(61, "exact"), (60, "ah")])
def test_builder_chooses_by_size_and_evaluator_asks_what_it_saved(artifact, gallery, queries, exact_below, kind):
    settings = json.dumps(dataclasses.asdict(IndexSettings(exact_below=exact_below, max_queries=4)))
    embeddings = artifact(artifacts.Embeddings, "embeddings")
    np.save(Path(embeddings.uri) / "embeddings.npy", gallery)
    np.save(Path(embeddings.uri) / "queries.npy", queries)
    index, verdict = artifact(artifacts.Index, "index"), artifact(artifacts.VerdictArtifact, "verdict")

    IndexBuilder.test_call(embeddings=embeddings, index=index, settings=settings)
    IndexEvaluator.test_call(embeddings=embeddings, index=index, verdict=verdict, settings=settings)

    assert index.get_string_custom_property("kind") == kind
    written = StageVerdict.load(verdict.uri)
    assert written.passed
    assert (written.facts["kind"], written.facts["num_queries"]) == (kind, 4)
