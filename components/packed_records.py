"""What the steps of ingest hand on about an image whose picture lies in a shard, in few bytes."""

import pickle
import zlib
from typing import Any, NamedTuple

from components.canonical_shards import Place
from lookalike.catalog.images import recipe
from lookalike.catalog.placement import DecodedImage, Placement
from lookalike.catalog.product import CatalogImage


class Decoded(NamedTuple):
    """An image whose picture lies at a place."""

    facts: DecodedImage
    at: Place


class Placed(NamedTuple):
    """An image whose picture lies at a place, and where the image goes."""

    image: CatalogImage
    at: Place
    placement: Placement


_IMAGE = CatalogImage("any name", canonical_recipe=recipe(longest_side_px=320))
_COMMON = b"".join(
    pickle.dumps(record)
    for record in (
        Decoded(DecodedImage(_IMAGE, perceptual_hash=0, low_info=False), Place("", 0, 0)),
        Placed(_IMAGE, Place("", 0, 0), Placement("train", "")),
    )
)
"""What most records have in common: a single one compresses little by itself."""


def packed(value: Any) -> bytes:
    """What is grouped waits in a runner's memory, which bytes fill a sixth as much as objects do."""
    compressor = zlib.compressobj(level=1, zdict=_COMMON)
    return compressor.compress(pickle.dumps(value)) + compressor.flush()


def unpacked(data: bytes) -> Any:
    """The inverse of `packed`, by the same version of this code: nothing of it is kept on disk."""
    found = zlib.decompressobj(zdict=_COMMON).decompress(data)
    return pickle.loads(found)  # noqa: S301 - of our own, as Beam's coders are
