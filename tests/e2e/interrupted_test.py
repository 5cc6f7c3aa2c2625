"""Runs that are killed, refused or tampered with: nothing half-written shows, and the next run puts it right."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def kill_at(shop: Any, node: str, command: str, *arguments: str, delay_s: float = 0.0) -> None:
    """Starts a command and kills it, with all its processes, a moment after a node has begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lookalike", command, *arguments, "--root", str(shop.root)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if node in line:
            threading.Event().wait(delay_s)
            break
    else:
        pytest.fail(f"{command} ended before {node} began")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


@pytest.fixture(scope="module")
def unbroken(story: Any) -> Any:
    """A shop whose day went through without a break."""
    return story.shop


def test_a_day_killed_again_and_again_ends_in_the_same_release(unbroken: Any, make_shop: Callable[[str], Any]) -> None:
    shop = make_shop("killed")
    arguments = shop.run_arguments()
    for node, delay_s in (("ImageExampleGen", 1.0), ("Trainer", 8.0), ("OpenReview", 0.0)):
        kill_at(shop, node, "run", *arguments, delay_s=delay_s)
        assert not (shop.root / "releases" / "CURRENT").exists()
    assert shop.run().status == 75
    shop.judge_and_decide("bless")
    for node in ("CatalogueEmbedder", "ReleasePusher"):
        kill_at(shop, node, "promote", delay_s=0.2)
        assert len(list((shop.root / "releases" / "releases").glob("*"))) <= 1
    assert shop.lookalike("promote").status == 0
    assert _current(shop) == _current(unbroken) == 1
    np.testing.assert_allclose(_embeddings(shop), _embeddings(unbroken), atol=1e-6)
    assert not list((shop.root / "releases").glob(".staging-*"))
    assert shop.lookalike("doctor").status == 0


def _current(shop: Any) -> int:
    from lookalike.release.store import ReleaseStore

    release = ReleaseStore(shop.root / "releases").current()
    release.verify()
    return int(release.version)


def _embeddings(shop: Any) -> Any:
    return np.load(shop.root / "releases" / "releases" / "1" / "embeddings.npy", allow_pickle=False)


def test_a_second_run_in_the_same_root_is_refused(unbroken: Any) -> None:
    from lookalike.local.workspace import open_workspace

    workspace, _ = open_workspace(unbroken.root)
    with workspace.locked():
        result = unbroken.lookalike("promote")
    assert result.status == 1
    assert "WORKSPACE_BUSY" in result.stderr


def test_a_judgement_edited_after_the_decision_stops_the_promotion(unbroken: Any) -> None:
    database = unbroken.root / "review" / "review.sqlite"
    before = (unbroken.root / "releases" / "CURRENT").read_text()
    with sqlite3.connect(database) as connection:
        [(stored,)] = connection.execute("SELECT answer FROM judgement WHERE id = 1")
        connection.execute("UPDATE judgement SET answer = ? WHERE id = 1", ("1" if stored == "0" else "0",))
    try:
        result = unbroken.lookalike("promote")
    finally:
        with sqlite3.connect(database) as connection:
            connection.execute("UPDATE judgement SET answer = ? WHERE id = 1", (stored,))
    assert result.status == 76
    assert "DECISION_INVALID" in result.stderr
    assert (unbroken.root / "releases" / "CURRENT").read_text() == before


def test_a_rejected_candidate_is_not_pushed(unbroken: Any) -> None:
    before = (unbroken.root / "releases" / "CURRENT").read_text()
    assert unbroken.run(training__seed=99).status == 75, "another seed is another candidate, against release 1"
    unbroken.judge_and_decide("reject")
    result = unbroken.lookalike("promote")
    assert result.status == 76
    assert "REJECTED" in result.stderr
    assert (unbroken.root / "releases" / "CURRENT").read_text() == before


def test_a_candidate_below_the_floor_is_not_put_before_people(unbroken: Any) -> None:
    result = unbroken.run(evaluation__min_recall_at_1=1)
    assert result.status == 76
    assert result.document["state"] == "refused"
    assert "recall@1" in " ".join(result.document["refusals"])


def test_an_empty_folder_and_a_traversing_manifest_are_bad_data(
    make_shop: Callable[[str], Any], tmp_path: Path
) -> None:
    shop = make_shop("bad-data")
    empty = shop.lookalike("run", "--data", str(tmp_path))
    assert empty.status == 65
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("image,category\n" + "".join(f"../../{name}.jpg,Hat\n" for name in range(5)))
    outside = shop.lookalike("run", "--data", str(manifest))
    assert outside.status == 65
    assert "Traceback" not in empty.stderr + outside.stderr
