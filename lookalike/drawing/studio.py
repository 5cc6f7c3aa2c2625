"""Catalogue photos: a product before a clean studio background, from a few agreed sides."""

import numpy as np
from PIL import Image, ImageOps

from lookalike.drawing.camera import View, cast_shadow, jpeg, project

_JPEG_QUALITY = 90


def studio_photo(product: Image.Image, shot: int, rng: np.random.Generator, size_px: int) -> bytes:
    """Returns a JPEG of [size_px, size_px].

    product: RGBa (see `draw_product`).
    shot: 0 is the front, then come the other side, turned away and a detail; further ones repeat these.
    """
    scene = _backdrop(rng, size_px)
    picture = project(product, _VIEWS[shot % len(_VIEWS)](rng), size_px)
    mask = picture.getchannel("A")
    cast_shadow(scene, mask, offset=(0.02, 0.035), blur=0.03, depth=float(rng.uniform(0.2, 0.34)))
    cast_shadow(scene, mask, offset=(0.004, 0.008), blur=0.008, depth=0.18)
    scene.paste(picture, mask=mask)
    return jpeg(scene, _JPEG_QUALITY)


def _backdrop(rng: np.random.Generator, size_px: int) -> Image.Image:
    """A sheet of paper, white to light grey, a little darker towards the corners."""
    middle = rng.uniform(238, 254) + rng.uniform(-4, 4, 3)
    corner = middle - rng.uniform(8, 26)
    light, dark = (tuple(int(level) for level in np.clip(tone, 0, 255)) for tone in (middle, corner))
    gradient = Image.radial_gradient("L").resize((size_px, size_px), Image.Resampling.BILINEAR)
    return ImageOps.colorize(gradient, light, dark)


def _centre(rng: np.random.Generator, spread: float = 0.025) -> tuple[float, float]:
    x, y = rng.uniform(0.5 - spread, 0.5 + spread, 2)
    return float(x), float(y)


def _front(rng: np.random.Generator) -> View:
    return View(fill=rng.uniform(0.78, 0.86), centre=_centre(rng), roll=rng.uniform(-0.05, 0.05))


def _other_side(rng: np.random.Generator) -> View:
    return View(fill=rng.uniform(0.7, 0.84), centre=_centre(rng), roll=rng.uniform(-0.16, 0.16), mirrored=True)


def _turned_away(rng: np.random.Generator) -> View:
    away = rng.choice((-1, 1))
    return View(
        fill=rng.uniform(0.76, 0.88), centre=_centre(rng), roll=rng.uniform(-0.12, 0.12),
        tilt=(float(away * rng.uniform(0.15, 0.3)), float(rng.uniform(-0.1, 0.1))), squeeze=rng.uniform(0.74, 0.88),
    )  # fmt: skip


def _detail(rng: np.random.Generator) -> View:
    return View(fill=rng.uniform(1.25, 1.6), centre=_centre(rng, 0.14), roll=rng.uniform(-0.2, 0.2))


_VIEWS = (_front, _other_side, _turned_away, _detail)
