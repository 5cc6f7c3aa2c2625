"""The one record: an image of a product, as a source states it, ingest completes it, and answers show it.

`FIELDS` is read off the record. Manifest columns, tf.Examples, a release's Arrow columns and the JSON of an answer
follow from it, so that a new fact is one line here.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from decimal import Context, Decimal, Inexact, InvalidOperation
from enum import Enum, IntEnum
from functools import cache
from typing import Any

DOMAINS = ("catalog", "wild")
SPLITS = ("train", "eval", "test")

Crop = tuple[float, float, float, float]
"""x, y, width, height as fractions of the upright image, each in 0…1."""

_ROUNDING_SLACK = 1e-6  # 0.7 + 0.3 may come out above 1 after a trip through text
_PRICE_DIGITS = 15  # what a float64 filter can tell apart; data frames write 26.991000000000003 for 26.991
_PRICE_CONTEXT = Context(prec=_PRICE_DIGITS)


class Kind(Enum):
    """What a field holds, and so how it is read, kept and shown."""

    TEXT = "text"
    TEXTS = "a tuple of text"
    PRICE = "a decimal number as text, '' where it is unknown"
    CROP = "x, y, width, height"
    ATTRIBUTES = "name to text"


class Reach(IntEnum):
    """How far a field travels; what goes further is in all that lies before."""

    INGEST = 0
    EXAMPLES = 1
    RELEASE = 2
    ANSWER = 3


@dataclass(frozen=True)
class Field:
    """One field of the record, and where it goes.

    column: of a manifest; '' where no source states it.
    of_product: one value holds for all images of a product.
    """

    name: str
    kind: Kind
    column: str
    of_product: bool
    reach: Reach

    @property
    def is_shown_only(self) -> bool:
        """Whether answers show it and nothing else needs it: no product is ever refused for such a field."""
        return self.reach is Reach.ANSWER and self.of_product and self.name not in ("category", "other_categories")


def _fact(
    reach: Reach, kind: Kind = Kind.TEXT, *, column: str = "", of_product: bool = False, default: Any = ""
) -> Any:
    goes = {"reach": reach, "kind": kind, "column": column, "of_product": of_product}
    if callable(default):
        return field(default_factory=default, metadata=goes)
    return field(default=default, metadata=goes)


_INGEST, _EXAMPLES, _RELEASE, _ANSWER = Reach


@dataclass(frozen=True)
class CatalogImage:
    """One image and what is known of it; '' (or nothing) means that nobody says.

    image_id: its readable name, the path relative to the span folder or data root. Several images may share it:
      products that are shown by one file, or two crops of one photo.
    product_id: images of one product share it; by default each image is its own product.
    uri: absolute path of the original, while it is being ingested.
    category, other_categories: the product's set of categories, paths through the taxonomy such as 'Clothing > Tops >
      T-shirt'. The first is what the model learns.
    split: where the source wants it; ingest's own decision is which examples it lies in.
    price: the decimal digits as stated; float64 is for filters alone.
    crop: the part of the original that is the image.
    sha256: hex, of the original file.
    canonical_sha256, canonical_recipe: hex of the canonical JPEG, and `images.recipe` of how it was made. What is
      derived from the picture can be kept under the two together.
    label: the category where it is a class to learn.
    seen_in: a less held-out split that has a near-duplicate; such an image asks no question.
    jpeg: a picture of it where one travels along: canonical in examples, a thumbnail in a release.

    Raises ValueError, naming the field, when a value is outside what the field allows.
    """

    image_id: str = _fact(_ANSWER, column="image", default=MISSING)
    product_id: str = _fact(_ANSWER, column="product_id")
    uri: str = _fact(_INGEST)
    category: str = _fact(_ANSWER, column="category", of_product=True)
    other_categories: tuple[str, ...] = _fact(_ANSWER, Kind.TEXTS, of_product=True, default=())
    domain: str = _fact(_EXAMPLES, column="domain", default="catalog")
    split: str = _fact(_INGEST, column="split")
    title: str = _fact(_ANSWER, column="title", of_product=True)
    brand: str = _fact(_ANSWER, column="brand", of_product=True)
    url: str = _fact(_ANSWER, column="url", of_product=True)
    price: str = _fact(_ANSWER, Kind.PRICE, column="price", of_product=True)
    currency: str = _fact(_ANSWER, column="currency", of_product=True)
    availability: str = _fact(_ANSWER, column="availability", of_product=True)
    gender: str = _fact(_ANSWER, column="gender", of_product=True)
    attributes: Mapping[str, str] = _fact(_ANSWER, Kind.ATTRIBUTES, of_product=True, default=dict)
    crop: Crop | None = _fact(_RELEASE, Kind.CROP, column="crop", default=None)  # noqa: RUF009 - a dataclass field
    span: str = _fact(_EXAMPLES)
    sha256: str = _fact(_RELEASE, column="sha256")
    canonical_sha256: str = _fact(_RELEASE)
    canonical_recipe: str = _fact(_RELEASE)
    label: str = _fact(_EXAMPLES)
    seen_in: str = _fact(_EXAMPLES)
    jpeg: bytes = field(default=b"", repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its values: the names of the fields would be half of what goes from one worker to another."""
        return CatalogImage, tuple(getattr(self, one.name) for one in fields(self))

    def __post_init__(self) -> None:
        if not self.image_id:
            raise ValueError("image_id must not be empty")
        if self.crop is not None:
            check_crop(self.crop)
            object.__setattr__(self, "crop", tuple(side + 0.0 for side in self.crop))  # 0, 0.0 and -0.0 are one key
        if not self.product_id:
            object.__setattr__(self, "product_id", _own_product(self.image_id, self.crop))
        _check_choice("domain", self.domain, DOMAINS)
        _check_choice("split", self.split, ("", *SPLITS))
        if self.price != parse_price(self.price):
            raise ValueError(f"price must be plain decimal digits, got {self.price!r}")

    @property
    def key(self) -> str:
        """What makes this image itself, 32 hex digits: product, original file and crop.

        Raises ValueError before the original has been read.
        """
        if not self.sha256:
            raise ValueError(f"expected the digest of the original of {self.image_id}, it has not been read")
        named = json.dumps([self.product_id, self.sha256, self.crop])
        return hashlib.sha256(named.encode()).hexdigest()[:32]

    @property
    def stated_as(self) -> tuple[str, str, tuple[float, ...]]:
        """What tells the images of one source apart before any is read: name, product and crop."""
        return self.image_id, self.product_id, self.crop or ()

    @property
    def picture(self) -> str:
        """Equal for images that show the very same picture, whatever their product."""
        return self.canonical_sha256 or self.sha256 or self.image_id

    @property
    def categories(self) -> tuple[str, ...]:
        """All categories, the one to learn first; () where unlabelled."""
        return (self.category, *self.other_categories) if self.category else ()

    @property
    def is_own_product(self) -> bool:
        """Whether no source names a product for it."""
        return self.product_id == _own_product(self.image_id, self.crop)


