import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.placement import UNTRAINED, DecodedImage, Placement, SetAside, place, place_whole
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.splits import Group, tied
from lookalike.configs.settings import IngestSettings

FAR_APART = [int(f"{row:04b}" * 16, 2) for row in range(16)]  # any two differ in at least 16 bits


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def image(image_id: str, **facts) -> DecodedImage:
    """An image that is its own product, in a file of its own, and resembles no other; `content` names its picture."""
    unlike_others = random.Random(image_id).getrandbits(64)
    found = {"perceptual_hash": unlike_others, "low_info": False, "content": image_id} | facts
    picture = {name: found.pop(name) for name in ("perceptual_hash", "low_info")}
    canonical = digest(found.pop("content"))
    stated = {"split": "train", "sha256": digest(image_id)} | found
    return DecodedImage(CatalogImage(image_id, canonical_sha256=canonical, **stated), **picture)


def placed_whole(
    *images: DecodedImage, distance: int = 0, seed: int = 0, held_out: float = 0.0, known=None, shared=None
):
    return place(
        images,
        near_duplicate_distance=distance,
        eval_fraction=held_out,
        test_fraction=held_out,
        seed=seed,
        known=known,
        shared=shared_by_many(images, distance) if shared is None else shared,
    )


def shared_by_many(images: tuple[DecodedImage, ...], distance: int) -> set[int]:
    return place_whole(images, IngestSettings(near_duplicate_distance=distance))[1]


def goes(split: str, *categories: str, seen_in: str = "") -> Placement:
    """To a split, in one category which is its label, or in several, and then without a label."""
    return Placement(split, categories[0] if len(categories) == 1 else "", categories, seen_in)


def placed(*images: DecodedImage, **options):
    """Outcomes by image id, which are unique here."""
    outcomes = placed_whole(*images, **options).outcomes
    names = {one.image.stated_as: one.image.image_id for one in images}
    return {names[key]: outcome for key, outcome in outcomes.items()}


def test_every_image_gets_one_outcome() -> None:
    outcome = placed(image("a"), image("b", content="x"), image("c", content="x"))
    assert set(outcome) == {"a", "b", "c"}


def test_any_category_that_has_images_is_a_label_whatever_lies_below_it() -> None:
    outcome = placed(image("a", category="Shoes > Boots"), image("b", category="Shoes"), image("c"))
    assert outcome == {"a": goes("train", "Shoes > Boots"), "b": goes("train", "Shoes"), "c": goes("train")}


def test_the_newest_of_exact_copies_stays() -> None:
    outcome = placed(
        image("a", span="2026-01-01", content="x"),
        image("b", span="2026-01-03", content="x"),
        image("c", span="2026-01-02", content="x"),
    )
    assert outcome["b"] == goes("train")
    for older in ("a", "c"):
        assert outcome[older] == SetAside(Reason.DUPLICATE_IMAGE, "the same picture as b")


def test_of_copies_of_one_day_the_first_by_name_stays() -> None:
    outcome = placed(image("b", content="x"), image("a", content="x"))
    assert isinstance(outcome["a"], Placement)
    assert isinstance(outcome["b"], SetAside)


def test_products_that_share_a_picture_each_keep_it() -> None:
    outcome = placed(
        image("a", product_id="p", content="x"),
        image("b", product_id="q", content="x"),
        image("c", product_id="q", content="x"),
    )
    assert isinstance(outcome["a"], Placement)
    assert isinstance(outcome["b"], Placement)
    assert outcome["c"] == SetAside(Reason.DUPLICATE_IMAGE, "the same picture as b of q")


def test_a_real_product_keeps_its_picture_before_a_newer_image_without_one() -> None:
    outcome = placed(image("a", span="2026-01-09", content="x"), image("b", product_id="p", content="x"))
    assert outcome["a"] == SetAside(Reason.DUPLICATE_IMAGE, "the same picture as b of p")
    assert isinstance(outcome["b"], Placement)


