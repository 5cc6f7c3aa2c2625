"""Which images belong to one product or show one picture, and which split each such group goes to.

A group is never divided, so that nothing the model trained on is asked for in its evaluation.
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple

from lookalike.catalog.product import SPLITS

_BAND_BITS = 16
_NUM_BANDS = 64 // _BAND_BITS
_NUM_LOWEST = 3  # positions of a class that matter: one tests, one chooses the epoch, one more may test by itself
# Two hashes that differ in fewer bits than there are bands agree on at least one whole band (pigeonhole).
MAX_EXACT_DISTANCE = _NUM_BANDS - 1


def bands(value: int) -> Iterator[tuple[int, int]]:
    """The bands of a hash of 64 bits; hashes that are near each other have at least one in common."""
    return ((band, value >> band * _BAND_BITS & 0xFFFF) for band in range(_NUM_BANDS))


def tied(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Name → the smallest name of those that pairs tie it to, through whatever chain."""
    found = _Joined()
    for one, other in pairs:
        found.join(one, other)
    return {name: found.smallest(name) for name in found.names()}


class Group(NamedTuple):
    """Products that are never divided.

    name: the smallest product id it had when it was made; kept for life.   split: train, eval or test.
    """

    name: str
    split: str


class Shown(NamedTuple):
    """What grouping needs to know of an image.

    split: as its source states it, '' = none.   hash: perceptual; None for a picture that says nothing of its product,
    which is like no other.   category: the class that it is an example of, '' = none.
    """

    product: str
    split: str
    hash: int | None
    category: str = ""


class SplitRule(NamedTuple):
    """Which positions, of a group in [0, 1), are held out: below a bound, and where that makes sure of a class.

    test_to: up to here, all tests.   eval_at: the group here chooses the epoch.   train_from: from here on, all is
    trained on.
    """

    test_below: float
    eval_below: float
    test_to: float = -1.0
    eval_at: float = -1.0
    train_from: float = math.inf

    def split(self, position: float) -> str:
        """The split of a group."""
        if position >= self.train_from:
            return "train"
        if position == self.eval_at:
            return "eval"
        if position < self.test_below or position <= self.test_to:
            return "test"
        return "eval" if position < self.eval_below else "train"


def extreme_positions(many: Iterable[Sequence[float]]) -> tuple[float, ...]:
    """The three lowest positions and the highest, of lists of positions or of what came of them before."""
    ordered = sorted(set(chain.from_iterable(many)))
    return tuple(ordered) if len(ordered) <= _NUM_LOWEST else (*ordered[:_NUM_LOWEST], ordered[-1])


def split_rule(positions: Sequence[float], eval_fraction: float, test_fraction: float) -> SplitRule:
    """The rule of a class whose groups have these extreme positions, so that it can be measured.

    Of two groups and more one is trained on (the highest) and one tests (the lowest); of three, one chooses the epoch.
    """
    rule = SplitRule(test_fraction, test_fraction + eval_fraction)
    if len(positions) < 2:
        return rule
    *lower, highest = positions
    rule = rule._replace(train_from=highest, test_to=lower[0] if test_fraction else -1.0)
    if not eval_fraction or len(lower) < 2:
        return rule
    untested = [position for position in lower if rule.split(position) != "test"]
    return rule._replace(eval_at=(untested or lower[-1:])[0])


Near = Mapping[int | None, Collection[int]]
"""Hash → the hashes that show nearly the same picture, itself among them."""


def near_hashes(hashes: Iterable[int], max_distance: int) -> Near:
    """The hashes that differ from each in at most max_distance bits.

    hashes: 64 bits each.

    Raises ValueError when max_distance is outside 0…3, where the search is exact.
    """
    if not 0 <= max_distance <= MAX_EXACT_DISTANCE:
        raise ValueError(f"max_distance must be between 0 and {MAX_EXACT_DISTANCE}, got {max_distance}")
    hashes = set(hashes)
    near: dict[int | None, set[int]] = {value: {value} for value in hashes}
    buckets: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for value in hashes:
        for band in bands(value):
            buckets[band].append(value)
    for bucket in buckets.values():
        for one, other in combinations(bucket, 2):
            if (one ^ other).bit_count() <= max_distance:
                near[one].add(other)
                near[other].add(one)
    return near


