"""A drawn product catalogue whose true neighbours are known: which products exist, their photos and the manifest."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from lookalike.drawing.assortment import ATTRIBUTES, COLOURS, KINDS, PRINTS, Kind
from lookalike.drawing.patterns import Colour, Palette
from lookalike.drawing.product import Design, draw_product
from lookalike.drawing.studio import studio_photo
from lookalike.drawing.wild import wild_photo

Rng = np.random.Generator

MANIFEST_NAME = "manifest.jsonl"
# Products are drawn larger than the photos, so that a detail shot has detail.
_DRAWN_PER_PHOTO = 2.5
_LOOKS_LIKE_ANOTHER = 0.1
_ATTRIBUTE_MISSING = 0.06
_OUT_OF_STOCK_EVERY = 17  # shares no divisor with the number of kinds, so that each kind has some


@dataclass(frozen=True)
class Look:
    """What a shop would say of a product: the attributes that tell it from others of its kind."""

    kind: Kind
    pattern: str
    colours: tuple[str, str, str]
    material: str
    options: Mapping[str, str] = field(default_factory=dict)

    def attributes(self) -> dict[str, str]:
        """Returns every attribute by name."""
        colour, accent, _ = self.colours
        return {"pattern": self.pattern, "colour": colour, "accent": accent, "material": self.material, **self.options}


def draw_catalog(
    directory: Path,
    *,
    num_products: int,
    seed: int,
    image_size_px: int = 160,
    catalog_images: int = 4,
    wild_images: int = 3,
) -> Path:
    """Draws a catalogue and returns the path of its manifest, `<directory>/manifest.jsonl`.

    Every product has `catalog_images` studio photos and `wild_images` wild ones, JPEG [image_size_px, image_size_px],
    under `images/<product_id>/`. Its images share all attributes; some products look much like an earlier one. The
    kinds take turns, and a product is the same whatever `num_products` is. Same arguments, same bytes.

    Raises ValueError: fewer than one product or image, or pictures under 32 px.
    """
    _check_at_least("num_products", num_products, 1)
    _check_at_least("image_size_px", image_size_px, 32)
    _check_at_least("catalog_images", catalog_images, 0)
    _check_at_least("wild_images", wild_images, 0)
    _check_at_least("catalog_images + wild_images", catalog_images + wild_images, 1)
    manifest = directory / MANIFEST_NAME
    # Written last: a directory with a manifest is whole, even if an earlier drawing of it was cut off.
    manifest.unlink(missing_ok=True)
    rows = [
        row
        for number, look in enumerate(_looks(num_products, seed))
        for row in _draw_product(directory, look, (seed, number), image_size_px, catalog_images, wild_images)
    ]
    unfinished = manifest.with_suffix(".part")
    unfinished.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    return unfinished.replace(manifest)


def _draw_product(
    directory: Path, look: Look, seed: tuple[int, int], size_px: int, catalog_images: int, wild_images: int
) -> Iterator[str]:
    """Writes a product's photos and yields their manifest rows."""
    rng = np.random.default_rng((*seed, 1))
    facts = _facts(look, seed[1], rng)
    picture = draw_product(_design(look, rng), _drawn_size_px(size_px))
    folder = f"images/{facts['product_id']}"
    (directory / folder).mkdir(parents=True, exist_ok=True)
    for domain, shot, photo in _photos(picture, rng, size_px, catalog_images, wild_images):
        image = f"{folder}/{domain}-{shot}.jpg"
        (directory / image).write_bytes(photo)
        digest = hashlib.sha256(photo).hexdigest()
        yield json.dumps({"image": image, "domain": domain, "sha256": digest, **facts}, ensure_ascii=False)


def _check_at_least(name: str, value: int, smallest: int) -> None:
    if value < smallest:
        raise ValueError(f"{name} must be at least {smallest}, got {value}")


def _looks(num_products: int, seed: int) -> Iterator[Look]:
    """Yields the looks of products 0, 1, …; some copy an earlier one of their kind but for a detail."""
    earlier: dict[str, list[Look]] = {kind.category: [] for kind in KINDS}
    for number in range(num_products):
        rng = np.random.default_rng((seed, number, 0))
        kind = KINDS[number % len(KINDS)]
        same_kind = earlier[kind.category]
        if same_kind and rng.random() < _LOOKS_LIKE_ANOTHER:
            look = _with_one_change(same_kind[rng.integers(len(same_kind))], rng)
        else:
            look = _new_look(kind, rng)
        same_kind.append(look)
        yield look