def test_copies_in_several_categories_are_one_thing_in_all_of_them_that_teaches_none() -> None:
    outcome = placed(
        image("a", category="Shoes", content="x"),
        image("b", category="Bags", content="x"),
        image("c", content="x"),
        image("d", category="Bags"),
    )
    also = "the same picture as a of Shoes, which is found in this category too"
    assert outcome == {
        "a": goes("train", "Shoes", "Bags"),
        "b": SetAside(Reason.CONFLICTING_LABEL, also),
        "c": SetAside(Reason.DUPLICATE_IMAGE, "the same picture as a"),
        "d": goes("train", "Bags"),
    }


def test_an_unlabelled_copy_contradicts_nobody() -> None:
    outcome = placed(image("a", category="Shoes", content="x", span="2"), image("b", content="x", span="1"))
    assert outcome["a"] == goes("train", "Shoes")
    assert outcome["b"].reason == Reason.DUPLICATE_IMAGE


def test_a_placeholder_of_many_products_ties_and_teaches_nothing_and_every_product_keeps_it() -> None:
    coming_soon = {"content": "x", "perceptual_hash": 7}
    new = [image(f"{n}", product_id=f"p{n}", category="Hats" if n % 2 else "Bags", **coming_soon) for n in range(5)]
    others = [image(f"own {n}", product_id=f"p{n}", split="test" if n else "train", category="Hats") for n in range(5)]
    outcome = placed(*new, *others, held_out=0.1)
    assert [outcome[one.image.image_id].split for one in new] == [UNTRAINED] * 5
    assert [outcome[one.image.image_id].split for one in others] == ["train"] + ["test"] * 4
    assert placed(*new[:4])["1"] == Placement("train", "", ("Hats",)), "four may be one outfit"


def test_a_size_chart_is_shared_by_products_that_have_pictures_of_their_own_and_a_variant_is_not() -> None:
    chart = [image(f"chart {n}", product_id=f"p{n}", category="Hats", perceptual_hash=n % 2) for n in range(6)]
    own = [image(f"own {n}", product_id=f"p{n}", category="Hats") for n in range(6)]
    assert placed(*chart, *own, distance=1)["chart 3"].split == UNTRAINED
    back = [image(f"back {n}", product_id=f"p{n}", category="Hats", perceptual_hash=FAR_APART[3]) for n in range(6)]
    assert placed(*chart, *back, distance=1)["chart 3"] == goes("train", "Hats")


def test_a_product_is_in_one_split_the_most_held_out_one() -> None:
    outcome = placed(
        image("a", product_id="p", split="train"),
        image("b", product_id="p", split="test"),
        image("c", product_id="p", split=""),
    )
    assert {value.split for value in outcome.values()} == {"test"}


def test_near_duplicates_tie_their_products_together() -> None:
    alike, two_bits_off, four_bits_off = 0, 0b11, 0b111100
    images = [
        image("a", product_id="p", perceptual_hash=alike, split="eval"),
        image("b", product_id="q", perceptual_hash=two_bits_off, split=""),
        image("c", product_id="q", split=""),
        image("d", product_id="r", perceptual_hash=four_bits_off, split=""),
    ]
    outcome = placed(*images, distance=2)
    assert [outcome[key].split for key in "abcd"] == ["eval", "eval", "eval", "train"]
    outcome = placed(*images, distance=1)
    assert [outcome[key].split for key in "abcd"] == ["eval", "train", "train", "train"]


def test_pictures_of_nothing_are_not_trained_on_and_tie_nothing_together() -> None:
    outcome = placed(
        image("a", product_id="p", low_info=True, perceptual_hash=0, split="test"),
        image("b", product_id="q", low_info=True, perceptual_hash=0),
        image("c", product_id="q"),
        image("d", product_id="p"),
    )
    assert [outcome[key].split for key in "abcd"] == [UNTRAINED, UNTRAINED, "train", "test"]


