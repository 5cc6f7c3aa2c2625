"""TFDV's statistics of one split, as a file at any address."""

from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx import v1 as tfx
from tfx.types import artifact_utils

from lookalike.storage.address import open_folder

_FILE = "FeatureStats.pb"  # as TFX's own StatisticsGen names it


def read_statistics(
    statistics: tfx.types.standard_artifacts.ExampleStatistics, split: str
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """What `write_statistics` has written."""
    content = open_folder(artifact_utils.get_split_uri([statistics], split)).read(_FILE)
    return statistics_pb2.DatasetFeatureStatisticsList.FromString(content)


def write_statistics(found: statistics_pb2.DatasetFeatureStatisticsList, address: str) -> None:
    """Writes the file of the split that lies at the address."""
    with open_folder(address).writing(_FILE) as path:
        path.write_bytes(found.SerializeToString())
