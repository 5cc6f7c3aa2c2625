import dataclasses
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from lookalike.configs.settings import ModelSettings, TrainingSettings
from lookalike.storage.address import open_folder
from trainer import run
from trainer.checkpoints import Checkpoints
from trainer.data import ImageSet, load_images
from trainer.export import Encoder
from trainer.heads import CosineClassifier, embedding_head
from trainer.progress import TrainingProgress
from trainer.run import NothingToLearnError, fit, run_fn
from trainer.selection import TrainingDivergedError
from transform import features

ROOT = Path(run.__file__).parent.parent


class KilledError(BaseException):
    """Stands for a kill; nothing may catch it."""


def progress_of(model: keras.Model, images: ImageSet, training: ImageSet) -> float:
    """A measure that grows with every step, so that the last epoch is the best."""
    return float(model.optimizer.iterations) / 100 if model.optimizer else 0.0


def digest(model: keras.Model) -> str:
    return hashlib.sha256(b"".join(weights.tobytes() for weights in model.get_weights())).hexdigest()


def tiny_model(settings: ModelSettings, num_classes: int) -> keras.Model:
    """One convolution in place of the ResNet, for the tests that are not about it."""
    pixels = keras.Input((settings.image_size_px, settings.image_size_px, 3))
    x = keras.layers.Conv2D(8, 5, strides=4)(pixels)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(keras.layers.BatchNormalization()(x)))
    embedding = embedding_head(x, settings.embedding_dim)
    logits = CosineClassifier(num_classes, name="logits")(embedding)
    return keras.Model(pixels, {"embedding": embedding, "logits": logits})


@pytest.fixture(autouse=True)
def _grows_with_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "validation_recall_at_1", progress_of)


@pytest.fixture
def train(images, model_settings, training_settings, tmp_path) -> Callable[..., keras.Model]:
    """Fits a fresh model, whose checkpoints stay between calls."""

    def start(**changes) -> keras.Model:
        settings = dataclasses.replace(training_settings, **changes)
        keras.utils.set_random_seed(settings.seed)
        model = tiny_model(model_settings, num_classes=2)
        fit(model, images, images, settings, Checkpoints(tmp_path / "checkpoints"), str(tmp_path / "tensorboard"))
        return model

    return start


