"""Which images belong to one product or show one picture, and which split each such group goes to.

A group is never divided, so that nothing the model trained on is asked for in its evaluation.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from lookalike.catalog.product import SPLITS

_BAND_BITS = 16
_NUM_BANDS = 64 // _BAND_BITS
# Two hashes that differ in fewer bits than there are bands agree on at least one whole band (pigeonhole).
MAX_EXACT_DISTANCE = _NUM_BANDS - 1


def near_duplicate_pairs(hashes: Sequence[int], max_distance: int) -> list[tuple[int, int]]:
    """Pairs (i, j), i < j, sorted, that link all images whose hashes differ in at most max_distance bits.

    hashes: 64-bit perceptual hashes, one an image. Of equal hashes, the first stands for all: each other one
    is linked to it, and only it is linked to other hashes. So ten thousand equal hashes give ten thousand
    pairs, not fifty million, and the groups that follow are the same. Leave out images flagged LOW_INFO:
    their hashes are all alike.

    Raises ValueError when max_distance is outside 0…3, where the search is exact.
    """
    if not 0 <= max_distance <= MAX_EXACT_DISTANCE:
        raise ValueError(f"max_distance must be between 0 and {MAX_EXACT_DISTANCE}, got {max_distance}")
    first_index: dict[int, int] = {}
    pairs: set[tuple[int, int]] = set()
    for index, value in enumerate(hashes):
        first = first_index.setdefault(value, index)
        if first != index:
            pairs.add((first, index))
    for one, other in _candidates(first_index):
        if (one ^ other).bit_count() <= max_distance:
            pairs.add((first_index[one], first_index[other]))
    return sorted(pairs)


def _candidates(distinct: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Pairs that agree on a band of bits, in the order of the input; a pair comes once a band they share."""
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for value in distinct:
        for band in range(_NUM_BANDS):
            buckets[band, value >> band * _BAND_BITS & 0xFFFF].append(value)
    for bucket in buckets.values():
        yield from combinations(bucket, 2)


class Group(NamedTuple):
    """Products that are never divided.

    name: the smallest product id it had when it was made; kept for life.
    split: train, eval or test.
    """

    name: str
    split: str


def assign_groups(
    products: Sequence[tuple[str, str]],
    pairs: Iterable[tuple[int, int]],
    *,
    known: Mapping[str, Group],
    eval_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[str, Group]:
    """The group of each product; those that a chain of shared products and pairs joins get one.

    products: product id and stated split ('' = none) of each image.   pairs: indices of images that show one picture.
    known: product → the group it has already. A known product never moves; a new one joins the most held-out of the
    groups that it, or a new product joined to it, touches. Where splits are stated or touched, the most held-out one
    counts (test, then eval, then train), so that what must not be trained on never is. Without any, a hash of seed and
    name decides: it depends on nothing else.

    Raises ValueError for an unknown split, or fractions that leave nothing to train on.
    """
    _check_fractions(eval_fraction, test_fraction)
    joined = _join_new(products, pairs := list(pairs), known)
    stated: defaultdict[str, set[str]] = defaultdict(set)
    touched: defaultdict[str, set[Group]] = defaultdict(set)
    for product, split in products:
        if product in joined:
            stated[joined[product]].add(split)
    for one, other in _both_ways(pairs):
        if (new := products[one][0]) in joined and (neighbour := products[other][0]) in known:
            touched[joined[new]].add(known[neighbour])
    groups = {
        name: _place_group(name, stated[name], touched[name], eval_fraction, test_fraction, seed)
        for name in set(joined.values())
    }
    return {product: known[product] if product in known else groups[joined[product]] for product, _ in products}


def split_rank(split: str) -> int:
    """How held-out a split is: train 0, eval 1, test 2."""
    return SPLITS.index(split)


def _join_new(
    products: Iterable[tuple[str, str]], pairs: Iterable[tuple[int, int]], known: Mapping[str, Group]
) -> dict[str, str]:
    """New product → the smallest id of those that pairs join it to through new products alone."""
    ids = [product for product, _ in products]
    parent = {product: product for product in ids if product not in known}

    def root(product: str) -> str:
        while parent[product] != product:
            parent[product] = parent[parent[product]]  # halve the path
            product = parent[product]
        return product

    for i, j in pairs:
        if ids[i] in parent and ids[j] in parent:
            smaller, larger = sorted((root(ids[i]), root(ids[j])))
            parent[larger] = smaller
    return {product: root(product) for product in parent}


def _both_ways(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    for one, other in pairs:
        yield one, other
        yield other, one


def _place_group(
    name: str, stated: Iterable[str], touched: Iterable[Group], eval_fraction: float, test_fraction: float, seed: int
) -> Group:
    stated = set(stated) - {""}
    if unknown := stated - set(SPLITS):
        raise ValueError(f"splits must be among {', '.join(SPLITS)}, got {sorted(unknown)}")
    candidates = [*sorted(touched), *(Group(name, split) for split in stated)]
    if candidates:
        return max(candidates, key=lambda group: split_rank(group.split))
    return Group(name, _hashed_split(_position(name, seed), eval_fraction, test_fraction))


def _check_fractions(eval_fraction: float, test_fraction: float) -> None:
    if not (eval_fraction >= 0 and test_fraction >= 0 and eval_fraction + test_fraction < 1):
        raise ValueError(f"held-out fractions must sum to less than 1, got {eval_fraction} and {test_fraction}")


def _hashed_split(position: float, eval_fraction: float, test_fraction: float) -> str:
    if position < test_fraction:
        return "test"
    return "eval" if position < test_fraction + eval_fraction else "train"


def _position(group: str, seed: int) -> float:
    """A uniform number in [0, 1), the same for the same group and seed."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