def assign_groups(
    images: Sequence[Shown],
    near: Near,
    *,
    known: Mapping[str, Group],
    eval_fraction: float,
    test_fraction: float,
    seed: int,
    rules: Mapping[str, SplitRule] | None = None,
) -> dict[str, Group]:
    """The group of each product, known ones of other days included.

    Products that show nearly the same picture, through whatever chain of new ones, get one group. A known product never
    moves; a new one joins the most held-out of the groups that it, or a new product joined to it, touches. Where splits
    are stated or touched, the most held-out one counts (test, then eval, then train), so that what must not be trained
    on never is. Without any, a hash of seed and name decides by the rules of its classes.

    rules: by category; where there is none, the fractions alone count.

    Raises ValueError for an unknown split, or fractions that leave nothing to train on.
    """
    _check_fractions(eval_fraction, test_fraction)
    names = _join_new(images, near, known)
    groups_at: defaultdict[int | None, set[Group]] = defaultdict(set)
    for image in images:
        if image.product in known and image.hash is not None:
            groups_at[image.hash].add(known[image.product])
    rule = split_rule((), eval_fraction, test_fraction)
    stated: defaultdict[str, set[str]] = defaultdict(set)
    classes: defaultdict[str, set[str]] = defaultdict(set)
    touched: defaultdict[str, set[Group]] = defaultdict(set)
    for image in images:
        if (name := names.get(image.product)) is not None:
            stated[name].add(image.split)
            classes[name].add(image.category)
            touched[name].update(*(groups_at[value] for value in near.get(image.hash, ())))
    made = {
        name: _place_group(
            name, stated[name], touched[name], [(rules or {}).get(one, rule) for one in classes[name]], seed
        )
        for name in set(names.values())
    }
    return {**known, **{product: made[name] for product, name in names.items()}}


def split_rank(split: str) -> int:
    """How held-out a split is: train 0, eval 1, test 2."""
    return SPLITS.index(split)


def _join_new(images: Iterable[Shown], near: Near, known: Mapping[str, Group]) -> dict[str, str]:
    """New product → the smallest id of those that it is joined to through new products alone."""
    new = [image for image in images if image.product not in known]
    at = {image.hash: image.product for image in new if image.hash is not None}  # all others there are joined to it
    alike = ((image.product, at[value]) for image in new for value in (near.get(image.hash, ())) if value in at)
    return tied(chain(((image.product, image.product) for image in new), alike))


class _Joined:
    """Names, of which some are the same thing (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def names(self) -> Iterable[str]:
        """All that were joined."""
        return self._parent

    def smallest(self, name: str) -> str:
        """The smallest name of the same thing."""
        self._parent.setdefault(name, name)
        while self._parent[name] != name:
            self._parent[name] = self._parent[self._parent[name]]  # halve the path
            name = self._parent[name]
        return name

    def join(self, one: str, other: str) -> None:
        """Says that two names are of one thing."""
        smaller, larger = sorted((self.smallest(one), self.smallest(other)))
        self._parent[larger] = smaller


def _place_group(
    name: str, stated: Iterable[str], touched: Iterable[Group], rules: Iterable[SplitRule], seed: int
) -> Group:
    stated = set(stated) - {""}
    if unknown := stated - set(SPLITS):
        raise ValueError(f"splits must be among {', '.join(SPLITS)}, got {sorted(unknown)}")
    candidates = [*sorted(touched), *(Group(name, split) for split in stated)]
    if candidates:
        return max(candidates, key=lambda group: split_rank(group.split))
    at = position(name, seed)
    return Group(name, max((rule.split(at) for rule in rules), key=split_rank))


def _check_fractions(eval_fraction: float, test_fraction: float) -> None:
    if not (eval_fraction >= 0 and test_fraction >= 0 and eval_fraction + test_fraction < 1):
        raise ValueError(f"held-out fractions must sum to less than 1, got {eval_fraction} and {test_fraction}")


def position(group: str, seed: int) -> float:
    """A uniform number in [0, 1), the same for the same group and seed."""
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
