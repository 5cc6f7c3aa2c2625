"""Draws one product: its parts from back to front, cut from patterned material and lit from the upper left."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lookalike.drawing.materials import MATERIALS, Material, grain
from lookalike.drawing.noise import smooth_noise
from lookalike.drawing.outlines import Options, Part, Points, Rng
from lookalike.drawing.patterns import TILE_PX, Colour, Palette, pattern_tile

Floats = NDArray[np.float32]

# Light and folds are soft: they are computed on a grid four times as coarse as the colours.
_COARSE = 4
_LIGHT = np.array([-0.42, -0.55, 0.72], np.float32)
_HALFWAY = np.array([-0.24, -0.31, 0.92], np.float32)  # between the light and the eye
_SHADOW_OFFSET = (0.008, 0.016)
_METAL = Material(0.9, 0.0)
_PLAIN = Material(0.12, 0.0)
_SHEEN = Material(0.35, 0.0, "fine")
_FIXED: dict[str, tuple[Colour, Material]] = {
    "rubber": ((232, 230, 222), _PLAIN),
    "sole": ((62, 46, 38), _PLAIN),
    "lace": ((238, 236, 230), _PLAIN),
    "button": ((236, 230, 216), _SHEEN),
    "metal": ((200, 184, 142), _METAL),
    "wood": ((164, 112, 70), _SHEEN),
}


@dataclass(frozen=True)
class Design:
    """All that decides a product's look; `seed` draws its own small differences.

    figure_turn: the pattern's direction in radians. figure_size: its period, in widths of the product square.
    """

    outline: Callable[[Options, Rng], list[Part]]
    options: Options
    pattern: str
    palette: Palette
    material: str
    figure_turn: float
    figure_size: float
    seed: int


def draw_product(design: Design, size_px: int) -> Image.Image:
    """Returns the product alone, cut to its outline: RGBa (colours multiplied with their opacity), for `project`.

    size_px: the side of the product square, of which the product fills the most; a multiple of four.
    """
    rng = np.random.default_rng(design.seed)
    painter = _Painter(design, size_px, rng)
    for part in design.outline(design.options, rng):
        painter.paint(part)
    return painter.picture()


class _Painter:
    """A canvas and the cloth to cover it with."""

    def __init__(self, design: Design, size_px: int, rng: Rng) -> None:
        self._design, self._size_px = design, size_px
        self._material = MATERIALS[design.material]
        self._tile = pattern_tile(design.pattern, design.palette, rng)
        self._phase = rng.random(2)
        self._wrinkles = smooth_noise(rng, size_px // _COARSE, cells=9) * (0.014 * self._material.wrinkle)
        self._colour = Image.new("RGB", (size_px, size_px), design.palette[0])
        self._alpha = Image.new("L", (size_px, size_px), 0)

    def picture(self) -> Image.Image:
        self._colour.putalpha(self._alpha)
        return self._colour.crop(self._alpha.getbbox()).convert("RGBa")

    def paint(self, part: Part) -> None:
        mask = self._mask(part.outline)
        box = _coarse_box(mask)
        if box is None:
            return
        self._cast_shadow(part.outline)
        relief = self._relief(mask, part)
        colour, material = self._covering(part, relief, box)
        lit = _lit(colour, relief, material, grain(material.grain, self._size_px), box)
        _sew(lit, [self._pixels(seam) for seam in part.seams], box, self._size_px)
        smooth_edge = mask.crop(box).filter(ImageFilter.BoxBlur(0.6))
        self._colour.paste(lit, box, smooth_edge)
        self._alpha.paste(255, box, smooth_edge)

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        return [(x, y) for x, y in (points * self._size_px).tolist()]

    def _mask(self, outline: Points, level: int = 255) -> Image.Image:
        mask = Image.new("L", (self._size_px, self._size_px), 0)
        ImageDraw.Draw(mask).polygon(self._pixels(outline), fill=level)
        return mask

    def _cast_shadow(self, outline: Points) -> None:
        """Darkens what lies just below and to the right of a part, where parts are already painted."""
        shadow = self._mask(outline + _SHADOW_OFFSET, level=107)
        blur = max(2, self._size_px // 60)
        left, top, right, bottom = shadow.getbbox() or (0, 0, 0, 0)
        box = (left - 2 * blur, top - 2 * blur, right + 2 * blur, bottom + 2 * blur)
        self._colour.paste((0, 0, 0), box, shadow.crop(box).filter(ImageFilter.BoxBlur(blur)))

    def _relief(self, mask: Image.Image, part: Part) -> Floats:
        """How far each point stands out, in units of the product square, on the coarse grid of the whole canvas."""
        small = mask.reduce(_COARSE)
        side = small.width
        inside = np.asarray(small, np.float32) / 255
        if part.round:
            return _turned(inside) * np.float32(part.bulge)
        soft = sum(_blurred(small, side * share) for share in (0.015, 0.05))
        relief = inside * soft * np.float32(0.019 * part.bulge)
        if part.surface in ("main", "plain"):
            relief = relief + self._wrinkles + self._folds(part, side) * np.float32(0.02)
        return np.asarray(relief, np.float32)

    def _folds(self, part: Part, side: int) -> Floats:
        folds = Image.new("L", (side, side), 0)
        draw = ImageDraw.Draw(folds)
        for fold in part.folds:
            draw.line([(float(x), float(y)) for x, y in fold * side], fill=255, width=max(1, side // 45))
        return _blurred(folds, side * 0.014)

    def _covering(self, part: Part, relief: Floats, box: tuple[int, int, int, int]) -> tuple[Image.Image, Material]:
        ground, figure, _ = self._design.palette
        if part.surface == "main":
            return self._cloth(part, relief, box), self._material
        if part.surface in _FIXED:
            colour, material = _FIXED[part.surface]
        else:
            dark = tuple(round(level * 0.42) for level in ground)
            colour = {"plain": ground, "accent": figure, "trim": figure, "lining": dark}[part.surface]  # type: ignore[assignment]
            material = self._material
        return Image.new("RGB", (box[2] - box[0], box[3] - box[1]), colour), material

    def _cloth(self, part: Part, relief: Floats, box: tuple[int, int, int, int]) -> Image.Image:
        """The pattern over `box`, turned with the part, shifted by its folds and bent around turned bodies."""
        left, top, right, bottom = box
        x = np.arange(left, right, dtype=np.float32)[None] / self._size_px
        y = np.arange(top, bottom, dtype=np.float32)[:, None] / self._size_px
        if part.round:
            x = _around(x, part.outline)
        shift = _enlarged(_coarse_crop(relief, box), (right - left, bottom - top)) * np.float32(0.4)
        turn = part.turn + self._design.figure_turn
        scale = TILE_PX / self._design.figure_size
        cos, sin = np.float32(np.cos(turn) * scale), np.float32(np.sin(turn) * scale)
        u = (x - 0.5) * cos - y * sin + (shift * scale + np.float32(self._phase[0] * TILE_PX))
        v = (x - 0.5) * sin + y * cos + (shift * scale + np.float32(self._phase[1] * TILE_PX))
        index = np.mod(v.astype(np.int32), TILE_PX) * TILE_PX + np.mod(u.astype(np.int32), TILE_PX)
        packed = self._tile.ravel()[index]
        return Image.fromarray(packed.view(np.uint8).reshape(*packed.shape, 4)).convert("RGB")


def _coarse_box(mask: Image.Image) -> tuple[int, int, int, int] | None:
    """The mask's bounding box, widened to whole cells of the coarse grid."""
    box = mask.getbbox()
    if box is None:
        return None
    left, top, right, bottom = box
    return (
        left // _COARSE * _COARSE, top // _COARSE * _COARSE,
        -(-right // _COARSE) * _COARSE, -(-bottom // _COARSE) * _COARSE,
    )  # fmt: skip


def _coarse_crop(grid: Floats, box: tuple[int, int, int, int]) -> Floats:
    left, top, right, bottom = (edge // _COARSE for edge in box)
    return grid[top:bottom, left:right]


def _enlarged(grid: Floats, size: tuple[int, int]) -> Floats:
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BILINEAR), np.float32)


