"""Running the product as a shop would: the command in a process of its own, on real photos."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PHOTOS_PER_CLASS = 14
TINY = {
    "ingest.longest_side_px": 64,
    "ingest.eval_fraction": 0.2,
    "ingest.test_fraction": 0.2,
    "model.image_size_px": 32,
    "model.depth": 10,
    "model.width": 8,
    "model.embedding_dim": 16,
    "training.epochs": 2,
    "training.batch_size": 16,
    "evaluation.min_accuracy": 0,
    "evaluation.min_recall_at_1": 0,
    "evaluation.bootstrap_resamples": 50,
    "review.num_queries": 12,
    "review.min_judged_queries": 8,
    "review.precision_floor": 0,
    "review.allow_simulated": "true",
}


@dataclass(frozen=True)
class Result:
    """What the command ended with."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What --json printed."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Shop:
    """One workspace and the command line on it."""

    root: Path
    photos: Path

    def lookalike(self, command: str, *arguments: str) -> Result:
        """The command on this workspace, to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "lookalike", *command.split(), *arguments, "--root", str(self.root)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=600,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def run_arguments(self, **changes: object) -> list[str]:
        """`lookalike run` on a small model; `section__key=value` changes a setting."""
        settings = TINY | {name.replace("__", "."): value for name, value in changes.items()}
        overrides = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        return ["--data", str(self.photos), "--by", "trainer", "--json", *overrides]

    def run(self, **changes: object) -> Result:
        """Trains."""
        return self.lookalike("run", *self.run_arguments(**changes))

    def judge_and_decide(self, verdict: str) -> None:
        """Simulated raters judge the newest round, and a simulated analyst decides."""
        from lookalike.local.workspace import open_workspace
        from lookalike.review.decisions import decide, load_or_create_signing_key
        from lookalike.review.overview import list_rounds
        from lookalike.review.simulated_raters import judge_round

        workspace, _ = open_workspace(self.root)
        with workspace.review_session() as session:
            round_id = list_rounds(session)[0].round_id
            judge_round(session, round_id, num_raters=3, error_rate=0.0, seed=1)
            decide(
                session,
                round_id,
                verdict,
                decided_by="simulated analyst",
                reason="a test",
                signing_key=load_or_create_signing_key(workspace.signing_key),
                simulated=True,
            )


@pytest.fixture(scope="session")
def photos(clothing_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few real photos of every class."""
    sample = tmp_path_factory.mktemp("photos")
    for folder in sorted((clothing_photos / "train").iterdir()):
        target = sample / folder.name
        target.mkdir()
        for photo in islice(sorted(folder.glob("*.jpg")), PHOTOS_PER_CLASS):
            shutil.copy(photo, target)
    return sample


@pytest.fixture(scope="session")
def make_shop(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Shop]:
    """Opens a shop with an empty workspace."""
    return lambda name: Shop(tmp_path_factory.mktemp(name), photos)


@dataclass(frozen=True)
class Story:
    """One day of a shop, step by step: the shop, and what each command ended with."""

    shop: Shop
    run: Result
    promote_too_early: Result
    promote: Result
    run_again: Result
    promote_again: Result


@pytest.fixture(scope="session")
def story(make_shop: Callable[[str], Shop]) -> Story:
    """From nothing to a release, and once more."""
    shop = make_shop("whole-way")
    run = shop.run()
    too_early = shop.lookalike("promote", "--json")
    assert not (shop.root / "releases" / "CURRENT").exists()
    shop.judge_and_decide("bless")
    return Story(
        shop=shop,
        run=run,
        promote_too_early=too_early,
        promote=shop.lookalike("promote", "--json"),
        run_again=shop.run(),
        promote_again=shop.lookalike("promote", "--json"),
    )
