import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from lookalike.retrieval import exact, metrics

EAST, NORTH, WEST = [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]


def table(*rows):
    """Rows of (picture, product_id, category, domain)."""
    names = ("picture", "product_id", "category", "domain")
    return metrics.RetrievalTable.of([SimpleNamespace(**dict(zip(names, row, strict=True))) for row in rows])


def matrix(*rows):
    return np.array(rows, np.float32).reshape(len(rows), -1)


def relevant(*rows):
    return np.array([[mark == "x" for mark in row] for row in rows])


def test_recall_is_whether_anything_relevant_is_in_the_top_k():
    ranked = relevant(".x..", "...x", "xx..", "....")
    assert metrics.recall_at_k(ranked, 1).tolist() == [0, 0, 1, 0]
    assert metrics.recall_at_k(ranked, 2).tolist() == [1, 0, 1, 0]
    assert metrics.recall_at_k(ranked, 4).tolist() == [1, 1, 1, 0]
    assert metrics.recall_at_k(ranked, 10).tolist() == [1, 1, 1, 0]


def test_precision_counts_places_the_gallery_could_not_fill_as_wrong():
    assert metrics.precision_at_k(relevant("xx.x", "x..."), 4).tolist() == [0.75, 0.25]
    assert metrics.precision_at_k(relevant("xx"), 4).tolist() == [0.5]


def test_average_precision_at_r_of_the_paper():
    # R = 3: hits at ranks 1 and 3 give (1/1 + 2/3) / 3; the hit at rank 4 lies beyond R.
    ranked = relevant("x.xx", ".xx.", "....")
    values = metrics.average_precision_at_r(ranked, np.array([3, 2, 0]))
    np.testing.assert_allclose(values, [(1 + 2 / 3) / 3, (1 / 2) / 2, np.nan])


def test_hierarchical_precision_is_the_mean_share_of_the_path():
    shared = np.array([[3, 2, 0, 1], [2, 2, 2, 2], [0, 0, 0, 0]])
    values = metrics.hierarchical_precision_at_k(shared, np.array([3, 2, 0]), 4)
    np.testing.assert_allclose(values, [6 / 12, 1, np.nan])


def test_bootstrap_interval_of_equal_values_is_that_value():
    assert metrics.bootstrap_interval(np.full(30, 0.25)) == (0.25, 0.25)


def test_bootstrap_interval_is_near_the_normal_one_and_repeatable():
    values = np.random.default_rng(3).integers(0, 2, 400).astype(np.float64)
    low, high = metrics.bootstrap_interval(values, seed=7)
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.01)
    assert high == pytest.approx(values.mean() + half_width, abs=0.01)
    assert metrics.bootstrap_interval(values, seed=7) == (low, high)
    assert metrics.bootstrap_interval(values, seed=8) != (low, high)


def test_bootstrap_in_several_chunks_draws_all_resamples(monkeypatch):
    monkeypatch.setattr(metrics, "_MAX_DRAWS", 50)
    low, high = metrics.bootstrap_interval(np.arange(10.0), num_resamples=303)
    assert 2.5 < low < 4.5 < high < 6.5


def test_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one query"):
        metrics.bootstrap_interval(np.array([]))


def test_tie_at_rank_k_counts_as_hit():
    exact_scores = matrix([0.9, 0.5, 0.5])
    assert metrics.neighbour_recall(matrix([0.9, 0.5]), exact_scores, 2) == 1.0
    assert metrics.neighbour_recall(matrix([0.9, 0.4]), exact_scores, 2) == 0.5


def test_neighbour_recall_of_an_exact_search_is_one():
    rows = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    found = exact.search(rows[:9], rows, 10)
    assert metrics.neighbour_recall(exact.score(rows[:9], rows, found.ids), found.scores, 10) == 1.0


