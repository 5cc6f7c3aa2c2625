"""Which decoded images must be placed together: Beam finds what ties their products to each other."""

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.pvalue import AsDict, PCollection

from components.packed_records import Decoded, packed
from lookalike.catalog.splits import bands, near_hashes, tied

_PICTURE = 255  # in place of a band's number
_IDENTITY_BYTES = 8  # of a hash, or of a digest: images that have the same are the same


def in_groups(products: PCollection, near_duplicate_distance: int) -> PCollection:
    """Lists of `Decoded`, one a product, in groups that nothing ties to each other: no picture and no near-duplicate.

    In the groups each product is packed: in one piece, for its images have much in common. The ties of different
    products are gathered on one worker, and what they come to is a side input.
    """
    roots = (
        products
        | "Meetings" >> beam.FlatMap(_meetings)
        | "By meeting" >> beam.GroupByKey()
        | "Ties" >> beam.FlatMap(_ties, near_duplicate_distance)
        | "All ties" >> beam.combiners.ToList()
        | "Join" >> beam.FlatMap(lambda ties: tied(ties).items())
    )
    return (
        products
        | "Products" >> beam.Map(lambda product: (product[0].facts.image.product_id, packed(product)))
        | "Roots" >> beam.Map(_with_root, AsDict(roots))
        | "By root" >> beam.GroupByKey()
        | "Components" >> beam.Values()
    )


def _meetings(product: list[Decoded]) -> Iterator[tuple[bytes, bytes]]:
    """Where images may meet those that are like them, and what is known of each there: hash or digest, and product.

    A band's first half alone makes few meetings of many images: each costs a runner's memory some hundred bytes.
    """
    for facts, _ in product:
        known = facts.image.product_id.encode()
        digest = bytes.fromhex(facts.image.picture)
        yield bytes([_PICTURE, digest[0]]), digest[:_IDENTITY_BYTES] + known
        if not facts.low_info:
            for band, value in bands(facts.perceptual_hash):
                yield bytes([band, value >> 8]), facts.perceptual_hash.to_bytes(_IDENTITY_BYTES, "big") + known


def _ties(met: tuple[bytes, Iterable[bytes]], near_duplicate_distance: int) -> Iterator[tuple[str, str]]:
    """Pairs that tie the products of the same picture together, and those of nearly the same."""
    meeting, images = met
    product_of: dict[int, str] = {}
    for image in images:
        product = image[_IDENTITY_BYTES:].decode()
        first = product_of.setdefault(int.from_bytes(image[:_IDENTITY_BYTES], "big"), product)
        if first != product:
            yield first, product
    if meeting[0] != _PICTURE:
        near = near_hashes(product_of, near_duplicate_distance)
        pairs = ((product_of[one], product_of[other]) for one in product_of for other in near[one])
        yield from ((one, other) for one, other in pairs if one < other)


def _with_root(product: tuple[str, bytes], roots: Mapping[str, str]) -> tuple[str, bytes]:
    """roots: of the products that are tied to another one."""
    name, data = product
    return roots.get(name, name), data
