"""Tells before the training whether a catalogue can be learnt from and measured, and stops a run that could not."""

import json
from collections.abc import Iterable, Iterator

import apache_beam as beam
from tfx import v1 as tfx
from tfx.types import artifact_utils

from components import artifacts
from components.component import component
from components.tf_examples import ReadExamples, decode
from components.verdict import StageVerdict
from lookalike.catalog.readiness import Count, Counted, NotReadyError, State, assess, count_product
from lookalike.storage.address import open_folder

_COUNTS = "counts.json"


@component(use_beam=True)
def Readiness(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    verdict: tfx.dsl.components.OutputArtifact[artifacts.VerdictArtifact],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Counts products by split and class.

    Raises NotReadyError: with the settings or the data that help.
    """
    with beam_pipeline as pipeline:
        shown = [
            pipeline
            | f"Read {split}" >> ReadExamples(examples.path(split=split))
            | f"Facts of {split}" >> beam.Map(_shown, split)
            for split in artifact_utils.decode_split_names(examples.split_names)
        ]
        _ = (
            shown
            | "All splits" >> beam.Flatten()
            | "By product" >> beam.Map(lambda one: (one.product, one))
            | "Products" >> beam.GroupByKey()
            | "Count" >> beam.FlatMap(_counts)
            | "Add" >> beam.CombinePerKey(_added)
            | "All counts" >> beam.combiners.ToList()
            | "Keep" >> beam.Map(_keep, verdict.uri)
        )
    counted = json.loads(open_folder(verdict.uri).read(_COUNTS))
    found = assess({(split, label): Count(*count) for split, label, count in counted})
    if found.state is State.STOP:
        raise NotReadyError("; ".join(found.stops))
    StageVerdict(True, found.warnings, found.to_document()).save(verdict.uri)


def _shown(serialized: bytes, split: str) -> Counted:
    image = decode(serialized)
    return Counted(split, image.label, image.category, image.product_id, asks=not image.seen_in)


def _counts(product: tuple[str, Iterable[Counted]]) -> Iterator[tuple[tuple[str, str], Count]]:
    yield from count_product(product[1]).items()


def _added(counts: Iterable[Count]) -> Count:
    total = Count()
    for count in counts:
        total = total.plus(count)
    return total


def _keep(counts: list[tuple[tuple[str, str], Count]], address: str) -> None:
    rows = [[split, label, list(count)] for (split, label), count in sorted(counts)]
    with open_folder(address).writing(_COUNTS) as path:
        path.write_text(json.dumps(rows))