def _new_look(kind: Kind, rng: Rng) -> Look:
    # A third of a shop is plain; the prints share the rest.
    pattern = "solid" if rng.random() < 0.3 else _pick(rng, tuple(PRINTS)[1:])
    first, second, third = rng.choice(list(COLOURS), 3, replace=False)
    options = {name: _pick(rng, values) for name, values in kind.options.items()}
    colours = _told_apart((str(first), str(second), str(third)))
    return Look(kind, pattern, colours, _pick(rng, kind.materials), options)


def _with_one_change(look: Look, rng: Rng) -> Look:
    name = _pick(rng, tuple(look.options))
    others = tuple(value for value in look.kind.options[name] if value != look.options[name])
    return replace(look, options={**look.options, name: _pick(rng, others)})


def _told_apart(colours: tuple[str, str, str]) -> tuple[str, str, str]:
    """Swaps the second and third colour for black or white where they would vanish on the first."""
    ground = COLOURS[colours[0]]
    contrast = "white" if sum(ground) < 380 else "black"
    second = colours[1] if math.dist(ground, COLOURS[colours[1]]) > 110 else contrast
    third = colours[2] if math.dist(COLOURS[second], COLOURS[colours[2]]) > 90 else colours[0]
    return colours[0], second, third


def _pick(rng: Rng, values: tuple[str, ...]) -> str:
    return values[rng.integers(len(values))]


def _design(look: Look, rng: Rng) -> Design:
    figure = PRINTS[look.pattern]
    return Design(
        outline=look.kind.outline,
        options=look.options,
        pattern=figure.tile,
        palette=_dyed(look.colours, rng),
        material=look.material,
        figure_turn=figure.turn + rng.normal(0, 0.03),
        figure_size=rng.uniform(*figure.size),
        seed=int(rng.integers(1 << 32)),
    )


def _dyed(names: tuple[str, str, str], rng: Rng) -> Palette:
    """The named colours as this product's dye bath gave them."""
    first, second, third = (_jittered(COLOURS[name], rng) for name in names)
    return first, second, third


def _jittered(colour: Colour, rng: Rng) -> Colour:
    dyed = np.clip(np.array(colour) + rng.normal(0, 7) + rng.normal(0, 5, 3), 0, 255)
    red, green, blue = (int(level) for level in dyed)
    return red, green, blue


def _drawn_size_px(image_size_px: int) -> int:
    """A multiple of four, as the painter wants it."""
    return math.ceil(image_size_px * _DRAWN_PER_PHOTO / 4) * 4


def _photos(
    picture: Image.Image, rng: Rng, size_px: int, catalog_images: int, wild_images: int
) -> Iterator[tuple[str, int, bytes]]:
    for shot in range(catalog_images):
        yield "catalog", shot, studio_photo(picture, shot, rng, size_px)
    for shot in range(wild_images):
        yield "wild", shot, wild_photo(picture, rng, size_px)


def _facts(look: Look, number: int, rng: Rng) -> dict[str, str | float]:
    """The manifest's columns that all images of a product share; a missing attribute is ''."""
    noun = look.kind.category.split(" > ")[-1]
    low, high = look.kind.price
    said = {name: value for name, value in look.attributes().items() if rng.random() >= _ATTRIBUTE_MISSING}
    return {
        "product_id": f"{noun.lower()}-{number:04d}",
        "category": look.kind.category,
        "title": _title(look, noun),
        "price": round(float(rng.uniform(low, high))) - 0.01,
        "currency": "EUR",
        "availability": "out_of_stock" if number % _OUT_OF_STOCK_EVERY == 0 else "in_stock",
        "gender": _pick(rng, look.kind.genders),
        **{f"attr:{name}": said.get(name, "") for name in ATTRIBUTES},
    }


def _title(look: Look, noun: str) -> str:
    colour, accent, _ = look.colours
    dress = f"{colour} {look.material}" if look.pattern == "solid" else f"{colour} and {accent} {look.material}"
    figure = "" if look.pattern == "solid" else f", {look.pattern}"
    name = noun if noun == "T-shirt" else noun.lower()
    return f"{dress.capitalize()} {name}{figure}"
