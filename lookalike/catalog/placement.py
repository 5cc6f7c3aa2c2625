"""Where each decoded image goes: into which split, with which label, or aside as a duplicate or contradiction."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.shared_pictures import Sharer, shared_hashes, sharer
from lookalike.catalog.splits import (
    Group,
    Near,
    Shown,
    SplitRule,
    assign_groups,
    extreme_positions,
    near_hashes,
    position,
    split_rank,
    split_rule,
)
from lookalike.configs.settings import IngestSettings

Stated = tuple[str, str, tuple[float, ...]]

UNTRAINED = "untrained"  # the split of pictures with nothing on them: listed in the shop, of no use to learning


@dataclass(frozen=True)
class DecodedImage:
    """An image whose original has been read, with what placement needs to know of its picture.

    image: with its key and its canonical digest.
    perceptual_hash: 64 bits, near for near-duplicates.
    low_info: nothing to see, such as one solid colour.
    """

    image: CatalogImage
    perceptual_hash: int
    low_info: bool


@dataclass(frozen=True)
class Placement:
    """Where an image goes.

    split: train, eval, test or untrained.
    label: the category where nobody else's picture says otherwise, else ''.
    categories: all that it is found under, the first one first.
    seen_in: a less held-out split that has a near-duplicate of it, '' where none has.
    """

    split: str
    label: str
    categories: tuple[str, ...] = ()
    seen_in: str = ""


@dataclass(frozen=True)
class SetAside:
    """Why an image goes nowhere."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class PlacedCatalog:
    """What became of a catalogue's images.

    outcomes: by `CatalogImage.stated_as`.
    groups: by product; what the next day hands back as `known`.
    pairs_across_splits: near-duplicate pictures that could not be kept together, for one was known before.
    """

    outcomes: Mapping[Stated, Placement | SetAside] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    pairs_across_splits: int = 0


def place(
    decoded: Sequence[DecodedImage],
    *,
    near_duplicate_distance: int,
    eval_fraction: float,
    test_fraction: float,
    seed: int,
    known: Mapping[str, Group] | None = None,
    shared: Collection[int] = (),
    rules: Mapping[str, SplitRule] | None = None,
) -> PlacedCatalog:
    """Decides on images at once; the outcome does not depend on their order.

    They may be a whole catalogue, or a part that nothing ties to the rest: no product, no picture, no near-duplicate.

    Of exact copies within a product the newest stays, and a copy without a product of its own gives way to any other.
    Copies without a product that come in several categories are one thing in all of them, and nobody can tell which to
    learn. Pictures that say nothing of their products are kept, tie nothing together and are not learnt from.

    Products, and products that have near-duplicates of each other's pictures, are never divided between splits,
    save those that were so already: known products stay where they are.

    known: product → its group and split, of earlier days.
    shared: perceptual hashes of pictures that many products show, see `shared_pictures`.
    rules: by category, see `splits.split_rule`.
    """
    decoded = sorted(decoded, key=lambda one: one.image.stated_as)
    shown = [_shown(one, shared) for one in decoded]
    near = near_hashes((one.hash for one in shown if one.hash is not None), near_duplicate_distance)
    # Copies that are set aside count here: what stays in place of a held-out one is held out as well.
    groups = assign_groups(
        shown, near, known=known or {}, eval_fraction=eval_fraction, test_fraction=test_fraction, seed=seed, rules=rules
    )
    outcomes: dict[Stated, Placement | SetAside] = _copies(decoded, shared)
    kept = [(one, of) for one, of in zip(decoded, shown, strict=True) if one.image.stated_as not in outcomes]
    categories = _categories_of_pictures(decoded, outcomes)
    splits_at = _splits_at((of for _, of in kept), groups)
    for one, of in kept:
        image, split = one.image, groups[one.image.product_id].split
        if of.hash is None:
            outcomes[image.stated_as] = Placement(UNTRAINED, "", image.categories)
            continue
        found = categories[image.picture]
        outcomes[image.stated_as] = Placement(
            split,
            "" if len(found) > 1 else image.category,
            tuple(dict.fromkeys([*image.categories, *found])) if image.is_own_product else image.categories,
            _seen_in(split, near[of.hash], splits_at),
        )
    return PlacedCatalog(outcomes, groups, _count_across(near, splits_at))


def place_whole(decoded: Sequence[DecodedImage], settings: IngestSettings) -> tuple[PlacedCatalog, set[int]]:
    """Places a whole catalogue in memory as ingest does in parts, and says which pictures many products share.

    The first placing is to see how the groups lie in their classes, the second goes by the rules that this makes.
    """
    shared = _shared(decoded, settings.near_duplicate_distance)
    options: dict[str, Any] = {
        "near_duplicate_distance": settings.near_duplicate_distance,
        "eval_fraction": settings.eval_fraction,
        "test_fraction": settings.test_fraction,
        "seed": settings.seed,
        "shared": shared,
    }
    groups = place(decoded, **options).groups
    stated = {groups[one.image.product_id].name for one in decoded if one.image.split}
    positions: defaultdict[str, list[list[float]]] = defaultdict(list)
    for one in decoded:
        name = groups[one.image.product_id].name
        if name not in stated and _shown(one, shared).hash is not None:
            positions[one.image.category].append([position(name, settings.seed)])
    rules = {
        category: split_rule(extreme_positions(found), settings.eval_fraction, settings.test_fraction)
        for category, found in positions.items()
    }
    return place(decoded, **options, rules=rules), shared