def test_neighbour_recall_needs_k_scores_and_a_query():
    with pytest.raises(ValueError, match="at least k = 3"):
        metrics.neighbour_recall(matrix([0.9, 0.5]), matrix([0.9, 0.5, 0.1]), 3)
    with pytest.raises(ValueError, match="same queries"):
        metrics.neighbour_recall(np.empty((0, 3), np.float32), np.empty((0, 3), np.float32), 3)


def test_latency_percentiles_are_in_milliseconds():
    latencies_s = [i / 1000 for i in range(101)]
    assert metrics.latency_percentiles_ms(latencies_s) == pytest.approx({"p50_ms": 50, "p95_ms": 95, "p99_ms": 99})
    with pytest.raises(ValueError, match="at least one"):
        metrics.latency_percentiles_ms([])


SHIRT, TROUSERS = "Clothing > Tops > Shirt", "Clothing > Bottoms > Trousers"


def test_a_small_case_by_hand():
    gallery = table(
        ("a1", "a", SHIRT, "catalog"),
        ("a2", "a", SHIRT, "catalog"),
        ("b1", "b", TROUSERS, "catalog"),
        ("w1", "a", SHIRT, "wild"),  # not searched: only catalog images are
    )
    queries = table(("w1", "a", SHIRT, "wild"), ("a1", "a", SHIRT, "catalog"))
    # The wild query sees b1, a2, a1; the catalog query sees (itself,) a2, b1.
    result = metrics.evaluate_retrieval(
        matrix(NORTH, EAST), matrix(EAST, [0.8, 0.6], [0.0, 1.0], NORTH), queries, gallery
    )
    product = result.metrics["product"]
    assert product["overall"]["num_queries"] == 2
    assert product["overall"]["recall_at_1"] == 0.5
    assert product["wild→catalog"]["recall_at_1"] == 0
    assert product["wild→catalog"]["recall_at_4"] == 1
    assert product["wild→catalog"]["precision_at_4"] == 2 / 4
    assert product["wild→catalog"]["map_at_r"] == (1 / 2) / 2
    assert product["wild→catalog"]["hierarchical_precision_at_4"] == pytest.approx((1 + 1 + 1 / 3) / 4)
    assert product["catalog→catalog"]["recall_at_1"] == 1
    assert product["catalog→catalog"]["map_at_r"] == 1
    assert result.neighbours.ids[:, :4].tolist() == [[2, 1, 0, -1], [1, 2, -1, -1]]
    assert result.product_hits[:, :3].tolist() == [[False, True, True], [True, False, False]]
    assert result.metrics["category"]["by_category"][SHIRT]["num_queries"] == 2


def test_neighbours_name_rows_of_the_gallery_as_given():
    gallery = table(("w", "x", "", "wild"), ("c", "a", "", "catalog"))
    result = metrics.evaluate_retrieval(matrix(EAST), matrix(EAST, EAST), table(("q", "a", "", "wild")), gallery)
    assert result.neighbours.ids[0, 0] == 1


def test_other_domains_are_searched_when_asked():
    gallery = table(("w", "a", "", "wild"), ("c", "b", "", "catalog"))
    found = metrics.evaluate_retrieval(
        matrix(EAST), matrix(EAST, NORTH), table(("q", "a", "", "wild")), gallery, gallery_domains=("catalog", "wild")
    )
    assert found.metrics["product"]["overall"]["recall_at_1"] == 1


def test_queries_without_an_answer_in_the_gallery_are_not_counted():
    gallery = table(("a1", "a", SHIRT, "catalog"), ("b1", "b", "", "catalog"))
    queries = table(("a1", "a", SHIRT, "catalog"), ("x", "z", TROUSERS, "wild"), ("y", "y", "", "wild"))
    result = metrics.evaluate_retrieval(matrix(EAST, NORTH, WEST), matrix(EAST, NORTH), queries, gallery)
    assert not result.answerable_by_product.any()
    assert not result.answerable_by_category.any()
    for level in ("product", "category"):
        overall = result.metrics[level]["overall"]
        assert overall["num_queries"] == 0
        assert overall["recall_at_1"] is None
        assert overall["intervals"]["map_at_r"] is None
    assert result.metrics["category"]["by_category"] == {}


