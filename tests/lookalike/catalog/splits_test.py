from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalog.splits import (
    Group,
    Shown,
    SplitRule,
    assign_groups,
    extreme_positions,
    near_hashes,
    split_rule,
)

ALL_BITS = (1 << 64) - 1


def naive_near(hashes, max_distance):
    return {one: {other for other in hashes if bin(one ^ other).count("1") <= max_distance} for one in hashes}


@st.composite
def clustered_hashes(draw):
    """Few centres and flips of few bits, so that pairs at every distance from 0 to 6 are common."""
    centres = draw(st.lists(st.integers(0, ALL_BITS), min_size=1, max_size=3))
    flips = st.lists(st.integers(0, 63), max_size=4).map(lambda bits: sum({1 << bit for bit in bits}))
    return draw(st.lists(st.builds(int.__xor__, st.sampled_from(centres), flips), max_size=25))


@given(clustered_hashes(), st.integers(0, 3))
def test_near_hashes_are_exactly_those_a_naive_search_finds(hashes, max_distance):
    assert near_hashes(hashes, max_distance) == naive_near(hashes, max_distance)


def test_three_bits_in_three_bands_are_still_found():
    assert near_hashes([0, far := 1 | 1 << 20 | 1 << 40], 3) == {0: {0, far}, far: {0, far}}


@pytest.mark.parametrize("max_distance", [-1, 4])
def test_distance_beyond_the_exact_range_is_refused(max_distance):
    with pytest.raises(ValueError, match="between 0 and 3"):
        near_hashes([1, 2], max_distance)


def groups_of(products, pairs=(), known=(), held_out=0.1, seed=0):
    """Groups of products, each with its stated split or without one; pairs of their places look alike."""
    stated = [one if isinstance(one, tuple) else (one, "") for one in products]
    near = {place: {place} for place in range(len(stated))}
    for one, other in pairs:
        near[one].add(other)
        near[other].add(one)
    shown = [Shown(product, split, place) for place, (product, split) in enumerate(stated)]
    return assign_groups(shown, near, known=dict(known), eval_fraction=held_out, test_fraction=held_out, seed=seed)


def names(groups):
    return {product: group.name for product, group in groups.items()}


def test_groups_join_products_through_near_duplicates():
    assert names(groups_of("bbcad", [(1, 2), (2, 3)])) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_group_does_not_depend_on_the_order_of_pairs():
    chain = [(0, 1), (1, 2), (2, 3)]
    assert groups_of("dcba", chain) == groups_of("dcba", chain[::-1])


@pytest.mark.parametrize(
    ("stated", "split"),
    [
        (["train", "eval", "test"], "test"),
        (["train", "", "eval"], "eval"),
        (["train", "train"], "train"),
    ],
)
def test_most_held_out_stated_split_wins(stated, split):
    assert groups_of([("p", one) for one in stated]) == {"p": Group("p", split)}


def test_hashed_splits_come_in_the_asked_proportions():
    shown = [Shown(str(i), "", None) for i in range(4000)]
    groups = assign_groups(shown, {}, known={}, eval_fraction=0.2, test_fraction=0.1, seed=7)
    splits = [group.split for group in groups.values()]
    # Four standard deviations of a binomial with n = 4000.
    assert splits.count("eval") == pytest.approx(800, abs=4 * (4000 * 0.2 * 0.8) ** 0.5)
    assert splits.count("test") == pytest.approx(400, abs=4 * (4000 * 0.1 * 0.9) ** 0.5)


def test_seed_changes_the_hashed_split_and_nothing_else_does():
    products = [str(i) for i in range(50)]
    drawn = groups_of(products, held_out=0.3)
    assert groups_of(products[::-1], held_out=0.3) == drawn != groups_of(products, held_out=0.3, seed=1)


@pytest.mark.parametrize(
    ("eval_fraction", "test_fraction"), [(0.6, 0.4), (-0.1, 0.1), (0.1, -0.1), (float("nan"), 0.1)]
)
def test_fractions_that_leave_no_training_data_are_refused(eval_fraction, test_fraction):
    with pytest.raises(ValueError, match="held-out fractions"):
        assign_groups([], {}, known={}, eval_fraction=eval_fraction, test_fraction=test_fraction, seed=0)


def test_unknown_stated_split_is_refused():
    with pytest.raises(ValueError, match="validation"):
        groups_of([("p", "validation")])


KNOWN = {"k": Group("k", "train"), "e": Group("d", "eval"), "t": Group("t", "test")}


def test_known_products_keep_group_and_split_whatever_joins_them():
    groups = groups_of([("k", "test"), "a", "t"], [(0, 1), (1, 2), (0, 2)], KNOWN)
    assert (groups["k"], groups["t"]) == (KNOWN["k"], KNOWN["t"])


