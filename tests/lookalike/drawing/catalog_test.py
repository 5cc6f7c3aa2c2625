import hashlib
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lookalike.drawing.assortment import ATTRIBUTES, COLOURS, KINDS
from lookalike.drawing.catalog import draw_catalog

NUM_PRODUCTS = 2 * len(KINDS)


def rows_of(manifest: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_catalog(tmp_path_factory.mktemp("catalogue"), num_products=NUM_PRODUCTS, seed=3, image_size_px=96)


def test_same_seed_draws_the_same_bytes(catalog: Path, tmp_path: Path) -> None:
    again = draw_catalog(tmp_path, num_products=NUM_PRODUCTS, seed=3, image_size_px=96)
    assert again.read_bytes() == catalog.read_bytes()
    for row in rows_of(again):
        assert (tmp_path / row["image"]).read_bytes() == (catalog.parent / row["image"]).read_bytes()


def test_other_seed_draws_other_products(catalog: Path, tmp_path: Path) -> None:
    other = draw_catalog(tmp_path, num_products=NUM_PRODUCTS, seed=4, image_size_px=96)
    assert not {row["sha256"] for row in rows_of(other)} & {row["sha256"] for row in rows_of(catalog)}


def test_products_stay_the_same_when_more_are_drawn(catalog: Path, tmp_path: Path) -> None:
    fewer = draw_catalog(tmp_path, num_products=3, seed=3, image_size_px=96)
    assert rows_of(fewer) == rows_of(catalog)[: len(rows_of(fewer))]


def test_every_product_has_four_studio_and_three_wild_photos(catalog: Path) -> None:
    counts = Counter((row["product_id"], row["domain"]) for row in rows_of(catalog))
    products = {product_id for product_id, _ in counts}
    assert len(products) == NUM_PRODUCTS
    assert counts == {(p, d): n for p in products for d, n in (("catalog", 4), ("wild", 3))}


def test_asked_numbers_of_photos_are_drawn(tmp_path: Path) -> None:
    manifest = draw_catalog(tmp_path, num_products=1, seed=0, image_size_px=64, catalog_images=6, wild_images=0)
    assert [row["domain"] for row in rows_of(manifest)] == ["catalog"] * 6


def test_rows_state_every_column_and_the_file_they_describe(catalog: Path) -> None:
    shared = {
        "image",
        "product_id",
        "category",
        "domain",
        "title",
        "price",
        "currency",
        "availability",
        "gender",
        "sha256",
    }
    for row in rows_of(catalog):
        assert set(row) == shared | {f"attr:{name}" for name in ATTRIBUTES}
        content = (catalog.parent / row["image"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        assert row["category"]
        assert row["title"]
        assert row["price"] > 0


def test_photos_are_rgb_jpegs_of_the_asked_size(catalog: Path) -> None:
    for row in rows_of(catalog):
        with Image.open(catalog.parent / row["image"]) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (96, 96))


def test_every_photo_differs(catalog: Path) -> None:
    digests = [row["sha256"] for row in rows_of(catalog)]
    assert len(set(digests)) == len(digests)


def test_images_of_a_product_share_everything_but_their_photo(catalog: Path) -> None:
    said = defaultdict(set)
    for row in rows_of(catalog):
        own = {name: value for name, value in row.items() if name not in ("image", "domain", "sha256")}
        said[row["product_id"]].add(json.dumps(own, sort_keys=True))
    assert all(len(facts) == 1 for facts in said.values())


def test_every_leaf_of_the_taxonomy_is_drawn_equally_often(catalog: Path) -> None:
    counts = Counter(row["category"] for row in rows_of(catalog))
    assert counts == {kind.category: 14 for kind in KINDS}
    assert {category.count(" > ") for category in counts} == {1, 2}


def test_attributes_of_other_kinds_are_empty_and_own_ones_sometimes_missing(catalog: Path) -> None:
    own_values, missing = 0, 0
    options_of = {kind.category: kind.options for kind in KINDS}
    for row in rows_of(catalog):
        options = options_of[row["category"]]
        for name in ATTRIBUTES:
            value = row[f"attr:{name}"]
            if name in options:
                assert value in ("", *options[name])
                own_values, missing = own_values + 1, missing + (not value)
            elif name not in ("pattern", "colour", "accent", "material"):
                assert not value
    assert 0 < missing < 0.2 * own_values


def test_plain_products_show_the_colour_they_are_said_to_have(catalog: Path) -> None:
    seen = 0
    for row in rows_of(catalog):
        # The front of garments has cloth in the middle; a detail shot need not.
        plain = row["attr:pattern"] == "solid" and row["attr:colour"] and row["image"].endswith("catalog-0.jpg")
        if not plain or row["category"] not in ("Clothing > Bottoms > Skirt", "Home > Mug", "Clothing > Tops > Shirt"):
            continue
        pixels = np.asarray(Image.open(catalog.parent / row["image"]), np.float64)[40:60, 38:44].reshape(-1, 3)
        names = list(COLOURS)
        distances = np.linalg.norm(np.array([COLOURS[name] for name in names]) - np.median(pixels, axis=0), axis=1)
        assert row["attr:colour"] in [names[i] for i in np.argsort(distances)[:3]], row["image"]
        seen += 1
    assert seen


def test_studio_backgrounds_are_pale_and_wild_ones_are_not(catalog: Path) -> None:
    rims: dict[str, list[float]] = {"catalog-0": [], "wild-0": []}
    for row in rows_of(catalog):
        shot = Path(row["image"]).stem
        if shot in rims:
            pixels = np.asarray(Image.open(catalog.parent / row["image"]), np.float64)
            rims[shot].append(float(np.concatenate([pixels[:3].ravel(), pixels[:, :3].ravel()]).mean()))
    assert min(rims["catalog-0"]) > 200
    assert np.mean(rims["wild-0"]) < 180


def test_some_products_look_like_another_of_their_kind(tmp_path: Path) -> None:
    manifest = draw_catalog(tmp_path, num_products=120, seed=1, image_size_px=32, catalog_images=1, wild_images=0)
    titles = Counter((row["category"], row["title"]) for row in rows_of(manifest))
    assert 3 <= sum(count - 1 for count in titles.values()) <= 40


def test_drawing_again_leaves_only_the_finished_manifest(tmp_path: Path) -> None:
    for seed in (1, 2):
        manifest = draw_catalog(tmp_path, num_products=1, seed=seed, image_size_px=32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "manifest.jsonl"]
    assert all((tmp_path / row["image"]).exists() for row in rows_of(manifest))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_products": 0}, "num_products must be at least 1, got 0"),
        ({"image_size_px": 31}, "image_size_px must be at least 32, got 31"),
        ({"wild_images": -1}, "wild_images must be at least 0, got -1"),
        ({"catalog_images": 0, "wild_images": 0}, "catalog_images \\+ wild_images must be at least 1, got 0"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_catalog(tmp_path, **{"num_products": 1, "seed": 0, **arguments})