def _shared(decoded: Iterable[DecodedImage], distance: int) -> set[int]:
    products: defaultdict[str, list[DecodedImage]] = defaultdict(list)
    for one in decoded:
        products[one.image.product_id].append(one)
    sharers: defaultdict[int, set[Sharer]] = defaultdict(set)
    for value, who in chain.from_iterable(map(sharers_of, products.values())):
        sharers[value].add(who)
    near = near_hashes(sharers, distance)
    return shared_hashes(sharers, ((one, other) for one in sharers for other in near[one] if one < other))


def sharers_of(product: Sequence[DecodedImage]) -> Iterator[tuple[int, Sharer]]:
    """The perceptual hashes of the pictures of one product that show anything, each with what tells products apart."""
    hashes = {one.perceptual_hash for one in product if not one.low_info}
    image = product[0].image
    return ((value, sharer(image.product_id, image.category, hashes - {value})) for value in hashes)


def _shown(one: DecodedImage, shared: Collection[int]) -> Shown:
    # Pictures of nothing resemble each other, and would tie unrelated products together.
    says_nothing = one.low_info or one.perceptual_hash in shared
    image = one.image
    if says_nothing:
        return Shown(image.product_id, image.split, None)
    return Shown(image.product_id, image.split, one.perceptual_hash, image.category)


def _copies(decoded: Iterable[DecodedImage], shared: Collection[int]) -> dict[Stated, Placement | SetAside]:
    """Copies of one picture that add nothing. Two pictures that say nothing are never taken for one."""
    groups: dict[tuple[str, str], list[CatalogImage]] = defaultdict(list)
    for one in decoded:
        says_nothing = one.low_info or one.perceptual_hash in shared
        groups[one.image.picture, one.image.product_id if says_nothing else ""].append(one.image)
    return dict(chain.from_iterable(map(_superfluous, groups.values())))


def _superfluous(copies: Iterable[CatalogImage]) -> Iterator[tuple[Stated, SetAside]]:
    """The copies of one picture that add nothing to another."""
    newest_first = sorted(copies, key=lambda image: image.span, reverse=True)
    kept: dict[str, CatalogImage] = {}
    for image in sorted(newest_first, key=lambda image: image.is_own_product):
        # An image that is its own product adds nothing to any other copy; a real product needs its picture.
        known = next(iter(kept.values()), None) if image.is_own_product else kept.get(image.product_id)
        if known is None:
            kept[image.product_id] = image
        elif known.is_own_product and known.category and image.category not in ("", known.category):
            detail = f"the same picture as {known.image_id} of {known.category}, which is found in this category too"
            yield image.stated_as, SetAside(Reason.CONFLICTING_LABEL, detail)
        else:
            yield image.stated_as, SetAside(Reason.DUPLICATE_IMAGE, f"the same picture as {_told(known)}")


def _told(image: CatalogImage) -> str:
    return image.image_id if image.is_own_product else f"{image.image_id} of {image.product_id}"


def _categories_of_pictures(
    decoded: Iterable[DecodedImage], outcomes: Mapping[Stated, Placement | SetAside]
) -> Mapping[str, list[str]]:
    """The categories that a picture is shown in, sorted; where there are several, it teaches none of them."""
    categories: dict[str, set[str]] = defaultdict(set)
    for one in decoded:
        outcome = outcomes.get(one.image.stated_as)
        if outcome is None or (isinstance(outcome, SetAside) and outcome.reason is Reason.CONFLICTING_LABEL):
            categories[one.image.picture].add(one.image.category)
    return {picture: sorted(found - {""}) for picture, found in categories.items()}


SplitsAt = Mapping[int, Mapping[str, int]]
"""Perceptual hash → split → how many images."""


def _splits_at(shown: Iterable[Shown], groups: Mapping[str, Group]) -> SplitsAt:
    splits: dict[int, Counter[str]] = defaultdict(Counter)
    for one in shown:
        if one.hash is not None:
            splits[one.hash][groups[one.product].split] += 1
    return splits


def _seen_in(split: str, near: Iterable[int], splits_at: SplitsAt) -> str:
    """The least held-out split with nearly the same picture, '' where none is less than the image's own."""
    least = min((found for value in near for found in splits_at.get(value, ())), key=split_rank, default=split)
    return least if split_rank(least) < split_rank(split) else ""


def _count_across(near: Near, splits_at: SplitsAt) -> int:
    """Pairs of images with nearly the same picture that are in different splits."""
    both_ways = 0
    for value, splits in splits_at.items():
        for other in near[value]:
            for split, count in splits.items():
                both_ways += count * sum(n for found, n in splits_at.get(other, {}).items() if found != split)
    return both_ways // 2
