"""One image of a product, as a source states it and every later stage reads it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

DOMAINS = ("catalog", "wild")
SPLITS = ("train", "eval", "test")

Crop = tuple[float, float, float, float]
"""x, y, width, height as fractions of the upright image, each in 0…1."""

_ROUNDING_SLACK = 1e-6  # 0.7 + 0.3 may come out above 1 after a trip through text


@dataclass(frozen=True)
class CatalogImage:
    """One image and what its source says of it; '' (or None) means the source does not say.

    image_id: path of the image relative to its span folder or data root, with forward slashes.
    product_id: images of one product share it; defaults to image_id, so that each image is its own product.
    uri: absolute path on a mounted file system.
    category: path through the taxonomy, 'Clothing > Tops > T-shirt'.
    attributes: name to value; missing values are absent.
    sha256: hex digest of the original file, where the source states it.

    Raises ValueError, naming the field, when a value is outside what the field allows.
    """

    image_id: str
    product_id: str
    uri: str
    category: str = ""
    domain: str = "catalog"
    split: str = ""
    title: str = ""
    price: float | None = None
    gender: str = ""
    crop: Crop | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    span: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.image_id:
            raise ValueError("image_id must not be empty")
        if not self.product_id:
            object.__setattr__(self, "product_id", self.image_id)
        _check_choice("domain", self.domain, DOMAINS)
        _check_choice("split", self.split, ("", *SPLITS))
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            raise ValueError(f"price must be a finite number of at least 0, got {self.price}")
        if self.crop is not None:
            check_crop(self.crop)


def check_crop(crop: Crop) -> None:
    """Raise ValueError unless the crop is a box with an area, inside the image."""
    x, y, width, height = crop
    inside = x >= 0 and y >= 0 and x + width <= 1 + _ROUNDING_SLACK and y + height <= 1 + _ROUNDING_SLACK
    if not (inside and width > 0 and height > 0):
        raise ValueError(f"crop must be x, y, width, height inside 0…1 with an area, got {crop}")


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(filter(None, allowed))}, got {value!r}")
