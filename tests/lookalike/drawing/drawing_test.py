import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from lookalike.drawing.assortment import KINDS
from lookalike.drawing.camera import View, project
from lookalike.drawing.clothing import shirt, skirt
from lookalike.drawing.materials import MATERIALS
from lookalike.drawing.outlines import curve, ellipse, line, mirror
from lookalike.drawing.patterns import TILE_PX, pattern_tile
from lookalike.drawing.product import Design, draw_product
from lookalike.drawing.studio import studio_photo
from lookalike.drawing.wild import wild_photo

RED, WHITE, NAVY = (200, 30, 40), (240, 240, 240), (20, 30, 90)
PATTERNS = (
    "stripes", "pinstripes", "dots", "gingham", "tartan", "chevron", "argyle", "floral", "leopard", "stars", "tie-dye"
)  # fmt: skip
SKIRT = Design(
    skirt, {"length": "midi", "cut": "a-line", "waist": "plain"}, "solid", (RED, WHITE, NAVY), "cotton", 0.0, 0.15, 1
)


def opaque(picture: Image.Image) -> np.ndarray:
    pixels = np.asarray(picture.convert("RGBA"), np.float64)
    return pixels[pixels[..., 3] > 250][:, :3]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.category)
def test_every_option_of_every_kind_can_be_drawn_and_seen(kind) -> None:
    first = {name: values[0] for name, values in kind.options.items()}
    plain = replace(SKIRT, outline=kind.outline, options=first, material=kind.materials[0])
    drawn = draw_product(plain, 160).tobytes()
    for name, values in kind.options.items():
        for value in values[1:]:
            assert draw_product(replace(plain, options={**first, name: value}), 160).tobytes() != drawn, (name, value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.category)
def test_parts_stay_inside_the_product_square(kind) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        options = {name: str(rng.choice(values)) for name, values in kind.options.items()}
        points = np.concatenate([part.outline for part in kind.outline(options, rng)])
        assert points.min() > -0.02
        assert points.max() < 1.02


def test_solid_cloth_has_the_asked_colour() -> None:
    red, green, blue = np.median(opaque(draw_product(SKIRT, 160)), axis=0)
    assert red > 130
    assert green < 60
    assert blue < 70


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_shows_both_its_colours_and_repeats_without_a_seam(pattern: str) -> None:
    tile = pattern_tile(pattern, (RED, WHITE, NAVY), np.random.default_rng(5))
    pixels = tile.view(np.uint8).reshape(TILE_PX, TILE_PX, 4)[..., :3].astype(np.int64)
    assert (np.abs(pixels - RED).sum(axis=2) < 60).mean() > 0.1
    assert (np.abs(pixels - WHITE).sum(axis=2) < 60).mean() > 0.05
    # Nowhere do opposite edges differ more than the most different neighbours inside do.
    for axis in (0, 1):
        inside = np.abs(np.diff(pixels, axis=axis)).sum(axis=2).mean(axis=1 - axis).max()
        across = np.abs(pixels.take(0, axis) - pixels.take(-1, axis)).sum(axis=1).mean()
        assert across <= inside + 1


def test_stripes_turn_with_the_design() -> None:
    def variation(turn: float, axis: int) -> float:
        tall = Design(shirt, {"sleeve": "long", "collar": "band", "pocket": "no"}, "stripes", (RED, WHITE, NAVY),
                      "cotton", turn, 0.12, 1)  # fmt: skip
        picture = np.asarray(draw_product(tall, 320).convert("RGBA"), np.float64)[..., 1]
        height, width = picture.shape
        left_of_placket = picture[height // 2 : height * 3 // 4, width // 3 : width * 9 // 20]
        return float(np.abs(np.diff(left_of_placket, axis=axis)).mean())

    assert variation(0.0, axis=0) > 1.5 * variation(0.0, axis=1)
    assert variation(np.pi / 2, axis=1) > 1.5 * variation(np.pi / 2, axis=0)


@pytest.mark.parametrize("material", MATERIALS)
def test_every_material_can_be_drawn(material: str) -> None:
    assert draw_product(replace(SKIRT, material=material), 96).width > 30


def test_curve_passes_through_its_points() -> None:
    points = [(0.0, 0.0), (1.0, 2.0), (3.0, 1.0)]
    through = curve(*points, steps=4)
    assert through.shape == (9, 2)
    np.testing.assert_allclose(through[[0, 4, 8]], points)


def test_mirror_image_runs_backwards_on_the_other_side() -> None:
    np.testing.assert_allclose(mirror(line((0.5, 0), (0.9, 1))), [(0.1, 1), (0.5, 0)], atol=1e-12)


def test_half_ellipse_starts_and_ends_on_its_axis() -> None:
    arc = ellipse(0.5, 0.5, 0.2, 0.1, 180, 360)
    np.testing.assert_allclose(arc[[0, -1]], [(0.3, 0.5), (0.7, 0.5)], atol=1e-9)
    assert arc[:, 1].min() == pytest.approx(0.4, abs=1e-3)  # y points down: this is the upper half


def quarters() -> Image.Image:
    """A square whose upper left quarter is red and whose rest is white."""
    picture = Image.new("RGBa", (80, 80), (255, 255, 255, 255))
    picture.paste((255, 0, 0, 255), (0, 0, 40, 40))
    return picture


def is_red(picture: Image.Image, x: int, y: int) -> bool:
    red, green, _, alpha = picture.getpixel((x, y))
    return alpha == 255 and red > 200 and green < 60


def test_front_view_fills_the_asked_part_of_the_picture() -> None:
    picture = project(quarters(), View(fill=0.5), 100)
    assert picture.getchannel("A").getbbox() == (25, 25, 75, 75)
    assert is_red(picture, 35, 35)
    assert not is_red(picture, 65, 35)


def test_mirrored_view_swaps_left_and_right() -> None:
    picture = project(quarters(), View(fill=0.5, mirrored=True), 100)
    assert is_red(picture, 65, 35)
    assert not is_red(picture, 35, 35)


def test_roll_of_a_quarter_turn_moves_the_upper_left_to_the_upper_right() -> None:
    picture = project(quarters(), View(fill=0.5, roll=np.pi / 2), 100)
    assert is_red(picture, 65, 35)


def test_tilt_shrinks_the_side_that_is_farther_away() -> None:
    alpha = np.asarray(project(quarters(), View(fill=0.6, tilt=(0.6, 0.0)), 100).getchannel("A"))
    columns = np.flatnonzero((alpha > 128).any(axis=0))
    heights = (alpha > 128).sum(axis=0)
    assert heights[columns[2]] > 1.3 * heights[columns[-3]]


def test_squeeze_narrows_the_product() -> None:
    left, top, right, bottom = project(quarters(), View(fill=0.6, squeeze=0.5), 100).getchannel("A").getbbox()
    assert right - left == pytest.approx((bottom - top) / 2, abs=2)


def test_wild_photos_disturb_colours_more_than_studio_photos() -> None:
    product = draw_product(SKIRT, 240)

    def middles(photos: list[bytes]) -> np.ndarray:
        pictures = [np.asarray(Image.open(io.BytesIO(photo)), np.float64) for photo in photos]
        return np.array([np.median(picture[40:56, 40:56].reshape(-1, 3), axis=0) for picture in pictures])

    studio = middles([studio_photo(product, 0, np.random.default_rng(seed), 96) for seed in range(12)])
    wild = middles([wild_photo(product, np.random.default_rng(seed), 96) for seed in range(12)])
    assert wild.std(axis=0).mean() > 2 * studio.std(axis=0).mean()
