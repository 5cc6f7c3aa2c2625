import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras
from PIL import Image

from lookalike.catalog.images import canonicalise
from trainer.data import load_images
from trainer.export import Encoder
from trainer.metrics import embed
from trainer.models.embedding import build_model
from transform import features

LABELS = ["Shoes > Boots", "Bags"]


@pytest.fixture(scope="module")
def model(model_settings) -> keras.Model:
    """Untrained, but with directions far enough apart for probabilities to differ."""
    keras.utils.set_random_seed(1)
    return build_model(model_settings, num_classes=len(LABELS))


@pytest.fixture(scope="module")
def directory(model, transform, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "Format-Serving"
    Encoder(model, transform, LABELS).save(str(path))
    return path


@pytest.fixture(scope="module")
def ask(directory: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Asks a signature of the SavedModel, loaded from disk."""
    loaded = tf.saved_model.load(str(directory))

    def call(signature: str, values: list[bytes]) -> dict[str, np.ndarray]:
        [(name, _)] = loaded.signatures[signature].structured_input_signature[1].items()
        outputs = loaded.signatures[signature](**{name: tf.constant(values, tf.string)})
        return {key: value.numpy() for key, value in outputs.items()}

    return call


@pytest.fixture(scope="module")
def jpegs(rows) -> list[bytes]:
    return [row[features.IMAGE] for row in rows]


@pytest.fixture(scope="module")
def serialized(examples: str) -> list[bytes]:
    return list(tf.data.TFRecordDataset(examples).as_numpy_iterator())


def test_signatures_are_named_as_everybody_expects(directory: Path) -> None:
    signatures = tf.saved_model.load(str(directory)).signatures
    inputs = {name: next(iter(signatures[name].structured_input_signature[1])) for name in signatures}
    assert inputs == {
        "serving_default": "image_bytes",
        "classify": "image_bytes",
        "evaluate": "examples",
        "transform_features": "examples",
    }


def test_serving_embeds_as_training_did(ask, model, images, jpegs) -> None:
    embedding = ask(features.EMBED_SIGNATURE, jpegs)[features.EMBEDDING]
    np.testing.assert_allclose(embedding, embed(model, images), atol=1e-5)
    assert np.ptp(embedding, axis=0).max() > 1e-2  # they are not all the same


def test_embeddings_have_length_one(ask, jpegs) -> None:
    embedding = ask(features.EMBED_SIGNATURE, jpegs)[features.EMBEDDING]
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1.0, atol=1e-5)


def photo() -> Image.Image:
    y, x = np.mgrid[:60, :90]
    return Image.fromarray(np.stack([x * 2, y * 4, 255 - x - y], axis=2).astype(np.uint8))


def saved(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def rotated_by_exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(photo(), "JPEG", exif=exif)


def sixteen_bit_grey() -> bytes:
    return saved(Image.fromarray((np.mgrid[:60, :90][1] * 700).astype(np.uint16)), "PNG")


@pytest.mark.parametrize(
    "original",
    [
        pytest.param(saved(photo().convert("CMYK"), "JPEG"), id="CMYK"),
        pytest.param(rotated_by_exif(), id="rotated"),
        pytest.param(sixteen_bit_grey(), id="16-bit grey"),
        pytest.param(saved(photo().convert("RGBA"), "WEBP"), id="WebP"),
        pytest.param(saved(photo().convert("P"), "GIF"), id="palette"),
    ],
)
def test_whatever_the_original_was_serving_embeds_as_training(
    original: bytes, ask, model, rows, transform, write_examples, tmp_path
) -> None:
    jpeg = canonicalise(original, longest_side_px=64).jpeg
    examples = write_examples(tmp_path / "one", [{**rows[0], features.IMAGE: jpeg}])
    in_training = embed(model, load_images([examples], transform, tmp_path / "pixels"))
    np.testing.assert_allclose(ask(features.EMBED_SIGNATURE, [jpeg])[features.EMBEDDING], in_training, atol=1e-5)


def test_classes_come_best_first_with_probabilities_that_sum_to_one(ask, model, images, jpegs) -> None:
    outputs = ask(features.CLASSIFY_SIGNATURE, jpegs)
    labels, probabilities = outputs[features.LABELS], outputs[features.PROBABILITIES]
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, atol=1e-5)
    assert (np.diff(probabilities, axis=1) <= 0).all()
    logits = model(tf.image.convert_image_dtype(images.pixels, tf.float32), training=False)["logits"].numpy()
    for row, names in zip(logits, labels, strict=True):
        assert [name.decode() for name in names] == [LABELS[index] for index in np.argsort(-row)]


def test_evaluation_gives_the_probabilities_of_classification_by_label_id(ask, jpegs, serialized) -> None:
    by_id = ask(features.EVALUATE_SIGNATURE, serialized)[features.PROBABILITIES]
    classified = ask(features.CLASSIFY_SIGNATURE, jpegs)
    for row, names, probabilities in zip(
        by_id, classified[features.LABELS], classified[features.PROBABILITIES], strict=True
    ):
        for name, probability in zip(names, probabilities, strict=True):
            assert row[LABELS.index(name.decode())] == pytest.approx(probability, abs=1e-6)


def test_transformed_features_are_those_of_training(ask, images, serialized, rows) -> None:
    outputs = ask(features.TRANSFORM_SIGNATURE, serialized)
    np.testing.assert_array_equal(outputs[features.LABEL_ID], images.label_ids)
    np.testing.assert_array_equal(outputs[features.LABEL_WEIGHT], (images.label_ids >= 0).astype(np.float32))
    np.testing.assert_array_equal(np.rint(outputs[features.PIXELS] * 255).astype(np.uint8), images.pixels)
    assert outputs[features.CANONICAL_SHA256].tolist() == [row[features.CANONICAL_SHA256] for row in rows]


def test_the_export_stands_on_its_own(directory: Path, ask, jpegs, tmp_path) -> None:
    """The vocabulary is copied into it: a moved export works where the training run is gone."""
    assert (directory / "assets" / features.LABEL_VOCABULARY).read_text().splitlines() == LABELS
    moved = directory.rename(tmp_path / "7")
    try:
        again = tf.saved_model.load(str(moved)).signatures[features.EMBED_SIGNATURE](image_bytes=tf.constant(jpegs[:2]))
        np.testing.assert_array_equal(
            again[features.EMBEDDING], ask(features.EMBED_SIGNATURE, jpegs[:2])[features.EMBEDDING]
        )
    finally:
        moved.rename(directory)
