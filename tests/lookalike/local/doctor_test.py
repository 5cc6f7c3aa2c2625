import json
import os
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from lookalike.local import doctor
from lookalike.local.doctor import Finding, examine
from lookalike.local.metadata import open_metadata
from lookalike.local.workspace import Workspace, open_workspace
from lookalike.review.decisions import load_or_create_signing_key

Artifact = metadata_store_pb2.Artifact


PYTHON_WORDS = re.compile(r"Expecting|__init__|None|Traceback|Error\b")
CANDIDATE = {
    "candidate_id": "c",
    "round_id": None,
    "refusals": [],
    "model_sha256": "m",
    "model_uri": "m",
    "examples_uri": "e",
    "taxonomy_uri": "t",
    "evaluation_uri": "v",
    "longest_side_px": 64,
}
PICTURE = {"image_sha256": "a" * 64, "product_id": "p", "category": "Hats"}
EVIDENCE = {
    "candidate": {
        "candidate_id": "c",
        "model_sha256": "b" * 64,
        "model_uri": "m",
        "baseline_version": None,
        "metrics": {},
    },
    "queries": [
        PICTURE | {"query_id": "q", "domain": "wild", "candidate": [PICTURE | {"score": 0.5}], "baseline": None}
    ],
}
DOCUMENTS = {
    "Candidate": ("candidate.json", json.dumps(CANDIDATE)),
    "RetrievalEvaluation": ("evidence.json", json.dumps(EVIDENCE)),
    "Taxonomy": ("taxonomy.json", '{"leaves": ["Hats"]}'),
    "Verdict": ("verdict.json", '{"passed": true, "reasons": [], "facts": {}}'),
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with every kind of file, none of them from a training."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "workspace.json").write_text('{"config": "demo", "overrides": []}')
    made, _ = open_workspace(root)
    (made.artifacts / "Trainer" / "model" / "1").mkdir(parents=True)
    record_artifact(made, made.artifacts / "Trainer" / "model" / "1")
    made.review_session().get_bind().engine.dispose()  # which folds the write-ahead log into the file
    load_or_create_signing_key(made.signing_key)
    made.releases.push(_encoder, decision_id="yes-1", facts={"candidate_id": "c"})
    for kind, (file, content) in DOCUMENTS.items():
        (made.artifacts / kind).mkdir()
        (made.artifacts / kind / file).write_text(content)
        record_artifact(made, made.artifacts / kind, kind=f"components.{kind}")
    for file, content in (
        ("days/1.json", '{"fingerprint": "f", "baseline_release": ""}'),
        ("checkpoints/1/history.json", "[]"),
        ("dead_letters/1/d.jsonl", ""),
    ):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(content)
    return made


def _encoder(directory: Path, version: int) -> None:
    (directory / "encoder" / str(version)).mkdir(parents=True)
    (directory / "encoder" / str(version) / "saved_model.pb").write_bytes(b"a model")


def record_artifact(workspace: Workspace, place: Path, state: int = Artifact.LIVE, kind: str = "Model") -> None:
    store = open_metadata(workspace.metadata)
    type_id = store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
    store.put_artifacts([Artifact(type_id=type_id, uri=str(place), state=state)])


def of_files(root: Path) -> dict[str, Finding]:
    """What is found from workspace.json on, by name."""
    found = examine(root)
    names = [finding.what for finding in found]
    return {finding.what: finding for finding in found[names.index("workspace.json") :]}


def test_a_sound_workspace_has_a_row_for_each_file(workspace: Workspace) -> None:
    found = of_files(workspace.root)
    assert {name: finding.told for name, finding in found.items()} == {
        "workspace.json": "valid settings",
        "metadata.sqlite": "0 steps have run",
        "artifacts": "5, all in their places",
        "review database": "0 rounds",
        "review/signing.key": "a private key, readable by its owner only",
        "releases/CURRENT": "release 1 serves",
        "releases/history.jsonl": "1 times a release began to serve",
        "releases/.last_version": "1 is the highest version ever given",
        "releases/releases/1": "2 files, each as its manifest says",
        "days": "1 files can be read",
        "checkpoints": "1 files can be read",
        "dead_letters": "1 files can be read",
    }
    assert all(finding.ok for finding in found.values())


def test_an_empty_place_is_no_fault_and_stays_empty(tmp_path: Path) -> None:
    last = examine(tmp_path / "root")[-1]
    assert (last.what, last.ok) == ("workspace", True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "what"),
    [
        ("releases/CURRENT", "releases/CURRENT"),
        ("metadata.sqlite", "metadata.sqlite"),
        ("review/review.sqlite", "review database"),
    ],
)
def test_a_workspace_whose_settings_are_not_written_yet_is_looked_at(tmp_path: Path, file: str, what: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("damaged" * 900)
    found = of_files(tmp_path)
    assert found["workspace.json"].ok
    assert not found[what].ok


@pytest.mark.parametrize(
    ("remembered", "told"),
    [
        ('{"config": "demo", "overrides": ["training.gone=1"]}', "got 'gone'; a new `lookalike run` replaces what it"),
        ('{"config": "gone", "overrides": []}', "got 'gone'; a new `lookalike run` replaces what it"),
        (None, "workspace.json: is a directory; move it away"),
    ],
)
def test_settings_that_cannot_be_read_are_one_row(workspace: Workspace, remembered: str | None, told: str) -> None:
    file = workspace.root / "workspace.json"
    if remembered is None:
        file.unlink()
        file.mkdir()
    else:
        file.write_text(remembered)
    unfit = [finding for finding in of_files(workspace.root).values() if not finding.ok]
    assert [finding.what for finding in unfit] == ["workspace.json"]
    assert told in unfit[0].told


def write(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


@pytest.mark.parametrize(
    ("file", "harm", "what", "told"),
    [
        ("workspace.json", write('{"config": "de'), "workspace.json", "restore it from a backup"),
        ("metadata.sqlite", write("no database" * 900), "metadata.sqlite", "file is not a database; restore it"),
        ("review/review.sqlite", lambda path: os.truncate(path, 5000), "review database", "malformed; restore it"),
        ("review/signing.key", lambda path: path.chmod(0o644), "review/signing.key", "run `chmod 600"),
        ("releases/CURRENT", write("release 1"), "releases/CURRENT", "CURRENT must name a version"),
        (
            "releases/releases/1/encoder/1/saved_model.pb",
            write("b"),
            "releases/releases/1",
            "saved_model.pb has changed",
        ),
        ("releases/history.jsonl", write('{"version": 1}\n'), "releases/history.jsonl", "on each line, "),
        ("releases/history.jsonl", write(""), "releases/history.jsonl", "on each line, "),
        (
            "releases/.last_version",
            write("one"),
            "releases/.last_version",
            "must hold the highest version ever released, got ",
        ),
        ("artifacts/Candidate/candidate.json", write("{}"), "artifacts/Candidate/candidate.json", "restore it"),
        ("artifacts/Taxonomy/taxonomy.json", write("{}"), "artifacts/Taxonomy/taxonomy.json", "restore it"),
        ("artifacts/Verdict/verdict.json", os.unlink, "artifacts/Verdict/verdict.json", "missing or damaged"),
        (
            "artifacts/RetrievalEvaluation/evidence.json",
            write("["),
            "artifacts/RetrievalEvaluation/evidence.json",
            "or train again",
        ),
        ("days/1.json", write("{"), "days/1.json", "it is damaged; restore it from a backup, or delete it: the day"),
        ("checkpoints/1/history.json", write(""), "checkpoints/1/history.json", "checkpoints/1: that training then"),
        ("dead_letters/1/d.jsonl", write('{"uri": "x"}'), "dead_letters/1/d.jsonl", "line 1 is none; restore it"),
    ],
)
def test_a_damaged_file_is_its_rows_fault_and_no_other_files(
    workspace: Workspace, file: str, harm: Callable[[Path], object], what: str, told: str
) -> None:
    harm(workspace.root / file)
    found = of_files(workspace.root)
    assert told in found[what].told
    assert not PYTHON_WORDS.search(found[what].told)
    unfit = {name for name, finding in found.items() if not (finding.ok or finding.told.startswith("not looked at"))}
    assert unfit == {what}


def test_a_root_that_was_moved_is_told_with_the_old_place(workspace: Workspace, tmp_path: Path) -> None:
    moved = workspace.root.rename(tmp_path / "elsewhere")
    finding = of_files(moved)["artifacts"]
    assert not finding.ok
    assert finding.told == (
        f"expected every artifact below {moved}, 5 of 5 are recorded elsewhere such as {workspace.root}/artifacts/"
        "Trainer/model/1: the root was moved or copied; move it back, or mount it there (mount --bind)"
    )


def test_an_artifact_that_is_gone_is_told(workspace: Workspace) -> None:
    gone = workspace.artifacts / "Trainer" / "model" / "1"
    gone.rmdir()
    finding = of_files(workspace.root)["artifacts"]
    assert (finding.ok, finding.told) == (
        False,
        f"1 of 5 are missing, such as {gone}; restore them from a backup",
    )


def test_what_a_killed_step_did_not_finish_is_not_missed(workspace: Workspace) -> None:
    record_artifact(workspace, workspace.artifacts / "Trainer" / "model" / "2", Artifact.PENDING)
    assert of_files(workspace.root)["artifacts"].told == "5, all in their places"


def test_looking_makes_no_tables(workspace: Workspace) -> None:
    database = workspace.root / "review" / "review.sqlite"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript("DROP TABLE judgement; PRAGMA journal_mode=DELETE")
    before = database.read_bytes()
    assert of_files(workspace.root)["review database"] == Finding("review database", True, "0 rounds")
    assert database.read_bytes() == before


def test_a_round_that_cannot_be_read_is_told_in_words(workspace: Workspace) -> None:
    with closing(sqlite3.connect(workspace.root / "review" / "review.sqlite")) as connection:
        connection.executescript("DROP TABLE round; CREATE TABLE round (id INTEGER)")
    told = of_files(workspace.root)["review database"].told
    assert "it cannot be read: no such column: round.candidate_id; make it reachable" in told


def test_a_machine_that_will_not_do_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "MIN_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**60)
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(sys, "version_info", (3, 11))
    found = {finding.what: finding for finding in examine(tmp_path)}
    wrong = ("python", "no-such-package", "memory", f"disk at {tmp_path}")
    assert [found[what].ok for what in wrong] == [False] * 4
    assert found["python"].told.endswith("found; run `make setup` with Python 3.10")
    assert found["no-such-package"].told == "not installed; run `make setup`"
    assert found["memory"].told.endswith("found; give this machine more, or take another one")
    assert found[f"disk at {tmp_path}"].told.endswith("found; free some space, or choose another place by --root")


def test_without_a_checkout_lookalike_is_installed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOT", tmp_path)
    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    found = {finding.what: finding.told for finding in examine(tmp_path)}
    assert found["no-such-package"] == "not installed; install Lookalike again"


def test_a_release_that_serves_and_is_gone_is_told_with_two_ways_out(workspace: Workspace) -> None:
    shutil.rmtree(workspace.root / "releases" / "releases" / "1")
    finding = of_files(workspace.root)["releases/CURRENT"]
    assert not finding.ok
    assert finding.told.endswith("restore release 1 from a backup, or let another one serve by `lookalike rollback`")


def test_looking_changes_nothing(workspace: Workspace) -> None:
    def contents() -> dict[str, bytes]:
        files = (path for path in workspace.root.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}

    before = contents()
    examine(workspace.root)
    assert contents() == before
