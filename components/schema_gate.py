"""Stops a run whose data do not look like the schema, or whose categories moved too far in one day."""

import json
import logging

import tensorflow_data_validation as tfdv
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2, statistics_pb2
from tfx import v1 as tfx
from tfx.types import artifact_utils

from components import artifacts
from components.component import component
from components.split_statistics import read_statistics
from lookalike.catalog.dead_letters import DataError
from lookalike.configs.settings import SchemaSettings
from lookalike.storage.address import open_folder
from transform import features

log = logging.getLogger(__name__)

ALL_EXAMPLES = "All Examples"  # TFDV's name of the slice that leaves nothing out
SPAN_SLICE = f"{features.SPAN}_"
ANOMALIES_FILE = "SchemaDiff.pb"


@component
def SchemaGate(
    statistics: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    schema: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Schema],
    anomalies: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ExampleAnomalies],
    settings: tfx.dsl.components.Parameter[str],
) -> None:
    """Validates every split.

    Raises DataError: naming split, feature and value of each anomaly that the settings do not only warn of.
    """
    policy = SchemaSettings(**json.loads(settings))
    expected = text_format.Parse(open_folder(schema.uri).read(artifacts.SCHEMA_FILE), schema_pb2.Schema())
    splits = artifact_utils.decode_split_names(statistics.split_names)
    anomalies.split_names = artifact_utils.encode_split_names(splits)
    stopping = []
    for split in splits:
        found = find_anomalies(
            read_statistics(statistics, split),
            expected,
            # Held-out splits of a day are too small for their shares to mean anything.
            max_label_drift=policy.max_label_drift if split == "train" else None,
        )
        _write(found, artifact_utils.get_split_uri([anomalies], split))
        stopping += describe(found, split, policy.warn_only)
    if stopping:
        raise DataError("the data do not match the schema: " + "; ".join(stopping))


def find_anomalies(
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    max_label_drift: float | None,
) -> anomalies_pb2.Anomalies:
    """TFDV's anomalies of all examples, and the drift of the labels from the last span but one to the last.

    statistics: of one split, sliced by span.
    schema: what is expected; the image is left out, for the statistics leave it out.
    max_label_drift: the largest L-infinity distance between the label shares of the two spans; None: not checked.
    """
    expected = schema_pb2.Schema()
    expected.CopyFrom(schema)
    for feature in [feature for feature in expected.feature if feature.name == features.IMAGE]:
        expected.feature.remove(feature)
    # TFDV cannot validate several slices at once.
    found = tfdv.validate_statistics(tfdv.get_slice_stats(statistics, ALL_EXAMPLES), expected)
    spans = sorted(dataset.name for dataset in statistics.datasets if dataset.name.startswith(SPAN_SLICE))
    if max_label_drift is not None and len(spans) > 1:
        label = tfdv.get_feature(expected, features.LABEL)
        label.drift_comparator.infinity_norm.threshold = max_label_drift
        before, last = (tfdv.get_slice_stats(statistics, span) for span in spans[-2:])
        drift = tfdv.validate_statistics(last, expected, previous_statistics=before)
        if features.LABEL in drift.anomaly_info:
            found.anomaly_info[features.LABEL].CopyFrom(drift.anomaly_info[features.LABEL])
    return found


def describe(anomalies: anomalies_pb2.Anomalies, split: str, warn_only: tuple[str, ...]) -> list[str]:
    """One text per anomaly that stops the run; the others are logged."""
    stopping = []
    for feature, info in sorted(anomalies.anomaly_info.items()):
        told = f"{split}: feature {feature!r}: {info.description.strip()}"
        if feature in warn_only:
            log.warning("%s", told)
        else:
            stopping.append(told)
    if anomalies.HasField("dataset_anomaly_info"):
        stopping.append(f"{split}: {anomalies.dataset_anomaly_info.description}")
    return stopping


def _write(anomalies: anomalies_pb2.Anomalies, directory: str) -> None:
    with open_folder(directory).writing(ANOMALIES_FILE) as path:
        path.write_bytes(anomalies.SerializeToString())
