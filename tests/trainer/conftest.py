"""A toy catalogue of drawn products, transformed once by tf.Transform, and settings to train in seconds."""

import functools
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from google.protobuf import text_format
from PIL import Image
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_transform import beam as tft_beam
from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io

from lookalike.catalog.images import canonicalise
from lookalike.configs.settings import ModelSettings, TrainingSettings
from trainer.data import ImageSet, load_images
from transform import features
from transform.preprocessing import preprocessing_fn

SIZE_PX = 32
# Label, colour: one product each.
PRODUCTS = (
    ("Shoes > Boots", (200, 40, 40)),
    ("Shoes > Boots", (150, 70, 30)),
    ("Shoes > Boots", (90, 60, 20)),
    ("Bags", (40, 60, 200)),
    ("Bags", (60, 160, 220)),
    ("", (40, 180, 60)),
)
IMAGES_PER_PRODUCT = 3

Row = Mapping[str, bytes]


def draw(label: str, colour: tuple[int, int, int], view: int) -> bytes:
    """A bar that lies for shoes and stands for anything else, a little further for every view; canonical JPEG."""
    image = Image.new("RGB", (48, 40), (245, 245, 240))
    box = (4 + view, 20, 40 + view, 34) if label.startswith("Shoes") else (14 + 2 * view, 4, 26 + 2 * view, 36)
    image.paste(colour, box)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return canonicalise(stream.getvalue(), longest_side_px=64).jpeg


def make_row(number: int, view: int, label: str, colour: tuple[int, int, int]) -> Row:
    texts = {
        "image_id": f"{number}/{view}.png",
        features.PRODUCT_ID: f"p{number}",
        features.CATEGORY: label,
        features.LABEL: label,
        features.DOMAIN: "catalog",
        features.SPAN: "",
        "title": "",
        "gender": "",
        "sha256": "",
        features.CANONICAL_SHA256: f"picture {number}/{view}",
    }
    return {features.IMAGE: draw(label, colour, view)} | {name: text.encode() for name, text in texts.items()}


def write_records(path: Path, rows: Sequence[Row]) -> str:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for row in rows:
            columns = {k: tf.train.Feature(bytes_list=tf.train.BytesList(value=[v])) for k, v in row.items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=columns)).SerializeToString())
    return str(path)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """Three images of each of six products, one product unlabelled."""
    return [
        make_row(number, view, label, colour)
        for number, (label, colour) in enumerate(PRODUCTS)
        for view in range(IMAGES_PER_PRODUCT)
    ]


@pytest.fixture(scope="session")
def write_examples() -> Callable[[Path, Sequence[Row]], str]:
    """Writes rows as a TFRecord file of examples; returns its path."""
    return write_records


@pytest.fixture(scope="session")
def analyze() -> Callable[[Sequence[Row], Path], str]:
    """Runs tf.Transform's analysis with the committed schema, and keeps what TFX's Transform would."""

    def run(rows: Sequence[Row], directory: Path) -> str:
        committed = Path(features.__file__).with_suffix(".pbtxt").read_text()
        raw = dataset_metadata.DatasetMetadata(text_format.Parse(committed, schema_pb2.Schema()))
        preprocess = functools.partial(preprocessing_fn, custom_config={"image_size_px": SIZE_PX})
        output = str(directory / "transform")
        with tft_beam.Context(temp_dir=str(directory / "scratch")):
            found = ([{**row, features.PRICE: []} for row in rows], raw) | tft_beam.AnalyzeDataset(preprocess)
            _ = found | tft_beam.WriteTransformFn(output)
        metadata_io.write_metadata(raw, f"{output}/{tft.TFTransformOutput.RAW_METADATA_DIR}")
        return output

    return run


@pytest.fixture(scope="session")
def transform_dir(rows, analyze, tmp_path_factory: pytest.TempPathFactory) -> str:
    return analyze(rows, tmp_path_factory.mktemp("transform"))


@pytest.fixture(scope="session")
def transform(transform_dir: str) -> tft.TFTransformOutput:
    return tft.TFTransformOutput(transform_dir)


@pytest.fixture(scope="session")
def examples(rows, tmp_path_factory: pytest.TempPathFactory) -> str:
    """All rows in one file."""
    return write_records(tmp_path_factory.mktemp("examples") / "images.tfrecord", rows)


@pytest.fixture(scope="session")
def images(examples: str, transform: tft.TFTransformOutput, tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """All rows, decoded."""
    return load_images([examples], transform, tmp_path_factory.mktemp("pixels") / "pixels.uint8")


@pytest.fixture(scope="session")
def model_settings() -> ModelSettings:
    return ModelSettings(image_size_px=SIZE_PX, depth=10, width=8, embedding_dim=8)


@pytest.fixture(scope="session")
def training_settings() -> TrainingSettings:
    """Float32, so that results can be compared exactly."""
    return TrainingSettings(epochs=3, batch_size=8, steps_per_epoch=3, patience=3, bfloat16=False)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)
