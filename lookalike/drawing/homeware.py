"""Things for the home: mug, lamp, chair; each a list of parts, back to front."""

import numpy as np

from lookalike.drawing.outlines import Options, Part, Points, Rng, band, curve, ellipse, join, line, mirror, symmetric

_MUG_X = 0.44  # the handle needs the room on the right


def mug(options: Options, rng: Rng) -> list[Part]:
    """A mug: options shape and handle."""
    top, bottom, upper = rng.uniform(0.24, 0.3), rng.uniform(0.8, 0.86), rng.uniform(0.25, 0.28)
    lower = upper * {"straight": 1.0, "tapered": 0.74, "belly": 0.8}[options["shape"]]
    swell = 0.07 if options["shape"] == "belly" else 0.0
    flat = upper * 0.17
    return [
        Part(band(_mug_handle(options["handle"], top, bottom, upper, lower), 0.055), "accent", bulge=0.9),
        Part(_mug_wall(top, bottom, upper, lower, swell), round=True),
        Part(ellipse(_MUG_X, top, upper, flat), "accent", bulge=0.3),
        Part(ellipse(_MUG_X, top + 0.004, upper - 0.018, flat - 0.012), "lining", bulge=0.1),
    ]


def _mug_wall(top: float, bottom: float, upper: float, lower: float, swell: float) -> Points:
    middle = (_MUG_X + (upper + lower) / 2 + swell, (top + bottom) / 2)
    side = curve((_MUG_X + upper, top), middle, (_MUG_X + lower, bottom))
    return join(
        side,
        ellipse(_MUG_X, bottom, lower, lower * 0.17, 0, 180),
        mirror(side) - np.array([1 - 2 * _MUG_X, 0]),
        ellipse(_MUG_X, top, upper, upper * 0.17, 180, 0),
    )


def _mug_handle(style: str, top: float, bottom: float, upper: float, lower: float) -> Points:
    start, end = (_MUG_X + upper - 0.03, top + 0.12), (_MUG_X + lower - 0.03, bottom - 0.12)
    if style == "square":
        return line(start, (0.86, top + 0.12), (0.87, top + 0.19), (0.86, bottom - 0.16), (0.83, bottom - 0.12), end)
    if style == "small":
        return curve(start, (0.82, top + 0.13), (0.81, top + 0.3), (_MUG_X + (upper + lower) / 2 - 0.03, top + 0.32))
    return curve(start, (0.9, top + 0.1), (0.92, top + 0.34), end)


def lamp(options: Options, rng: Rng) -> list[Part]:
    """A table lamp: options shade and foot."""
    top, bottom = rng.uniform(0.08, 0.11), rng.uniform(0.47, 0.53)
    upper, lower = {"cone": (0.13, 0.32), "drum": (0.25, 0.27), "bell": (0.12, 0.31)}[options["shade"]]
    pinch = -0.05 if options["shade"] == "bell" else 0.0
    side = curve(
        (0.5 + upper, top), (0.5 + (upper + lower) / 2 + pinch, (top + bottom) / 2 + 0.02), (0.5 + lower, bottom)
    )
    shade = join(
        side, ellipse(0.5, bottom, lower, 0.035, 0, 180), mirror(side), ellipse(0.5, top, upper, 0.018, 180, 360)
    )
    rims = (ellipse(0.5, bottom - 0.02, lower - 0.008, 0.035, 0, 180), ellipse(0.5, top + 0.015, upper, 0.018, 0, 180))
    trim = Part(band(ellipse(0.5, bottom - 0.006, lower, 0.035, 0, 180), 0.022), "accent", bulge=0.3)
    return [*_foot(options["foot"], bottom), Part(shade, round=True, bulge=0.7, seams=rims), trim]


def _foot(style: str, bottom: float) -> list[Part]:
    stem = Part(line((0.485, bottom - 0.05), (0.515, bottom - 0.05), (0.515, 0.9), (0.485, 0.9)), "metal", round=True)
    if style == "tripod":
        ends = ((0.27, 0.93), (0.5, 0.95), (0.73, 0.93))
        return [Part(band(line((0.5, bottom), end), 0.03), "wood", round=True) for end in ends]
    if style == "stem":
        plate = join(ellipse(0.5, 0.905, 0.17, 0.032, 180, 360), ellipse(0.5, 0.92, 0.17, 0.034, 0, 180))
        return [Part(plate, "metal", bulge=0.6), stem]
    body = join(
        curve((0.535, bottom), (0.54, 0.6), (0.67, 0.72), (0.64, 0.86), (0.6, 0.93)),
        curve((0.4, 0.93), (0.36, 0.86), (0.33, 0.72), (0.46, 0.6), (0.465, bottom)),
    )
    return [Part(body, "accent", round=True, bulge=1.0)]


