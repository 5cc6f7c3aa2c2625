"""The committed schema, extended by the attribute columns that the source has today."""

from collections.abc import Iterable
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2
from tfx import v1 as tfx
from tfx.types import artifact_utils

from components import artifacts
from components.component import component
from components.split_statistics import read_statistics
from lookalike.catalog.product import CatalogImage, Reach, to_columns
from lookalike.storage.address import open_folder
from transform import features

FACTS = tuple(to_columns(CatalogImage("any name"), Reach.EXAMPLES))
COMMITTED_SCHEMA = Path(features.__file__).with_suffix(".pbtxt")


@component
def CatalogSchemaGen(
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    schema: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Schema],
) -> None:
    """Writes schema.pbtxt."""
    committed = text_format.Parse(COMMITTED_SCHEMA.read_text(), schema_pb2.Schema())
    # Of every split: a rare attribute may be stated for held-out products alone.
    splits = artifact_utils.decode_split_names(statistics.split_names)
    found = [read_statistics(statistics, split) for split in splits]
    with open_folder(schema.uri).writing(artifacts.SCHEMA_FILE) as path:
        path.write_text(text_format.MessageToString(extend_schema(committed, found)))


def extend_schema(
    committed: schema_pb2.Schema, statistics: Iterable[statistics_pb2.DatasetFeatureStatisticsList]
) -> schema_pb2.Schema:
    """The committed schema plus the record's other facts and one text feature per `attr:` column, all optional.

    Columns that are neither stay unknown to it.

    committed: what every catalogue has.
    statistics: of each split.
    """
    extended = schema_pb2.Schema()
    extended.CopyFrom(committed)
    columns = {
        feature.path.step[0] for split in statistics for dataset in split.datasets for feature in dataset.features
    }
    committed_names = {feature.name for feature in committed.feature}
    facts = [name for name in FACTS if name in columns - committed_names]
    attributes = sorted(column for column in columns if column.startswith(features.ATTRIBUTE_PREFIX))
    for name in facts:
        extended.feature.add(name=name, type=schema_pb2.BYTES)
    for name in attributes:
        extended.feature.add(name=name, type=schema_pb2.BYTES).value_count.max = 1
    return extended
