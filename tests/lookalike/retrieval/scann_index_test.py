import hashlib
import json
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest

from lookalike.retrieval import exact, metrics
from lookalike.retrieval.scann_index import IndexSpec, ScannIndex, build, choose_spec

TREE = IndexSpec("tree_ah", num_leaves=24, leaves_to_search=20, reorder=100, quantization="bfloat16")
SPECS = {
    "exact": IndexSpec("exact"),
    "ah": IndexSpec("ah", reorder=70, quantization="none"),
    "ah int8": IndexSpec("ah", reorder=70, quantization="int8"),
    "tree": TREE,
}


def unit_vectors(num_rows, dim=16, seed=0):
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def clustered(num_rows, dim=16):
    """Unit vectors around 24 centres, as embeddings of products are."""
    centres = unit_vectors(24, dim, seed=5)
    rows = centres[np.arange(num_rows) % 24] + 0.8 * unit_vectors(num_rows, dim, seed=6)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def saved(directory, embeddings, spec):
    build(embeddings, spec, directory)
    return ScannIndex.load(directory)


def digests(directory):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(directory.iterdir())}


@pytest.mark.parametrize(
    ("num_items", "expected"),
    [
        (1, IndexSpec("exact")),
        (19_999, IndexSpec("exact")),
        (20_000, IndexSpec("ah", reorder=70, quantization="bfloat16")),
        (100_000, IndexSpec("tree_ah", 316, 13, 70, "bfloat16")),
        (1_000_000, IndexSpec("tree_ah", 1000, 13, 150, "bfloat16")),
    ],
)
def test_the_index_is_chosen_by_size(num_items, expected):
    assert choose_spec(num_items) == expected


def test_thresholds_and_quantization_can_be_set():
    assert choose_spec(50, exact_below=10, ah_below=100, quantization="int8").quantization == "int8"
    assert choose_spec(50, exact_below=10, ah_below=40).kind == "tree_ah"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "hnsw"}, "kind must be one of"),
        ({"kind": "ah", "reorder": 10, "quantization": "int4"}, "quantization must be one of"),
        ({"kind": "exact", "quantization": "int8"}, "an exact index has no settings"),
        ({"kind": "ah"}, "reorder must be at least 1, got 0"),
        (
            {"kind": "tree_ah", "reorder": 9, "num_leaves": 4, "leaves_to_search": 5},
            "leaves_to_search must be 1 to 4",
        ),
    ],
)
def test_impossible_specs_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        IndexSpec(**settings)


def test_an_exact_index_answers_as_exact_search_does(tmp_path):
    gallery = np.concatenate([unit_vectors(300), unit_vectors(5)])  # the last five repeat the first
    queries = unit_vectors(40, seed=1)
    index = saved(tmp_path / "index", gallery, SPECS["exact"])
    for k in (1, 10, 305):
        found, expected = index.search(queries, k), exact.search(queries, gallery, k)
        np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)
        differing = found.ids != expected.ids
        np.testing.assert_allclose(found.scores[differing], expected.scores[differing], atol=1e-6)  # ties only
        assert differing.mean() < 0.02
    assert found.ids.dtype == np.int64


@pytest.mark.parametrize("name", SPECS)
def test_a_saved_index_finds_the_true_neighbours(tmp_path, name):
    gallery, queries = clustered(1000), clustered(1040)[1000:]
    index = saved(tmp_path / "index", gallery, SPECS[name])
    assert (index.size, index.dim, index.spec) == (1000, 16, SPECS[name])
    found = index.search(queries, 10)
    scores = exact.score(queries, gallery, found.ids)
    assert metrics.neighbour_recall(scores, exact.search(queries, gallery, 10).scores, 10) >= 0.95
    np.testing.assert_allclose(found.scores, scores, atol=0.02)
    assert (np.diff(found.scores, axis=1) <= 0).all()


@pytest.mark.parametrize("name", ["exact", "tree"])
def test_an_index_loads_after_a_move_with_the_original_gone_and_stays_as_it_was(tmp_path, name):
    gallery = clustered(500)
    build(gallery, SPECS[name], tmp_path / "first")
    expected = ScannIndex.load(tmp_path / "first").search(gallery[:20], 5)
    target = tmp_path / 'second "place"' / "höher"
    target.parent.mkdir()
    shutil.move(tmp_path / "first", target)
    before = digests(target)
    target.chmod(0o555)
    found = ScannIndex.load(target).search(gallery[:20], 5)
    assert found.ids.tolist() == expected.ids.tolist()
    assert digests(target) == before


def test_a_moved_index_never_reads_the_old_place(tmp_path):
    build(clustered(200), SPECS["exact"], tmp_path / "first")
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    for path in (tmp_path / "first").iterdir():
        path.write_bytes(b"poison")
    assert ScannIndex.load(tmp_path / "second").search(clustered(200)[:1], 1).ids.tolist() == [[0]]
    assert str(tmp_path) not in (tmp_path / "second" / "scann_assets.pbtxt").read_text()


