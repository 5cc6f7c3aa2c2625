"""Examples to arrays: every image is decoded once by the transform graph and kept as uint8 on disk."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from lookalike.configs.settings import TrainingSettings
from lookalike.retrieval.ground_truth import RetrievalTable
from trainer.augmentation import augment
from trainer.sampler import BalancedSampler
from transform import features

DECODE_BATCH = 32


@dataclass(frozen=True)
class ImageSet:
    """The images of one split, in the order of their files.

    pixels: [num_images, size, size, 3] uint8, memory-mapped.
    label_ids: [num_images] int64, -1 where unlabelled.
    product_ids: [num_images] int64, equal for images of one product.
    table: what retrieval metrics need to know of each image.
    """

    pixels: npt.NDArray[np.uint8]
    label_ids: npt.NDArray[np.int64]
    product_ids: npt.NDArray[np.int64]
    table: RetrievalTable

    def first(self, limit: int) -> "ImageSet":
        """At most so many of them."""
        table = self.table.select(np.arange(min(limit, len(self.table))))
        return ImageSet(self.pixels[:limit], self.label_ids[:limit], self.product_ids[:limit], table)

    def sha256(self) -> str:
        """Of all that it holds."""
        digest = hashlib.sha256(self.pixels.data)
        digest.update(json.dumps([self.label_ids.tolist(), self.product_ids.tolist(), asdict(self.table)]).encode())
        return digest.hexdigest()


def load_images(file_patterns: Sequence[str], transform: tft.TFTransformOutput, pixels_file: Path) -> ImageSet:
    """Reads raw examples through the transform graph.

    file_patterns: of uncompressed TFRecord files of raw examples.
    transform: the output of tf.Transform.
    pixels_file: where to keep the decoded pixels; grows by size² · 3 bytes an image.

    Raises ValueError: if there is not a single image.
    """
    columns: dict[str, list[npt.NDArray]] = {}
    with pixels_file.open("wb") as file:
        for batch in _transformed(file_patterns, transform):
            # Exact: the graph rounds to multiples of 1/255.
            pixels = np.rint(batch.pop(features.PIXELS) * 255.0).astype(np.uint8)
            file.write(pixels.tobytes())
            for name, values in batch.items():
                columns.setdefault(name, []).append(values)
    if not columns:
        raise ValueError(f"expected at least one example in {', '.join(file_patterns)}, got none")
    values = {name: np.concatenate(parts) for name, parts in columns.items()}
    shape = (len(values[features.LABEL_ID]), *pixels.shape[1:])
    return ImageSet(
        pixels=np.memmap(pixels_file, np.uint8, "r", shape=shape),
        label_ids=values[features.LABEL_ID],
        product_ids=np.unique(values[features.PRODUCT_ID], return_inverse=True)[1],
        table=RetrievalTable(
            picture=_text(values[features.CANONICAL_SHA256]),
            product_id=_text(values[features.PRODUCT_ID]),
            category=_text(values[features.LABEL]),
            domain=_text(values[features.DOMAIN]),
        ),
    )


def augmented_batches(
    images: ImageSet, settings: TrainingSettings, steps_per_epoch: int, first_step: tf.Variable
) -> tf.data.Dataset:
    """An endless stream of (pixels, {"embedding": product ids, "logits": label ids}).

    images: the training split.
    settings: batch size, augmentation, seed.
    steps_per_epoch: batches in an epoch.
    first_step: read when iteration begins, so that a restored run goes on where it stopped.
    """
    sampler = BalancedSampler(images.label_ids, images.product_ids, settings.batch_size, settings.seed)

    def batches() -> Iterator[tuple]:
        step = int(first_step.numpy())
        while True:
            for rows in sampler.epoch(step // steps_per_epoch, steps_per_epoch):
                yield images.pixels[rows], images.product_ids[rows], images.label_ids[rows], (settings.seed, step)
                step += 1

    def prepare(pixels: tf.Tensor, product_ids: tf.Tensor, label_ids: tf.Tensor, seed: tf.Tensor) -> tuple:
        return augment(pixels, seed, settings), {"embedding": product_ids, "logits": label_ids}

    batch = settings.batch_size
    signature = (
        tf.TensorSpec((batch, *images.pixels.shape[1:]), tf.uint8),
        tf.TensorSpec((batch,), tf.int64),
        tf.TensorSpec((batch,), tf.int64),
        tf.TensorSpec((2,), tf.int64),
    )
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return dataset.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _transformed(file_patterns: Sequence[str], transform: tft.TFTransformOutput) -> Iterator[dict]:
    """Transformed features of one batch after another, by name."""
    layer = transform.transform_features_layer()
    raw_spec = transform.raw_feature_spec()
    files = sorted(tf.io.gfile.glob(list(file_patterns)))
    records = tf.data.TFRecordDataset(tf.constant(files, tf.string)).batch(DECODE_BATCH)
    batches = records.map(
        lambda serialized: layer(tf.io.parse_example(serialized, raw_spec)), num_parallel_calls=tf.data.AUTOTUNE
    )
    return batches.as_numpy_iterator()


def _text(values: npt.NDArray) -> list[str]:
    return [value.decode() for value in values]