def test_an_unstated_split_is_drawn_in_the_asked_proportions_by_product() -> None:
    images = [image(f"{row}-{view}", product_id=str(row), split="") for row in range(400) for view in (0, 1)]
    outcome = placed(*images, held_out=0.25)
    assert all(outcome[f"{row}-0"] == outcome[f"{row}-1"] for row in range(400))
    splits = [outcome[f"{row}-0"].split for row in range(400)]
    for held_out in ("eval", "test"):  # 4 standard deviations of a binomial: 4 · √(400 · 1/4 · 3/4) = 35
        assert splits.count(held_out) == pytest.approx(100, abs=35)
    assert placed(*images, held_out=0.25, seed=1) != outcome


def test_nothing_is_placed_nowhere() -> None:
    assert placed() == {}


SHOPS = st.lists(
    st.builds(
        dict,
        product_id=st.sampled_from(["", "p", "q", "r"]),
        category=st.sampled_from(["", "Bags", "Shoes", "Shoes > Boots"]),
        split=st.sampled_from(["", "train", "eval", "test"]),
        span=st.sampled_from(["2026-01-01", "2026-01-02"]),
        content=st.sampled_from("uvwxyz"),
        perceptual_hash=st.sampled_from([*FAR_APART[:3], FAR_APART[1] ^ 1]),
        low_info=st.booleans(),
    ),
    max_size=10,
)


def shop(rows: list[dict]) -> list[DecodedImage]:
    return [image(str(number), **row) for number, row in enumerate(rows)]


@given(SHOPS, st.randoms(use_true_random=False))
def test_order_of_the_images_does_not_matter(rows: list[dict], chance: random.Random) -> None:
    images = shop(rows)
    shuffled = chance.sample(images, len(images))
    assert placed(*shuffled, distance=1, held_out=0.3) == placed(*images, distance=1, held_out=0.3)


@given(SHOPS)
def test_no_two_splits_share_a_product_or_a_picture(rows: list[dict]) -> None:
    images = shop(rows)
    outcome = placed(*images, distance=1, held_out=0.3)
    used = [
        (one, outcome[one.image.image_id].split)
        for one in images
        if isinstance(outcome[one.image.image_id], Placement) and outcome[one.image.image_id].split != UNTRAINED
    ]
    for one, split in used:
        for other, other_split in used:
            resembling = (one.perceptual_hash ^ other.perceptual_hash).bit_count() <= 1
            if one.image.product_id == other.image.product_id or resembling:
                assert split == other_split


@given(SHOPS)
def test_every_picture_of_a_product_is_kept_and_no_picture_is_lost(rows: list[dict]) -> None:
    images = shop(rows)
    outcome = placed(*images)
    for picture in {one.image.picture for one in images}:
        copies = [one.image for one in images if one.image.picture == picture]
        kept = [one for one in copies if isinstance(outcome[one.image_id], Placement)]
        named = {one.product_id for one in copies if not one.is_own_product}
        assert named <= {one.product_id for one in kept}
        assert kept


def test_products_of_different_categories_that_share_a_picture_keep_it_and_learn_nothing_from_it() -> None:
    outcome = placed(
        image("a", product_id="shirt", category="Shirts", content="outfit"),
        image("b", product_id="skirt", category="Skirts", content="outfit"),
        image("c", product_id="skirt", category="Skirts"),
    )
    assert outcome == {
        "a": Placement("train", "", ("Shirts",)),
        "b": Placement("train", "", ("Skirts",)),
        "c": goes("train", "Skirts"),
    }


def test_one_file_of_many_variants_is_an_image_of_each() -> None:
    variants = [image("shirt.jpg", product_id=f"size-{size}", sha256=digest("shirt.jpg")) for size in "SML"]
    outcomes = placed_whole(*variants).outcomes
    assert [outcomes[one.image.stated_as] for one in variants] == [goes("train")] * 3


def test_one_file_under_two_names_of_a_product_is_one_image() -> None:
    outcome = placed(
        image("a", product_id="p", sha256=digest("x"), content="x"),
        image("b", product_id="p", sha256=digest("x"), content="x"),
    )
    assert outcome == {"a": goes("train"), "b": SetAside(Reason.DUPLICATE_IMAGE, "the same picture as a of p")}


