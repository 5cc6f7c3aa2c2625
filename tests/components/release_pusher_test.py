import errno
import json
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from tfx import v1 as tfx

from components import artifacts
from components.index_builder import IndexBuilder
from components.release_pusher import IndexNotGoodEnoughError, ReleasePusher
from components.verdict import StageVerdict
from lookalike.catalog.product import CatalogImage
from lookalike.documents import CandidateUnreadableError
from lookalike.release import contents
from lookalike.release.contents import Catalog, check_canary, read_embeddings, write_catalog
from lookalike.release.manifest import ReleaseError, tree_sha256
from lookalike.release.store import ReleaseStore
from lookalike.retrieval.exact import Neighbours
from lookalike.retrieval.scann_index import ScannIndex
from lookalike.review.decisions import DecisionExpired, DecisionInvalid, DecisionPending, DecisionRejected

FINE = StageVerdict(True, ["fine"], {"recall_at_10": 1.0, "min_recall_at_10": 0.9})


def unit_vectors(count, seed):
    vectors = np.random.default_rng(seed).normal(size=(count, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(tmp_path / "store")


@pytest.fixture
def push(artifact, candidate_facts, model, public_key, tmp_path):
    """Pushes a catalogue of 30 products."""
    inputs = {
        "candidate": artifact(artifacts.Candidate, "candidate"),
        "model": model,
        "taxonomy": artifact(artifacts.Taxonomy, "taxonomy"),
        "evaluation": artifact(artifacts.RetrievalEvaluation, "evaluation"),
        "blessing": artifact(tfx.types.standard_artifacts.ModelBlessing, "blessing"),
        "embeddings": artifact(artifacts.Embeddings, "embeddings"),
        "index": artifact(artifacts.Index, "index"),
    }
    (Path(inputs["blessing"].uri) / "BLESSED").touch()  # as from TFX's cache: whatever the decision says by now
    candidate_facts.save(inputs["candidate"].uri)
    (Path(inputs["taxonomy"].uri) / "taxonomy.json").write_text('{"leaves": ["Shirt"]}')
    (Path(inputs["evaluation"].uri) / "metrics.json").write_text('{"split": "test"}')
    vectors = Path(inputs["embeddings"].uri)
    contents.write_embeddings(vectors / "embeddings.npy", unit_vectors(30, seed=0))
    np.save(vectors / "queries.npy", unit_vectors(120, seed=1))
    write_catalog(vectors / "catalogue.arrow", [CatalogImage(f"{n}.jpg", f"p{n}", jpeg=b"jpeg") for n in range(30)])
    IndexBuilder.test_call(embeddings=inputs["embeddings"], index=inputs["index"], settings="{}")

    def run(decision, *, index_verdict=FINE, name="release", **changes):
        verdict, release = artifact(artifacts.VerdictArtifact, f"{name}-verdict"), artifact(artifacts.Release, name)
        index_verdict.save(verdict.uri)
        parameters = {
            "decision": decision,
            "public_key": public_key,
            "allow_simulated": False,
            "release_store": str(tmp_path / "store"),
        }
        ReleasePusher.test_call(**inputs, index_verdict=verdict, release=release, **(parameters | changes))
        return release

    return run


def test_a_blessed_candidate_becomes_the_release_that_serves(push, decide, store, candidate_facts, encoder_dir):
    decision = decide()
    pushed = push(decision)
    release = store.current()
    release.verify()
    assert release.version == 1
    assert release.manifest.facts == {
        "version": 1,
        "decision_id": "decision-1",
        "candidate_id": "candidate-1",
        "model_sha256": candidate_facts.model_sha256,
        "model_uri": candidate_facts.model_uri,
        "examples_uri": "/examples",
        "longest_side_px": 48,
        "simulated": False,
        "min_canary_recall": 0.9,
    }
    told = json.loads((Path(pushed.uri) / "release.json").read_text())
    assert told == {"version": 1, "manifest_sha256": release.manifest.sha256, "decision_id": "decision-1"}
    assert pushed.get_int_custom_property("version") == 1
    assert tree_sha256(release.encoder_directory) == tree_sha256(encoder_dir)
    assert (release.directory / "decision.json").read_text() == decision
    metrics = json.loads((release.directory / "metrics.json").read_text())
    assert metrics == {"retrieval": {"split": "test"}, "index": FINE.facts}
    assert json.loads((release.directory / "taxonomy.json").read_text()) == {"leaves": ["Shirt"]}


def test_the_release_answers_by_its_own_files_alone(push, decide, store, tmp_path):
    push(decide())
    for name in ("embeddings", "index", "taxonomy", "evaluation", "candidate"):
        shutil.rmtree(tmp_path / name)
    directory = store.current().directory
    embeddings = read_embeddings(directory / contents.EMBEDDINGS_FILE)
    index = ScannIndex.load(directory / contents.INDEX_DIRECTORY)
    catalog = Catalog.open(directory / contents.CATALOG_FILE)
    assert index.search(np.array(embeddings[7:8]), 1).ids.tolist() == [[7]]
    assert (catalog.image(7).product_id, catalog.thumbnail(7)) == ("p7", b"jpeg")
    assert check_canary(directory / contents.CANARY_FILE, index.search, embeddings, min_recall=1) == 1.0
    with np.load(directory / contents.CANARY_FILE, allow_pickle=False) as canary:
        assert canary["queries"].shape == (100, 16)


def test_one_decision_pushes_once(push, decide, store):
    decision = decide()
    first, second = push(decision, name="first"), push(decision, name="second")
    assert (Path(first.uri) / "release.json").read_text() == (Path(second.uri) / "release.json").read_text()
    assert [release.version for release in store.releases()] == [1]
    assert len((Path(store.address) / "history.jsonl").read_text().splitlines()) == 1


def test_another_decision_pushes_the_next_version(push, decide, store):
    for number in range(1, 4):
        push(decide(decision_id=f"decision-{number}"), name=f"release-{number}")
    assert [release.version for release in store.releases()] == [1, 2, 3]
    assert store.current().version == 3


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"decided_at": NOW - timedelta(days=8), "expires_at": NOW - timedelta(seconds=1)}, DecisionExpired),
        ({"verdict": "reject"}, DecisionRejected),
        ({"simulated": True}, DecisionInvalid),
        ({"candidate_id": "candidate-0"}, DecisionInvalid),
        ({"model_sha256": "0" * 64}, DecisionInvalid),
    ],
)
def test_what_the_gate_let_through_before_is_checked_again(push, decide, store, fields, error):
    with pytest.raises(error):
        push(decide(**fields))
    assert not Path(store.address).exists()


