"""One image as a tf.Example and back, and files of them: the only place that knows how a feature is packed."""

from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from lookalike.catalog.product import FIELDS, CatalogImage, Kind, Reach, from_columns, to_columns
from lookalike.storage.address import open_folder
from lookalike.storage.folder import Folder
from lookalike.storage.staging import fetched_file
from transform import features

_COLUMNS = tuple(to_columns(CatalogImage("any name"), Reach.EXAMPLES))
_LISTS = frozenset(one.name for one in FIELDS if one.kind is Kind.TEXTS)


def encode(image: CatalogImage) -> bytes:
    """The serialised tf.Example, picture included; the same bytes for the same image."""
    packed = {features.IMAGE: _bytes([image.jpeg])}
    for name, value in to_columns(image, Reach.EXAMPLES).items():
        packed |= _pack(name, value)
    example = tf.train.Example(features=tf.train.Features(feature=packed))
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes) -> CatalogImage:
    """The inverse of `encode`; a feature that is not there is an absent value, as in an example of an older version."""
    packed = tf.train.Example.FromString(serialized).features.feature
    prefix = features.ATTRIBUTE_PREFIX
    columns: dict[str, Any] = {name: _unpack(name, packed[name]) for name in _COLUMNS if name in packed}
    columns["attributes"] = {
        name.removeprefix(prefix): _text(packed[name])[0] for name in sorted(packed) if name.startswith(prefix)
    }
    return from_columns(columns, jpeg=packed[features.IMAGE].bytes_list.value[0])


def _pack(name: str, value: Any) -> dict[str, tf.train.Feature]:
    match value:
        case None:
            return {}
        case float():
            return {name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))}
        case str() | list():
            texts = [value] if isinstance(value, str) else value
            return {name: _bytes([text.encode() for text in texts])}
        case _:
            return {features.ATTRIBUTE_PREFIX + key: _bytes([text.encode()]) for key, text in value.items()}


def _unpack(name: str, feature: tf.train.Feature) -> Any:
    if feature.WhichOneof("kind") == "float_list":
        # A tf.Example keeps float32; the shortest text that means this very number is what an older source said.
        return float(str(np.float32(feature.float_list.value[0])))
    texts = _text(feature)
    return texts if name in _LISTS else texts[0]


def _text(feature: tf.train.Feature) -> list[str]:
    return [value.decode() for value in feature.bytes_list.value]


def _bytes(values: Iterable[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def write_records(folder: Folder, name: str, records: Iterable[bytes]) -> None:
    """Writes an uncompressed TFRecord file (JPEGs do not compress), whole or not at all."""
    with folder.writing(name) as path, tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def read_images(address: str) -> Iterator[CatalogImage]:
    """Every image of the files in a folder, in the order of their names."""
    for name in _file_names(address):
        yield from map(decode, _read_records(name, address))


class ReadExamples(beam.PTransform):
    """The serialised examples of a folder, wherever it lies; each file is read by one worker.

    Beam's own reader goes by Beam's file systems, which do not know every address.
    """

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection[bytes]:
        """Gives the records."""
        return (
            pipeline
            | "Address" >> beam.Create([self._address])
            | "Files" >> beam.FlatMap(_file_names)
            | "To all workers" >> beam.Reshuffle()
            | "Records" >> beam.FlatMap(_read_records, self._address).with_output_types(bytes)
        )


def _file_names(address: str) -> list[str]:
    return [file.name for file in open_folder(address).files()]


def _read_records(name: str, address: str) -> Iterator[bytes]:
    with fetched_file(open_folder(address), name) as path:
        yield from tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
