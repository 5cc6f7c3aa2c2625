"""TFDV statistics of every feature but the image bytes, of all days together and of each day apart.

TFX's StatisticsGen takes a list of features to keep; here the attributes are the source's own, so the one feature to
drop is named instead.
"""

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.utils.slicing_util import get_feature_value_slicer
from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx_bsl.public import tfxio

from components.component import component
from components.split_statistics import write_statistics
from components.tf_examples import ReadExamples
from transform import features

TO_COLUMNS = tfxio.TFExampleBeamRecord(physical_format="tfrecord", telemetry_descriptors=["lookalike"])
BY_SPAN = get_feature_value_slicer({"span": None})  # TFDV names these slices span_<value>


@component(use_beam=True)
def CatalogStatisticsGen(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    statistics: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ExampleStatistics],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes one FeatureStats.pb a split."""
    splits = artifact_utils.decode_split_names(examples.split_names)
    statistics.split_names = artifact_utils.encode_split_names(splits)
    options = tfdv.StatsOptions(experimental_slice_functions=[BY_SPAN])
    with beam_pipeline as pipeline:
        for split in splits:
            _ = (
                pipeline
                | f"Read {split}" >> ReadExamples(examples.path(split=split))
                | f"To columns {split}" >> TO_COLUMNS.BeamSource()
                | f"Drop image bytes {split}" >> beam.Map(_without_image)
                | f"Statistics {split}" >> tfdv.GenerateStatistics(options)
                | f"Write {split}" >> beam.Map(write_statistics, artifact_utils.get_split_uri([statistics], split))
            )


def _without_image(batch: pa.RecordBatch) -> pa.RecordBatch:
    kept = [name for name in batch.schema.names if name != features.IMAGE]
    return pa.RecordBatch.from_arrays([batch.column(batch.schema.get_field_index(name)) for name in kept], kept)
