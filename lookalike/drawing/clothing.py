"""Clothes laid flat: T-shirt, shirt, skirt, trousers, dress; each a list of parts, back to front."""

import numpy as np

from lookalike.drawing.outlines import (
    Options,
    Part,
    Points,
    Rng,
    band,
    bow,
    curve,
    drape,
    ellipse,
    flip,
    join,
    line,
    mirror,
    move,
    symmetric,
)

_NECK_TOP = 0.13
_SHOULDER_Y = 0.16


def _neckline(style: str) -> Points:
    """The edge of the neck opening, from the left shoulder to the right one."""
    width, depth = {"round": (0.105, 0.1), "v": (0.1, 0.21), "boat": (0.15, 0.05), "square": (0.115, 0.13)}[style]
    left, bottom = 0.5 - width, _NECK_TOP + depth
    if style == "v":
        return line((left, _NECK_TOP), (0.5, bottom), (1 - left, _NECK_TOP))
    if style == "square":
        return line((left, _NECK_TOP), (left + 0.012, bottom), (0.988 - left, bottom), (1 - left, _NECK_TOP))
    return ellipse(0.5, _NECK_TOP, width, depth, 180, 0)


def _neck_lining(neck: Points) -> Part:
    """The inside of the back, seen through the neck opening."""
    (left, top), right = neck[0], neck[-1, 0]
    back = ellipse(0.5, top, (right - left) / 2, 0.022, 360, 180)
    return Part(join(neck, back), "lining", bulge=0.2)


def _sleeves(length: float, shoulder: float, rng: Rng) -> list[Part]:
    """Both sleeves of a garment laid flat; length: 0.2 is short, 0.6 reaches the hem."""
    swing = np.radians(rng.uniform(33, 42) if length < 0.35 else rng.uniform(17, 25))
    along = np.array([np.sin(swing), np.cos(swing)])
    across = np.array([along[1], -along[0]])
    top = np.array([0.5 + shoulder - 0.035, _SHOULDER_Y + 0.006])
    cuff = top + along * length + across * 0.055
    inner = cuff - across * (0.16 if length < 0.35 else 0.095)
    armpit = (0.5 + shoulder - 0.05, 0.385)
    bend = top + along * length * 0.45 + across * 0.075
    outline = join(
        curve(top - (0.02, 0.01), top + across * 0.05 + along * 0.05, bend, cuff),
        line(inner, armpit),
    )
    elbow = top + along * length * rng.uniform(0.45, 0.65)
    folds = (
        curve(elbow - across * 0.09, elbow - across * 0.02 + along * 0.03),
        curve(armpit, top + along * 0.16),
    )
    hem = line(cuff - along * 0.025, inner - along * 0.025)
    right = Part(outline, turn=-float(swing), folds=folds, seams=(hem,))
    return [flip(right), right]


def _body(neck: Points, shoulder: float, chest: float, waist: float, hem: float, hem_y: float) -> Points:
    """The front of a garment below its neckline; widths are half-widths."""
    waist_y = 0.42 + (hem_y - 0.42) * 0.45
    right = join(
        curve((neck[-1, 0], neck[-1, 1]), (0.5 + shoulder, _SHOULDER_Y)),
        curve(
            (0.5 + shoulder, _SHOULDER_Y),
            (0.5 + shoulder - 0.012, 0.29),
            (0.5 + chest - 0.03, 0.38),
            (0.5 + chest, 0.42),
        ),
        curve((0.5 + chest, 0.42), (0.5 + waist, waist_y), (0.5 + hem, hem_y)),
        curve((0.5 + hem, hem_y), (0.5 + hem * 0.5, hem_y + 0.012), (0.5, hem_y + 0.014)),
    )
    return join(neck, right, mirror(right))


