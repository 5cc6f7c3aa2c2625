"""Materials: how cloth, leather, ceramic, … shine, crease and feel."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Rng = np.random.Generator
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Material:
    """How a surface takes the light: gloss 0…1, wrinkle 0…1, and the strength of its grain (see `grain`)."""

    gloss: float
    wrinkle: float
    grain: str = "smooth"


MATERIALS = {
    "cotton": Material(0.04, 0.75, "fine"),
    "linen": Material(0.02, 1.0, "weave"),
    "denim": Material(0.05, 0.6, "twill"),
    "wool": Material(0.0, 0.35, "knit"),
    "silk": Material(0.55, 0.9),
    "velvet": Material(0.3, 0.5, "fine"),
    "leather": Material(0.5, 0.3, "leather"),
    "suede": Material(0.03, 0.25, "fine"),
    "canvas": Material(0.04, 0.3, "weave"),
    "ceramic": Material(0.9, 0.0),
    "enamel": Material(0.6, 0.0, "speckle"),
    "straw": Material(0.05, 0.15, "straw"),
    "paper": Material(0.0, 0.0, "fine"),
}


@lru_cache(maxsize=64)
def grain(name: str, size_px: int) -> Image.Image:
    """Returns a material's grain over a square: a grey image around 128, to be added to the surface's light."""
    tone = _GRAINS[name](np.random.default_rng(len(name)), 400)
    image = Image.fromarray(np.clip(128 + tone, 0, 255).astype(np.uint8))
    return image.resize((size_px, size_px), Image.Resampling.BICUBIC)


def _smooth_grain(rng: Rng, side: int) -> Floats:
    return np.asarray(rng.normal(0, 2, (side, side)), np.float64)


def _fine_grain(rng: Rng, side: int) -> Floats:
    return np.asarray(rng.normal(0, 7, (side, side)), np.float64)


def _weave_grain(rng: Rng, side: int) -> Floats:
    rows = np.repeat(rng.normal(0, 9, (side, side // 16)), 16, axis=1)
    columns = np.repeat(rng.normal(0, 9, (side // 16, side)), 16, axis=0)
    return np.asarray(rows + columns, np.float64)


def _twill_grain(rng: Rng, side: int) -> Floats:
    y, x = np.mgrid[0:side, 0:side]
    return np.asarray(11 * np.sin((x + y) * 2 * np.pi / 7) + rng.normal(0, 9, (side, side)))


def _knit_grain(rng: Rng, side: int) -> Floats:
    y, x = np.mgrid[0:side, 0:side]
    chain = np.abs((x % 14) - 7) * 0.9
    stitches = 17 * np.sin((y + chain) * 2 * np.pi / 9) - 14 * (x % 14 < 2)
    return np.asarray(stitches + rng.normal(0, 4, (side, side)))


def _leather_grain(rng: Rng, side: int) -> Floats:
    cells = Image.fromarray(rng.integers(0, 255, (side // 4, side // 4), dtype=np.uint8)).resize((side, side))
    edges = ImageChops.difference(cells.filter(ImageFilter.MedianFilter(9)), cells.filter(ImageFilter.BoxBlur(4)))
    return np.asarray(8 - np.asarray(edges, np.float64) * 0.3)


def _speckle_grain(rng: Rng, side: int) -> Floats:
    spots = np.repeat(np.repeat(rng.random((side // 4, side // 4)) > 0.985, 4, axis=0), 4, axis=1)
    return np.asarray(-70.0 * spots)


def _straw_grain(rng: Rng, side: int) -> Floats:
    y, x = np.mgrid[0:side, 0:side]
    woven = np.sin((x + 6 * (y // 10 % 2)) * 2 * np.pi / 12) * np.sin(y * 2 * np.pi / 10)
    return np.asarray(20 * woven + rng.normal(0, 8, (side, side)))


_GRAINS: dict[str, Callable[[Rng, int], Floats]] = {
    "smooth": _smooth_grain,
    "fine": _fine_grain,
    "weave": _weave_grain,
    "twill": _twill_grain,
    "knit": _knit_grain,
    "leather": _leather_grain,
    "speckle": _speckle_grain,
    "straw": _straw_grain,
}
