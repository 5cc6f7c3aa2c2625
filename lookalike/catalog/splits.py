"""Which images belong to one product or show one picture, and which split each such group goes to.

A group is never divided, so that nothing the model trained on is asked for in its evaluation.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

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


def group_ids(product_ids: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """The group of each image: images are in one group when a chain of shared products and pairs joins them.

    product_ids: one an image.   pairs: indices of images that show one picture.
    Returns one key an image, the smallest product id of its group.
    """
    parent = {product_id: product_id for product_id in product_ids}

    def root(product_id: str) -> str:
        while parent[product_id] != product_id:
            parent[product_id] = parent[parent[product_id]]  # halve the path
            product_id = parent[product_id]
        return product_id

    for i, j in pairs:
        smaller, larger = sorted((root(product_ids[i]), root(product_ids[j])))
        parent[larger] = smaller
    return [root(product_id) for product_id in product_ids]


def assign_split(group: str, explicit: Iterable[str], *, eval_fraction: float, test_fraction: float, seed: int) -> str:
    """The split of a group: 'train', 'eval' or 'test'.

    explicit: the splits that the source states for the group's images ('' = none); where they disagree the
    most held-out one wins (test, then eval, then train), so that what must not be trained on never is.
    Without one, a hash of seed and group decides: it depends on nothing else, so tomorrow's run agrees.

    Raises ValueError for an unknown split, or fractions that leave nothing to train on.
    """
    if not (eval_fraction >= 0 and test_fraction >= 0 and eval_fraction + test_fraction < 1):
        raise ValueError(f"held-out fractions must sum to less than 1, got {eval_fraction} and {test_fraction}")
    stated = set(explicit) - {""}
    if unknown := stated - set(SPLITS):
        raise ValueError(f"splits must be among {', '.join(SPLITS)}, got {sorted(unknown)}")
    if stated:
        return max(stated, key=SPLITS.index)
    return _hashed_split(_position(group, seed), eval_fraction, test_fraction)


def _hashed_split(position: float, eval_fraction: float, test_fraction: float) -> str:
    if position < test_fraction:
        return "test"
    return "eval" if position < test_fraction + eval_fraction else "train"


def _position(group: str, seed: int) -> float:
    """A uniform number in [0, 1), the same for the same group and seed."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