def chair(options: Options, rng: Rng) -> list[Part]:
    """A chair in three-quarter view: options back, legs and arms."""
    top = rng.uniform(0.07, 0.12)
    half = rng.uniform(0.215, 0.245)
    seat_y = rng.uniform(0.52, 0.56)
    legs = _chair_legs(options["legs"], half, seat_y)
    back = _chair_back(options["back"], top, half, seat_y)
    seat = symmetric(
        join(
            line((0.5, seat_y - 0.03), (0.5 + half * 0.9, seat_y - 0.03)),
            curve(
                (0.5 + half * 0.9, seat_y - 0.03),
                (0.5 + half + 0.035, seat_y + 0.07),
                (0.5 + half + 0.03, seat_y + 0.11),
            ),
            curve((0.5 + half + 0.03, seat_y + 0.11), (0.5 + half - 0.03, seat_y + 0.135), (0.5, seat_y + 0.14)),
        )
    )
    front = Part(
        seat,
        bulge=1.2,
        seams=(curve((0.5 - half - 0.03, seat_y + 0.08), (0.5, seat_y + 0.098), (0.5 + half + 0.03, seat_y + 0.08)),),
    )
    return [*legs, *back, front, *_chair_arms(options["arms"], half, seat_y)]


def _chair_back(style: str, top: float, half: float, seat_y: float) -> list[Part]:
    if style == "slats":
        xs = np.linspace(0.5 - half * 0.85, 0.5 + half * 0.85, 5)
        slats = [Part(band(line((x, top + 0.03), (x, seat_y)), 0.032), "wood", round=True) for x in xs]
        rail = Part(
            band(curve((0.5 - half, top + 0.05), (0.5, top + 0.02), (0.5 + half, top + 0.05)), 0.075), bulge=0.7
        )
        return [*slats, rail]
    square = join(
        line((0.5, top), (0.5 + half - 0.04, top + 0.004)),
        curve((0.5 + half - 0.04, top + 0.004), (0.5 + half - 0.008, top + 0.014), (0.5 + half, top + 0.06)),
        line((0.5 + half * 0.92, seat_y), (0.5, seat_y)),
    )
    oval = curve(
        (0.5, top),
        (0.5 + half * 0.75, top + 0.06),
        (0.5 + half * 1.02, top + 0.22),
        (0.5 + half * 0.7, seat_y),
        (0.5, seat_y),
    )
    outline = symmetric(square if style == "square" else oval)
    tufts = [
        (0.5 + dx * half, top + dy) for dx, dy in ((-0.45, 0.14), (0.45, 0.14), (0, 0.22), (-0.45, 0.3), (0.45, 0.3))
    ]
    buttons = [Part(ellipse(x, y, 0.012, 0.012), "plain", bulge=0.5) for x, y in tufts] if style == "oval" else []
    piping = outline * 0.9 + (0.05, (top + seat_y) * 0.05)
    return [Part(outline, bulge=1.4, seams=(join(piping, piping[:1]),) if style == "square" else ()), *buttons]


def _chair_legs(style: str, half: float, seat_y: float) -> list[Part]:
    surface = "metal" if style == "metal" else "wood"
    width = 0.018 if style == "metal" else 0.04
    splay = {"metal": 0.0, "wood": 0.03, "splayed": 0.1}[style]
    corners = ((0.5 - half * 0.75, 0.88), (0.5 + half * 0.75, 0.88), (0.5 - half, 0.96), (0.5 + half, 0.96))
    return [
        Part(band(line((x, seat_y + 0.06), (x + np.sign(x - 0.5) * splay, y)), width), surface, round=True)
        for x, y in corners
    ]


def _chair_arms(style: str, half: float, seat_y: float) -> list[Part]:
    if style == "none":
        return []
    arm = curve(
        (0.5 + half * 0.95, seat_y - 0.19), (0.5 + half + 0.06, seat_y - 0.16), (0.5 + half + 0.09, seat_y - 0.1)
    )
    post = line((0.5 + half + 0.075, seat_y - 0.11), (0.5 + half + 0.02, seat_y + 0.09))
    return [
        Part(band(shape, width), "wood", round=True)
        for shape, width in ((post, 0.025), (mirror(post), 0.025), (arm, 0.042), (mirror(arm), 0.042))
    ]