FIELDS = tuple(Field(one.name, **one.metadata) for one in fields(CatalogImage) if one.metadata)
COLUMNS = tuple(one.column for one in FIELDS if one.column)
ATTRIBUTE_PREFIX = "attr:"


def is_attribute(column: str) -> bool:
    """Whether a manifest's column holds an attribute of the shop's own."""
    return column.startswith(ATTRIBUTE_PREFIX) and column != ATTRIBUTE_PREFIX


@cache
def fields_of(reach: Reach) -> tuple[Field, ...]:
    """The fields that travel at least so far."""
    return tuple(one for one in FIELDS if one.reach >= reach)


def to_columns(image: CatalogImage, reach: Reach) -> dict[str, Any]:
    """What travels so far of a record, as flat columns of text, lists of text, mappings and numbers.

    A price is two columns: `price_text`, and the float `price` for filters and statistics (None where unknown).
    """
    columns: dict[str, Any] = {}
    for one in fields_of(reach):
        value = getattr(image, one.name)
        match one.kind:
            case Kind.TEXTS:
                columns[one.name] = list(value)
            case Kind.PRICE:
                columns |= {f"{one.name}_text": value, one.name: float(value) if value else None}
            case Kind.CROP:
                columns[one.name] = ",".join(map(repr, value)) if value else ""
            case _:
                columns[one.name] = value
    return columns