def _motif(name: str, rng: Rng) -> list[Part]:
    """A print on the chest, in the accent colour."""
    if name == "none":
        return []
    x, y, size = 0.5, rng.uniform(0.42, 0.47), rng.uniform(0.075, 0.1)
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    if name == "heart":
        shape = np.stack(
            [
                16 * np.sin(turns) ** 3,
                -13 * np.cos(turns) + 5 * np.cos(2 * turns) + 2 * np.cos(3 * turns) + np.cos(4 * turns),
            ],
            axis=1,
        )
        outline = shape / 16
    elif name == "star":
        points = np.arange(10) * np.pi / 5
        reach = np.where(np.arange(10) % 2, 0.45, 1.1)
        outline = np.stack([reach * np.sin(points), -reach * np.cos(points)], axis=1)
    elif name == "bolt":
        outline = line((0.25, -1.2), (-0.7, 0.25), (-0.1, 0.25), (-0.35, 1.2), (0.7, -0.3), (0.1, -0.3), (0.6, -1.2))
    elif name == "ring":
        outline = join(ellipse(0, 0, 1, 1), ellipse(0, 0, 0.6, 0.6)[::-1])
    else:
        outline = line((-2.3, -0.5), (2.3, -0.5), (2.3, 0.5), (-2.3, 0.5))
    return [Part(outline * size + (x, y), "accent", bulge=0.05)]


def t_shirt(options: Options, rng: Rng) -> list[Part]:
    """A T-shirt: options neckline, sleeve and motif."""
    sleeveless = options["sleeve"] == "none"
    shoulder, chest = rng.uniform(0.2, 0.225) - 0.03 * sleeveless, rng.uniform(0.2, 0.235)
    hem_y = rng.uniform(0.84, 0.93)
    neck = _neckline(options["neckline"])
    body = Part(
        _body(neck, shoulder, chest, chest - rng.uniform(0, 0.02), chest + rng.uniform(-0.005, 0.015), hem_y),
        folds=(*drape(rng, 0.45, hem_y, chest, 4), curve((0.5 - chest, 0.44), (0.42, 0.52), (0.46, 0.62))),
        seams=(line((0.5 - chest, hem_y - 0.025), (0.5, hem_y - 0.012), (0.5 + chest, hem_y - 0.025)),),
    )
    collar = Part(band(neck, 0.026), "accent" if options["collar"] == "contrast" else "plain", bulge=0.3)
    sleeves = [] if sleeveless else _sleeves(_SLEEVE[options["sleeve"]], shoulder, rng)
    return [_neck_lining(neck), *sleeves, body, collar, *_motif(options["motif"], rng)]


_SLEEVE = {"short": 0.21, "long": 0.62}


def shirt(options: Options, rng: Rng) -> list[Part]:
    """A buttoned shirt: options sleeve, pocket and collar."""
    shoulder, chest = rng.uniform(0.2, 0.22), rng.uniform(0.205, 0.23)
    hem_y = rng.uniform(0.86, 0.92)
    neck = _neckline("round") * (1, 0.7) + (0, _NECK_TOP * 0.3)
    body = Part(
        _body(neck, shoulder, chest, chest - rng.uniform(0.005, 0.025), chest, hem_y),
        folds=drape(rng, 0.42, hem_y, chest, 5),
        seams=(line((0.5 - chest, hem_y - 0.02), (0.5 + chest, hem_y - 0.02)),),
    )
    edge = 0.5 + rng.uniform(0.018, 0.024)
    placket = Part(
        line((1 - edge, 0.19), (edge, 0.19), (edge, hem_y + 0.012), (1 - edge, hem_y + 0.012)),
        bulge=0.15,
        seams=(line((edge, 0.2), (edge, hem_y)), line((1 - edge, 0.2), (1 - edge, hem_y))),
    )
    buttons = [Part(ellipse(0.5, y, 0.011, 0.011), "button", bulge=0.4) for y in np.linspace(0.27, hem_y - 0.08, 6)]
    cuffs = _sleeves(_SLEEVE[options["sleeve"]], shoulder, rng)
    return [
        _neck_lining(neck), *cuffs, body, placket, *buttons, *_chest_pocket(options), *_collar(options["collar"])
    ]  # fmt: skip


