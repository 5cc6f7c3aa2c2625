import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.headline import NothingToMeasureError
from trainer import metrics
from trainer.data import ImageSet
from trainer.metrics import embed, validation_recall_at_1
from trainer.models.embedding import build_model
from trainer.selection import TrainingDivergedError


def image_set(pixels: np.ndarray, products: str, categories: list[str]) -> ImageSet:
    count = len(pixels)
    return ImageSet(
        pixels=pixels,
        label_ids=np.zeros(count, np.int64),
        product_ids=np.arange(count),
        table=RetrievalTable(
            picture=[f"{product} {number}" for number, product in enumerate(products)],
            product_id=list(products),
            category=categories,
            domain=["catalog"] * count,
        ),
    )


class MeanColour(keras.Model):
    """The mean colour as the embedding, scaled to length one."""

    def call(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"embedding": tf.math.l2_normalize(tf.reduce_mean(pixels, axis=(1, 2)), axis=-1)}


RED, RED_AGAIN, GREEN, BLUE = (200, 0, 0), (100, 0, 0), (0, 90, 0), (0, 0, 250)


def of_colours(*colours) -> np.ndarray:
    return np.array([np.full((4, 4, 3), colour) for colour in colours], np.uint8)


def test_embeddings_come_in_the_order_of_the_images(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "EMBED_BATCH", 2)
    images = image_set(of_colours(RED, GREEN, RED_AGAIN), "abc", [""] * 3)
    np.testing.assert_allclose(embed(MeanColour(), images), [[1, 0, 0], [0, 1, 0], [1, 0, 0]], atol=1e-6)


def test_pixels_are_scaled_as_the_transform_graph_scales_them() -> None:
    seen = []

    class Watch(MeanColour):
        def call(self, pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            seen.append(pixels.numpy())
            return super().call(pixels)

    watch = Watch()
    watch.run_eagerly = True
    embed(watch, image_set(of_colours((0, 51, 255)), "a", [""]))
    np.testing.assert_allclose(seen[0][0, 0, 0], [0.0, 0.2, 1.0], rtol=1e-6)


def test_recall_is_by_product_where_products_have_several_images() -> None:
    # Both images of a are nearest to each other; b's are not: 2 of 4.
    images = image_set(of_colours(RED, RED_AGAIN, GREEN, BLUE), "aabb", ["X", "Y", "X", "Y"])
    images.pixels[3] = (255, 0, 1)  # b's second image is redder than green
    assert validation_recall_at_1(MeanColour(), images) == 0.5


def test_recall_is_by_category_where_each_image_is_its_own_product() -> None:
    # Each red one finds the other; the lone green one has no answer and is not asked.
    images = image_set(of_colours(RED, RED_AGAIN, GREEN), "abc", ["X", "X", "Y"])
    assert validation_recall_at_1(MeanColour(), images) == 1.0


def test_images_that_nothing_can_be_asked_of_are_an_error() -> None:
    with pytest.raises(NothingToMeasureError, match="held-out images need a label"):
        validation_recall_at_1(MeanColour(), image_set(of_colours(RED, GREEN), "ab", ["", ""]))


def test_validation_images_that_answer_none_of_each_other_are_asked_of_the_training_images() -> None:
    validation = image_set(of_colours(RED, GREEN), "ab", ["X", "Y"])
    training = image_set(of_colours(RED_AGAIN, BLUE, GREEN), "cde", ["X", "Y", "Z"])
    # Red finds its kind; green's nearest is green of another kind, and blue is farther.
    assert validation_recall_at_1(MeanColour(), validation, training) == 0.5


def test_an_embedding_that_is_no_number_means_divergence(images, model_settings) -> None:
    model = build_model(model_settings, 2)
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    with pytest.raises(TrainingDivergedError, match="expected finite embeddings"):
        embed(model, dataclasses.replace(images, pixels=images.pixels[:2]))
