"""The Trainer's run_fn: read the examples, train, keep the best epoch, export."""

import functools
import hashlib
import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from lookalike.configs.settings import ModelSettings, TrainingSettings
from lookalike.errors import EXIT_BAD_DATA, UserError
from lookalike.storage.folder import joined
from trainer.checkpoints import Checkpoints, checkpoints_at
from trainer.data import ImageSet, augmented_batches, load_images
from trainer.export import Encoder
from trainer.metrics import validation_recall_at_1
from trainer.models.embedding import build_model, compile_model
from trainer.processor import bfloat16_rewrite
from trainer.progress import TrainingProgress
from trainer.selection import BestEpoch
from transform import features

log = logging.getLogger(__name__)


class NothingToLearnError(UserError, code="NOTHING_TO_LEARN", exit_status=EXIT_BAD_DATA):
    """The training images tell neither categories nor products apart."""


class TrainerArgs(Protocol):
    """What is used of TFX's FnArgs, so that training needs no TFX."""

    train_files: Sequence[str]
    eval_files: Sequence[str]
    transform_output: str
    serving_model_dir: str
    model_run_dir: str
    custom_config: Mapping[str, Any]


def run_fn(fn_args: TrainerArgs) -> None:
    """Trains the encoder and exports the best epoch of it.

    `custom_config` holds the sections `model` and `training` of the settings, and `checkpoint_root`, an address at
    which an interrupted training of the very same inputs is found and gone on with.
    """
    config = fn_args.custom_config
    settings = TrainingSettings(**config["training"])
    transform = tft.TFTransformOutput(fn_args.transform_output)
    with tempfile.TemporaryDirectory() as scratch:
        training = load_images(fn_args.train_files, transform, Path(scratch, "train.uint8"))
        validation = load_images(fn_args.eval_files, transform, Path(scratch, "eval.uint8"))
        labels = _class_names(transform, training)
        _check_there_is_something_to_learn(training)
        keras.utils.set_random_seed(settings.seed)
        model = build_model(ModelSettings(**config["model"]), num_classes=len(labels))
        fingerprint = _fingerprint(config, training, validation, labels)
        with checkpoints_at(joined(config["checkpoint_root"], fingerprint)) as checkpoints:
            fit(model, training, validation, settings, checkpoints, fn_args.model_run_dir)
            Encoder(model, transform, labels).save(fn_args.serving_model_dir)
            checkpoints.forget()


def fit(
    model: keras.Model,
    training: ImageSet,
    validation: ImageSet,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
    tensorboard_dir: str,
) -> None:
    """Trains the model in place and leaves it with the weights of its best epoch.

    Goes on where an interrupted training left its checkpoints; one that was over is not repeated.

    Raises TrainingDivergedError: at the first loss that is NaN or infinite.
    """
    measured = functools.partial(validation_recall_at_1, model, validation, training)
    best = BestEpoch(measured, checkpoints.directory, settings.patience)
    if not best.is_over(settings.epochs):
        # Measured before training too: validation images that cannot be measured are told now, not an epoch later.
        log.info("untrained: recall@1 %.3f", measured())
        _train(model, training, settings, best, checkpoints, tensorboard_dir)
    best.restore_best(model)
    log.info("best epoch %d of %d: recall@1 %.3f", best.best_epoch + 1, len(best.history), max(best.history))


def _train(
    model: keras.Model,
    training: ImageSet,
    settings: TrainingSettings,
    best: BestEpoch,
    checkpoints: Checkpoints,
    tensorboard_dir: str,
) -> None:
    steps = settings.steps_per_epoch or -(-len(training.pixels) // settings.batch_size)
    compile_model(model, settings, total_steps=settings.epochs * steps)
    with bfloat16_rewrite(settings.bfloat16):
        model.fit(
            augmented_batches(training, settings, steps, first_step=model.optimizer.iterations),
            epochs=settings.epochs,
            steps_per_epoch=steps,
            callbacks=[
                best,
                TrainingProgress(settings.epochs, steps),
                keras.callbacks.TensorBoard(tensorboard_dir, write_graph=False),
                keras.callbacks.BackupAndRestore(str(checkpoints.directory / "backup")),  # after what it shall save
                checkpoints,
            ],
            verbose=0,
        )


def _class_names(transform: tft.TFTransformOutput, training: ImageSet) -> list[str]:
    """The category of each label id; one nameless class where nothing is labelled."""
    if training.label_ids.max() < 0:
        return [""]  # the vocabulary holds a made-up word then, because TensorFlow has no empty tables
    return [label.decode() for label in transform.vocabulary_by_name(features.LABEL_VOCABULARY)]


def _check_there_is_something_to_learn(training: ImageSet) -> None:
    num_labels = len(set(training.label_ids.tolist()) - {-1})
    num_products = len(set(training.product_ids.tolist()))
    if num_labels < 2 and num_products == len(training.product_ids):
        raise NothingToLearnError(
            "expected at least 2 labels, or products with at least 2 images, to learn from; "
            f"got {num_labels} labels and {num_products} products of one image each"
        )


def _fingerprint(config: Mapping[str, Any], training: ImageSet, validation: ImageSet, labels: Sequence[str]) -> str:
    """Of everything that decides the outcome."""
    decides = [config, training.sha256(), validation.sha256(), labels, tf.__version__]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]
