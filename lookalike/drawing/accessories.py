"""Bags and hats; each a list of parts, back to front."""

import numpy as np

from lookalike.drawing.outlines import Options, Part, Rng, band, bow, curve, drape, ellipse, join, line, move, symmetric


def bag(options: Options, rng: Rng) -> list[Part]:
    """A bag: options shape, handle and closure."""
    top, bottom = rng.uniform(0.38, 0.42), rng.uniform(0.84, 0.89)
    upper, lower = {"tote": (0.35, 0.29), "satchel": (0.28, 0.35), "bucket": (0.26, 0.24)}[options["shape"]]
    upper, lower = upper + rng.uniform(-0.02, 0.02), lower + rng.uniform(-0.02, 0.02)
    right = join(
        line((0.5, top), (0.5 + upper, top)),
        curve(
            (0.5 + upper, top), (0.5 + (upper + lower) / 2 + 0.012, (top + bottom) / 2), (0.5 + lower, bottom - 0.05)
        ),
        curve((0.5 + lower, bottom - 0.05), (0.5 + lower - 0.01, bottom - 0.012), (0.5 + lower - 0.05, bottom)),
        line((0.5, bottom)),
    )
    inset = symmetric(right) * 0.93 + (0.035, 0.045)
    body = Part(
        symmetric(right), bulge=1.4, seams=(join(inset, inset[:1]),), folds=drape(rng, top, bottom, lower * 0.8, 2)
    )
    trim = Part(band(line((0.5 - upper, top + 0.015), (0.5 + upper, top + 0.015)), 0.035), "accent", 0.4)
    return [*_handle(options["handle"], top, upper), body, trim, *_closure(options["closure"], top, upper, bottom)]


def _handle(style: str, top: float, upper: float) -> list[Part]:
    if style == "clutch":
        return [Part(ellipse(0.5, top, upper * 0.9, 0.03), "lining")]
    reach, width = {"top": (0.24, 0.032), "long": (0.34, 0.02), "chain": (0.33, 0.016)}[style]
    half = upper * (0.55 if style == "top" else 0.88)
    arc = ellipse(0.5, top + 0.02, half, reach, 180, 360)
    if style == "chain":
        links = [Part(ellipse(x, y, 0.014, 0.014), "metal") for x, y in arc[::1]]
        return links
    surface = "accent"
    rings = [Part(ellipse(x, top + 0.015, 0.02, 0.02), "metal") for x in (0.5 - half, 0.5 + half)]
    return [Part(band(arc * (1, 0.93) + (0, 0.03), width), "trim"), Part(band(arc, width), surface), *rings]


def _closure(style: str, top: float, upper: float, bottom: float) -> list[Part]:
    if style == "open":
        return []
    if style == "zip":
        return [Part(band(line((0.5 - upper * 0.85, top + 0.07), (0.5 + upper * 0.85, top + 0.07)), 0.014), "metal")]
    drop = top + (bottom - top) * 0.5
    flap = symmetric(
        join(
            line((0.5, top - 0.012), (0.5 + upper + 0.008, top - 0.01)),
            curve(
                (0.5 + upper + 0.008, top - 0.01),
                (0.5 + upper * 0.9, drop - 0.06),
                (0.5 + upper * 0.5, drop),
                (0.5, drop + 0.01),
            ),
        )
    )
    clasp = Part(ellipse(0.5, drop - 0.02, 0.03, 0.026), "metal")
    return [Part(flap, "main", bulge=0.8, seams=(flap[4:-4] * 0.96 + (0.02, (top - 0.012) * 0.04),)), clasp]


def hat(options: Options, rng: Rng) -> list[Part]:
    """A hat: options style and motif (a cap's badge, a beanie's pompom, a sun hat's ribbon)."""
    return {"cap": _cap, "beanie": _beanie, "sun hat": _sun_hat}[options["style"]](options, rng)


def _cap(options: Options, rng: Rng) -> list[Part]:
    top = rng.uniform(0.22, 0.26)
    crown = join(
        curve(
            (0.26, 0.64), (0.25, 0.42), (0.38, top + 0.03), (0.54, top), (0.72, top + 0.05), (0.84, 0.42), (0.86, 0.64)
        ),
        curve((0.86, 0.64), (0.55, 0.69), (0.26, 0.64)),
    )
    panels = (curve((0.54, top), (0.44, 0.42), (0.42, 0.66)), curve((0.54, top), (0.68, 0.42), (0.7, 0.66)))
    brim = join(
        curve((0.27, 0.62), (0.14, 0.68), (0.05, 0.76), (0.08, 0.8)),
        curve((0.08, 0.8), (0.25, 0.74), (0.45, 0.72), (0.62, 0.69)),
        curve((0.62, 0.69), (0.45, 0.66), (0.27, 0.62)),
    )
    badge = [] if options["motif"] == "none" else [Part(ellipse(0.43, 0.49, 0.065, 0.075), "accent", 0.3)]
    return [
        Part(crown, bulge=1.6, seams=panels), *badge, Part(ellipse(0.54, top, 0.02, 0.014), "accent"),
        Part(brim, "accent", bulge=0.6, seams=(curve((0.11, 0.765), (0.3, 0.7), (0.52, 0.69)),)),
    ]  # fmt: skip


def _beanie(options: Options, rng: Rng) -> list[Part]:
    top = rng.uniform(0.19, 0.25)
    crown = join(
        curve((0.22, 0.7), (0.22, 0.48), (0.33, top + 0.06), (0.5, top), (0.67, top + 0.06), (0.78, 0.48), (0.78, 0.7)),
        line((0.78, 0.7), (0.22, 0.7)),
    )
    ribs = tuple(
        curve((0.5 + p * 0.08, top + 0.03), (0.5 + p * 0.27, 0.45), (0.5 + p * 0.28, 0.7))
        for p in np.linspace(-0.9, 0.9, 9)
    )
    cuff = join(curve((0.2, 0.63), (0.5, 0.66), (0.8, 0.63)), curve((0.81, 0.79), (0.5, 0.825), (0.19, 0.79)))
    stitches = tuple(line((x, 0.65), (x, 0.81)) for x in np.linspace(0.22, 0.78, 18))
    spikes = ellipse(0.5, top - 0.02, 0.095, 0.09) + rng.normal(0, 0.006, (40, 2))
    pompom = [] if options["motif"] == "none" else [Part(spikes, "accent", bulge=1.5)]
    return [Part(crown, folds=ribs, bulge=1.4), Part(cuff, "accent", folds=stitches, bulge=0.8), *pompom]


def _sun_hat(options: Options, rng: Rng) -> list[Part]:
    wide = rng.uniform(0.41, 0.45)
    brim = ellipse(0.5, 0.63, wide, 0.15)
    crown = join(
        curve((0.27, 0.62), (0.29, 0.42), (0.36, 0.3), (0.5, 0.285), (0.64, 0.3), (0.71, 0.42), (0.73, 0.62)),
        ellipse(0.5, 0.62, 0.23, 0.065, 0, 180),
    )
    ribbon = join(ellipse(0.5, 0.53, 0.222, 0.06, 180, 0), ellipse(0.5, 0.62, 0.232, 0.068, 0, 180))
    circles = tuple(ellipse(0.5, 0.63, wide * f, 0.15 * f) for f in (0.93, 0.82, 0.7))
    tied = [move(part, (0.16, 0.47)) for part in bow()] if options["motif"] != "none" else []
    return [Part(brim, bulge=0.5, seams=circles), Part(crown, bulge=1.6), Part(ribbon, "accent", 0.4), *tied]
