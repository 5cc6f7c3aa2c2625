"""Shoes seen from the side, toe to the left; each a list of parts, back to front."""

import numpy as np

from lookalike.drawing.outlines import Options, Part, Rng, band, closed, curve, ellipse, join, line


def sneaker(options: Options, rng: Rng) -> list[Part]:
    """A sneaker: options height, sole and motif."""
    top = {"low": 0.43, "high": 0.22}[options["height"]] + rng.uniform(-0.02, 0.02)
    sole_y = rng.uniform(0.69, 0.71)
    throat = 0.6 if options["height"] == "high" else 0.57
    toe_surface = "rubber" if options["sole"] == "thin" else "accent"
    return [
        _tongue(throat, top),
        Part(ellipse((throat + 0.9) / 2, top + 0.012, (0.9 - throat) / 2, 0.035), "lining"),
        _sneaker_upper(throat, top, sole_y),
        _heel_cap(top, sole_y),
        _toe_cap(toe_surface, sole_y),
        *_laces(throat, top),
        *_side_stripe(options["motif"]),
        _rubber_sole(sole_y, {"thin": 0.06, "chunky": 0.115}[options["sole"]]),
    ]


def _sneaker_upper(throat: float, top: float, sole_y: float) -> Part:
    front, back, heel = (throat - 0.04, top + 0.02), (0.9, top - 0.015), (0.94, sole_y)
    outline = join(
        curve((0.06, sole_y), (0.075, sole_y - 0.09), (0.18, sole_y - 0.13), (0.34, 0.5), front),
        curve(front, (throat, top), (0.75, top + 0.05), back),
        curve(back, (0.915, top + 0.1), (0.925, 0.58), heel),
    )
    return Part(outline, folds=(curve((0.27, 0.55), (0.33, 0.6), (0.36, 0.67)),))


def _tongue(throat: float, top: float) -> Part:
    left, right = throat - 0.09, throat + 0.05
    return Part(
        closed((left, top + 0.1), (left + 0.045, top - 0.07), (right, top - 0.075), (right, top + 0.08)), "accent"
    )


def _toe_cap(surface: str, sole_y: float) -> Part:
    back = (0.235, sole_y - 0.15)
    outline = join(
        curve((0.06, sole_y), (0.075, sole_y - 0.09), (0.18, sole_y - 0.13), back),
        curve(back, (0.27, sole_y - 0.07), (0.26, sole_y)),
    )
    return Part(outline, surface, bulge=0.7)


def _heel_cap(top: float, sole_y: float) -> Part:
    edge = curve((0.8, sole_y), (0.79, sole_y - 0.1), (0.83, top + 0.04))
    back = curve((0.83, top + 0.04), (0.905, top + 0.04), (0.925, 0.58), (0.94, sole_y))
    return Part(join(back, edge), "accent", bulge=0.5, seams=(edge,))


def _rubber_sole(y: float, thick: float) -> Part:
    front, back, bottom = (0.045, y - 0.015), (0.955, y - 0.025), y + thick
    outline = join(
        curve(front, (0.3, y), (0.6, y - 0.005), back),
        curve(back, (0.965, y + thick * 0.5), (0.93, bottom)),
        curve((0.93, bottom), (0.5, bottom), (0.12, bottom), (0.05, y + thick * 0.55)),
    )
    return Part(outline, "rubber", bulge=0.6, seams=(line((0.05, y + thick * 0.45), (0.96, y + thick * 0.4)),))


def _laces(throat: float, top: float) -> list[Part]:
    count = 4 if top > 0.33 else 6
    start, end = np.array([0.33, 0.525]), np.array([throat - 0.03, top + 0.05])
    eyelets = [start + (end - start) * i / (count - 1) for i in range(count)]
    return [
        Part(band(curve((x - 0.035, y - 0.03), (x, y + 0.004), (x + 0.05, y + 0.035)), 0.017), "lace", bulge=0.6)
        for x, y in eyelets
    ]


