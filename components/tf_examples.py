"""One image as a tf.Example and back: the only place that knows how a feature is packed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from lookalike.catalog.product import CatalogImage
from transform import features


@dataclass(frozen=True)
class StoredImage:
    """An image as the pipeline keeps it.

    Attributes:
      jpeg: the canonical image.
      label: the category when it is a leaf of the taxonomy, else ''.
      sha256: hex, of the original file.
      attributes: name to value; missing values are absent.
    """

    image_id: str
    product_id: str
    jpeg: bytes
    category: str
    label: str
    domain: str
    span: str
    title: str
    price: float | None
    gender: str
    sha256: str
    attributes: Mapping[str, str]

    @classmethod
    def of(cls, image: CatalogImage, jpeg: bytes, sha256: str, label: str) -> "StoredImage":
        """Joins what the source said of an image with what ingest found out."""
        return cls(
            image_id=image.image_id,
            product_id=image.product_id,
            jpeg=jpeg,
            category=image.category,
            label=label,
            domain=image.domain,
            span=image.span,
            title=image.title,
            price=image.price,
            gender=image.gender,
            sha256=sha256,
            attributes=image.attributes,
        )


_TEXTS = (
    features.IMAGE_ID,
    features.PRODUCT_ID,
    features.CATEGORY,
    features.LABEL,
    features.DOMAIN,
    features.SPAN,
    features.TITLE,
    features.GENDER,
    features.SHA256,
)


def encode(image: StoredImage) -> bytes:
    """The serialised tf.Example, the same bytes for the same image."""
    columns = {features.IMAGE: _bytes(image.jpeg)}
    columns |= {name: _bytes(getattr(image, name).encode()) for name in _TEXTS}
    columns |= {features.ATTRIBUTE_PREFIX + name: _bytes(value.encode()) for name, value in image.attributes.items()}
    if image.price is not None:
        columns[features.PRICE] = tf.train.Feature(float_list=tf.train.FloatList(value=[image.price]))
    example = tf.train.Example(features=tf.train.Features(feature=columns))
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes) -> StoredImage:
    """The inverse of `encode`, for prices of up to seven digits."""
    columns = tf.train.Example.FromString(serialized).features.feature
    price = columns[features.PRICE].float_list.value if features.PRICE in columns else ()
    prefix = features.ATTRIBUTE_PREFIX
    return StoredImage(
        jpeg=_value(columns[features.IMAGE]),
        # A tf.Example keeps float32; the shortest text that means this very number is what the source said.
        price=float(str(np.float32(price[0]))) if price else None,
        attributes={
            name.removeprefix(prefix): _value(columns[name]).decode()
            for name in sorted(columns)
            if name.startswith(prefix)
        },
        **{name: _value(columns[name]).decode() for name in _TEXTS},
    )


def write_records(path: str, records: Iterable[bytes]) -> None:
    """Writes an uncompressed TFRecord file (JPEGs do not compress), whole or not at all."""
    partial = f"{path}.partial"
    with tf.io.TFRecordWriter(partial) as writer:
        for record in records:
            writer.write(record)
    tf.io.gfile.rename(partial, path, overwrite=True)


def read_images(file_pattern: str) -> Iterable[StoredImage]:
    """Every image of the files, in the order of their names."""
    files = sorted(tf.io.gfile.glob(file_pattern))
    for record in tf.data.TFRecordDataset(files).as_numpy_iterator():
        yield decode(record)


def _bytes(value: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))


def _value(feature: tf.train.Feature) -> bytes:
    return feature.bytes_list.value[0]