def _chest_pocket(options: Options) -> list[Part]:
    if options["pocket"] == "no":
        return []
    outline = line((0.57, 0.38), (0.67, 0.38), (0.67, 0.48), (0.62, 0.505), (0.57, 0.48))
    return [Part(outline, bulge=0.15, seams=(join(outline, outline[:1]), line((0.57, 0.395), (0.67, 0.395))))]


def _collar(style: str) -> list[Part]:
    surface = "accent" if style == "contrast" else "main"
    if style == "band":
        return [Part(band(ellipse(0.5, 0.135, 0.09, 0.065, 180, 0), 0.035), "main", bulge=0.4)]
    flap = line((0.5, 0.215), (0.415, 0.1), (0.385, 0.145), (0.415, 0.265))
    left = Part(flap, surface, bulge=0.4, turn=0.6, seams=(flap[[0, 3, 2]],))
    return [left, flip(left)]


def skirt(options: Options, rng: Rng) -> list[Part]:
    """A skirt: options length and cut."""
    hem_y = {"mini": 0.62, "midi": 0.78, "maxi": 0.94}[options["length"]] + rng.uniform(-0.03, 0.02)
    waist = rng.uniform(0.135, 0.16)
    flare = {"pencil": 0.03, "a-line": 0.16, "pleated": 0.19}[options["cut"]] * (0.7 + hem_y / 2)
    hem = waist + flare + 0.03
    right = join(
        curve((0.5 + waist, 0.13), (0.5 + waist + 0.05 + flare * 0.25, 0.3), (0.5 + hem, hem_y)),
        curve((0.5 + hem, hem_y), (0.5 + hem * 0.5, hem_y + 0.022), (0.5, hem_y + 0.028)),
    )
    count = {"pencil": 3, "a-line": 6, "pleated": 11}[options["cut"]]
    folds = _pleats(waist, hem, hem_y, count) if options["cut"] == "pleated" else drape(rng, 0.16, hem_y, hem, count)
    seams = (join(curve((0.5 - hem, hem_y - 0.025), (0.5, hem_y + 0.002), (0.5 + hem, hem_y - 0.025))),)
    waistband = symmetric(line((0.5, 0.085), (0.5 + waist - 0.004, 0.08), (0.5 + waist + 0.004, 0.14), (0.5, 0.145)))
    return [
        Part(symmetric(right), folds=folds, seams=seams),
        Part(waistband, "accent" if options["waist"] == "contrast" else "plain", bulge=0.4),
        *(bow() if options["waist"] == "bow" else []),
    ]


def _pleats(waist: float, hem: float, hem_y: float, count: int) -> tuple[Points, ...]:
    places = np.linspace(-0.92, 0.92, count)
    return tuple(line((0.5 + p * waist, 0.14), (0.5 + p * hem, hem_y + 0.02)) for p in places)