def test_unlabelled_images_are_no_category_of_their_own():
    gallery = table(("b1", "b", "", "catalog"), ("c1", "c", "", "catalog"))
    result = metrics.evaluate_retrieval(matrix(EAST), matrix(EAST, NORTH), table(("q", "b", "", "wild")), gallery)
    assert not result.category_hits.any()
    assert result.metrics["product"]["overall"]["num_labelled_queries"] == 0
    assert result.metrics["product"]["overall"]["hierarchical_precision_at_4"] is None
    assert result.metrics["product"]["overall"]["recall_at_1"] == 1


def test_no_queries_at_all_give_nulls():
    gallery = table(("b1", "b", SHIRT, "catalog"))
    result = metrics.evaluate_retrieval(np.empty((0, 2), np.float32), matrix(EAST), table(), gallery)
    assert result.metrics["category"]["wild→catalog"]["recall_at_10"] is None


def test_metrics_survive_json():
    gallery = table(("a1", "a", SHIRT, "catalog"), ("a2", "a", SHIRT, "catalog"))
    result = metrics.evaluate_retrieval(matrix(EAST), matrix(EAST, NORTH), table(("q", "a", SHIRT, "wild")), gallery)
    assert json.loads(json.dumps(result.metrics, allow_nan=False)) == result.metrics


def test_query_passes_over_its_own_picture_under_whatever_product():
    # Three sizes share a picture; size s has another one. A customer who asks with the shared picture wants that one.
    gallery = table(
        ("shared", "s", SHIRT, "catalog"),
        ("shared", "m", SHIRT, "catalog"),
        ("shared", "l", SHIRT, "catalog"),
        ("back", "s", SHIRT, "catalog"),
    )
    vectors = matrix(EAST, EAST, EAST, NORTH)
    measured = metrics.evaluate_retrieval(matrix(EAST), vectors, gallery.select(np.array([0])), gallery)
    assert measured.neighbours.ids[0].tolist() == [3] + [-1] * (metrics.SHOWN - 1)
    assert measured.metrics["product"]["overall"]["recall_at_1"] == 1
    assert measured.metrics["product"]["overall"]["map_at_r"] == 1
    assert measured.metrics["category"]["overall"]["num_queries"] == 1


def test_a_gallery_with_nothing_to_search_is_refused():
    gallery = table(("a1", "a", "", "wild"))
    with pytest.raises(ValueError, match=r"gallery must hold an image of the domains \['catalog'\], got none"):
        metrics.evaluate_retrieval(matrix(EAST), matrix(EAST), table(("q", "a", "", "wild")), gallery)


def test_tables_and_embeddings_of_other_lengths_are_refused():
    gallery = table(("a1", "a", "", "catalog"))
    with pytest.raises(ValueError, match="gallery must have one embedding a row, got 2 for 1 rows"):
        metrics.evaluate_retrieval(matrix(EAST), matrix(EAST, NORTH), table(("q", "a", "", "wild")), gallery)
    with pytest.raises(ValueError, match="columns must have equal lengths"):
        metrics.RetrievalTable(["a"], ["a", "b"], [""], ["wild"])