@pytest.mark.parametrize(
    ("touching", "group"),
    [
        (["k"], Group("k", "train")),
        (["k", "e"], Group("d", "eval")),
        (["k", "t", "e"], Group("t", "test")),
    ],
)
def test_new_product_takes_the_most_held_out_split_of_the_groups_it_touches(touching, group):
    pairs = [(0, row) for row in range(1, len(touching) + 1)]
    assert groups_of(["a", *touching], pairs, KNOWN)["a"] == group


def test_every_known_product_of_one_picture_is_touched_whichever_comes_first():
    known = {"a": Group("a", "train"), "c": Group("c", "test")}
    shown = [Shown("a", "", 5), Shown("b", "", 5), Shown("c", "", 5)]
    groups = assign_groups(shown, near_hashes([5], 0), known=known, eval_fraction=0.1, test_fraction=0.1, seed=0)
    assert groups == {**known, "b": Group("c", "test")}


def test_a_known_product_that_is_away_for_a_day_keeps_its_group():
    assert groups_of("a", known=KNOWN).items() >= KNOWN.items()


def test_new_products_joined_to_one_that_touches_a_group_go_along():
    groups = groups_of(["a", "b", "t", "c", "k"], [(0, 1), (1, 2), (3, 4)], KNOWN)
    assert groups["a"] == groups["b"] == Group("t", "test")
    assert groups["c"] == Group("k", "train"), "a known product joins nothing: what touches another side stays apart"


def test_a_new_product_of_a_smaller_name_moves_nobody():
    first = groups_of("mno", [(0, 1)], held_out=0.3)
    second = groups_of("amno", [(0, 1), (1, 2)], known=first, held_out=0.3)
    assert {product: second[product] for product in first} == first
    assert second["a"] == first["m"]


@given(
    clustered_hashes().flatmap(
        lambda hashes: st.tuples(
            st.just(hashes),
            st.lists(st.sampled_from("abcdefgh"), min_size=len(hashes), max_size=len(hashes)),
            st.lists(st.sampled_from(["", "", "train", "eval", "test"]), min_size=len(hashes), max_size=len(hashes)),
        )
    ),
    st.integers(0, 5),
)
def test_no_product_and_no_near_duplicate_is_ever_in_two_splits(images, seed):
    hashes, products, stated = images
    shown = [Shown(*facts) for facts in zip(products, stated, hashes, strict=True)]
    fractions = {"eval_fraction": 0.3, "test_fraction": 0.3, "seed": seed}
    groups = assign_groups(shown, near_hashes(hashes, 3), known={}, **fractions)
    for i, j in combinations(range(len(hashes)), 2):
        if products[i] == products[j] or bin(hashes[i] ^ hashes[j]).count("1") <= 3:
            assert groups[products[i]] == groups[products[j]]


def test_extreme_positions_of_parts_are_those_of_the_whole():
    positions = [0.5, 0.1, 0.9, 0.3, 0.7]
    whole = extreme_positions([[one] for one in positions])
    assert whole == (0.1, 0.3, 0.5, 0.9)
    assert extreme_positions([extreme_positions([positions[:3]]), extreme_positions([positions[3:]])]) == whole


@pytest.mark.parametrize(
    ("positions", "splits"),
    [
        ([0.9], ["train"]),
        ([0.05], ["test"]),
        ([0.8, 0.9], ["test", "train"]),
        ([0.01, 0.02], ["test", "train"]),
        ([0.7, 0.8, 0.9], ["test", "eval", "train"]),
        ([0.05, 0.8, 0.9], ["test", "eval", "train"]),
        ([0.01, 0.02, 0.03], ["test", "eval", "train"]),
        ([0.01, 0.02, 0.03, 0.04], ["test", "test", "eval", "train"]),
        ([0.01, 0.02, 0.5, 0.9], ["test", "test", "eval", "train"]),
        ([0.05, 0.15, 0.5, 0.9], ["test", "eval", "train", "train"]),
    ],
)
def test_a_class_of_two_groups_or_more_is_tested_and_trained_on(positions, splits):
    rule = split_rule(extreme_positions([[one] for one in positions]), eval_fraction=0.1, test_fraction=0.1)
    assert [rule.split(one) for one in positions] == splits


def test_a_split_that_is_not_wanted_is_not_made_sure_of():
    rule = split_rule((0.7, 0.8, 0.9), eval_fraction=0.0, test_fraction=0.0)
    assert {rule.split(one) for one in (0.7, 0.8, 0.9)} == {"train"}


def test_a_group_of_several_classes_goes_to_the_most_held_out_of_their_splits():
    shown = [Shown("p", "", None, "a"), Shown("p", "", None, "b")]
    rules = {"a": SplitRule(0.0, 1.0), "b": SplitRule(0.0, 0.0)}
    groups = assign_groups(shown, {}, known={}, eval_fraction=0.1, test_fraction=0.1, seed=1, rules=rules)
    assert groups == {"p": Group("p", "eval")}
