"""Where each decoded image goes: into which split, with which label, or aside as a duplicate or contradiction."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.splits import Group, Near, Shown, assign_groups, near_hashes, split_rank
from lookalike.catalog.taxonomy import Taxonomy

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
    label: the category where nobody else's picture says otherwise, else ''; see `with_leaf_label`.
    seen_in: a less held-out split that has a near-duplicate of it, '' where none has.
    """

    split: str
    label: str
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
) -> PlacedCatalog:
    """Decides on images at once; the outcome does not depend on their order.

    They may be a whole catalogue, or a part that nothing ties to the rest: no product, no picture, no near-duplicate.

    Of exact copies within a product the newest stays, and a copy without a product of its own gives way to any other.
    Copies without a product that contradict each other in category are all set aside, for nobody can tell which is
    right. Products, and products that have near-duplicates of each other's pictures, are never divided between splits,
    save those that were so already: known products stay where they are.

    known: product → its group and split, of earlier days.
    """
    decoded = sorted(decoded, key=lambda one: one.image.stated_as)
    shown = [_shown(one) for one in decoded]
    near = near_hashes((one.hash for one in shown if one.hash is not None), near_duplicate_distance)
    # Copies that are set aside count here: what stays in place of a held-out one is held out as well.
    groups = assign_groups(
        shown, near, known=known or {}, eval_fraction=eval_fraction, test_fraction=test_fraction, seed=seed
    )
    outcomes: dict[Stated, Placement | SetAside] = _copies(decoded)
    kept = [one for one in decoded if one.image.stated_as not in outcomes]
    contested = _contested([one.image for one in kept])
    splits_at = _splits_at(kept, groups)
    for one in kept:
        split = groups[one.image.product_id].split
        outcomes[one.image.stated_as] = Placement(
            UNTRAINED if one.low_info else split,
            "" if one.image.picture in contested else one.image.category,
            _seen_in(split, near.get(_shown(one).hash, ()), splits_at),
        )
    return PlacedCatalog(outcomes, groups, _count_across(near, splits_at))


def with_leaf_label(placement: Placement, taxonomy: Taxonomy) -> Placement:
    """Without its label where that is no leaf of the tree of all that is placed: only leaves are classes to learn."""
    return placement if taxonomy.is_leaf(placement.label) else replace(placement, label="")


def _shown(one: DecodedImage) -> Shown:
    # Pictures of nothing resemble each other, and would tie unrelated products together.
    return Shown(one.image.product_id, one.image.split, None if one.low_info else one.perceptual_hash)


def _copies(decoded: Iterable[DecodedImage]) -> dict[Stated, Placement | SetAside]:
    outcomes: dict[Stated, Placement | SetAside] = {}
    for copies in _by_picture(decoded).values():
        categories = sorted({one.category for one in copies if one.category and one.is_own_product})
        if len(categories) > 1:
            conflict = SetAside(Reason.CONFLICTING_LABEL, f"one picture, categories {'; '.join(categories)}")
            outcomes |= {one.stated_as: conflict for one in copies if one.is_own_product}
            copies = [one for one in copies if not one.is_own_product]
        outcomes |= dict(_superfluous(copies))
    return outcomes


def _superfluous(copies: Iterable[CatalogImage]) -> Iterator[tuple[Stated, SetAside]]:
    """The copies of one picture that add nothing to another."""
    newest_first = sorted(copies, key=lambda image: image.span, reverse=True)
    kept: dict[str, str] = {}
    for image in sorted(newest_first, key=lambda image: image.is_own_product):
        # An image that is its own product adds nothing to any other copy; a real product needs its picture.
        known = next(iter(kept.values()), None) if image.is_own_product else kept.get(image.product_id)
        if known is None:
            kept[image.product_id] = _told(image)
        else:
            yield image.stated_as, SetAside(Reason.DUPLICATE_IMAGE, f"the same picture as {known}")


def _told(image: CatalogImage) -> str:
    return image.image_id if image.is_own_product else f"{image.image_id} of {image.product_id}"


def _by_picture(decoded: Iterable[DecodedImage]) -> Mapping[str, list[CatalogImage]]:
    groups: dict[str, list[CatalogImage]] = defaultdict(list)
    for one in decoded:
        groups[one.image.picture].append(one.image)
    return groups


def _contested(images: Iterable[CatalogImage]) -> set[str]:
    """Pictures that products of different categories share: they show both, and teach neither."""
    categories: dict[str, set[str]] = defaultdict(set)
    for image in images:
        categories[image.picture].add(image.category)
    return {picture for picture, found in categories.items() if len(found - {""}) > 1}


SplitsAt = Mapping[int, Mapping[str, int]]
"""Perceptual hash → split → how many images."""


def _splits_at(decoded: Iterable[DecodedImage], groups: Mapping[str, Group]) -> SplitsAt:
    splits: dict[int, Counter[str]] = defaultdict(Counter)
    for one in decoded:
        if not one.low_info:
            splits[one.perceptual_hash][groups[one.image.product_id].split] += 1
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