def trousers(options: Options, rng: Rng) -> list[Part]:
    """Trousers: options length and cut."""
    hem_y = {"short": 0.5, "cropped": 0.8, "long": 0.95}[options["length"]] + rng.uniform(-0.02, 0.015)
    waist, hip = rng.uniform(0.15, 0.17), rng.uniform(0.18, 0.2)
    ankle = {"slim": 0.065, "straight": 0.09, "wide": 0.145}[options["cut"]]
    ankle += (0.1 - ankle * 0.5) * max(0.0, (0.75 - hem_y) / 0.35)
    middle = 0.5 + {"slim": 0.1, "straight": 0.105, "wide": 0.14}[options["cut"]]
    leg = join(
        line((0.5, 0.1), (0.5 + waist, 0.1)),
        curve((0.5 + waist, 0.1), (0.5 + hip, 0.27), (middle + (ankle + 0.11) / 2, 0.5), (middle + ankle, hem_y))
        if hem_y > 0.6
        else curve((0.5 + waist, 0.1), (0.5 + hip, 0.27), (middle + ankle, hem_y)),
        line((middle + ankle, hem_y), (max(middle - ankle, 0.515), hem_y + 0.006)),
        curve((max(middle - ankle, 0.515), hem_y + 0.006), (0.522, (hem_y + 0.36) / 2), (0.502, 0.36)),
    )
    folds = (
        curve((0.51, 0.36), (0.56, 0.38), (0.62, 0.37)),
        curve((0.52, 0.42), (middle, 0.62 * hem_y + 0.15), (middle, hem_y)),
        curve((middle - 0.04, hem_y - 0.12), (middle + 0.05, hem_y - 0.09)),
    )
    pocket = curve((0.5 + waist * 0.6, 0.145), (0.5 + waist * 0.72, 0.19), (0.5 + waist + 0.025, 0.21))
    hem_seam = line((middle - ankle, hem_y - 0.022), (middle + ankle, hem_y - 0.028))
    right = Part(leg, folds=folds, seams=(pocket, hem_seam))
    fly = curve((0.5, 0.14), (0.5, 0.36))
    belt = symmetric(line((0.5, 0.085), (0.5 + waist - 0.003, 0.083), (0.5 + waist + 0.004, 0.138), (0.5, 0.142)))
    band_surface = "accent" if options["waist"] == "belt" else "plain"
    button = Part(ellipse(0.5, 0.113, 0.014, 0.014), "metal")
    return [flip(right), right, Part(belt, band_surface, bulge=0.4, seams=(fly,)), button]


def dress(options: Options, rng: Rng) -> list[Part]:
    """A dress: options neckline, sleeve, length and waist."""
    hem_y = {"mini": 0.72, "midi": 0.84, "maxi": 0.96}[options["length"]] + rng.uniform(-0.02, 0.01)
    shoulder, chest, waist = rng.uniform(0.145, 0.16), rng.uniform(0.13, 0.145), rng.uniform(0.1, 0.12)
    hem = rng.uniform(0.2, 0.31)
    neck = (_neckline(options["neckline"]) - (0.5, _NECK_TOP)) * (0.8, 0.85) + (0.5, 0.08)
    right = join(
        line((float(neck[-1, 0]), 0.08), (0.5 + shoulder, 0.105)),
        curve((0.5 + shoulder, 0.105), (0.5 + chest - 0.008, 0.19), (0.5 + chest, 0.265)),
        curve((0.5 + chest, 0.265), (0.5 + waist, 0.42)),
        curve((0.5 + waist, 0.42), (0.5 + (waist + hem) / 2 + 0.02, 0.6), (0.5 + hem, hem_y)),
        curve((0.5 + hem, hem_y), (0.5 + hem * 0.5, hem_y + 0.022), (0.5, hem_y + 0.026)),
    )
    body = Part(
        join(neck, right, mirror(right)),
        folds=drape(rng, 0.43, hem_y, hem, int(rng.integers(5, 9))),
        seams=(line((0.5 - hem, hem_y - 0.02), (0.5, hem_y + 0.004), (0.5 + hem, hem_y - 0.02)),),
    )
    sleeves = [] if options["sleeve"] == "none" else _sleeves(_SLEEVE[options["sleeve"]] * 0.85, shoulder, rng)
    raised = [move(part, (0, -0.058)) for part in sleeves]
    return [_neck_lining(neck), *raised, body, *_waist_of_dress(options["waist"], waist)]


def _waist_of_dress(style: str, waist: float) -> list[Part]:
    edge = waist + 0.006
    if style == "seam":
        return []
    belt = symmetric(line((0.5, 0.4), (0.5 + edge, 0.395), (0.5 + edge, 0.435), (0.5, 0.442)))
    buckle = [Part(band(ellipse(0.5, 0.42, 0.024, 0.024), 0.01), "metal")] if style == "belt" else []
    ribbon = [move(part, (0, 0.3)) for part in bow()] if style == "bow" else []
    return [Part(belt, "accent", bulge=0.4), *buckle, *ribbon]
