import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lookalike.configs.settings import ModelSettings, TrainingSettings
from trainer.models.embedding import build_model, compile_model


def compiled(model: keras.Model, settings: TrainingSettings, total_steps: int = 100) -> keras.Model:
    compile_model(model, settings, total_steps)
    return model


def test_model_gives_unit_embeddings_and_a_logit_for_each_class(model_settings: ModelSettings, rng) -> None:
    outputs = build_model(model_settings, num_classes=5)(tf.constant(rng.random((3, 32, 32, 3), np.float32)))
    assert outputs["embedding"].shape == (3, 8)
    assert outputs["logits"].shape == (3, 5)
    np.testing.assert_allclose(np.linalg.norm(outputs["embedding"], axis=1), 1.0, atol=1e-5)


def test_parameters_are_trunk_projection_and_directions(model_settings: ModelSettings) -> None:
    trunk = 78072  # counted in resnet_test
    assert build_model(model_settings, num_classes=5).count_params() == trunk + 64 * 8 + 8 * 5


def test_learning_rate_rises_for_a_tenth_and_falls_to_a_hundredth(model_settings: ModelSettings) -> None:
    settings = TrainingSettings(learning_rate=1.0)
    schedule = compiled(build_model(model_settings, 2), settings, total_steps=100).optimizer._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[5] == pytest.approx((1 / 25 + 1) / 2)  # half-way up
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 2)) / 2)  # half-way down
    assert rates[100] == pytest.approx(0.01)
    assert np.argmax(rates) == 10


def test_normalisation_is_not_decayed(model_settings: ModelSettings) -> None:
    model = compiled(build_model(model_settings, 2), TrainingSettings())
    kept = {v.name.split("/")[-1] for v in model.trainable_variables if not model.optimizer._use_weight_decay(v)}
    decayed = {v.name.split("/")[-1] for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}
    assert kept == {"gamma:0", "beta:0"}
    assert decayed == {"kernel:0", "directions:0"}


@pytest.mark.parametrize("ranking_weight", [0.0, 3.0])
def test_loss_is_the_weighted_sum_of_both(ranking_weight: float, model_settings: ModelSettings, rng) -> None:
    settings = TrainingSettings(ranking_weight=ranking_weight)
    model = compiled(build_model(model_settings, 3), settings)
    pixels = tf.constant(rng.random((4, 32, 32, 3), np.float32))
    targets = {"embedding": tf.constant([0, 0, 1, 1], tf.int64), "logits": tf.constant([0, 1, 2, -1], tf.int64)}
    told = model.test_on_batch(pixels, targets, return_dict=True)
    assert told["loss"] == pytest.approx(told["logits_loss"] + ranking_weight * told["embedding_loss"], rel=1e-5)
    assert min(told["logits_loss"], told["embedding_loss"]) > 0


def test_three_thousand_classes_train_a_step(model_settings: ModelSettings, rng) -> None:
    model = compiled(build_model(model_settings, 3000), dataclasses.replace(TrainingSettings(), bfloat16=False))
    before = model.get_layer("logits").get_weights()[0].copy()
    targets = {"embedding": np.array([0, 0, 1, 1]), "logits": np.array([0, 7, 2999, -1])}
    told = model.train_on_batch(rng.random((4, 32, 32, 3), np.float32), targets, return_dict=True)
    assert math.isfinite(told["loss"])
    # 3000 cosines of 8 dimensions, scaled by 16: a guess costs between log 3000 and 16 more.
    assert math.log(3000) < told["logits_loss"] < math.log(3000) + 32
    assert np.abs(model.get_layer("logits").get_weights()[0] - before).max() > 0
