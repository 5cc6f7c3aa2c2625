"""Runs that are killed, refused or tampered with: nothing half-written shows, and the next run puts it right."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def begun(node: str, *, and_left: tuple[Path, str] | None = None) -> Callable[[str], bool]:
    """Whether a line tells that a node has begun; then, waits for what it leaves below a folder early on."""

    def was_told_by(line: str) -> bool:
        if node not in line:
            return False
        deadline = time.monotonic() + 120
        while and_left and not any(and_left[0].glob(and_left[1])):
            assert time.monotonic() < deadline, f"{node} has left no {and_left[1]} in {and_left[0]}"
            time.sleep(0.02)
        return True

    return was_told_by


@pytest.fixture(scope="module")
def unbroken(story: Any) -> Any:
    """A shop whose day went through without a break."""
    return story.shop


@pytest.mark.slow
def test_a_day_killed_again_and_again_ends_in_the_same_release(unbroken: Any, make_shop: Callable[..., Any]) -> None:
    shop = make_shop("killed")
    arguments = shop.run_arguments()
    for moment in (
        begun("ImageExampleGen", and_left=(shop.root, "artifacts/ImageExampleGen/*/*")),
        begun("Trainer", and_left=(shop.root, "checkpoints/*/history.json")),  # after the first of two epochs
        begun("OpenReview"),
    ):
        shop.kill("run", *arguments, when=moment)
        assert not (shop.root / "releases" / "CURRENT").exists()
    assert shop.run().status == 75
    shop.judge_and_decide("bless")
    for moment in (
        begun("CatalogueEmbedder", and_left=(shop.root, "artifacts/CatalogueEmbedder/*/*")),
        begun("ReleasePusher"),
    ):
        shop.kill("promote", when=moment)
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


@pytest.mark.slow  # a training of its own, for another candidate
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