def test_known_products_never_move_and_pictures_left_across_splits_are_counted_and_named() -> None:
    known = {"old": Group("old", "train"), "asked": Group("asked", "test")}
    images = [
        image("a", product_id="old", perceptual_hash=0b0, split=""),
        image("b", product_id="asked", perceptual_hash=0b1, split=""),
        image("c", product_id="asked", split=""),
        image("d", product_id="new", perceptual_hash=0b1, split=""),
    ]
    whole = placed_whole(*images, distance=1, known=known)
    splits = [whole.outcomes[one.image.stated_as] for one in images]
    assert splits == [
        goes("train"),
        goes("test", seen_in="train"),
        goes("test"),
        goes("test", seen_in="train"),
    ]
    assert whole.groups == known | {"new": Group("asked", "test")}
    assert whole.pairs_across_splits == 2, "a with b, and a with d"


def test_what_takes_the_place_of_a_known_held_out_picture_is_held_out_too() -> None:
    known = {"x": Group("x", "test")}
    old = image("x", span="2026-01-01", content="p", perceptual_hash=7, split="")
    newer = image("y", span="2026-01-02", content="p", perceptual_hash=7, split="")
    product = image("z", product_id="P", content="p", perceptual_hash=7, split="")
    assert placed(old, newer, known=known)["y"] == goes("test")
    assert placed(old, product, known=known) == {
        "x": SetAside(Reason.DUPLICATE_IMAGE, "the same picture as z of P"),
        "z": goes("test"),
    }


def test_a_further_category_makes_no_class_and_takes_none_away() -> None:
    outcome = placed(
        image("a", category="Shoes"), image("b", category="Hat", other_categories=("Shoes > Sale",)), image("c")
    )
    assert [outcome[key].label for key in "abc"] == ["Shoes", "Hat", ""]


@given(SHOPS, SHOPS)
def test_a_second_day_moves_nothing_of_the_first(first: list[dict], second: list[dict]) -> None:
    day_one = placed_whole(*shop(first), distance=1, held_out=0.3)
    day_two = placed_whole(*shop(first + second), distance=1, held_out=0.3, known=day_one.groups)
    assert day_two.groups.items() >= day_one.groups.items()


def belong_together(one: DecodedImage, other: DecodedImage, distance: int) -> bool:
    """Whether two images must be placed together: one product, or nearly the same picture."""
    alike = (one.perceptual_hash ^ other.perceptual_hash).bit_count() <= distance
    nearly = alike and not one.low_info and not other.low_info
    return one.image.product_id == other.image.product_id or nearly


@st.composite
def small_catalogs(draw):
    few_hashes = st.sampled_from([0b0, 0b1, 0b111, *FAR_APART[3:6]])
    images = []
    for number in range(draw(st.integers(1, 8))):
        perceptual_hash, low_info = draw(few_hashes), draw(st.booleans())
        images.append(
            image(
                f"{number}.jpg",
                product_id=draw(st.sampled_from(["", "p", "q", "r"])),
                perceptual_hash=perceptual_hash,
                low_info=low_info,
                content=f"{draw(st.sampled_from('xy'))} {perceptual_hash} {low_info}",  # one picture has one hash
                category=draw(st.sampled_from(["", "Bags", "Shoes", "Shoes > Boots"])),
                split=draw(st.sampled_from(["", "train", "test"])),
            )
        )
    return images


@given(small_catalogs(), st.integers(0, 2))
def test_a_catalogue_placed_in_parts_that_nothing_ties_is_placed_as_a_whole(images, distance) -> None:
    products = [one.image.product_id for one in images]
    pairs = [
        (one.image.product_id, other.image.product_id)
        for one in images
        for other in images
        if belong_together(one, other, distance)
    ]
    root = tied(pairs)
    options = {"distance": distance, "held_out": 0.3, "shared": shared_by_many(images, distance)}
    in_parts = [
        placed_whole(*(one for one in images if root[one.image.product_id] == part), **options)
        for part in {root[product] for product in products}
    ]
    whole = placed_whole(*images, **options)
    assert {key: value for part in in_parts for key, value in part.outcomes.items()} == whole.outcomes
    assert sum(part.pairs_across_splits for part in in_parts) == whole.pairs_across_splits
