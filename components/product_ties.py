"""Which decoded images must be placed together: Beam finds what ties their products to each other."""

import pickle
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from components.canonical_shards import Place
from lookalike.catalog.placement import DecodedImage
from lookalike.catalog.splits import bands, near_pairs, tied


class Decoded(NamedTuple):
    """An image whose picture lies at a place."""

    facts: DecodedImage
    at: Place


def packed(value: Any) -> bytes:
    """What is grouped waits in a runner's memory, which bytes fill a fourth as much as objects do."""
    return zlib.compress(pickle.dumps(value), 1)


def unpacked(data: bytes) -> Any:
    """The inverse of `packed`."""
    return pickle.loads(zlib.decompress(data))  # noqa: S301 - of our own, as Beam's coders are


def in_groups(decoded: PCollection, near_duplicate_distance: int) -> PCollection:
    """Packed `Decoded` in groups that nothing ties to each other: no product, no picture, and no near-duplicate.

    The ties of different products are gathered on one worker, and what they come to is a side input.
    """
    by_hash = decoded | "Hashes" >> beam.FlatMap(_hashes) | "By hash" >> beam.GroupByKey()
    sharing_a_picture = (
        decoded | "Pictures" >> beam.Map(_picture) | "By picture" >> beam.GroupByKey() | beam.FlatMapTuple(_ties)
    )
    sharing_a_hash = by_hash | "Ties of hashes" >> beam.FlatMapTuple(_ties)
    near = (
        by_hash
        | "Bands" >> beam.FlatMapTuple(_bands)
        | "By band" >> beam.GroupByKey()
        | "Near" >> beam.FlatMap(_near_ties, near_duplicate_distance)
    )
    roots = (
        (sharing_a_picture, sharing_a_hash, near)
        | "Ties" >> beam.Flatten()
        | "All ties" >> beam.combiners.ToList()
        | "Join" >> beam.FlatMap(lambda ties: tied(ties).items())
    )
    return (
        decoded
        | "Products" >> beam.Map(lambda decoded: (decoded.facts.image.product_id, packed(decoded)))
        | "Roots" >> beam.Map(_with_root, AsDict(roots))
        | "By root" >> beam.GroupByKey()
        | "Components" >> beam.Values()
    )


def _hashes(decoded: Decoded) -> Iterator[tuple[bytes, str]]:
    if not decoded.facts.low_info:
        yield decoded.facts.perceptual_hash.to_bytes(8, "big"), decoded.facts.image.product_id


def _picture(decoded: Decoded) -> tuple[bytes, str]:
    return bytes.fromhex(decoded.facts.image.picture), decoded.facts.image.product_id


def _ties(_: object, products: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs that tie all of some products together."""
    first, *others = sorted(set(products))
    return ((first, other) for other in others)


def _bands(hashed: bytes, products: Iterable[str]) -> Iterator[tuple[tuple[int, int], tuple[bytes, str]]]:
    product = min(products)  # the others are tied to it
    return ((band, (hashed, product)) for band in bands(int.from_bytes(hashed, "big")))


def _near_ties(
    bucket: tuple[object, Iterable[tuple[bytes, str]]], near_duplicate_distance: int
) -> Iterator[tuple[str, str]]:
    product_of = {int.from_bytes(hashed, "big"): product for hashed, product in bucket[1]}
    for one, other in near_pairs(product_of, near_duplicate_distance):
        if product_of[one] != product_of[other]:
            yield product_of[one], product_of[other]


def _with_root(image: tuple[str, bytes], roots: Mapping[str, str]) -> tuple[str, bytes]:
    """roots: of the products that are tied to another one."""
    product, data = image
    return roots.get(product, product), data
