"""Surface patterns as repeating tiles in three colours: stripes, dots, checks, flowers, …"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Palette = tuple[Colour, Colour, Colour]  # ground, figure, detail
Rng = np.random.Generator

TILE_PX = 192
_OVERSAMPLING = 2
_SIDE = TILE_PX * _OVERSAMPLING


def pattern_tile(pattern: str, palette: Palette, rng: Rng) -> NDArray[np.uint32]:
    """Draws one period of a pattern: [192, 192] uint32, each a packed R, G, B, 255 pixel; its edges meet.

    rng draws the small differences between two products of the same pattern: widths, counts, places.
    """
    tile = Image.new("RGB", (_SIDE, _SIDE), palette[0])
    _PATTERNS[pattern](tile, palette, rng)
    return np.asarray(tile.reduce(_OVERSAMPLING).convert("RGBA")).view(np.uint32)[..., 0]


def _solid(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    """Nothing to draw: the ground is the pattern."""


def _stripes(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    draw = ImageDraw.Draw(tile)
    count, share, accent = int(rng.integers(2, 4)), rng.uniform(0.28, 0.55), rng.random() < 0.4
    period = _SIDE / count
    for i in range(count):
        draw.rectangle((0, i * period, _SIDE, i * period + period * share), fill=palette[1])
        if accent:
            draw.rectangle((0, (i + 0.78) * period, _SIDE, (i + 0.84) * period), fill=palette[2])


def _pinstripes(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    draw, share = ImageDraw.Draw(tile), rng.uniform(0.1, 0.17)
    for i in range(4):
        left = _SIDE / 4 * i
        draw.rectangle((left, 0, left + _SIDE / 4 * share, _SIDE), fill=palette[1])


def _dots(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    radius = rng.uniform(0.1, 0.17) * _SIDE
    for x, y in ((0.25, 0.25), (0.75, 0.75)):
        _disc(tile, x * _SIDE, y * _SIDE, radius, palette[1])


def _gingham(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    half = _SIDE // 4
    draw = ImageDraw.Draw(tile)
    woven = _mixed(palette[0], palette[1], rng.uniform(0.4, 0.6))
    for i in (0, 2):
        draw.rectangle((i * half, 0, (i + 1) * half - 1, _SIDE), fill=woven)
        draw.rectangle((0, i * half, _SIDE, (i + 1) * half - 1), fill=woven)
    for x in (0, 2):
        for y in (0, 2):
            draw.rectangle((x * half, y * half, (x + 1) * half - 1, (y + 1) * half - 1), fill=palette[1])


def _tartan(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    layer = tile.copy()
    wide, thin = rng.uniform(0.34, 0.48), rng.uniform(0.03, 0.06)
    bands = ((0.0, wide, palette[1]), (wide / 2 - thin, thin * 2, palette[2]), (0.72, thin, palette[2]))
    for start, width, colour in bands:
        ImageDraw.Draw(layer).rectangle((start * _SIDE, 0, (start + width) * _SIDE, _SIDE), fill=colour)
    tile.paste(Image.blend(layer, layer.transpose(Image.Transpose.TRANSPOSE), 0.5))


def _chevron(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    draw, share = ImageDraw.Draw(tile), rng.uniform(0.35, 0.55)
    period, rise = _SIDE / 2, _SIDE * rng.uniform(0.2, 0.3)
    for i in range(-2, 4):
        y, thick = i * period, period * share
        top = [(0, y), (_SIDE / 2, y + rise), (_SIDE, y)]
        draw.polygon(top + [(x, y + thick) for x, y in reversed(top)], fill=palette[1])


def _argyle(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    draw, s = ImageDraw.Draw(tile), _SIDE
    draw.polygon([(s / 2, 0), (s, s / 2), (s / 2, s), (0, s / 2)], fill=palette[1])
    width = round(s * rng.uniform(0.015, 0.03))
    for line in ((0, 0, s, s), (s, 0, 0, s)):
        draw.line(line, fill=palette[2], width=width)


def _floral(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    leaf = _mixed(palette[1], (60, 120, 60), 0.6)
    for x, y, size in _scattered(rng, count=5, smallest=0.095, largest=0.16):
        angle, petals = rng.uniform(0, 2 * np.pi), int(rng.integers(5, 7))
        for turn in (0.4, 1.7):
            reach = 1.25 * size
            _disc(tile, x + reach * np.cos(angle + turn), y + reach * np.sin(angle + turn), size * 0.42, leaf)
        for i in range(petals):
            turn = angle + 2 * np.pi * i / petals
            _disc(tile, x + size * 0.62 * np.cos(turn), y + size * 0.62 * np.sin(turn), size * 0.44, palette[1])
        _disc(tile, x, y, size * 0.34, palette[2])


def _leopard(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    for x, y, size in _scattered(rng, count=14, smallest=0.06, largest=0.1):
        for turn in rng.uniform(0, 2 * np.pi) + np.arange(4) * 1.45:
            reach = size * rng.uniform(0.6, 0.85)
            _disc(tile, x + reach * np.cos(turn), y + reach * np.sin(turn), size * 0.55, palette[1])
        _disc(tile, x, y, size * 0.55, _mixed(palette[0], palette[1], 0.35))


def _stars(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    for x, y, size in _scattered(rng, count=6, smallest=0.08, largest=0.14):
        turn = rng.uniform(0, 2 * np.pi) + np.arange(10) * np.pi / 5
        reach = size * np.where(np.arange(10) % 2, 0.42, 1.0)
        star = np.stack([x + reach * np.sin(turn), y - reach * np.cos(turn)], axis=1)
        for shift in _wraps():
            ImageDraw.Draw(tile).polygon([tuple(p) for p in star + shift], fill=palette[1])


def _tie_dye(tile: Image.Image, palette: Palette, rng: Rng) -> None:
    y, x = np.mgrid[0:_SIDE, 0:_SIDE].astype(np.float32) * np.float32(2 * np.pi / _SIDE)
    a, b, c = rng.uniform(0, 2 * np.pi, 3)
    tone = np.sin(x + 1.4 * np.sin(y + a)) + np.sin(2 * y + 1.3 * np.sin(x + b)) + 0.6 * np.sin(2 * x - 3 * y + c)
    mask = Image.fromarray((255 / (1 + np.exp(-2.5 * tone))).astype(np.uint8))
    tile.paste(Image.new("RGB", tile.size, palette[1]), mask=mask)


_PATTERNS: dict[str, Callable[[Image.Image, Palette, Rng], None]] = {
    "solid": _solid,
    "stripes": _stripes,
    "pinstripes": _pinstripes,
    "dots": _dots,
    "gingham": _gingham,
    "tartan": _tartan,
    "chevron": _chevron,
    "argyle": _argyle,
    "floral": _floral,
    "leopard": _leopard,
    "stars": _stars,
    "tie-dye": _tie_dye,
}


def _mixed(a: Colour, b: Colour, share: float) -> Colour:
    red, green, blue = (round(p + (q - p) * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


def _wraps() -> NDArray[np.float64]:
    """The nine shifts that make a figure over a tile's edge come back in on the other side."""
    return np.array([(x, y) for x in (-_SIDE, 0, _SIDE) for y in (-_SIDE, 0, _SIDE)], np.float64)


def _disc(tile: Image.Image, x: float, y: float, radius: float, colour: Colour) -> None:
    draw = ImageDraw.Draw(tile)
    for dx, dy in _wraps():
        centre_x, centre_y = x + dx, y + dy
        if -radius < centre_x < _SIDE + radius and -radius < centre_y < _SIDE + radius:
            draw.ellipse((centre_x - radius, centre_y - radius, centre_x + radius, centre_y + radius), fill=colour)


def _scattered(rng: Rng, *, count: int, smallest: float, largest: float) -> list[tuple[float, float, float]]:
    """Returns (x, y, size) in pixels of figures spread over the tile, each the farthest of eight tries."""
    places = [rng.random(2)]
    while len(places) < count:
        tries = rng.random((8, 2))
        apart = np.abs(tries[:, None] - np.array(places))
        nearest = np.linalg.norm(np.minimum(apart, 1 - apart), axis=2).min(axis=1)
        places.append(tries[nearest.argmax()])
    return [(x * _SIDE, y * _SIDE, rng.uniform(smallest, largest) * _SIDE) for x, y in places]
