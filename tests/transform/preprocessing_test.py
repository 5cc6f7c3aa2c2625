import functools
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata

from transform import features
from transform.image_ops import decode_and_resize
from transform.preprocessing import preprocessing_fn

LABELS = ("Bags", "Shoes > Boots", "", "Shoes > Boots", "Bags", "Shoes > Boots", "")


def row(number: int, label: str, image: bytes) -> dict:
    return {
        features.IMAGE: image,
        "image_id": f"{number}.jpg".encode(),
        features.PRODUCT_ID: f"p{number}".encode(),
        features.CATEGORY: label.encode() or b"Shoes",  # known, and no leaf
        features.LABEL: label.encode(),
        features.DOMAIN: b"wild",
        features.SPAN: b"",
        "title": b"",
        "gender": b"",
        "sha256": b"",
        features.CANONICAL_SHA256: f"picture {number}".encode(),
        features.PRICE: [],
    }


@pytest.fixture(scope="module")
def schema() -> schema_pb2.Schema:
    return text_format.Parse(Path(features.__file__).with_suffix(".pbtxt").read_text(), schema_pb2.Schema())


@pytest.fixture(scope="module")
def rows(jpeg) -> list[dict]:
    colours = np.random.default_rng(1).integers(0, 256, (len(LABELS), 40, 50, 3), dtype=np.uint8)
    return [row(number, label, jpeg(colours[number])) for number, label in enumerate(LABELS)]


def analyse(rows: list[dict], schema: schema_pb2.Schema, directory: Path) -> tft.TFTransformOutput:
    preprocess = functools.partial(preprocessing_fn, custom_config={"image_size_px": 32})
    with tft_beam.Context(temp_dir=str(directory / "scratch")):
        found = (rows, dataset_metadata.DatasetMetadata(schema)) | tft_beam.AnalyzeDataset(preprocess)
        _ = found | tft_beam.WriteTransformFn(str(directory / "transform"))
    return tft.TFTransformOutput(str(directory / "transform"))


@pytest.fixture(scope="module")
def transform(rows, schema, tmp_path_factory: pytest.TempPathFactory) -> tft.TFTransformOutput:
    return analyse(rows, schema, tmp_path_factory.mktemp("analysis"))


@pytest.fixture(scope="module")
def transformed(rows, transform) -> dict[str, np.ndarray]:
    texts = [name for name in rows[0] if name != features.PRICE]
    raw = {name: tf.constant([row[name] for row in rows]) for name in texts}
    price = tf.sparse.SparseTensor(np.zeros((0, 2), np.int64), np.zeros(0, np.float32), (len(rows), 0))
    outputs = transform.transform_features_layer()(raw | {features.PRICE: price})
    return {name: values.numpy() for name, values in outputs.items()}


def test_vocabulary_holds_the_labels_and_not_their_absence(transform) -> None:
    assert transform.vocabulary_by_name(features.LABEL_VOCABULARY) == [b"Shoes > Boots", b"Bags"]


def test_labels_become_ids_and_unlabelled_images_weigh_nothing(transformed) -> None:
    assert transformed[features.LABEL_ID].tolist() == [1, 0, -1, 0, 1, 0, -1]
    assert transformed[features.LABEL_ID].dtype == np.int64
    assert transformed[features.LABEL_WEIGHT].tolist() == [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0]


def with_labels(rows: list[dict], *labels: bytes) -> dict[str, tf.Tensor]:
    """A batch of one picture with different labels."""
    return {features.IMAGE: tf.constant([rows[0][features.IMAGE]] * len(labels)), features.LABEL: tf.constant(labels)}


def test_a_label_that_was_never_seen_counts_as_none(transform, rows) -> None:
    outputs = transform.transform_features_layer()(with_labels(rows, b"Hats", b"Bags"))
    assert outputs[features.LABEL_ID].numpy().tolist() == [-1, 1]
    assert outputs[features.LABEL_WEIGHT].numpy().tolist() == [0.0, 1.0]


def test_pixels_are_those_of_the_image_ops(transformed, rows) -> None:
    expected = decode_and_resize(tf.constant([row[features.IMAGE] for row in rows]), 32)
    np.testing.assert_array_equal(transformed[features.PIXELS], expected)


def test_pixels_need_nothing_but_the_image(transform, transformed, rows) -> None:
    outputs = transform.transform_features_layer()({features.IMAGE: tf.constant([rows[3][features.IMAGE]])})
    assert set(outputs) == {features.PIXELS}
    np.testing.assert_array_equal(outputs[features.PIXELS], transformed[features.PIXELS][3:4])


def test_what_evaluation_slices_by_is_passed_on(transformed, rows) -> None:
    passed_on = (features.CANONICAL_SHA256, features.PRODUCT_ID, features.CATEGORY, features.LABEL, features.DOMAIN)
    for name in passed_on:
        assert transformed[name].tolist() == [row[name] for row in rows]
    assert set(transformed) == {features.PIXELS, features.LABEL_ID, features.LABEL_WEIGHT, *passed_on}


def test_a_catalogue_without_labels_gives_every_image_none(rows, schema, tmp_path) -> None:
    unlabelled = [{**row, features.LABEL: b""} for row in rows[:2]]
    layer = analyse(unlabelled, schema, tmp_path).transform_features_layer()
    assert layer(with_labels(rows, b"", b"Bags"))[features.LABEL_ID].numpy().tolist() == [-1, -1]
