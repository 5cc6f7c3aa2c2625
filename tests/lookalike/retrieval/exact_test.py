import numpy as np
import pytest

from lookalike.retrieval import exact


def vectors(num_rows: int, dim: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def naive_search(queries, gallery, k):
    ids = []
    for query in queries:
        scores = [float(np.dot(query, item)) for item in gallery]
        ids.append(sorted(range(len(gallery)), key=lambda i: (-scores[i], i))[:k])
    return ids


@pytest.mark.parametrize("k", [1, 3, 40])
def test_agrees_with_a_naive_loop(k):
    queries, gallery = vectors(7), vectors(40, seed=1)
    found = exact.search(queries, gallery, k)
    assert found.ids.tolist() == naive_search(queries, gallery, k)
    expected = [[np.dot(query, gallery[i]) for i in row] for query, row in zip(queries, found.ids, strict=True)]
    np.testing.assert_allclose(found.scores, expected, atol=1e-6)
    assert (found.ids.dtype, found.scores.dtype) == (np.int64, np.float32)


def test_equal_scores_come_by_smaller_id():
    gallery = np.array([[0, 1], [1, 0], [0, 1], [1, 0], [1, 0]], np.float32)
    found = exact.search(np.array([[1, 0]], np.float32), gallery, 4)
    assert found.ids.tolist() == [[1, 3, 4, 0]]
    assert found.scores.tolist() == [[1, 1, 1, 0]]


def test_the_tie_at_rank_k_goes_to_the_smallest_ids():
    gallery = np.ones((50, 1), np.float32)
    assert exact.search(np.ones((1, 1), np.float32), gallery, 3).ids.tolist() == [[0, 1, 2]]


def test_chunks_do_not_change_the_answer():
    queries, gallery = vectors(23), vectors(60, seed=1)
    whole = exact.search(queries, gallery, 5)
    assert exact.search(queries, gallery, 5, chunk=4).ids.tolist() == whole.ids.tolist()


def test_no_queries_find_nothing():
    found = exact.search(vectors(0), vectors(4), 2)
    assert found.ids.shape == found.scores.shape == (0, 2)


def test_inputs_are_left_alone():
    queries, gallery = vectors(3), vectors(9)
    before = queries.copy(), gallery.copy()
    exact.search(queries, gallery, 2)
    np.testing.assert_array_equal(queries, before[0])
    np.testing.assert_array_equal(gallery, before[1])


@pytest.mark.parametrize("k", [0, -1, 6])
def test_k_outside_the_gallery_is_refused(k):
    with pytest.raises(ValueError, match=f"k must be between 1 and the gallery size 5, got {k}"):
        exact.search(vectors(1), vectors(5), k)


def test_empty_gallery_is_refused():
    with pytest.raises(ValueError, match="gallery must hold at least one vector, got none"):
        exact.search(vectors(1), vectors(0), 1)


def test_other_dimensions_are_refused():
    with pytest.raises(ValueError, match="queries must have the gallery's dimension 8, got 4"):
        exact.search(vectors(1, dim=4), vectors(5), 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("argument", ["queries", "gallery"])
def test_numbers_that_are_not_finite_are_refused_with_their_row(argument, bad):
    arguments = {"queries": vectors(4), "gallery": vectors(5, seed=1)}
    arguments[argument][2, 3] = bad
    with pytest.raises(ValueError, match=f"{argument} must be finite, got NaN or infinity in row 2"):
        exact.search(**arguments, k=1)


def test_opposite_infinities_do_not_hide_each_other():
    gallery = vectors(3)
    gallery[1, :2] = np.inf, -np.inf
    with pytest.raises(ValueError, match="row 1"):
        exact.check_vectors("gallery", gallery)


@pytest.mark.parametrize(("shape", "dtype"), [((2, 8), np.float64), (8, np.float32), ((1, 2, 8), np.float32)])
def test_other_types_and_shapes_are_refused(shape, dtype):
    with pytest.raises(ValueError, match=r"queries must be a \[rows, dim\] float32 array, got"):
        exact.search(np.zeros(shape, dtype), vectors(5), 1)


def test_score_gives_the_inner_products_of_named_rows():
    queries, gallery = np.array([[1, 2], [0, 1]], np.float32), np.array([[1, 0], [0, 1], [2, 2]], np.float32)
    assert exact.score(queries, gallery, np.array([[2, 0], [1, 0]])).tolist() == [[6, 1], [1, 0]]
