"""What lies behind a product in wild photos: rooms, wood, crumpled cloth, tiles, carpet, grass."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.drawing.noise import smooth_noise

Rng = np.random.Generator
Floats = NDArray[np.float32]


def background(rng: Rng, size_px: int) -> Image.Image:
    """Returns a random ground to put things on: RGB [size_px, size_px]."""
    paint = _BACKGROUNDS[rng.integers(len(_BACKGROUNDS))]
    side = round(size_px * rng.uniform(1.0, 1.6))
    ground = Image.fromarray(np.clip(paint(rng, side), 0, 255).astype(np.uint8))
    turned = ground.rotate(float(rng.choice((0, 0, 8, -14, 30, 90))), Image.Resampling.BILINEAR)
    return turned.resize((size_px, size_px), Image.Resampling.BILINEAR, box=_inner_square(side))


def _inner_square(side: int) -> tuple[int, int, int, int]:
    """The middle part of a square that no rotation leaves empty."""
    half = round(side / 2 / np.sqrt(2))
    return side // 2 - half, side // 2 - half, side // 2 + half, side // 2 + half


def _household_colour(rng: Rng) -> Floats:
    """Wall paint and textiles: mostly pale and muted, now and then strong."""
    (darkest, lightest), strength = ((165, 240), 16) if rng.random() < 0.65 else ((60, 200), 65)
    tone = rng.uniform(darkest, lightest)
    return np.asarray(tone + rng.uniform(-1, 1, 3) * strength, np.float32)


def _tint(rng: Rng, deviation: float) -> Floats:
    return rng.normal(0, deviation, 3).astype(np.float32)


def grid(side: int) -> tuple[Floats, Floats]:
    """Returns x [1, side] and y [side, 1], 0…1 from the upper left."""
    ramp = np.linspace(0, 1, side, dtype=np.float32)
    return ramp[None, :], ramp[:, None]


def _room(rng: Rng, side: int) -> Floats:
    """A wall above a floor, both shaded off."""
    x, y = grid(side)
    floor_y = np.float32(rng.uniform(0.45, 0.85))
    wall, floor = _household_colour(rng), _household_colour(rng) * np.float32(0.8)
    picture = np.where((y > floor_y)[..., None], floor, wall)
    shade = 1 - 0.3 * np.abs(y - floor_y) - np.float32(rng.uniform(-0.25, 0.25)) * x
    skirting = np.where(np.abs(y - floor_y) < 0.012, np.float32(0.7), np.float32(1))
    plaster = smooth_noise(rng, side, cells=side // 3)[..., None] * 3
    return np.asarray(picture * (shade * skirting)[..., None] + plaster, np.float32)


def _wood(rng: Rng, side: int) -> Floats:
    x, y = grid(side)
    planks = int(rng.integers(3, 8))
    plank = np.floor(x * planks).astype(np.int64)
    tones = rng.uniform(0.78, 1.12, planks + 1).astype(np.float32)[plank]
    shift = rng.random(planks + 1).astype(np.float32)[plank]
    waves = smooth_noise(rng, side, cells=6) * np.float32(0.35) + np.float32(0.6) * np.sin(y * 7 + shift * 40)
    rings = np.sin((x * np.float32(planks * 4) + shift * 9 + waves) * np.float32(2 * np.pi))
    fibres = np.repeat(rng.normal(0, 0.035, (1, side)), side, axis=0).astype(np.float32)
    gap = np.where(np.mod(x * planks, 1) < 0.025, np.float32(0.5), np.float32(1))
    colour = np.array([178, 124, 78], np.float32) * np.float32(rng.uniform(0.6, 1.35)) + _tint(rng, 10)
    return np.asarray(colour * (tones * (1 + 0.07 * rings + fibres) * gap)[..., None], np.float32)


def _cloth(rng: Rng, side: int) -> Floats:
    """A crumpled sheet or a bedspread, plain or striped."""
    x, y = grid(side)
    height = smooth_noise(rng, side, cells=5) + np.float32(0.5) * smooth_noise(rng, side, cells=11)
    slope = np.gradient(height, axis=1) + np.gradient(height, axis=0)
    light = 1 - np.clip(slope * np.float32(side / 32), -0.45, 0.45)
    stripes = np.sin((x + height * np.float32(0.02)) * np.float32(2 * np.pi * rng.integers(4, 14)))
    if rng.random() < 0.5:
        stripes = stripes * np.sin((y + height * np.float32(0.02)) * np.float32(2 * np.pi * rng.integers(4, 14)))
    figure = (stripes > 0.2)[..., None] * np.float32(rng.random() < 0.55)
    base, other = _household_colour(rng), _household_colour(rng)
    return np.asarray((base + (other - base) * figure * np.float32(0.6)) * light[..., None], np.float32)


def _tiles(rng: Rng, side: int) -> Floats:
    x, y = grid(side)
    count = int(rng.integers(3, 8))
    row = np.floor(y * count)
    shifted = x * count + (row % 2) * np.float32(0.5 * (rng.random() < 0.5))
    column = np.floor(shifted)
    tone = np.sin(row * 12.9 + column * 78.2) * np.float32(43.7)
    tone = 1 + (tone - np.floor(tone) - 0.5) * np.float32(rng.uniform(0.05, 0.3))
    joint = (np.mod(shifted, 1) < 0.05) | (np.mod(y * count, 1) < 0.05)
    picture = _household_colour(rng) * tone[..., None] + smooth_noise(rng, side, cells=side // 4)[..., None] * 4
    return np.asarray(np.where(joint[..., None], picture * 0.72 + 20, picture), np.float32)


def _carpet(rng: Rng, side: int) -> Floats:
    pile = smooth_noise(rng, side, cells=side // 2) * 16 + smooth_noise(rng, side, cells=7) * 8
    return np.asarray(_household_colour(rng) + pile[..., None], np.float32)


def _grass(rng: Rng, side: int) -> Floats:
    blades = smooth_noise(rng, side, cells=side // 3) * 26 + smooth_noise(rng, side, cells=8) * 12
    colour = np.array([96, 132, 58], np.float32) + _tint(rng, 14)
    return np.asarray(colour + blades[..., None], np.float32)


_BACKGROUNDS: tuple[Callable[[Rng, int], Floats], ...] = (
    _room,
    _room,
    _wood,
    _wood,
    _cloth,
    _cloth,
    _tiles,
    _carpet,
    _grass,
)
