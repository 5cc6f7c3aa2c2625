"""`lookalike check` as its user meets it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lookalike", "check", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two categories of six products, in class folders."""
    for number in range(12):
        folder = tmp_path / "shop" / ("Hats", "Bags")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((64, 64)).save(folder / f"{number}.jpg")
    return tmp_path / "shop"


def test_a_shop_that_is_ready_ends_well_in_one_screen_and_one_page(shop: Path, tmp_path: Path) -> None:
    (shop / "Hats" / "notes.txt").write_text("x")
    done = check("--data", shop, "--page", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    told = done.stderr.splitlines()
    assert told[0] == "read 12 images = 12 kept; 12 products in 2 categories"
    assert told[1] == "  files that are no images were passed over: Hats/notes.txt"
    assert "readiness: go, with warnings" in told
    assert done.stdout.splitlines()[1].split() == ["category", "train", "eval", "test"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 12
    assert "Hats" in page
    assert len(told) + len(done.stdout.splitlines()) < 30


def test_what_would_stop_a_run_ends_with_65_and_is_told_to_programs(shop: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (shop / "Hats" / name).write_bytes(b"<html>")
    done = check("--data", shop, "--json")
    assert done.returncode == 65
    document = json.loads(done.stdout)
    assert document["account"]["read"] == 14
    assert document["account"]["set_aside"] == {"NOT_IMAGE": {"Hats": 2}}
    assert document["account"]["examples"] == {"NOT_IMAGE": ["Hats/a.jpg", "Hats/b.jpg"]}
    assert "category 'Hats' should lose at most 5.0%, lost 2 of 8" in document["refusal"]
    assert document["readiness"]["state"] == "go, with warnings"


def test_what_cannot_be_used_at_all_is_one_line(tmp_path: Path) -> None:
    done = check("--data", tmp_path)
    assert done.returncode == 65
    [line] = done.stderr.splitlines()
    assert line.startswith("error: a source and each of its spans must hold at least one image, got none")
