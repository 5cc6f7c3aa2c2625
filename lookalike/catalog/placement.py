"""Where each decoded image goes: into which split, with which label, or aside as a duplicate or contradiction."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.splits import Group, assign_groups, near_duplicate_pairs, split_rank
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
    label: the category where it is a leaf of the taxonomy and nobody else's picture says otherwise, else ''.
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
    pairs_across_splits: near-duplicate pictures that could not be kept together, because both were known before.
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
    """Decides on every image of a catalogue at once; the outcome does not depend on their order.

    Of exact copies within a product the newest stays, and a copy without a product of its own gives way to any other.
    Copies without a product that contradict each other in category are all set aside, for nobody can tell which is
    right. Products, and products that have near-duplicates of each other's pictures, are never divided between splits,
    save those that were so already: known products stay where they are.

    known: product → its group and split, of earlier days.
    """
    decoded = sorted(decoded, key=lambda one: one.image.stated_as)
    outcomes: dict[Stated, Placement | SetAside] = _copies(decoded)
    kept = [one for one in decoded if one.image.stated_as not in outcomes]
    taxonomy = Taxonomy.from_categories({category for one in kept for category in one.image.categories})
    pairs = _near_duplicates(kept, near_duplicate_distance)
    groups = assign_groups(
        [(one.image.product_id, one.image.split) for one in kept],
        pairs,
        known=known or {},
        eval_fraction=eval_fraction,
        test_fraction=test_fraction,
        seed=seed,
    )
    splits = [groups[one.image.product_id].split for one in kept]
    contested = _contested([one.image for one in kept])
    seen_in = _seen_in([one.perceptual_hash for one in kept], splits, pairs)
    for one, split, seen in zip(kept, splits, seen_in, strict=True):
        is_class = taxonomy.is_leaf(one.image.category) and one.image.picture not in contested
        outcomes[one.image.stated_as] = Placement(
            UNTRAINED if one.low_info else split, one.image.category if is_class else "", seen
        )
    return PlacedCatalog(outcomes, groups, sum(splits[a] != splits[b] for a, b in pairs))


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
            kept[image.product_id] = image.image_id
        else:
            yield image.stated_as, SetAside(Reason.DUPLICATE_IMAGE, f"the same picture as {known}")


def _by_picture(decoded: Iterable[DecodedImage]) -> Mapping[str, list[CatalogImage]]:
    groups: dict[str, list[CatalogImage]] = defaultdict(list)
    for one in decoded:
        groups[one.image.picture].append(one.image)
    return groups


def _near_duplicates(decoded: Sequence[DecodedImage], distance: int) -> list[tuple[int, int]]:
    # Pictures of nothing resemble each other, and would tie unrelated products together.
    telling = [row for row, one in enumerate(decoded) if not one.low_info]
    pairs = near_duplicate_pairs([decoded[row].perceptual_hash for row in telling], distance)
    return [(telling[a], telling[b]) for a, b in pairs]


def _contested(images: Iterable[CatalogImage]) -> set[str]:
    """Pictures that products of different categories share: they show both, and teach neither."""
    categories: dict[str, set[str]] = defaultdict(set)
    for image in images:
        categories[image.picture].add(image.category)
    return {picture for picture, found in categories.items() if len(found - {""}) > 1}


def _seen_in(hashes: Sequence[int], splits: Sequence[str], pairs: Iterable[tuple[int, int]]) -> list[str]:
    """For each image the least held-out split with nearly the same picture, '' where none is less than its own."""
    near: dict[int, set[int]] = defaultdict(set)
    for a, b in pairs:
        near[hashes[a]].add(hashes[b])
        near[hashes[b]].add(hashes[a])
    splits_of: dict[int, set[str]] = defaultdict(set)
    for value, split in zip(hashes, splits, strict=True):
        if value in near:  # pictures of nothing are in no pair
            splits_of[value].add(split)
    least = {
        value: min(set().union(splits_of[value], *(splits_of[other] for other in others)), key=split_rank)
        for value, others in near.items()
    }
    return [
        least[value] if value in least and split_rank(least[value]) < split_rank(split) else ""
        for value, split in zip(hashes, splits, strict=True)
    ]
