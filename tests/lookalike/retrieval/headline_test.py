import numpy as np
import pytest

from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.headline import NothingToMeasureError, headline
from lookalike.retrieval.metrics import evaluate_retrieval


def metrics(wild: int, product: int, category: int) -> dict:
    """Metrics of tracks with so many queries; each track's recall tells which one it is."""
    return {
        "product": {
            "wild→catalog": {"num_queries": wild, "recall_at_1": 0.1},
            "catalog→catalog": {"num_queries": 9, "recall_at_1": 0.9},
            "overall": {"num_queries": product, "recall_at_1": 0.2},
        },
        "category": {"overall": {"num_queries": category, "recall_at_1": 0.3}},
    }


@pytest.mark.parametrize(
    ("num_queries", "name", "recall"),
    [
        ((1, 5, 9), "product, wild→catalog", 0.1),
        ((0, 5, 9), "product, overall", 0.2),
        ((0, 0, 9), "category, overall", 0.3),
    ],
)
def test_the_most_demanding_track_with_queries_leads(num_queries, name: str, recall: float) -> None:
    found = headline(metrics(*num_queries))
    assert found.name == name
    assert found.recall_at_1 == recall


def test_nothing_to_ask_is_an_error_that_says_what_is_missing() -> None:
    with pytest.raises(
        NothingToMeasureError, match="got none: held-out images need a label, or another catalogue image"
    ):
        headline(metrics(0, 0, 0))


def test_headline_reads_what_the_evaluation_writes() -> None:
    # The wild photo of p lies nearest to q, the catalogue images nearest to their own: recall@1 is 0 of 1.
    table = RetrievalTable(
        picture=["p1", "p2", "q1", "wild"],
        product_id=["p", "p", "q", "p"],
        category=["", "", "", ""],
        domain=["catalog", "catalog", "catalog", "wild"],
    )
    embeddings = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    evaluation = evaluate_retrieval(embeddings, embeddings, table, table, num_resamples=1)
    found = headline(evaluation.metrics)
    assert (found.name, found.values["num_queries"], found.recall_at_1) == ("product, wild→catalog", 1, 0.0)
