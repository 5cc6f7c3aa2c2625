"""Trunk and heads put together: the model that is trained."""

import tensorflow as tf
import tf_keras as keras

from lookalike.configs.settings import ModelSettings, TrainingSettings
from trainer.heads import CosineClassifier, embedding_head
from trainer.losses.masked_cross_entropy import masked_cross_entropy
from trainer.losses.supervised_contrastive import supervised_contrastive
from trainer.models.resnet import build_resnet


def build_model(settings: ModelSettings, num_classes: int) -> keras.Model:
    """[batch, size, size, 3] float32 in 0..1 → {"embedding": [batch, dim], "logits": [batch, num_classes]}."""
    trunk = build_resnet(settings.image_size_px, settings.depth, settings.width)
    embedding = embedding_head(trunk.output, settings.embedding_dim)
    logits = CosineClassifier(num_classes, name="logits")(embedding)
    return keras.Model(trunk.input, {"embedding": embedding, "logits": logits}, name="lookalike")


def compile_model(model: keras.Model, settings: TrainingSettings, total_steps: int) -> None:
    """Adds AdamW on a one-cycle schedule and the two losses."""
    warmup_steps = max(1, total_steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=settings.learning_rate / 25.0,
        decay_steps=max(1, total_steps - warmup_steps),
        warmup_target=settings.learning_rate,
        warmup_steps=warmup_steps,
        alpha=0.01,
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=settings.weight_decay, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta"])

    # Keras hands the ids over as [batch, 1].
    def product_loss(product_ids: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
        return supervised_contrastive(tf.reshape(product_ids, [-1]), embedding, settings.temperature)

    def category_loss(label_ids: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return masked_cross_entropy(tf.reshape(label_ids, [-1]), logits, settings.label_smoothing)

    model.compile(
        optimizer,
        loss={"embedding": product_loss, "logits": category_loss},
        loss_weights={"embedding": settings.ranking_weight, "logits": 1.0},
    )
