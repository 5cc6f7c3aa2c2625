"""Which decoded images must be placed together, and by which rules: Beam finds what ties their products."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsIter, PCollection, TaggedOutput

from components.packed_records import Decoded, packed, unpacked
from lookalike.catalog.placement import sharers_of
from lookalike.catalog.shared_pictures import Sharer, shared_hashes
from lookalike.catalog.splits import bands, extreme_positions, near_hashes, position, split_rule, tied
from lookalike.configs.settings import IngestSettings

_HASH_BYTES, _DIGEST_BYTES = 8, 4


class Groups(NamedTuple):
    """Products in groups, packed; the hashes of pictures that say nothing; the split rule of each category."""

    groups: PCollection
    shared: PCollection
    rules: PCollection


def in_groups(products: PCollection, limits: IngestSettings) -> Groups:
    """Lists of `Decoded`, one a product, in groups that no near-duplicate ties to each other.

    In the groups each product is packed: in one piece, for its images have much in common. The ties of different
    products are gathered on one worker, and what they come to is a side input.
    """
    joined = (
        products
        | "Meetings" >> beam.FlatMap(_meetings)
        | "By meeting" >> beam.GroupByKey()
        | "Ties" >> beam.FlatMap(_ties, limits.near_duplicate_distance)
        | "All ties" >> beam.combiners.ToList()
        | "Join" >> beam.FlatMap(_join).with_outputs("shared", main="roots")
    )
    groups = (
        products
        | "Products" >> beam.Map(lambda product: (product[0].facts.image.product_id, packed(product)))
        | "Roots" >> beam.Map(_with_root, AsDict(joined.roots))
        | "By root" >> beam.GroupByKey()
    )
    rules = (
        groups
        | "Positions" >> beam.FlatMap(_positions, AsIter(joined.shared), limits.seed)
        | "Extremes" >> beam.CombinePerKey(extreme_positions)
        | "Rules" >> beam.MapTuple(lambda name, at: (name, split_rule(at, limits.eval_fraction, limits.test_fraction)))
    )
    return Groups(groups | "Components" >> beam.Values(), joined.shared, rules)


def _meetings(product: list[Decoded]) -> Iterator[tuple[bytes, bytes]]:
    """Where images may meet those that are like them, and what is known of each there: hash, and product.

    A band's first half alone makes few meetings of many images: each costs a runner's memory some hundred bytes.
    """
    for value, who in sharers_of([facts for facts, _ in product]):
        known = _packed(value, who)
        for band, bits in bands(value):
            yield bytes([band, bits >> 8]), known


def _packed(value: int, who: Sharer) -> bytes:
    digests = (digest.rjust(_DIGEST_BYTES, b"\0") for digest in (who.category, who.company))
    return b"".join([value.to_bytes(_HASH_BYTES, "big"), *digests, who.product.encode()])


def _unpacked(known: bytes) -> tuple[int, Sharer]:
    company_at, product_at = _HASH_BYTES + _DIGEST_BYTES, _HASH_BYTES + 2 * _DIGEST_BYTES
    category, company = known[_HASH_BYTES:company_at], known[company_at:product_at]
    who = Sharer(known[product_at:].decode(), category.lstrip(b"\0"), company.lstrip(b"\0"))
    return int.from_bytes(known[:_HASH_BYTES], "big"), who


def _ties(met: tuple[bytes, Iterable[bytes]], near_duplicate_distance: int) -> Iterator[tuple[bytes, bytes]]:
    """Pairs of what is known of images of nearly the same picture, of different products."""
    of_hash: dict[int, bytes] = {}
    for known in met[1]:
        first = of_hash.setdefault(int.from_bytes(known[:_HASH_BYTES], "big"), known)
        if first != known:
            yield first, known
    near = near_hashes(of_hash, near_duplicate_distance)
    yield from ((of_hash[one], of_hash[other]) for one in of_hash for other in near[one] if one < other)


def _join(ties: list[tuple[bytes, bytes]]) -> Iterator[Any]:
    """Product → root of those that are tied together; and the hashes of pictures that tie nothing."""
    sharers: dict[int, set[Sharer]] = {}
    pairs = []
    for one, other in ties:
        pairs.append((_unpacked(one), _unpacked(other)))
        for value, who in pairs[-1]:
            sharers.setdefault(value, set()).add(who)
    shared = shared_hashes(sharers, ((one, other) for (one, _), (other, _) in pairs))
    yield from (TaggedOutput("shared", value) for value in shared)
    yield from tied(
        (one.product, other.product)
        for (value, one), (other_value, other) in pairs
        if value not in shared and other_value not in shared
    ).items()


def _with_root(product: tuple[str, bytes], roots: Mapping[str, str]) -> tuple[str, bytes]:
    """roots: of the products that are tied to another one."""
    name, data = product
    return roots.get(name, name), data


def _positions(
    group: tuple[str, Iterable[bytes]], shared: Iterable[int], seed: int
) -> Iterator[tuple[str, tuple[float]]]:
    """The position of a group under each class that it has examples of, unless its source states the split."""
    root, products = group
    images = list(chain.from_iterable(map(unpacked, products)))
    if any(facts.image.split for facts, _ in images):
        return
    without = set(shared)
    says = (facts for facts, _ in images if not facts.low_info and facts.perceptual_hash not in without)
    for category in {facts.image.category for facts in says}:
        yield category, (position(root, seed),)
