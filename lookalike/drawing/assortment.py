"""What the drawn shop sells: product kinds with their options and prices, the colours, the prints."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from lookalike.drawing import accessories, clothing, homeware, shoes
from lookalike.drawing.outlines import Options, Part
from lookalike.drawing.patterns import Colour

Rng = np.random.Generator


@dataclass(frozen=True)
class Kind:
    """A leaf of the taxonomy: how its products look and what they cost."""

    category: str
    outline: Callable[[Options, Rng], list[Part]]
    options: Mapping[str, tuple[str, ...]]
    materials: tuple[str, ...]
    price: tuple[float, float]
    genders: tuple[str, ...] = ("",)


_EVERYONE = ("women", "men", "unisex")
_FABRIC = ("cotton", "linen", "silk")
KINDS = (
    Kind(
        "Clothing > Tops > T-shirt",
        clothing.t_shirt,
        {
            "neckline": ("round", "v", "boat"),
            "sleeve": ("short", "long", "none"),
            "collar": ("plain", "contrast"),
            "motif": ("none", "heart", "star", "bolt", "ring", "bar"),
        },
        ("cotton", "linen", "wool"),
        (9, 35),
        _EVERYONE,
    ),
    Kind(
        "Clothing > Tops > Shirt",
        clothing.shirt,
        {"sleeve": ("short", "long"), "collar": ("classic", "contrast", "band"), "pocket": ("yes", "no")},
        ("cotton", "linen", "denim", "silk"),
        (25, 80),
        _EVERYONE,
    ),
    Kind(
        "Clothing > Bottoms > Skirt",
        clothing.skirt,
        {
            "length": ("mini", "midi", "maxi"),
            "cut": ("pencil", "a-line", "pleated"),
            "waist": ("plain", "contrast", "bow"),
        },
        (*_FABRIC, "denim", "wool"),
        (20, 70),
        ("women",),
    ),
    Kind(
        "Clothing > Bottoms > Trousers",
        clothing.trousers,
        {
            "length": ("short", "cropped", "long"),
            "cut": ("slim", "straight", "wide"),
            "waist": ("plain", "belt"),
        },
        ("cotton", "linen", "denim", "wool"),
        (25, 90),
        _EVERYONE,
    ),
    Kind(
        "Clothing > Dresses > Dress",
        clothing.dress,
        {
            "neckline": ("round", "v", "boat", "square"),
            "sleeve": ("none", "short", "long"),
            "length": ("mini", "midi", "maxi"),
            "waist": ("seam", "belt", "bow", "sash"),
        },
        (*_FABRIC, "velvet"),
        (30, 140),
        ("women",),
    ),
    Kind(
        "Shoes > Sneaker",
        shoes.sneaker,
        {"height": ("low", "high"), "sole": ("thin", "chunky"), "motif": ("none", "swoosh", "bars", "dot")},
        ("canvas", "leather", "suede"),
        (35, 130),
        _EVERYONE,
    ),
    Kind(
        "Shoes > Boot",
        shoes.boot,
        {
            "shaft": ("ankle", "mid", "knee"),
            "heel": ("flat", "block", "stiletto"),
            "fastening": ("none", "laces", "buckle", "zip"),
        },
        ("leather", "suede", "velvet"),
        (60, 220),
        ("women", "men"),
    ),
    Kind(
        "Accessories > Bag",
        accessories.bag,
        {
            "shape": ("tote", "satchel", "bucket"),
            "handle": ("top", "long", "chain", "clutch"),
            "closure": ("open", "zip", "flap"),
        },
        ("leather", "canvas", "suede", "straw"),
        (25, 250),
        ("women", "unisex"),
    ),
    Kind(
        "Accessories > Hat",
        accessories.hat,
        {"style": ("cap", "beanie", "sun hat"), "motif": ("none", "badge")},
        ("cotton", "wool", "straw"),
        (12, 60),
        _EVERYONE,
    ),
    Kind(
        "Home > Mug",
        homeware.mug,
        {"shape": ("straight", "tapered", "belly"), "handle": ("round", "square", "small")},
        ("ceramic", "enamel"),
        (6, 28),
    ),
    Kind(
        "Home > Lamp",
        homeware.lamp,
        {"shade": ("cone", "drum", "bell"), "foot": ("tripod", "stem", "ceramic")},
        ("paper", "linen", "silk"),
        (25, 160),
    ),
    Kind(
        "Home > Chair",
        homeware.chair,
        {"back": ("square", "oval", "slats"), "legs": ("wood", "metal", "splayed"), "arms": ("none", "yes")},
        ("velvet", "linen", "leather", "canvas"),
        (60, 320),
    ),
)

COLOURS: dict[str, Colour] = {
    "white": (240, 239, 235),
    "black": (34, 34, 38),
    "grey": (142, 144, 148),
    "beige": (214, 192, 158),
    "brown": (112, 74, 48),
    "red": (204, 36, 44),
    "maroon": (112, 22, 40),
    "orange": (232, 122, 42),
    "yellow": (238, 200, 62),
    "green": (48, 134, 78),
    "teal": (38, 140, 150),
    "blue": (58, 104, 200),
    "navy": (32, 44, 96),
    "purple": (118, 62, 148),
    "pink": (236, 152, 178),
}


@dataclass(frozen=True)
class Print:
    """A pattern as shops name it: its tile, the way it runs, its period in widths of the product square."""

    tile: str
    turn: float = 0.0
    size: tuple[float, float] = (0.1, 0.17)


PRINTS = {
    "solid": Print("solid"),
    "horizontal stripes": Print("stripes"),
    "vertical stripes": Print("stripes", math.pi / 2),
    "diagonal stripes": Print("stripes", math.pi / 4),
    "pinstripes": Print("pinstripes", 0.0, (0.12, 0.18)),
    "dots": Print("dots"),
    "gingham": Print("gingham", 0.0, (0.1, 0.16)),
    "tartan": Print("tartan", 0.0, (0.12, 0.2)),
    "chevron": Print("chevron"),
    "argyle": Print("argyle", 0.0, (0.1, 0.15)),
    "floral": Print("floral", 0.0, (0.17, 0.27)),
    "leopard": Print("leopard", 0.0, (0.16, 0.24)),
    "stars": Print("stars", 0.0, (0.15, 0.25)),
    "tie-dye": Print("tie-dye", 0.0, (0.3, 0.5)),
}
ATTRIBUTES = tuple(
    dict.fromkeys(["pattern", "colour", "accent", "material", *(name for kind in KINDS for name in kind.options)])
)