def test_without_a_decision_nothing_is_pushed(push, store):
    with pytest.raises(DecisionPending):
        push("")
    assert not Path(store.address).exists()


def test_an_index_that_failed_its_evaluation_is_not_pushed(push, decide, store):
    with pytest.raises(IndexNotGoodEnoughError, match="recall@10 too low; too slow"):
        push(decide(), index_verdict=StageVerdict(False, ["recall@10 too low", "too slow"], {}))
    assert not Path(store.address).exists()


def test_what_no_server_would_load_is_not_pushed(push, decide, store, monkeypatch):
    exact = ScannIndex.search

    def search(index, queries, k):  # an index whose last neighbour of ten is wrong
        found = exact(index, queries, index.size)
        columns = [*range(k - 1), -1]
        return Neighbours(found.ids[:, columns], found.scores[:, columns])

    monkeypatch.setattr(ScannIndex, "search", search)
    limit = {"recall_at_10": 1.0, "min_recall_at_10": 0.91}
    with pytest.raises(ReleaseError, match=r"the index must find 91% of the neighbours in .*canary\.npz, got 90\.0%"):
        push(decide(), index_verdict=StageVerdict(True, ["fine"], limit))
    assert store.current() is None
    push(decide(), index_verdict=StageVerdict(True, ["fine"], limit | {"min_recall_at_10": 0.9}), name="again")
    assert store.current().manifest.facts["min_canary_recall"] == 0.9


def test_full_disk_leaves_the_previous_release_serving(push, decide, store, monkeypatch):
    push(decide(), name="first")
    before = store.current()
    copy = shutil.copy

    def fill_up(source, target):
        if Path(source).name == "catalogue.arrow":
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(source, target)

    monkeypatch.setattr("components.release_pusher.shutil.copy", fill_up)
    second = decide(decision_id="decision-2")
    with pytest.raises(OSError, match="No space left") as raised:
        push(second, name="second")
    assert raised.value.errno == errno.ENOSPC
    assert store.current() == before
    store.current().verify()
    assert [path.name for path in (Path(store.address) / "releases").iterdir()] == ["1"]
    assert [path.name for path in (Path(store.address) / "encoder").iterdir()] == ["1"]
    assert not list(Path(store.address).glob(".staging*"))

    monkeypatch.undo()
    push(second, name="third")
    assert store.current().version == 2
    assert store.current().decision_id == "decision-2"


def test_measures_that_cannot_be_read_are_named_and_nothing_is_pushed(push, decide, store, tmp_path):
    (tmp_path / "evaluation" / "metrics.json").write_text("{")
    with pytest.raises(CandidateUnreadableError, match=r"metrics\.json must hold what was measured of the candidate"):
        push(decide())
    assert store.current() is None
