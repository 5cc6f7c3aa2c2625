import re

import pytest

from lookalike.catalog.readiness import Count, Counted, State, assess, count_product


def shop(*products):
    """Counts of products, each (split, label, images) and whether they ask, and the category where it is no label."""
    counts = {}
    for number, (split, label, images, *more) in enumerate(products):
        asks, category = [*more, *(True, label)[len(more) :]]
        shown = [Counted(split, label, category, f"p{number}", asks)] * images
        for key, count in count_product(shown).items():
            counts[key] = counts.get(key, Count()).plus(count)
    return counts


def of_each(label, images=1, **splits):
    return [(split, label, images) for split, products in splits.items() for _ in range(products)]


LARGE = [
    *of_each("Hats", train=80, eval=60, test=60),
    *of_each("Bags", train=80, eval=60, test=60),
]


def test_a_catalogue_that_lacks_nothing_is_one_word():
    found = assess(shop(*LARGE))
    assert (found.state, found.stops, found.warnings) == (State.GO, [], [])
    assert found.products == {"train": 160, "eval": 120, "test": 120}
    assert found.classes == {
        "Bags": {"train": 80, "eval": 60, "test": 60},
        "Hats": {"train": 80, "eval": 60, "test": 60},
    }
    assert found.num_answerable == 120


def test_a_product_is_counted_once_in_each_class_and_split_that_its_images_are_in():
    images = [Counted("train", "Hats", "Hats", "p", True)] * 2 + [Counted("untrained", "", "Hats", "p", True)]
    assert count_product(images) == {
        ("train", "Hats"): Count(products=1, images=2, asking=2, multiple=2, contested=0),
        ("untrained", ""): Count(products=1, images=1, asking=1, multiple=1, contested=1),
    }


@pytest.mark.parametrize(
    ("products", "words"),
    [
        (of_each("Hats", train=9, eval=2, test=2), "nothing can be learnt: .* got 1 categories"),
        (of_each("", train=9, eval=2, test=2), "got 0 categories"),
        (of_each("Hats", 2, train=9, eval=2), "no product judges the model: .* ingest.test_fraction"),
        (of_each("Hats", 2, train=9, test=2), "no product chooses the epoch: .* ingest.eval_fraction"),
        (
            [*of_each("Hats", 2, train=9, eval=2), ("test", "Bags", 1), ("test", "Coats", 1)],
            "no answer is known to any of the 2 images of the part that judges",
        ),
        ([*of_each("Hats", 2, train=9, eval=2), ("test", "Hats", 2, False)], "no answer is known to any"),
    ],
)
def test_what_could_not_be_learnt_or_measured_stops_with_what_helps(products, words):
    found = assess(shop(*products))
    assert found.state is State.STOP
    assert any(re.search(words, stop) for stop in found.stops), found.stops


@pytest.mark.parametrize(
    ("products", "words"),
    [
        ([*of_each("Hats", 2, train=9, eval=2, test=50)], None),
        ([*LARGE, ("train", "Coats", 1)], "1 category (Coats) is of one product alone"),
        ([*LARGE, *of_each("Coats", train=5)], "1 category (Coats) is not measured"),
        ([*LARGE, *of_each("Coats", test=2)], "1 category (Coats) is not trained on"),
        ([*LARGE, *of_each("Coats", train=4, test=1)], "1 category (Coats) is of fewer than 5 images"),
        ([*LARGE, *of_each("", train=3)], "3 images state no category"),
        ([*LARGE, ("train", "", 2, True, "Hats")], "2 images are shown in several categories"),
    ],
)
def test_what_is_weak_is_warned_of_by_name(products, words):
    found = assess(shop(*products))
    assert found.state is (State.WARNINGS if words else State.GO)
    assert [words in warning for warning in found.warnings] == ([True] if words else [])


def test_few_queries_are_warned_of_with_how_little_they_tell():
    # 25 answers: 1.96 · √(.25 / 25) = .196
    found = assess(shop(*of_each("Hats", 5, train=9, eval=2, test=5)))
    assert found.num_answerable == 25
    assert found.warnings == [
        "25 held-out images can be measured, so that a recall of .5 is known to ±0.20: "
        "raise ingest.test_fraction, or add products"
    ]


def test_many_categories_are_named_by_a_few():
    found = assess(shop(*LARGE, *(("train", f"C{number}", 1) for number in range(7))))
    assert found.warnings[0].startswith("7 categories (C0, C1, C2, C3, C4 and 2 more) are of one product alone")
