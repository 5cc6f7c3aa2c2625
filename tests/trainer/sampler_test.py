from collections import Counter

import numpy as np
import pytest

from trainer.sampler import BalancedSampler


def ids(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


# Class 0: products 0 (three images) and 1 (two). Class 1: product 2 (two images). No label: product 3 (two images).
LABELS = ids(0, 0, 0, 0, 0, 1, 1, -1, -1)
PRODUCTS = ids(0, 0, 0, 1, 1, 2, 2, 3, 3)


def epoch_of(labels, products, *, batch_size=6, seed=1, epoch=0, num_batches=4) -> list[np.ndarray]:
    return list(BalancedSampler(labels, products, batch_size, seed).epoch(epoch, num_batches))


def test_an_epoch_has_the_asked_number_of_full_batches() -> None:
    batches = epoch_of(LABELS, PRODUCTS, batch_size=4, num_batches=7)
    assert [len(batch) for batch in batches] == [4] * 7
    assert set(np.concatenate(batches)) <= set(range(9))


def test_every_class_has_the_same_share_and_so_have_images_without_a_label() -> None:
    # Every batch has a pair of each of the three classes.
    for batch in epoch_of(LABELS, PRODUCTS, batch_size=6, num_batches=20):
        assert Counter(LABELS[batch].tolist()) == {-1: 2, 0: 2, 1: 2}


def test_shares_differ_by_one_pair_at_most_where_they_cannot_be_equal() -> None:
    rows = np.concatenate(epoch_of(LABELS, PRODUCTS, batch_size=4, num_batches=5))  # 10 pairs for 3 classes
    assert sorted(Counter(LABELS[rows].tolist()).values()) == [6, 6, 8]


def test_images_come_in_pairs_of_different_images_of_one_product() -> None:
    for batch in epoch_of(LABELS, PRODUCTS, num_batches=20):
        for first, second in batch.reshape(-1, 2):
            assert first != second
            assert PRODUCTS[first] == PRODUCTS[second]


def test_products_of_a_class_take_turns_whatever_their_number_of_images() -> None:
    labels, products = ids(*[0] * 12), ids(*[0] * 10, 1, 1)
    rows = np.concatenate(epoch_of(labels, products, batch_size=4, num_batches=200))
    assert (products[rows] == 1).sum() / 2 == 200  # of 400 pairs


def test_an_image_that_is_all_of_its_product_is_paired_with_another_of_its_class() -> None:
    labels, products = ids(0, 0, 0, 1, 1), ids(0, 1, 2, 3, 4)
    for batch in epoch_of(labels, products, batch_size=4, num_batches=30):
        for first, second in batch.reshape(-1, 2):
            assert first != second
            assert labels[first] == labels[second]


def test_every_single_image_is_seen_once_before_any_is_seen_twice() -> None:
    labels, products = ids(*[0] * 12), np.arange(12)
    rows = np.concatenate(epoch_of(labels, products, batch_size=4, num_batches=6))
    assert sorted(rows[:12].tolist()) == sorted(rows[12:].tolist()) == list(range(12))


def test_the_only_image_of_a_class_is_paired_with_itself() -> None:
    [batch] = epoch_of(ids(0), ids(0), batch_size=4, num_batches=1)
    assert batch.tolist() == [0, 0, 0, 0]


def test_same_seed_and_epoch_give_the_same_batches() -> None:
    np.testing.assert_array_equal(epoch_of(LABELS, PRODUCTS), epoch_of(LABELS, PRODUCTS))


@pytest.mark.parametrize("change", [{"seed": 2}, {"epoch": 1}])
def test_another_seed_or_epoch_gives_other_batches(change: dict) -> None:
    assert not np.array_equal(epoch_of(LABELS, PRODUCTS), epoch_of(LABELS, PRODUCTS, **change))


def test_an_epoch_is_the_same_whether_or_not_those_before_were_seen() -> None:
    sampler = BalancedSampler(LABELS, PRODUCTS, 6, seed=1)
    unbroken = [list(sampler.epoch(epoch, 4)) for epoch in range(3)]
    resumed = list(BalancedSampler(LABELS, PRODUCTS, 6, seed=1).epoch(2, 4))
    np.testing.assert_array_equal(unbroken[2], resumed)


def test_an_odd_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="batch_size must be even, images come in pairs, got 5"):
        BalancedSampler(LABELS, PRODUCTS, 5, seed=1)


def test_no_image_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least one training image, got 0"):
        BalancedSampler(ids(), ids(), 4, seed=1)