def from_columns(columns: Mapping[str, Any], jpeg: bytes = b"") -> CatalogImage:
    """The inverse of `to_columns`: columns that are not there are absent values, others are passed over."""
    known = {one.name: _from_column(one, columns) for one in FIELDS}
    return CatalogImage(**{name: value for name, value in known.items() if value is not None}, jpeg=jpeg)


def _from_column(one: Field, columns: Mapping[str, Any]) -> Any:
    value = columns.get(one.name)
    match one.kind:
        case Kind.TEXTS:
            return tuple(value or ())
        case Kind.PRICE:
            stated = columns.get(f"{one.name}_text")
            return _digits(value) if stated is None and value is not None else stated
        case Kind.CROP:
            return parse_crop(value or "")
        case _:
            return value


def _digits(number: float) -> str:
    """The price of a file from before there was a text; nothing in it was checked then."""
    try:
        return parse_price(str(number))
    except ValueError:
        return ""


def to_answer(image: CatalogImage) -> dict[str, Any]:
    """What an answer shows of an image, in JSON's types; the price as a number (None where unknown) and as stated."""
    return to_columns(image, Reach.ANSWER)


def parse_availability(text: str) -> str:
    """One spelling: "In stock" and in_stock are one value."""
    return "_".join(text.casefold().split())


def parse_price(text: str) -> str:
    """Plain decimal digits of a number such as '19.90' or '1e3', at most 15 that count; '' for ''.

    Raises ValueError for what is no number of at least 0, or too large for anybody's price.
    """
    if not text:
        return ""
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"price must be a number, got {text[:40]!r}") from None
    if not (price.is_finite() and price >= 0):
        raise ValueError(f"price must be a finite number of at least 0, got {text[:40]}")
    if price.adjusted() >= _PRICE_DIGITS:
        raise ValueError(f"price must be below 10^{_PRICE_DIGITS}, got {text[:40]}")
    return format(_rounded(price), "f")


def _rounded(price: Decimal) -> Decimal:
    """The price as it is where its digits count, else without those that come of computing in binary."""
    if price.adjusted() < -_PRICE_DIGITS:
        return Decimal(0)
    context = _PRICE_CONTEXT.copy()
    rounded = context.plus(price)
    return rounded.normalize() if context.flags[Inexact] else price


def parse_crop(value: Any) -> Crop | None:
    """From 'x,y,width,height', or a list of four numbers; None where it is missing.

    Raises ValueError for anything else.
    """
    numbers = value.replace(",", " ").split() if isinstance(value, str) else value
    if numbers is None or numbers == [] or numbers != numbers:
        return None
    try:
        x, y, width, height = (float(number) for number in numbers)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"crop must be x,y,width,height in 0…1, got {str(value)[:40]!r}") from None
    return x, y, width, height


def check_crop(crop: Crop) -> None:
    """Checks that the crop is a box with an area, inside the image.

    Raises ValueError: it is none.
    """
    x, y, width, height = crop
    inside = x >= 0 and y >= 0 and x + width <= 1 + _ROUNDING_SLACK and y + height <= 1 + _ROUNDING_SLACK
    if not (inside and width > 0 and height > 0 and all(map(math.isfinite, crop))):
        raise ValueError(f"crop must be x, y, width, height inside 0…1 with an area, got {crop}")


def _own_product(image_id: str, crop: Crop | None) -> str:
    """The product of an image that names none: two boxes in one photo are two things."""
    return image_id if crop is None else f"{image_id} [{', '.join(f'{side:.12g}' for side in crop)}]"


def _check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(filter(None, allowed))}, got {value!r}")
