import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2

from lookalike.local.doctor import Finding, examine
from lookalike.local.metadata import open_metadata
from lookalike.local.workspace import Workspace, open_workspace
from lookalike.review.decisions import load_or_create_signing_key

Artifact = metadata_store_pb2.Artifact


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
    for file, content in (("days/1.json", "{}"), ("checkpoints/1/history.json", "[]"), ("dead_letters/1/d.jsonl", "")):
        (root / file).parent.mkdir(parents=True)
        (root / file).write_text(content)
    return made


def _encoder(directory: Path, version: int) -> None:
    (directory / "encoder" / str(version)).mkdir(parents=True)
    (directory / "encoder" / str(version) / "saved_model.pb").write_bytes(b"a model")


def record_artifact(workspace: Workspace, place: Path, state: int = Artifact.LIVE) -> None:
    store = open_metadata(workspace.metadata)
    kind = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Model"))
    store.put_artifacts([Artifact(type_id=kind, uri=str(place), state=state)])


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
        "artifacts": "1, all in their places",
        "review database": "0 rounds",
        "review/signing.key": "a private key, readable by its owner only",
        "releases/CURRENT": "release 1 serves",
        "releases/releases/1": "1 files, each as its manifest says",
        "days": "1 files can be read",
        "checkpoints": "1 files can be read",
        "dead_letters": "1 files can be read",
    }
    assert all(finding.ok for finding in found.values())


def test_an_empty_place_is_no_fault_and_stays_empty(tmp_path: Path) -> None:
    last = examine(tmp_path / "root")[-1]
    assert (last.what, last.ok) == ("workspace", True)
    assert list(tmp_path.iterdir()) == []


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
        ("days/1.json", write("{"), "days/1.json", "Expecting"),
        ("checkpoints/1/history.json", write(""), "checkpoints/1/history.json", "Expecting"),
        ("dead_letters/1/d.jsonl", write("lost"), "dead_letters/1/d.jsonl", "Expecting"),
    ],
)
def test_a_damaged_file_is_its_rows_fault_and_no_other_files(
    workspace: Workspace, file: str, harm: Callable[[Path], object], what: str, told: str
) -> None:
    harm(workspace.root / file)
    found = of_files(workspace.root)
    assert told in found[what].told
    unfit = {name for name, finding in found.items() if not finding.ok}
    assert unfit - {"artifacts"} == {what}


def test_a_root_that_was_moved_is_told_with_the_old_place(workspace: Workspace, tmp_path: Path) -> None:
    moved = workspace.root.rename(tmp_path / "elsewhere")
    finding = of_files(moved)["artifacts"]
    assert not finding.ok
    assert finding.told == (
        f"expected every artifact below {moved}, 1 of 1 are recorded elsewhere such as {workspace.root}/artifacts/"
        "Trainer/model/1: the root was moved or copied; move it back, or mount it there (mount --bind)"
    )


def test_an_artifact_that_is_gone_is_told(workspace: Workspace) -> None:
    gone = workspace.artifacts / "Trainer" / "model" / "1"
    gone.rmdir()
    finding = of_files(workspace.root)["artifacts"]
    assert (finding.ok, finding.told) == (
        False,
        f"1 of 1 are missing, such as {gone}; restore them from a backup",
    )


def test_what_a_killed_step_did_not_finish_is_not_missed(workspace: Workspace) -> None:
    record_artifact(workspace, workspace.artifacts / "Trainer" / "model" / "2", Artifact.PENDING)
    assert of_files(workspace.root)["artifacts"].told == "1, all in their places"


def test_looking_changes_nothing(workspace: Workspace) -> None:
    def contents() -> dict[str, bytes]:
        files = (path for path in workspace.root.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files if not path.name.endswith(("-wal", "-shm"))}

    before = contents()
    examine(workspace.root)
    assert contents() == before