def _blurred(image: Image.Image, radius: float) -> Floats:
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255


def _turned(inside: Floats) -> Floats:
    """The relief of a body turned on a lathe: each row of the mask is a half circle across."""
    width = inside.sum(axis=1, keepdims=True)
    column = np.arange(inside.shape[1], dtype=np.float32)[None]
    middle = (inside * column).sum(axis=1, keepdims=True) / np.maximum(width, 1)
    across = (column - middle) / np.maximum(width / 2, 1)
    depth = np.sqrt(np.clip(1 - across**2, 0.02, 1)) * width / 2
    return np.asarray(depth / inside.shape[1] * 0.45, np.float32)


def _around(x: Floats, outline: Points) -> Floats:
    """Where on its own circumference a turned body shows the column `x`."""
    left, right = np.float32(outline[:, 0].min()), np.float32(outline[:, 0].max())
    middle, half = (left + right) / 2, (right - left) / 2 + np.float32(1e-6)
    return np.asarray(middle + half * np.arcsin(np.clip((x - middle) / half, -1, 1)), np.float32)


def _lit(
    colour: Image.Image, relief: Floats, material: Material, grain_of: Image.Image, box: tuple[int, int, int, int]
) -> Image.Image:
    """Blinn-Phong: what the surface scatters darkens the colour, what it mirrors is laid over in white."""
    slope_y, slope_x = np.gradient(relief * np.float32(relief.shape[0]))
    slope_x, slope_y = _coarse_crop(slope_x, box), _coarse_crop(slope_y, box)
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    scattered = (_LIGHT[2] - slope_x * _LIGHT[0] - slope_y * _LIGHT[1]) / length
    mirrored = np.clip((_HALFWAY[2] - slope_x * _HALFWAY[0] - slope_y * _HALFWAY[1]) / length, 0, 1) ** 24
    shade = np.clip(76 + scattered * 200, 62, 255)
    shine = np.clip(mirrored * (material.gloss * 150) + np.clip(scattered - 0.78, 0, 1) * 110, 0, 200)
    size = colour.size
    dark = ImageChops.add(_grey(shade, size), grain_of.crop(box), scale=1, offset=-128)
    dark_rgb, shine_rgb = (Image.merge("RGB", (tone, tone, tone)) for tone in (dark, _grey(shine, size)))
    return ImageChops.screen(ImageChops.multiply(colour, dark_rgb), shine_rgb)


def _grey(tone: Floats, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(tone.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)


def _sew(
    colour: Image.Image, seams: list[list[tuple[float, float]]], box: tuple[int, int, int, int], size_px: int
) -> None:
    """Draws each seam as a dark groove with a light lip beside it."""
    width = max(1, size_px // 160)
    for dx, shade in ((width, (255, 255, 255, 46)), (0, (0, 0, 0, 96))):
        draw = ImageDraw.Draw(colour, "RGBA")
        for seam in seams:
            draw.line([(x - box[0] + dx, y - box[1] + dx) for x, y in seam], fill=shade, width=width, joint="curve")
