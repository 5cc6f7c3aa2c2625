"""Where each decoded image goes: into which split, with which label, or aside as a duplicate or contradiction."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.splits import assign_split, group_ids, near_duplicate_pairs
from lookalike.catalog.taxonomy import Taxonomy

UNTRAINED = "untrained"  # the split of pictures with nothing on them: listed in the shop, of no use to learning


@dataclass(frozen=True)
class DecodedImage:
    """What placement needs to know of an image.

    Attributes:
      content: digest of the canonical image; equal for exact copies.
      perceptual_hash: 64 bits, near for near-duplicates.
      low_info: nothing to see, such as one solid colour.
    """

    image_id: str
    product_id: str
    category: str
    split: str
    span: str
    content: str
    perceptual_hash: int
    low_info: bool


@dataclass(frozen=True)
class Placement:
    """Where an image goes.

    Attributes:
      split: train, eval, test or untrained.
      label: the category when it is a leaf of the taxonomy, else ''.
    """

    split: str
    label: str


@dataclass(frozen=True)
class SetAside:
    """Why an image goes nowhere."""

    reason: Reason
    detail: str


def place(
    images: Sequence[DecodedImage],
    *,
    near_duplicate_distance: int,
    eval_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[str, Placement | SetAside]:
    """Decides on every image of a catalogue at once; the outcome does not depend on their order.

    Of exact copies the newest stays, except that products which share a picture each keep it. Copies that contradict
    each other in category are all set aside, for nobody can tell which is right. Products, and products that have
    near-duplicates of each other's pictures, are never divided between splits.
    """
    images = sorted(images, key=lambda image: image.image_id)
    outcome: dict[str, Placement | SetAside] = _copies(images)
    kept = [image for image in images if image.image_id not in outcome]
    taxonomy = Taxonomy.from_categories({image.category for image in kept if image.category})
    groups = _groups(kept, near_duplicate_distance)
    explicit: dict[str, set[str]] = defaultdict(set)
    for image, group in zip(kept, groups, strict=True):
        explicit[group].add(image.split)
    for image, group in zip(kept, groups, strict=True):
        split = assign_split(
            group,
            filter(None, explicit[group]),
            eval_fraction=eval_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
        label = image.category if image.category and taxonomy.is_leaf(image.category) else ""
        outcome[image.image_id] = Placement(UNTRAINED if image.low_info else split, label)
    return outcome


def _copies(images: Iterable[DecodedImage]) -> dict[str, Placement | SetAside]:
    outcome: dict[str, Placement | SetAside] = {}
    for copies in _by_content(images).values():
        categories = sorted({image.category for image in copies if image.category})
        if len(categories) > 1:
            conflict = SetAside(Reason.CONFLICTING_LABEL, f"one picture, categories {'; '.join(categories)}")
            outcome |= {image.image_id: conflict for image in copies}
            continue
        newest_first = sorted(copies, key=lambda image: image.span, reverse=True)
        kept: dict[str, str] = {}
        for image in sorted(newest_first, key=_is_its_own_product):
            # An image that is its own product adds nothing to any other copy; a real product needs its picture.
            known = next(iter(kept.values()), None) if _is_its_own_product(image) else kept.get(image.product_id)
            if known is None:
                kept[image.product_id] = image.image_id
            else:
                outcome[image.image_id] = SetAside(Reason.DUPLICATE_IMAGE, f"the same picture as {known}")
    return outcome


def _is_its_own_product(image: DecodedImage) -> bool:
    return image.product_id == image.image_id


def _by_content(images: Iterable[DecodedImage]) -> Mapping[str, list[DecodedImage]]:
    groups: dict[str, list[DecodedImage]] = defaultdict(list)
    for image in images:
        groups[image.content].append(image)
    return groups


def _groups(images: Sequence[DecodedImage], distance: int) -> list[str]:
    # Pictures of nothing resemble each other, and would tie unrelated products together.
    telling = [row for row, image in enumerate(images) if not image.low_info]
    pairs = near_duplicate_pairs([images[row].perceptual_hash for row in telling], distance)
    return group_ids([image.product_id for image in images], [(telling[a], telling[b]) for a, b in pairs])
