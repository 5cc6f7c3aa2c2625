"""A small sample of real photos goes the whole way too; where they lie beside the repository."""

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow  # one more training, and what it shows of the command the drawn catalogue shows too

PHOTOS_PER_CLASS = 14


@pytest.fixture(scope="module")
def photos(clothing_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few real photos of every class."""
    sample = tmp_path_factory.mktemp("photos")
    for folder in sorted((clothing_photos / "train").iterdir()):
        target = sample / folder.name
        target.mkdir()
        for photo in islice(sorted(folder.glob("*.jpg")), PHOTOS_PER_CLASS):
            shutil.copy(photo, target)
    return sample


@pytest.fixture(scope="module")
def shop(make_shop: Callable[..., Any], photos: Path) -> Any:
    """A shop that serves a release trained on the photos."""
    shop = make_shop("photos", photos)
    run = shop.run()
    assert run.status == 75, run.stderr
    assert "category hat" in {row["slice"] for row in run.document["accuracy"]}
    shop.judge_and_decide("bless")
    promote = shop.lookalike("promote")
    assert promote.status == 0, promote.stderr
    return shop


def test_search_finds_the_photo_itself(shop: Any, photos: Path) -> None:
    photo = next((photos / "hat").iterdir())
    result = shop.lookalike("search", str(photo), "--json")
    assert result.status == 0, result.stderr
    best = result.document["results"][0]
    assert best["product_id"] == f"hat/{photo.name}"
    assert best["score"] == pytest.approx(1.0, abs=1e-3)


def test_evaluate_reports_held_out_photos_and_baselines(shop: Any, clothing_photos: Path) -> None:
    result = shop.lookalike("evaluate", "--baselines", "--json", "--data", str(clothing_photos / "test"))
    assert result.status == 0, result.stderr
    metrics = result.document["metrics"]
    assert set(metrics) == {"release 1", "untrained network", "colour histogram"}
    for measured in metrics.values():
        assert measured["category"]["overall"]["num_queries"] == result.document["num_queries"] == 372
        assert 0.0 < measured["category"]["overall"]["recall_at_1"] < 1.0
        assert measured["product"]["overall"]["recall_at_1"] is None, "every photo is its own product"
