import math

import numpy as np
import pytest
import tensorflow as tf

from trainer.losses.supervised_contrastive import supervised_contrastive


def unit_rows(rng: np.random.Generator, count: int, dim: int = 5) -> np.ndarray:
    rows = rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def loss(product_ids, embedding, temperature=0.1) -> float:
    return float(
        supervised_contrastive(tf.constant(product_ids, tf.int64), tf.constant(embedding, tf.float32), temperature)
    )


def naive(product_ids, embedding, temperature) -> float:
    """Equation 2 of the paper, anchor by anchor."""
    per_anchor = []
    rows = range(len(product_ids))
    for i in rows:
        others = [a for a in rows if a != i]
        positives = [p for p in others if product_ids[p] == product_ids[i]]
        if not positives:
            per_anchor.append(0.0)
            continue
        total = sum(math.exp(float(embedding[i] @ embedding[a]) / temperature) for a in others)
        terms = [math.log(math.exp(float(embedding[i] @ embedding[p]) / temperature) / total) for p in positives]
        per_anchor.append(-sum(terms) / len(positives))
    return sum(per_anchor) / len(per_anchor)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize(
    "product_ids",
    [
        pytest.param([0, 0, 1, 1], id="pairs"),
        pytest.param([7, 7, 7, 2, 2, 9], id="a triple, a pair and one alone"),
        pytest.param([4, 4, 4], id="one product"),
    ],
)
def test_loss_equals_a_double_loop(product_ids, temperature: float, rng) -> None:
    embedding = unit_rows(rng, len(product_ids))
    assert loss(product_ids, embedding, temperature) == pytest.approx(naive(product_ids, embedding, temperature), 1e-4)


def test_two_images_of_one_product_alone_cost_nothing() -> None:
    # The only other image is the positive, so its probability is 1 wherever it lies.
    assert loss([0, 0], [[1.0, 0.0], [0.0, 1.0]]) == pytest.approx(0.0, abs=1e-6)


def test_equal_embeddings_cost_the_logarithm_of_the_number_of_others() -> None:
    assert loss([0, 0, 1, 1], [[1.0, 0.0]] * 4) == pytest.approx(math.log(3), rel=1e-5)


def test_products_far_apart_cost_nothing() -> None:
    # Cosines 1 within and -1 between products: log(1 + 2 · exp(-20)) = 4e-9.
    assert loss([0, 0, 1, 1], [[1.0, 0.0]] * 2 + [[-1.0, 0.0]] * 2) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("product_ids", [[0, 1, 2], [0, 1, 2, 3]])
def test_without_positives_loss_and_gradient_are_zero_and_finite(product_ids, rng) -> None:
    embedding = tf.constant(unit_rows(rng, len(product_ids)))
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        value = supervised_contrastive(tf.constant(product_ids, tf.int64), embedding, 0.1)
    assert float(value) == 0.0
    np.testing.assert_array_equal(tape.gradient(value, embedding).numpy(), np.zeros_like(embedding))


def test_a_single_image_is_no_catastrophe() -> None:
    assert loss([0], [[1.0, 0.0]]) == 0.0


@pytest.mark.parametrize("temperature", [0.001, 0.1])
def test_gradient_is_finite_for_equal_embeddings_and_low_temperatures(temperature: float) -> None:
    embedding = tf.constant([[1.0, 0.0]] * 3 + [[-1.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        value = supervised_contrastive(tf.constant([0, 0, 1, 1], tf.int64), embedding, temperature)
    assert np.isfinite(float(value))
    assert np.isfinite(tape.gradient(value, embedding).numpy()).all()


def test_gradient_pulls_a_pair_together_and_pushes_a_stranger_away() -> None:
    embedding = tf.constant([[1.0, 0.0], [0.6, 0.8], [0.8, -0.6]])
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        value = supervised_contrastive(tf.constant([0, 0, 1], tf.int64), embedding, 0.5)
    step = -tape.gradient(value, embedding).numpy()
    assert step[0] @ [0.6, 0.8] > 0
    assert step[0] @ [0.8, -0.6] < 0
