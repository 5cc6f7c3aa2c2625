"""What lies around in wild photos and hides a part of the product: books, cups, leaves, fingers, …"""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

Rng = np.random.Generator
RGB = tuple[int, int, int]


def thing(rng: Rng, size_px: int) -> Image.Image:
    """Draws something else a home has, turned any way: RGBA, for a picture of [size_px, size_px]."""
    canvas = Image.new("RGBA", (size_px, size_px))
    _THINGS[rng.integers(len(_THINGS))](ImageDraw.Draw(canvas), size_px, rng)
    side = round(size_px * rng.uniform(0.5, 0.75))
    turned = canvas.rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR)
    return turned.resize((side, side), Image.Resampling.BILINEAR)


def _any_colour(rng: Rng) -> RGB:
    red, green, blue = (int(level) for level in rng.integers(20, 240, 3))
    return red, green, blue


def _times(colour: RGB, factor: float) -> RGB:
    red, green, blue = (min(255, round(level * factor)) for level in colour)
    return red, green, blue


def _book(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    cover = _any_colour(rng)
    draw.rounded_rectangle((side * 0.22, side * 0.12, side * 0.8, side * 0.9), side * 0.02, fill=(236, 230, 214))
    draw.rounded_rectangle((side * 0.2, side * 0.1, side * 0.77, side * 0.87), side * 0.02, fill=cover)
    draw.rectangle((side * 0.2, side * 0.1, side * 0.26, side * 0.87), fill=_times(cover, 0.75))
    draw.rectangle((side * 0.36, side * 0.25, side * 0.68, side * 0.36), fill=_any_colour(rng))


def _cup_from_above(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    china: RGB = (240, 238, 232) if rng.random() < 0.6 else _any_colour(rng)
    rings = ((0.46, _times(china, 0.96)), (0.42, _times(china, 0.89)), (0.3, china), (0.25, (72, 44, 28)))
    for radius, colour in rings:
        draw.ellipse([side * (0.5 + sign * radius) for sign in (-1, -1, 1, 1)], fill=colour)


def _leaves(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    for angle in np.linspace(0.3, 2.8, 7) + rng.uniform(-0.15, 0.15, 7):
        t = np.linspace(0, 1, 12)
        half_width = np.outer(0.075 * np.sin(np.pi * t) ** 0.8, (np.sin(angle), np.cos(angle)))
        rib = np.outer(t, (np.cos(angle), -np.sin(angle))) * rng.uniform(0.6, 0.85) + (0.5, 0.92)
        leaf = np.concatenate([rib + half_width, (rib - half_width)[::-1]]) * side
        draw.polygon(leaf.ravel().tolist(), fill=_times((66, 138, 74), rng.uniform(0.5, 1)))
        draw.line((rib[[0, -1]] * side).ravel().tolist(), fill=(120, 160, 110), width=max(1, side // 80))


def _phone(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    screen = _times(_any_colour(rng), 0.5)
    draw.rounded_rectangle((side * 0.3, side * 0.08, side * 0.7, side * 0.92), side * 0.06, fill=(24, 24, 28))
    draw.rounded_rectangle((side * 0.32, side * 0.11, side * 0.68, side * 0.89), side * 0.04, fill=screen)
    glare = [(side * 0.32, side * 0.6), (side * 0.68, side * 0.2), (side * 0.68, side * 0.4)]
    draw.polygon(glare, fill=_times(screen, 1.4))


def _fingers(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    skin = _times((232, 188, 158), rng.uniform(0.35, 1.05))
    for i, length in enumerate((0.42, 0.5, 0.47, 0.36)):
        x, tip = side * (0.22 + 0.15 * i), side * (0.6 - length)
        draw.rounded_rectangle((x, tip, x + side * 0.13, side), side * 0.065, fill=_times(skin, 0.94 + 0.04 * i))
        nail = (x + side * 0.035, tip + side * 0.01, x + side * 0.095, tip + side * 0.09)
        draw.rounded_rectangle(nail, side * 0.03, fill=_times(skin, 1.2))


def _scarf(draw: ImageDraw.ImageDraw, side: int, rng: Rng) -> None:
    colour = _any_colour(rng)
    draw.rectangle((0, side * 0.36, side, side * 0.62), fill=colour)
    for i in range(8):
        band = (side * i / 8, side * 0.36, side * (i + 0.35) / 8, side * 0.62)
        draw.rectangle(band, fill=_times(colour, 0.8))
    draw.line((0, side * 0.44, side, side * 0.47), fill=_times(colour, 0.6), width=max(1, side // 50))


_THINGS: tuple[Callable[[ImageDraw.ImageDraw, int, Rng], None], ...] = (
    _book,
    _cup_from_above,
    _leaves,
    _phone,
    _fingers,
    _scarf,
)
