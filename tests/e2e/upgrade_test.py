"""What an earlier version left behind goes on: a workspace made by 0.1.0 opens, serves, rolls back and promotes.

`workspaces/0.1.0.tar.xz` was made by three runs of `lookalike run` on a drawn catalogue of 36 products, each with
another `training.seed`, reviewed by simulated raters and blessed for a hundred years; the first two were promoted.
Reports and TensorBoard logs were taken out. It keeps absolute paths, so it lies where it was made.
"""

import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lookalike.review.evidence import evidence_sha256, read_evidence

pytestmark = pytest.mark.slow  # minutes for what changes of the files we keep can break

ROOT = Path(__file__).resolve().parents[2]
MADE_AT = Path("/tmp/lookalike-0.1.0-workspace")
ARCHIVE = Path(__file__).parent / "workspaces" / "0.1.0.tar.xz"


@pytest.fixture(scope="module")
def old_workspace() -> Iterator[Path]:
    """The workspace of 0.1.0 at its own place, for one test run at a time."""
    with MADE_AT.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(MADE_AT, ignore_errors=True)
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(MADE_AT.parent)
        yield MADE_AT
        shutil.rmtree(MADE_AT)


@pytest.fixture(scope="module")
def lookalike(old_workspace: Path, warm_commands: Any) -> Callable[..., Any]:
    """Runs a command on the workspace; what it says in JSON."""

    def run(*arguments: str) -> Any:
        done = warm_commands.run(*arguments, "--root", str(old_workspace), "--json")
        assert done.status == 0, done.stderr
        return done.document

    return run


def serving_version(lookalike: Callable[..., Any]) -> int:
    [version] = [release["version"] for release in lookalike("releases") if release["serving"]]
    return int(version)


def test_its_releases_and_rounds_are_listed(lookalike: Callable[..., Any]) -> None:
    assert [(release["version"], release["serving"]) for release in lookalike("releases")] == [(1, False), (2, True)]
    assert [round_["verdict"] for round_ in lookalike("review", "list")] == ["bless"] * 3


def test_its_release_answers_a_photo(lookalike: Callable[..., Any], old_workspace: Path) -> None:
    evaluation = old_workspace / "artifacts" / "RetrievalEvaluator" / "evaluation" / "9"
    shown = json.loads((evaluation / "evidence.json").read_text())["queries"][0]["candidate"][0]
    found = lookalike("search", str(evaluation / "images" / f"{shown['image_sha256']}.jpg"), "-k", "3")
    assert (found["release"], len(found["results"])) == (2, 3)
    best = found["results"][0]
    assert (best["product_id"], best["category"]) == (shown["product_id"], shown["category"])
    assert best["score"] > 0.99, "a picture of the catalogue finds itself"


def test_it_rolls_back_and_goes_forward_again(lookalike: Callable[..., Any]) -> None:
    assert lookalike("rollback", "--no-wait")["version"] == 1
    assert serving_version(lookalike) == 1
    assert lookalike("rollback", "--to", "2", "--no-wait")["version"] == 2
    assert serving_version(lookalike) == 2


def test_its_blessed_candidate_is_promoted(lookalike: Callable[..., Any]) -> None:
    promoted = lookalike("promote")
    assert promoted["version"] == 3
    assert serving_version(lookalike) == 3
    assert lookalike("rollback", "--no-wait")["version"] == 2


@pytest.fixture
def forgotten_setting(old_workspace: Path) -> Iterator[None]:
    """The workspace remembers a setting that there is no more."""
    remembered = old_workspace / "workspace.json"
    before = remembered.read_text()
    document = json.loads(before)
    remembered.write_text(json.dumps(document | {"overrides": [*document["overrides"], "training.gone=1"]}))
    yield
    remembered.write_text(before)


def test_a_setting_that_is_gone_stops_nothing_that_reads_releases_alone(
    lookalike: Callable[..., Any], old_workspace: Path, forgotten_setting: None
) -> None:
    serving = serving_version(lookalike)
    assert lookalike("rollback", "--to", "1", "--no-wait")["version"] == 1
    photo = next((old_workspace / "artifacts" / "RetrievalEvaluator" / "evaluation" / "9" / "images").iterdir())
    assert lookalike("search", str(photo), "-k", "1")["release"] == 1
    assert lookalike("rollback", "--to", str(serving), "--no-wait")["version"] == serving
    for command, port, ready in (("serve", "--port", "http://"), ("serve-model", "--grpc-port", "gRPC")):
        assert ready in first_words(command, port, "0", *(["--rest-port", "0"] if command == "serve-model" else []))


def first_words(*arguments: str) -> str:
    """What a command that serves says when it is ready; it is stopped then."""
    command = [sys.executable, "-m", "lookalike", *arguments, "--root", str(MADE_AT)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        said = ""
        for line in process.stderr:
            said += line
            if "Ctrl-C" in line:
                break
        process.terminate()
        process.stderr.read()
    return said


def test_its_rounds_stand_on_the_evidence_that_lies_there(old_workspace: Path) -> None:
    for number in ("9", "29", "49"):
        evidence = old_workspace / "artifacts" / "RetrievalEvaluator" / "evaluation" / number
        read = read_evidence(evidence)
        with sqlite3.connect(old_workspace / "review" / "review.sqlite") as connection:
            [(sha256, submitted_by)] = connection.execute(
                "SELECT evidence_sha256, submitted_by FROM round JOIN candidate USING (candidate_id)"
                " WHERE candidate_id = ?",
                (read.candidate.candidate_id,),
            )
        connection.close()
        assert sha256 == evidence_sha256(evidence)
        assert submitted_by == "trainer"
