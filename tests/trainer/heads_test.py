import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainer.heads import COSINE_SCALE, CosineClassifier, UnitLength, embedding_head


def classifier(directions: list[list[float]]) -> CosineClassifier:
    """With one given direction a class."""
    layer = CosineClassifier(len(directions))
    layer(tf.zeros((1, len(directions[0]))))  # makes the weights
    layer.set_weights([np.array(directions, np.float32).T])
    return layer


def test_logits_are_scaled_cosines_whatever_the_length_of_the_directions() -> None:
    logits = classifier([[5.0, 0.0], [0.0, -0.1], [3.0, 4.0]])(tf.constant([[1.0, 0.0], [0.6, 0.8]]))
    expected = COSINE_SCALE * np.array([[1.0, 0.0, 0.6], [0.6, -0.8, 1.0]])
    np.testing.assert_allclose(logits, expected, atol=1e-5)


def test_classifier_learns_one_direction_a_class() -> None:
    layer = CosineClassifier(3000)
    assert layer(tf.zeros((2, 8))).shape == (2, 3000)
    assert layer.count_params() == 8 * 3000


def test_length_of_an_embedding_is_one() -> None:
    rows = UnitLength()(tf.constant([[3.0, 4.0], [0.0, -2.0], [1e-3, 0.0]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.0, -1.0], [1.0, 0.0]], atol=1e-6)


def test_a_row_of_zeros_has_no_direction_and_stays_finite() -> None:
    np.testing.assert_array_equal(UnitLength()(tf.zeros((1, 3))), [[0.0, 0.0, 0.0]])


def test_embedding_head_projects_without_bias() -> None:
    pooled = keras.Input((4,))
    head = keras.Model(pooled, embedding_head(pooled, 2))
    head.set_weights([np.array([[1, 0], [0, 1], [0, 0], [2, 2]], np.float32)])
    np.testing.assert_allclose(head(tf.constant([[3.0, 4.0, 7.0, 0.0]])), [[0.6, 0.8]], atol=1e-6)
    assert head.count_params() == pytest.approx(8)