def _side_stripe(motif: str) -> list[Part]:
    if motif == "swoosh":
        tick = join(
            curve((0.42, 0.6), (0.5, 0.665), (0.62, 0.62), (0.8, 0.49)),
            curve((0.8, 0.49), (0.62, 0.58), (0.52, 0.61), (0.42, 0.6)),
        )
        return [Part(tick, "accent", bulge=0.2)]
    if motif == "bars":
        xs = (0.5, 0.57, 0.64)
        return [Part(line((x, 0.66), (x + 0.05, 0.5), (x + 0.085, 0.5), (x + 0.035, 0.66)), "accent", 0.2) for x in xs]
    return [Part(ellipse(0.66, 0.58, 0.055, 0.055), "accent", bulge=0.2)] if motif == "dot" else []


_GROUND = 0.93


def boot(options: Options, rng: Rng) -> list[Part]:
    """A boot: options shaft, heel and fastening."""
    top = {"ankle": 0.4, "mid": 0.24, "knee": 0.06}[options["shaft"]] + rng.uniform(-0.02, 0.02)
    arch = _GROUND - {"flat": 0.045, "block": 0.11, "stiletto": 0.15}[options["heel"]]
    half = rng.uniform(0.125, 0.15)
    left, right = 0.7 - half, 0.7 + half
    cuff = line((left - 0.012, top + 0.02), (right + 0.012, top + 0.02))
    return [
        Part(ellipse(0.7, top, half + 0.01, 0.028), "lining", bulge=0.2),
        _boot_heel(options["heel"], arch, right),
        _boot_upper(top, arch, left, right),
        *_fastening(options["fastening"], top, left),
        Part(band(cuff, 0.035), "accent", bulge=0.4),
        _leather_sole(arch, right),
    ]


def _boot_upper(top: float, arch: float, left: float, right: float) -> Part:
    ankle, toe = (left + 0.015, arch - 0.33), (0.19, _GROUND - 0.03)
    instep = (0.36, _GROUND * 0.55 + arch * 0.45 - 0.17)
    outline = join(
        line((left - 0.01, top), (right + 0.01, top)),
        curve((right + 0.01, top), (right - 0.02, 0.6), (right + 0.015, arch - 0.08), (right, arch)),
        curve((right, arch), (0.62, arch), (0.42, _GROUND - 0.035), toe),
        curve(toe, (0.145, _GROUND - 0.07), (0.2, _GROUND - 0.125), instep, (left - 0.03, arch - 0.225), ankle),
        curve(ankle, (left - 0.01, top)),
    )
    folds = (
        curve((left, arch - 0.27), (0.64, arch - 0.22), (0.71, arch - 0.23)),
        curve((left - 0.03, arch - 0.23), (0.6, arch - 0.17), (0.68, arch - 0.17)),
        curve((0.64, top + 0.05), (0.66, 0.55)),
    )
    return Part(outline, folds=folds, bulge=1.3)


def _leather_sole(arch: float, right: float) -> Part:
    toe, tip = (0.17, _GROUND - 0.035), (0.2, _GROUND)
    outline = join(
        curve((right, arch - 0.005), (0.62, arch), (0.42, _GROUND - 0.04), toe),
        curve(toe, (0.16, _GROUND - 0.01), tip),
        curve(tip, (0.4, _GROUND), (0.6, arch + 0.022), (right, arch + 0.02)),
    )
    return Part(outline, "sole", bulge=0.4)


def _boot_heel(style: str, arch: float, right: float) -> Part:
    width = {"flat": 0.24, "block": 0.17, "stiletto": 0.035}[style]
    slant = 0.03 if style == "stiletto" else 0.01
    neck = max(width, 0.1)
    return Part(
        line(
            (right - neck, arch - 0.01),
            (right, arch - 0.01),
            (right - slant, _GROUND),
            (right - slant - width, _GROUND),
        ),
        "sole",
        bulge=0.6,
    )


def _fastening(style: str, top: float, left: float) -> list[Part]:
    if style == "laces":
        ys = np.linspace(top + 0.07, 0.66, 5)
        return [
            Part(band(curve((left - 0.02, y), (left + 0.03, y + 0.02), (left + 0.08, y)), 0.016), "lace", 0.6)
            for y in ys
        ]
    if style == "buckle":
        strap = band(curve((left - 0.03, 0.66), (0.66, 0.63), (0.83, 0.66)), 0.045)
        return [Part(strap, "accent", 0.5), Part(band(ellipse(0.68, 0.635, 0.028, 0.032), 0.012), "metal")]
    zip_line = line((0.74, top + 0.05), (0.74, 0.76))
    return [Part(band(zip_line, 0.014), "metal", 0.4)] if style == "zip" else []
