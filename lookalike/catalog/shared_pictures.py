"""Pictures that many products share, such as "image coming soon" and size charts: they say nothing of any of them."""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

SAYS_NOTHING = "pictures that many products share can be found, and are not learnt from"
"""How they are told."""

# Fewer may be one thing in several sizes, or what one outfit is made of.
MANY_PRODUCTS = 5
# Variants of one thing have one set of other pictures; products that have a chart in common have each its own.
_MANY_COMPANIES = 3
_DIGEST_BYTES = 4


class Sharer(NamedTuple):
    """A product that shows a picture.

    category: digest of its category, b'' where it has none.   company: digest of its other pictures, b'' likewise.
    """

    product: str
    category: bytes
    company: bytes


def sharer(product: str, category: str, other_hashes: Iterable[int]) -> Sharer:
    """The product of a picture that has other pictures too, by their perceptual hashes."""
    return Sharer(product, _digest(category), _digest(",".join(map(str, sorted(set(other_hashes))))))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:_DIGEST_BYTES] if text else b""


def says_nothing(sharers: Collection[Sharer]) -> bool:
    """Whether a picture says nothing of the products that show it or nearly the same one."""
    products, categories, companies = (set(filter(None, values)) for values in zip(*sharers, strict=True))
    return len(products) >= MANY_PRODUCTS and (len(categories) > 1 or len(companies) >= _MANY_COMPANIES)


def shared_hashes(sharers: Mapping[int, Collection[Sharer]], near: Iterable[tuple[int, int]]) -> set[int]:
    """Pictures that say nothing: many products show them or near ones; and what is near to one of these.

    sharers: by perceptual hash.   near: pairs of hashes of nearly the same picture.
    """
    alike: defaultdict[int, set[int]] = defaultdict(set)
    for one, other in near:
        alike[one].add(other)
        alike[other].add(one)
    shared = {
        value
        for value in sharers
        if says_nothing({who for other in (value, *alike[value]) for who in sharers.get(other, ())})
    }
    return shared.union(*(alike[value] for value in shared))
