from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalog.splits import assign_split, group_ids, near_duplicate_pairs

ALL_BITS = (1 << 64) - 1


def naive_pairs(hashes, max_distance):
    """All pairs of distinct hashes, and each repetition with the first of its kind."""
    first = [hashes.index(h) for h in hashes]
    near = {
        (i, j)
        for i, j in combinations(range(len(hashes)), 2)
        if first[i] == i and first[j] == j and bin(hashes[i] ^ hashes[j]).count("1") <= max_distance
    }
    return sorted(near | {(first[j], j) for j in range(len(hashes)) if first[j] != j})


@st.composite
def clustered_hashes(draw):
    """Few centres and flips of few bits, so that pairs at every distance from 0 to 6 are common."""
    centres = draw(st.lists(st.integers(0, ALL_BITS), min_size=1, max_size=3))
    flips = st.lists(st.integers(0, 63), max_size=4).map(lambda bits: sum({1 << bit for bit in bits}))
    return draw(st.lists(st.builds(int.__xor__, st.sampled_from(centres), flips), max_size=25))


@given(clustered_hashes(), st.integers(0, 3))
def test_near_duplicates_are_exactly_those_a_naive_search_finds(hashes, max_distance):
    assert near_duplicate_pairs(hashes, max_distance) == naive_pairs(hashes, max_distance)


def test_three_bits_in_three_bands_are_still_found():
    assert near_duplicate_pairs([0, 1 | 1 << 20 | 1 << 40], 3) == [(0, 1)]


def test_equal_hashes_cost_one_pair_each():
    assert near_duplicate_pairs([5] * 4, 3) == [(0, 1), (0, 2), (0, 3)]


@pytest.mark.parametrize("max_distance", [-1, 4])
def test_distance_beyond_the_exact_range_is_refused(max_distance):
    with pytest.raises(ValueError, match="between 0 and 3"):
        near_duplicate_pairs([1, 2], max_distance)


def test_groups_join_products_through_near_duplicates():
    products = ["b", "b", "c", "a", "d"]
    assert group_ids(products, [(1, 2), (2, 3)]) == ["a", "a", "a", "a", "d"]


def test_group_key_does_not_depend_on_the_order_of_pairs():
    products = ["d", "c", "b", "a"]
    chain = [(0, 1), (1, 2), (2, 3)]
    assert group_ids(products, chain) == group_ids(products, chain[::-1]) == ["a"] * 4


@pytest.mark.parametrize(
    ("explicit", "split"),
    [
        (["train", "eval", "test"], "test"),
        (["train", "", "eval"], "eval"),
        (["train", "train"], "train"),
    ],
)
def test_most_held_out_explicit_split_wins(explicit, split):
    assert assign_split("g", explicit, eval_fraction=0.1, test_fraction=0.1, seed=0) == split


def test_hashed_splits_come_in_the_asked_proportions():
    splits = [assign_split(str(i), [], eval_fraction=0.2, test_fraction=0.1, seed=7) for i in range(4000)]
    # Four standard deviations of a binomial with n = 4000.
    assert splits.count("eval") == pytest.approx(800, abs=4 * (4000 * 0.2 * 0.8) ** 0.5)
    assert splits.count("test") == pytest.approx(400, abs=4 * (4000 * 0.1 * 0.9) ** 0.5)


def test_seed_changes_the_hashed_split_and_nothing_else_does():
    def draw(seed):
        return [assign_split(str(i), [""], eval_fraction=0.3, test_fraction=0.3, seed=seed) for i in range(50)]

    assert draw(1) == draw(1) != draw(2)


@pytest.mark.parametrize(
    ("eval_fraction", "test_fraction"), [(0.6, 0.4), (-0.1, 0.1), (0.1, -0.1), (float("nan"), 0.1)]
)
def test_fractions_that_leave_no_training_data_are_refused(eval_fraction, test_fraction):
    with pytest.raises(ValueError, match="held-out fractions"):
        assign_split("g", [], eval_fraction=eval_fraction, test_fraction=test_fraction, seed=0)


def test_unknown_explicit_split_is_refused():
    with pytest.raises(ValueError, match="validation"):
        assign_split("g", ["validation"], eval_fraction=0.1, test_fraction=0.1, seed=0)


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
    groups = group_ids(products, near_duplicate_pairs(hashes, 3))
    explicit = {group: [s for g, s in zip(groups, stated, strict=True) if g == group] for group in groups}
    splits = [assign_split(group, explicit[group], eval_fraction=0.3, test_fraction=0.3, seed=seed) for group in groups]
    for i, j in combinations(range(len(hashes)), 2):
        if products[i] == products[j] or bin(hashes[i] ^ hashes[j]).count("1") <= 3:
            assert splits[i] == splits[j]
