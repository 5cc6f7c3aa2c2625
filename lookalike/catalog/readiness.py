"""Whether a placed catalogue can be learnt from and measured: told before anything is trained."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lookalike.catalog.product import SPLITS
from lookalike.errors import EXIT_BAD_DATA, UserError
from lookalike.word import Word

_NUM_SHOWN = 5  # categories of a finding
FEW_QUERIES = 100  # below, a recall of .5 is known to ± .1 at best
FEW_IMAGES = 5  # of a class, to train on
_Z = 1.96  # of a 95 % interval


class NotReadyError(UserError, code="NOT_READY", exit_status=EXIT_BAD_DATA):
    """What is to be trained on cannot be learnt from or measured."""


class State(Word):
    """What is advised."""

    GO = "go"
    WARNINGS = "go, with warnings"
    STOP = "stop"


class Counted(NamedTuple):
    """What readiness needs to know of an image.

    split: train, eval, test or untrained.   label: '' where it is no example of a class.
    category: '' where none is stated.   asks: whether it may ask questions where it is held out.
    """

    split: str
    label: str
    category: str
    product: str
    asks: bool


class Count(NamedTuple):
    """Images and products of one split and label.

    multiple: images of products that have several.   contested: images with a category that is no label.
    """

    products: int = 0
    images: int = 0
    asking: int = 0
    multiple: int = 0
    contested: int = 0

    def plus(self, other: "Count") -> "Count":
        """The sum."""
        return Count(*(one + another for one, another in zip(self, other, strict=True)))


@dataclass(frozen=True)
class Readiness:
    """The advice, with what it rests on.

    stops, warnings: findings, each with what helps.
    products: split → how many.   classes: label → split → products, the labelled ones.
    num_answerable: held-out images whose product or category is in the gallery.
    """

    state: State
    stops: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    products: Mapping[str, int] = field(default_factory=dict)
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    num_answerable: int = 0

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "state": self.state.value}


Counts = Mapping[tuple[str, str], Count]
"""By split and label."""


def count_product(images: Iterable[Counted]) -> dict[tuple[str, str], Count]:
    """The counts of one product's images."""
    shown = list(images)
    counts: dict[tuple[str, str], Count] = {}
    for one in shown:
        is_new = (one.split, one.label) not in counts
        many = len(shown) > 1
        more = Count(int(is_new), 1, int(one.asks), int(many), int(bool(one.category and not one.label)))
        counts[one.split, one.label] = counts.get((one.split, one.label), Count()).plus(more)
    return counts


def assess(counts: Counts) -> Readiness:
    """What can be learnt and measured, and what helps where something cannot."""
    labels = sorted({label for _, label in counts} - {""})
    by_split = {split: _total(counts, split) for split in (*SPLITS, "untrained")}
    answerable = sum(_answerable(counts, "test", label) for label in (*labels, ""))
    stops = [*_cannot_learn(counts, labels), *_cannot_measure(counts, labels)]
    warnings = [] if stops else [*_warnings(counts, labels, answerable)]
    return Readiness(
        state=State.STOP if stops else State.WARNINGS if warnings else State.GO,
        stops=stops,
        warnings=warnings,
        products={split: total.products for split, total in by_split.items() if total.images},
        classes={label: {split: _of(counts, split, label).products for split in SPLITS} for label in labels},
        num_answerable=answerable,
    )


def _of(counts: Counts, split: str, label: str) -> Count:
    return counts.get((split, label), Count())


def _total(counts: Counts, split: str) -> Count:
    total = Count()
    for (found, _), count in counts.items():
        total = total.plus(count) if found == split else total
    return total


def _answerable(counts: Counts, split: str, label: str) -> int:
    """Asking images of a split and label that find their product, or another image of their category."""
    own = _of(counts, split, label)
    images = sum(count.images for (_, other), count in counts.items() if other == label)
    return own.asking if label and images > 1 else min(own.asking, own.multiple)


def _cannot_learn(counts: Counts, labels: Sequence[str]) -> list[str]:
    trained = [label for label in labels if _of(counts, "train", label).images]
    if len(trained) > 1 or _total(counts, "train").multiple:
        return []
    return [
        f"nothing can be learnt: expected at least 2 categories, or products with at least 2 images, to train on, got "
        f"{len(trained)} categories and products of one image each; state categories (class folders, or the column "
        "category) or product_id"
    ]


def _cannot_measure(counts: Counts, labels: Sequence[str]) -> list[str]:
    found = []
    for split, what, setting in (
        ("eval", "chooses the epoch", "ingest.eval_fraction"),
        ("test", "judges the model", "ingest.test_fraction"),
    ):
        total = _total(counts, split)
        if not total.images:
            found.append(
                f"no product {what}: give a category three products or more that do not look the same, raise "
                f"{setting}, or state splits in the table"
            )
        elif not sum(_answerable(counts, split, label) for label in (*labels, "")):
            found.append(
                f"no answer is known to any of the {total.images:,} images of the part that {what}: it needs products "
                f"with several images, or categories that other products have too; raise {setting}, or state categories"
            )
    return found


def _warnings(counts: Counts, labels: Sequence[str], answerable: int) -> Iterable[str]:
    if answerable < FEW_QUERIES:
        margin = _Z * math.sqrt(0.25 / answerable)
        yield (
            f"{answerable} held-out images can be measured, so that a recall of .5 is known to ±{margin:.2f}: "
            "raise ingest.test_fraction, or add products"
        )
    products = {label: {split: _of(counts, split, label).products for split in SPLITS} for label in labels}
    single = [label for label in labels if sum(products[label].values()) == 1]
    if single:
        yield f"{_some(single)} of one product alone, which nothing can be compared with: add products, or merge them"
    bound = [label for label in labels if sum(products[label].values()) > 1 and not products[label]["test"]]
    if bound:
        yield (
            f"{_some(bound)} not measured: their products are bound to one another by nearly the same pictures, or by "
            "the splits that the source states"
        )
    untaught = [label for label in labels if label not in single and not products[label]["train"]]
    if untaught:
        yield f"{_some(untaught)} not trained on: all their products are held out"
    few = [label for label in labels if label not in single and 0 < _of(counts, "train", label).images < FEW_IMAGES]
    if few:
        yield f"{_some(few)} of fewer than {FEW_IMAGES} images to train on: add products, or merge them"
    if labels:
        yield from _unlabelled(counts)


def _unlabelled(counts: Counts) -> Iterable[str]:
    without = [count for (split, label), count in counts.items() if not label and split in SPLITS]
    contested, images = sum(one.contested for one in without), sum(one.images for one in without)
    if images - contested:
        yield f"{images - contested:,} images state no category: they are found, and not measured by it"
    if contested:
        yield f"{contested:,} images are shown in several categories: they are found under each, and teach none"


def _some(labels: Sequence[str]) -> str:
    """As the beginning of a sentence about categories."""
    named = ", ".join(labels[:_NUM_SHOWN])
    if len(labels) == 1:
        return f"1 category ({named}) is"
    more = f" and {len(labels) - _NUM_SHOWN:,} more" if len(labels) > _NUM_SHOWN else ""
    return f"{len(labels):,} categories ({named}{more}) are"