@pytest.fixture(scope="module")
def unbroken(images, model_settings, training_settings, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the weights after an unbroken training."""
    directory = tmp_path_factory.mktemp("unbroken")
    keras.utils.set_random_seed(training_settings.seed)
    model = tiny_model(model_settings, num_classes=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "validation_recall_at_1", progress_of)
        fit(
            model,
            images,
            images,
            training_settings,
            Checkpoints(directory / "checkpoints"),
            str(directory / "tensorboard"),
        )
    return digest(model)


def fail_at(call: int, function: Callable) -> Callable:
    """The function, killed at its n-th call, counted from 0."""
    remaining = iter(range(call))

    def called(*args, **kwargs):
        if next(remaining, None) is None:
            raise KilledError
        return function(*args, **kwargs)

    return called


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        # Call 0 is before training, call 2 at the end of the second epoch: nothing of it is kept.
        pytest.param(run, "validation_recall_at_1", 2, id="before the epoch is measured"),
        # The history and the best weights tell of an epoch that the backup does not know.
        pytest.param(TrainingProgress, "on_epoch_end", 1, id="between measure and backup"),
    ],
)
def test_an_interrupted_training_ends_in_the_weights_of_an_unbroken_one(
    owner, name: str, call: int, train, unbroken: str, monkeypatch, tmp_path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_at(call, getattr(owner, name)))
        with pytest.raises(KilledError):
            train()
    starts = []
    monkeypatch.setattr(TrainingProgress, "on_epoch_begin", lambda self, epoch, logs=None: starts.append(epoch))
    assert digest(train()) == unbroken
    assert starts == [1, 2]  # the first epoch was not trained again
    assert json.loads((tmp_path / "checkpoints" / "history.json").read_text()) == [0.03, 0.06, 0.09]


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.Model, "fit", lambda *args, **kwargs: pytest.fail("trained again"))


def test_a_training_that_is_over_is_not_repeated(train, monkeypatch, tmp_path) -> None:
    # Measured by minus the progress, the first epoch is the best, and patience is used up after the second.
    monkeypatch.setattr(run, "validation_recall_at_1", lambda *asked: 1 - progress_of(*asked))
    finished = train(epochs=9, patience=1)
    assert json.loads((tmp_path / "checkpoints" / "history.json").read_text()) == [0.97, 0.94]
    forbid_training(monkeypatch)
    assert digest(train(epochs=9, patience=1)) == digest(finished)


def test_the_best_epoch_is_kept_and_not_the_last(train, monkeypatch) -> None:
    at_epoch_end = []

    def best_in_the_middle(model: keras.Model, images: ImageSet, training: ImageSet) -> float:
        at_epoch_end.append(digest(model))
        return [0.0, 0.1, 0.9, 0.2][len(at_epoch_end) - 1]

    monkeypatch.setattr(run, "validation_recall_at_1", best_in_the_middle)
    assert digest(train()) == at_epoch_end[2]
    assert len(set(at_epoch_end)) == 4


def test_a_learning_rate_that_diverges_stops_training(train, tmp_path) -> None:
    with pytest.raises(TrainingDivergedError, match="expected a finite loss"):
        train(learning_rate=1e30)
    assert not (tmp_path / "checkpoints" / "best.weights.h5").exists()


def test_validation_images_that_cannot_be_measured_are_told_before_training(train, monkeypatch) -> None:
    monkeypatch.setattr(run, "validation_recall_at_1", fail_at(0, progress_of))
    forbid_training(monkeypatch)
    with pytest.raises(KilledError):
        train()


IN_ANOTHER_PROCESS = """
import dataclasses, json, pathlib, runpy, sys
import tensorflow_transform as tft, tf_keras as keras
from lookalike.configs.settings import ModelSettings, TrainingSettings
from trainer import run
from trainer.checkpoints import Checkpoints
from trainer.data import load_images

this_file, examples, transform, scratch, model, training = json.loads(sys.argv[1])
here = runpy.run_path(this_file)
scratch = pathlib.Path(scratch)
images = load_images([examples], tft.TFTransformOutput(transform), scratch / "pixels")
settings = TrainingSettings(**training)
run.validation_recall_at_1 = here["progress_of"]
keras.utils.set_random_seed(settings.seed)
model = here["tiny_model"](ModelSettings(**model), num_classes=2)
run.fit(model, images, images, settings, Checkpoints(scratch / "checkpoints"), str(scratch / "tensorboard"))
print(here["digest"](model))
"""


@pytest.mark.slow  # most of it imports; the day that is killed, in tests/e2e, compares two processes as well
def test_another_process_trains_the_very_same_weights(
    examples, transform_dir, model_settings, training_settings, unbroken: str, tmp_path
) -> None:
    sections = [dataclasses.asdict(section) for section in (model_settings, training_settings)]
    arguments = json.dumps([__file__, examples, transform_dir, str(tmp_path), *sections])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", IN_ANOTHER_PROCESS, arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "77"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == unbroken


def test_another_seed_trains_other_weights(train, unbroken: str) -> None:
    assert digest(train(seed=12)) != unbroken


@pytest.fixture
def fn_args(examples, transform_dir, model_settings, training_settings, tmp_path) -> SimpleNamespace:
    """What TFX hands over, as far as it is used."""
    return SimpleNamespace(
        train_files=[examples],
        eval_files=[examples],
        transform_output=transform_dir,
        serving_model_dir=str(tmp_path / "model" / "Format-Serving"),
        model_run_dir=str(tmp_path / "model_run"),
        custom_config={
            "model": dataclasses.asdict(model_settings),
            "training": dataclasses.asdict(training_settings),
            "checkpoint_root": str(tmp_path / "checkpoints"),
            "source_digest": "0",
        },
    )


def embed_with(directory: str, jpegs: list[bytes]) -> np.ndarray:
    signature = tf.saved_model.load(directory).signatures[features.EMBED_SIGNATURE]
    return signature(image_bytes=tf.constant(jpegs))[features.EMBEDDING].numpy()


def test_run_fn_trains_exports_and_forgets_its_checkpoints(fn_args, rows, tmp_path, monkeypatch) -> None:
    monkeypatch.undo()  # the real measure
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "save", fail_at(0, Encoder.save))
        with pytest.raises(KilledError):  # after training and before the export
            run_fn(fn_args)
    assert not Path(fn_args.serving_model_dir).exists()
    [checkpoints] = (tmp_path / "checkpoints").iterdir()
    assert {path.name for path in checkpoints.iterdir()} >= {"history.json", "best.weights.h5"}

    forbid_training(monkeypatch)
    run_fn(fn_args)
    embeddings = embed_with(fn_args.serving_model_dir, [row[features.IMAGE] for row in rows])
    assert embeddings.shape == (18, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    assert list(Path(fn_args.model_run_dir).rglob("events.out.tfevents.*"))


def test_an_interrupted_training_goes_on_from_an_object_store(fn_args, tmp_path, monkeypatch, s3_address) -> None:
    monkeypatch.setattr(run, "build_model", tiny_model)
    fn_args.custom_config["checkpoint_root"] = f"{s3_address}/checkpoints"
    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "save", fail_at(0, Encoder.save))
        with pytest.raises(KilledError):
            run_fn(fn_args)
    copies = {file.name.split("/")[1] for file in open_folder(f"{s3_address}/checkpoints").files()}
    assert len(copies) == 1, "of the last epoch alone"

    forbid_training(monkeypatch)
    run_fn(fn_args)
    assert Path(fn_args.serving_model_dir, "saved_model.pb").exists()
    assert not list(open_folder(s3_address).files())


def test_a_source_with_nothing_to_learn_from_is_told_what_is_missing(fn_args, rows, write_examples, tmp_path) -> None:
    # One image a product, and all of them boots.
    fn_args.train_files = [write_examples(tmp_path / "dull", [rows[0], rows[3], rows[6]])]
    with pytest.raises(NothingToLearnError, match="expected at least 2 labels, or products with at least 2 images"):
        run_fn(fn_args)


def test_products_alone_are_enough_to_learn_from(fn_args, rows, analyze, write_examples, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(run, "build_model", tiny_model)
    unlabelled = [{**row, features.LABEL: b"", features.CATEGORY: b""} for row in rows]
    fn_args.train_files = fn_args.eval_files = [write_examples(tmp_path / "unlabelled", unlabelled)]
    fn_args.transform_output = analyze(unlabelled, tmp_path)
    fn_args.custom_config["training"] |= {"epochs": 1, "steps_per_epoch": 1}
    run_fn(fn_args)
    signatures = tf.saved_model.load(fn_args.serving_model_dir).signatures
    classified = signatures[features.CLASSIFY_SIGNATURE](image_bytes=tf.constant([rows[0][features.IMAGE]]))
    assert classified[features.LABELS].numpy().tolist() == [[b""]]  # one class without a name
    assert classified[features.PROBABILITIES].numpy().tolist() == [[1.0]]


def test_checkpoints_are_found_again_for_the_very_same_inputs_only(fn_args, images) -> None:
    config = fn_args.custom_config
    other_epochs = config | {"training": dataclasses.asdict(TrainingSettings(epochs=1))}
    other_code = config | {"source_digest": "1"}
    other_model = config | {"model": dataclasses.asdict(ModelSettings())}
    other_pixels = dataclasses.replace(images, pixels=255 - images.pixels)
    other_labels = dataclasses.replace(images, label_ids=np.zeros_like(images.label_ids))
    other_products = dataclasses.replace(images, product_ids=np.arange(18))
    other_facts = dataclasses.replace(images, table=dataclasses.replace(images.table, domain=["wild"] * 18))
    fingerprints = [
        run._fingerprint(config, images, images, ["boots", "bags"]),
        *(run._fingerprint(other, images, images, ["boots", "bags"]) for other in (other_epochs, other_code)),
        run._fingerprint(other_model, images, images, ["boots", "bags"]),
        *(
            run._fingerprint(config, other, images, ["boots", "bags"])
            for other in (other_pixels, other_labels, other_products, other_facts)
        ),
        run._fingerprint(config, images, other_pixels, ["boots", "bags"]),
        run._fingerprint(config, images, images, ["bags", "boots"]),
    ]
    assert len(set(fingerprints)) == 10


def test_checkpoints_are_found_again_wherever_the_same_examples_lie(images, rows, transform, write_examples, tmp_path):
    write_examples(tmp_path / "elsewhere", rows)
    assert load_images([str(tmp_path / "elsewhere")], transform, tmp_path / "pixels").sha256() == images.sha256()
