"""Outlines: the parts that products are cut from, and the curves, ribbons and mirror images that make them.

Coordinates are those of the product square: x to the right and y downwards, both 0…1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]  # [num_points, 2]
Options = Mapping[str, str]
Rng = np.random.Generator


@dataclass(frozen=True)
class Part:
    """One piece of a product, painted over the pieces before it.

    surface: "main" (the pattern), "plain" (its first colour), "accent" (its second) or a fixed one, such as "wood".
    bulge: how far the middle stands out. round: a turned body (mug, lamp shade) instead of a cushion.
    turn: by how many radians the pattern is turned, as on a sleeve.
    folds and seams: open lines; folds take the light, seams are thin and dark.
    """

    outline: Points
    surface: str = "main"
    bulge: float = 1.0
    round: bool = False
    turn: float = 0.0
    folds: tuple[Points, ...] = ()
    seams: tuple[Points, ...] = ()


def curve(*points: ArrayLike, steps: int = 8) -> Points:
    """Returns the Catmull-Rom curve through `points`, ends included: [(len(points) - 1) * steps + 1, 2]."""
    through = np.array([points[0], *points, points[-1]], np.float64)
    before, start, end, after = through[:-3], through[1:-2], through[2:-1], through[3:]
    t = np.linspace(0, 1, steps, endpoint=False)[:, None, None]
    cubic = 3 * start - before - 3 * end + after
    square = 2 * before - 5 * start + 4 * end - after
    segments = start + t / 2 * (end - before + t * (square + t * cubic))
    return np.concatenate([segments.transpose(1, 0, 2).reshape(-1, 2), through[-1:]])


def closed(*points: ArrayLike) -> Points:
    """Returns the smooth closed curve through `points`."""
    lap = curve(*points[-2:], *points, *points[:3])
    return lap[16 : 16 + 8 * len(points)]


def line(*points: ArrayLike) -> Points:
    """Returns straight edges through `points`."""
    return np.array(points, np.float64)


def join(*curves: Points) -> Points:
    """Returns one outline that runs along `curves`, with a corner wherever two of them meet."""
    return np.concatenate(curves)


def mirror(points: Points) -> Points:
    """Returns `points` on the other side of the middle line x = 0.5, in the opposite direction."""
    return np.stack([1 - points[::-1, 0], points[::-1, 1]], axis=1)


def symmetric(right: Points) -> Points:
    """Returns the outline made of a right half, listed from top to bottom, and its mirror image."""
    return join(right, mirror(right))


def ellipse(x: float, y: float, width: float, height: float, start: float = 0.0, end: float = 360.0) -> Points:
    """Returns an arc about (x, y) with the given half-axes, clockwise from `start` to `end` degrees."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.stack([x + width * np.cos(angle), y + height * np.sin(angle)], axis=1)


def band(along: Points, width: float) -> Points:
    """Returns the outline of a ribbon of constant width along an open line."""
    step = np.gradient(along, axis=0)
    normal = np.stack([-step[:, 1], step[:, 0]], axis=1) / (np.linalg.norm(step, axis=1, keepdims=True) + 1e-9)
    return join(along + normal * width / 2, (along - normal * width / 2)[::-1])


def move(part: Part, by: tuple[float, float]) -> Part:
    """Returns the same part elsewhere."""
    folds, seams = (tuple(points + by for points in lines) for lines in (part.folds, part.seams))
    return replace(part, outline=part.outline + by, folds=folds, seams=seams)


def flip(part: Part) -> Part:
    """Returns the part's mirror image, for the other side of a symmetric product."""
    folds, seams = (tuple(mirror(points) for points in lines) for lines in (part.folds, part.seams))
    return replace(part, outline=mirror(part.outline), folds=folds, seams=seams, turn=-part.turn)


def bow() -> list[Part]:
    """A ribbon tied at (0.5, 0.12), in the accent colour."""
    loop = closed((0.5, 0.12), (0.42, 0.075), (0.405, 0.12), (0.425, 0.16))
    tail = line((0.49, 0.12), (0.44, 0.27), (0.475, 0.275), (0.505, 0.13))
    knot = ellipse(0.5, 0.12, 0.018, 0.02)
    return [Part(shape, "accent") for shape in (tail, mirror(tail), loop, mirror(loop), knot)]


def drape(rng: Rng, top: float, bottom: float, width: float, count: int) -> tuple[Points, ...]:
    """Soft folds that hang from `top` to `bottom`, fanning out within `width` of the middle."""
    places = np.linspace(-0.8, 0.8, count) + rng.uniform(-0.12, 0.12, count)
    starts = top + rng.uniform(0.05, 0.45, count) * (bottom - top)
    return tuple(
        curve(
            (0.5 + place * width * 0.6, start),
            (0.5 + place * width * 0.8, (start + bottom) / 2),
            (0.5 + place * width, bottom),
        )
        for place, start in zip(places, starts, strict=True)
    )