def peak_bytes_of_evaluating(product_id, count=1000):
    rows = [(f"picture {row}", f"product {row}", "", "catalog") for row in range(count)]
    rows[7] = ("picture 7", product_id, "", "catalog")
    vectors = np.random.default_rng(0).normal(size=(count, 2)).astype(np.float32)
    tracemalloc.start()
    try:
        images = table(*rows)
        metrics.evaluate_retrieval(vectors, vectors, images, images, num_resamples=1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_id_of_ten_thousand_characters_costs_no_more_than_itself():
    peak_bytes_of_evaluating("warm")  # what is imported and kept at the first call
    assert peak_bytes_of_evaluating("x" * 10_000) - peak_bytes_of_evaluating("x") < 2 * 10_000


def random_images(prefix, count, seed):
    rng = np.random.default_rng(seed)
    categories = ["", "A", "A > B", "A > B > C", "A > B > D", "E > B"]
    rows = [
        (f"{prefix}{i}", f"p{rng.integers(12)}", categories[rng.integers(6)], ("catalog", "wild")[rng.integers(2)])
        for i in range(count)
    ]
    return rows, rng.normal(size=(count, 5)).astype(np.float32)


def path(category):
    return category.split(" > ") if category else []


def shared(left, right):
    count = 0
    for a, b in zip(path(left), path(right), strict=False):
        if a != b:
            break
        count += 1
    return count


def naive_values(query, vector, gallery, gallery_vectors, column):
    """Every metric of one query, or None where nothing in the gallery answers it."""
    others = [i for i, row in enumerate(gallery) if row[3] == "catalog" and row[0] != query[0]]
    ranked = sorted(others, key=lambda i: (-np.dot(vector, gallery_vectors[i]), i))
    hits = [query[column] != "" and gallery[i][column] == query[column] for i in ranked]
    num_relevant = sum(hits)
    if not num_relevant:
        return None
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(num_relevant) if hits[i]]
    depth = len(path(query[2]))
    levels = [shared(query[2], gallery[i][2]) for i in ranked[:4]]
    return {
        "recall_at_1": float(any(hits[:1])),
        "recall_at_4": float(any(hits[:4])),
        "recall_at_10": float(any(hits[:10])),
        "precision_at_4": sum(hits[:4]) / 4,
        "map_at_r": sum(precisions) / num_relevant,
        "hierarchical_precision_at_4": sum(levels) / 4 / depth if depth else None,
    }


def naive_mean(rows, name):
    values = [row[name] for row in rows if row[name] is not None]
    return sum(values) / len(values) if values else None


@pytest.mark.parametrize("queries_per_block", [256, 7])
def test_agrees_with_a_naive_loop_over_queries_in_and_out_of_the_gallery(monkeypatch, queries_per_block):
    monkeypatch.setattr(metrics, "_QUERIES_PER_BLOCK", queries_per_block)
    gallery, gallery_vectors = random_images("g", 40, seed=1)
    gallery = [(f"shared-{number % 4}" if number < 12 else row[0], *row[1:]) for number, row in enumerate(gallery)]
    fresh, fresh_vectors = random_images("q", 20, seed=2)
    queries, query_vectors = fresh + gallery[:15], np.concatenate([fresh_vectors, gallery_vectors[:15]])
    result = metrics.evaluate_retrieval(
        query_vectors, gallery_vectors, table(*queries), table(*gallery), num_resamples=50
    )
    for level, column in (("product", 1), ("category", 2)):
        naive = [
            (query, naive_values(query, vector, gallery, gallery_vectors, column))
            for query, vector in zip(queries, query_vectors, strict=True)
        ]
        groups = {"overall": naive, "wild→catalog": [n for n in naive if n[0][3] == "wild"]}
        groups["catalog→catalog"] = [n for n in naive if n[0][3] == "catalog"]
        for track, members in groups.items():
            answered = [values for _, values in members if values]
            measured = result.metrics[level][track]
            assert measured["num_queries"] == len(answered) > 0
            for name in metrics.METRICS:
                assert measured[name] == pytest.approx(naive_mean(answered, name)), (level, track, name)
                low, high = measured["intervals"][name]
                assert low <= measured[name] <= high
    for category, measured in result.metrics["category"]["by_category"].items():
        answered = [values for query, values in naive if values and query[2] == category]
        assert measured["map_at_r"] == pytest.approx(naive_mean(answered, "map_at_r"))
