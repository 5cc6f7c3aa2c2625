"""What an earlier version left behind goes on: a workspace made by 0.1.0 opens, serves, rolls back and promotes.

`workspaces/0.1.0.tar.xz` was made by three runs of `lookalike run` on a drawn catalogue of 36 products, each with
another `training.seed`, reviewed by simulated raters and blessed for a hundred years; the first two were promoted.
Reports and TensorBoard logs were taken out. It keeps absolute paths, so it lies where it was made.
"""

import fcntl
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

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


def lookalike(*arguments: str) -> Any:
    """What a command says in JSON."""
    command = [sys.executable, "-m", "lookalike", *arguments, "--root", str(MADE_AT), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def serving_version() -> int:
    [version] = [release["version"] for release in lookalike("releases") if release["serving"]]
    return int(version)


def test_its_releases_and_rounds_are_listed(old_workspace: Path) -> None:
    assert [(release["version"], release["serving"]) for release in lookalike("releases")] == [(1, False), (2, True)]
    assert [round_["verdict"] for round_ in lookalike("review", "list")] == ["bless"] * 3


def test_its_release_answers_a_photo(old_workspace: Path) -> None:
    evaluation = old_workspace / "artifacts" / "RetrievalEvaluator" / "evaluation" / "9"
    shown = json.loads((evaluation / "evidence.json").read_text())["queries"][0]["candidate"][0]
    found = lookalike("search", str(evaluation / "images" / f"{shown['image_sha256']}.jpg"), "-k", "3")
    assert (found["release"], len(found["results"])) == (2, 3)
    best = found["results"][0]
    assert (best["product_id"], best["category"]) == (shown["product_id"], shown["category"])
    assert best["score"] > 0.99, "a picture of the catalogue finds itself"


def test_it_rolls_back_and_goes_forward_again(old_workspace: Path) -> None:
    assert lookalike("rollback")["version"] == 1
    assert serving_version() == 1
    assert lookalike("rollback", "--to", "2")["version"] == 2
    assert serving_version() == 2


def test_its_blessed_candidate_is_promoted(old_workspace: Path) -> None:
    promoted = lookalike("promote")
    assert promoted["version"] == 3
    assert serving_version() == 3
    assert lookalike("rollback")["version"] == 2