def test_a_relative_directory_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(clustered(50), SPECS["exact"], tmp_path.relative_to(tmp_path) / "index")
    assert ScannIndex.load(tmp_path.relative_to(tmp_path) / "index").size == 50


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("num_items", [1, 15])
def test_too_few_items_for_the_index_are_searched_exactly(tmp_path, name, num_items):
    gallery = unit_vectors(num_items)
    index = saved(tmp_path / "index", gallery, SPECS[name])
    assert index.spec == IndexSpec("exact")
    assert index.search(gallery, 1).ids.ravel().tolist() == list(range(num_items))


def test_fewer_items_than_leaves_are_searched_exactly(tmp_path):
    assert build(unit_vectors(23), TREE, tmp_path / "index") == IndexSpec("exact")


@pytest.mark.parametrize("name", SPECS)
def test_equal_vectors_are_all_found(tmp_path, name):
    gallery = np.repeat(unit_vectors(1), 100, axis=0)
    found = saved(tmp_path / "index", gallery, SPECS[name]).search(gallery[:2], 100)
    assert sorted(found.ids[0].tolist()) == sorted(found.ids[1].tolist()) == list(range(100))


@pytest.mark.parametrize("name", ["ah", "tree"])
def test_every_item_is_returned_once_when_k_is_the_size(tmp_path, name):
    index = saved(tmp_path / "index", clustered(300), SPECS[name])
    found = index.search(clustered(3), 300, leaves_to_search=1)  # one leaf holds fewer: the rest is searched too
    assert np.isfinite(found.scores).all()
    assert [sorted(row) for row in found.ids.tolist()] == [list(range(300))] * 3


def test_more_leaves_can_be_searched_per_call(tmp_path):
    gallery = unit_vectors(1000)
    index = saved(tmp_path / "index", gallery, TREE)
    truth = exact.search(gallery[:100], gallery, 10).scores

    def recall(leaves):
        ids = index.search(gallery[:100], 10, leaves_to_search=leaves).ids
        return metrics.neighbour_recall(exact.score(gallery[:100], gallery, ids), truth, 10)

    assert recall(1) < recall(24) >= 0.95


def test_queries_are_checked_before_scann_sees_them(tmp_path):
    index = saved(tmp_path / "index", clustered(50), SPECS["exact"])
    bad = clustered(3)
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match="queries must be finite, got NaN or infinity in row 1"):
        index.search(bad, 1)
    with pytest.raises(ValueError, match="queries must have the gallery's dimension 16, got 8"):
        index.search(unit_vectors(1, dim=8), 1)
    with pytest.raises(ValueError, match="k must be between 1 and the gallery size 50, got 51"):
        index.search(clustered(1), 51)
    with pytest.raises(ValueError, match="float32"):
        index.search(np.zeros((1, 16)), 1)
    assert index.search(np.empty((0, 16), np.float32), 3).ids.shape == (0, 3)


def test_embeddings_are_checked_before_scann_sees_them(tmp_path):
    bad = clustered(20)
    bad[7] *= 1.1
    with pytest.raises(ValueError, match=r"embeddings must be L2-normalised, got length 1\.1000 in row 7"):
        build(bad, TREE, tmp_path / "index")
    bad[7] = np.nan
    with pytest.raises(ValueError, match="embeddings must be finite, got NaN or infinity in row 7"):
        build(bad, TREE, tmp_path / "index")
    with pytest.raises(ValueError, match="embeddings must hold at least one vector, got none"):
        build(np.empty((0, 16), np.float32), TREE, tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_a_directory_in_use_is_refused(tmp_path):
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(ValueError, match="directory must be empty"):
        build(clustered(20), SPECS["exact"], tmp_path)


class Planted:
    def __reduce__(self):
        return (open, ("planted", "w"))


def test_a_planted_pickle_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build(clustered(20), SPECS["exact"], tmp_path / "index")
    assert not list((tmp_path / "index").glob("*.pkl"))
    (tmp_path / "index" / "scann_docids.pkl").write_bytes(pickle.dumps(Planted()))
    with pytest.raises(ValueError, match=r"index must hold no pickle, got scann_docids\.pkl"):
        ScannIndex.load(tmp_path / "index")
    assert not (tmp_path / "planted").exists()


@pytest.mark.parametrize("name", ["index.json", "scann_assets.pbtxt", "dataset.npy"])
def test_a_missing_file_is_named(tmp_path, name):
    build(clustered(20), SPECS["exact"], tmp_path / "index")
    (tmp_path / "index" / name).unlink()
    with pytest.raises(ValueError, match=f"index must hold {name}"):
        ScannIndex.load(tmp_path / "index")


def test_the_spec_is_kept_beside_the_index(tmp_path):
    build(clustered(50), TREE, tmp_path / "index")
    description = json.loads((tmp_path / "index" / "index.json").read_text())
    assert description["spec"]["num_leaves"] == 24
    assert (description["size"], description["dim"]) == (50, 16)


def test_the_room_is_imported_without_scann():
    code = "import lookalike.retrieval.scann_index, lookalike.retrieval.metrics, sys; print('scann' in sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert output == "False\n"
