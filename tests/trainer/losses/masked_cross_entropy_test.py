import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses.masked_cross_entropy import masked_cross_entropy


def loss(label_ids, logits, smoothing=0.0) -> float:
    return float(masked_cross_entropy(tf.constant(label_ids, tf.int64), tf.constant(logits, tf.float32), smoothing))


def naive(label_ids, logits, smoothing) -> float:
    losses = []
    for label, row in zip(label_ids, logits, strict=True):
        if label < 0:
            continue
        total = sum(math.exp(value) for value in row)
        targets = [smoothing / len(row) + (1 - smoothing) * (index == label) for index in range(len(row))]
        losses.append(-sum(t * math.log(math.exp(v) / total) for t, v in zip(targets, row, strict=True)))
    return sum(losses) / len(losses)


def test_a_guess_costs_the_logarithm_of_the_number_of_classes() -> None:
    assert loss([2], [[0.0] * 5]) == pytest.approx(math.log(5))
    assert loss([2], [[0.0] * 5], smoothing=0.3) == pytest.approx(math.log(5))


def test_certainty_costs_nothing_when_right_and_its_margin_when_wrong() -> None:
    assert loss([0], [[100.0, 0.0]]) == 0.0
    assert loss([1], [[100.0, 0.0]]) == pytest.approx(100.0)


def test_smoothing_makes_certainty_cost_its_share_of_the_margin() -> None:
    # The target is 0.95, 0.05: the second class's 0.05 costs the whole margin of 100.
    assert loss([0], [[100.0, 0.0]], smoothing=0.1) == pytest.approx(5.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_of_a_naive_loop_over_labelled_rows(smoothing: float, rng) -> None:
    labels = [0, -1, 3, 1, -1, 3]
    logits = rng.normal(size=(6, 4)).astype(np.float32)
    assert loss(labels, logits, smoothing) == pytest.approx(naive(labels, logits, smoothing), rel=1e-5)


def test_unlabelled_rows_do_not_thin_out_the_labelled_ones(rng) -> None:
    logits = rng.normal(size=(3, 4))
    assert loss([1, -1, -1], logits, 0.1) == pytest.approx(loss([1], logits[:1], 0.1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradient_of_an_unlabelled_row_is_exactly_zero(smoothing: float, rng) -> None:
    logits = tf.constant(rng.normal(size=(3, 4)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = masked_cross_entropy(tf.constant([1, -1, 2], tf.int64), logits, smoothing)
    gradient = tape.gradient(value, logits).numpy()
    assert (gradient[1] == 0.0).all()
    assert (gradient[[0, 2]] != 0.0).all()


def test_a_batch_without_labels_costs_nothing_and_teaches_nothing() -> None:
    logits = tf.constant([[3.0, -2.0], [0.0, 1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = masked_cross_entropy(tf.constant([-1, -1], tf.int64), logits, 0.1)
    assert float(value) == 0.0
    assert (tape.gradient(value, logits).numpy() == 0.0).all()
