"""Ingest: a catalogue source becomes checked, canonical, split examples; what cannot be used is told apart."""

import hashlib
import json
import logging
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.pvalue import AsSingleton, TaggedOutput
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import artifacts
from components.component import component
from components.tf_examples import encode, write_records
from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason, check_dead_letter_thresholds
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.images import LOW_INFO, CanonicalImage, ImageRejected, read_original, recipe
from lookalike.catalog.placement import DecodedImage, PlacedCatalog, Placement, place
from lookalike.catalog.product import SPLITS, CatalogImage
from lookalike.catalog.sources import open_source
from lookalike.catalog.taxonomy import Taxonomy
from lookalike.configs.settings import IngestSettings
from lookalike.storage.address import open_folder

log = logging.getLogger(__name__)

IMAGES_PER_SHARD = 1000
DEAD_LETTERS_FILE = "dead_letters.jsonl"
QUARANTINE = "quarantine"


@component(use_beam=True)
def ImageExampleGen(
    examples: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples],
    taxonomy: tfx.dsl.components.OutputArtifact[artifacts.Taxonomy],
    source: tfx.dsl.components.Parameter[str],
    fingerprint: tfx.dsl.components.Parameter[str],
    settings: tfx.dsl.components.Parameter[str],
    dead_letter_root: tfx.dsl.components.Parameter[str],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Reads `source`; `fingerprint` is there for the cache key alone.

    Raises DataError: when categories look alike, too much is unusable, or a split that training needs is empty. Dead
    letters are written first, to `<dead_letter_root>/<fingerprint>`, with the originals in `quarantine/<sha256>`.
    """
    limits = IngestSettings(**json.loads(settings))
    catalog = open_source(source, window_spans=limits.window_spans)
    _check_rows(catalog.rows)
    dead_letters = f"{dead_letter_root}/{fingerprint[:16]}"
    fileio.makedirs(dead_letters)
    with beam_pipeline as pipeline:
        _ingest(pipeline, catalog.rows, catalog.dead, limits, examples.uri, taxonomy.uri, dead_letters)
    dead = _read_dead_letters(f"{dead_letters}/{DEAD_LETTERS_FILE}")
    totals = Counter(row.category for row in catalog.rows) + Counter(letter.category for letter in catalog.dead)
    check_dead_letter_thresholds(
        totals, dead, max_ratio=limits.max_dead_ratio, max_category_ratio=limits.max_category_dead_ratio
    )
    splits = _splits(examples.uri)
    examples.split_names = artifact_utils.encode_split_names(splits)
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples.set_int_custom_property(artifacts.LONGEST_SIDE, limits.longest_side_px)
    examples.set_string_custom_property("spans", ",".join(catalog.spans))
    examples.set_string_custom_property("dead_letters", json.dumps(Counter(letter.reason.value for letter in dead)))


def _check_rows(rows: Sequence[CatalogImage]) -> None:
    if not any(row.domain == "catalog" for row in rows):
        raise DataError(f"expected images of the domain catalog to find, got {len(rows)} wild ones alone")
    try:
        Taxonomy.from_categories(category for row in rows for category in row.categories)
    except ValueError as error:
        raise DataError(str(error)) from error


def _ingest(
    pipeline: beam.Pipeline,
    rows: list[CatalogImage],
    dead_rows: list[DeadLetter],
    limits: IngestSettings,
    examples_uri: str,
    taxonomy_uri: str,
    dead_letters: str,
) -> None:
    num_shards = -(-len(rows) // IMAGES_PER_SHARD)
    decoded = (
        pipeline
        | "Rows" >> beam.Create(rows)
        | "Spread" >> beam.Reshuffle()
        | "Decode" >> beam.ParDo(_Decode(limits.longest_side_px)).with_outputs("dead", main="images")
    )
    placements = (
        decoded.images | "Facts" >> beam.Map(_facts) | "All facts" >> beam.combiners.ToList() | beam.Map(_place, limits)
    )
    placed = decoded.images | "Place" >> beam.ParDo(_Place(), AsSingleton(placements)).with_outputs(
        "dead", main="images"
    )
    shards = (
        placed.images | "Shard" >> beam.Map(_with_shard, num_shards) | "By shard" >> beam.GroupByKey()
    )  # so that files are sorted, and a rerun writes the same bytes
    shards | "Write examples" >> beam.Map(_write_shard, examples_uri, num_shards)
    (
        placed.images
        | "Categories" >> beam.Map(lambda placed: placed[1].category)
        | "Distinct" >> beam.Distinct()
        | "All categories" >> beam.combiners.ToList()
        | "Write taxonomy" >> beam.Map(_write_taxonomy, f"{taxonomy_uri}/{artifacts.TAXONOMY_FILE}")
    )
    unusable = (
        (decoded.dead, placed.dead)
        | "Unusable" >> beam.Flatten()
        | "Quarantine" >> beam.Map(_quarantine, f"{dead_letters}/{QUARANTINE}")
    )
    (
        (unusable, pipeline | "Dead rows" >> beam.Create(dead_rows))
        | "Dead" >> beam.Flatten()
        | "All dead" >> beam.combiners.ToList()
        | "Write dead letters" >> beam.Map(_write_dead_letters, f"{dead_letters}/{DEAD_LETTERS_FILE}")
    )


class _Decode(beam.DoFn):
    """CatalogImage → the image with what its original tells, and its CanonicalImage; or a dead letter."""

    def __init__(self, longest_side_px: int) -> None:
        self._longest_side_px = longest_side_px

    def setup(self) -> None:
        self._decoder = GuardedDecoder()
        self._decoder.__enter__()

    def teardown(self) -> None:
        self._decoder.__exit__(None, None, None)

    def process(self, image: CatalogImage) -> Iterator[Any]:
        try:
            original = read_original(image.uri, sha256=image.sha256)
            canonical = self._decoder.canonicalise(original, longest_side_px=self._longest_side_px, crop=image.crop)
        except ImageRejected as rejected:
            yield TaggedOutput("dead", DeadLetter.of(image, rejected.reason, rejected.detail))
        else:
            read = replace(
                image,
                sha256=hashlib.sha256(original).hexdigest(),
                canonical_sha256=hashlib.sha256(canonical.jpeg).hexdigest(),
                canonical_recipe=recipe(self._longest_side_px),
            )
            yield read, canonical


def _facts(decoded: tuple[CatalogImage, CanonicalImage]) -> DecodedImage:
    image, canonical = decoded
    return DecodedImage(image, canonical.perceptual_hash, LOW_INFO in canonical.flags)


def _place(facts: list[DecodedImage], limits: IngestSettings) -> PlacedCatalog:
    placed = place(
        facts,
        near_duplicate_distance=limits.near_duplicate_distance,
        eval_fraction=limits.eval_fraction,
        test_fraction=limits.test_fraction,
        seed=limits.seed,
    )
    if placed.pairs_across_splits:
        log.warning(
            "%d near-duplicate pairs lie across splits; their queries are not measured", placed.pairs_across_splits
        )
    return placed


class _Place(beam.DoFn):
    """A decoded image → (split, CatalogImage with its picture), or a dead letter."""

    def process(self, decoded: tuple[CatalogImage, CanonicalImage], catalog: PlacedCatalog) -> Iterator[Any]:
        image, canonical = decoded
        outcome = catalog.outcomes[image.stated_as]
        if isinstance(outcome, Placement):
            placed = replace(image, label=outcome.label, seen_in=outcome.seen_in, jpeg=canonical.jpeg)
            yield outcome.split, placed
        else:
            yield TaggedOutput("dead", DeadLetter.of(image, outcome.reason, outcome.detail))


def _with_shard(placed: tuple[str, CatalogImage], num_shards: int) -> tuple[tuple[str, int], tuple[str, str, bytes]]:
    split, image = placed
    shard = int.from_bytes(hashlib.sha256(image.image_id.encode()).digest()[:8], "big") % num_shards
    return (split, shard), (image.image_id, image.key, encode(image))


def _write_shard(
    shard: tuple[tuple[str, int], Iterable[tuple[str, str, bytes]]], examples_uri: str, num_shards: int
) -> None:
    (split, number), images = shard
    write_records(
        open_folder(f"{examples_uri}/{artifacts.SPLIT_PREFIX}{split}"),
        f"images-{number:05d}-of-{num_shards:05d}.tfrecord",
        (record for _, _, record in sorted(images)),
    )


def _write_taxonomy(categories: list[str], path: str) -> None:
    _write(path, Taxonomy.from_categories(categories).to_json().encode())


def _quarantine(letter: DeadLetter, directory: str) -> DeadLetter:
    """Keeps the original under its sha256 for those who mend it; the dead letter learns what the file really is."""
    if letter.reason is Reason.DUPLICATE_IMAGE:  # there is nothing to mend
        return letter
    try:
        original = read_original(letter.uri)
    except ImageRejected:  # gone, or too large to keep
        return letter
    sha256 = hashlib.sha256(original).hexdigest()
    _write(f"{directory}/{sha256}", original)
    return replace(letter, sha256=sha256)


def _write_dead_letters(dead: list[DeadLetter], path: str) -> None:
    known = {_fault(letter): letter.first_seen for letter in _read_dead_letters(path)}
    letters = [replace(letter, first_seen=known.get(_fault(letter), letter.first_seen)) for letter in dead]
    _write(path, "".join(letter.to_json() + "\n" for letter in sorted(letters, key=_fault)).encode())


def _read_dead_letters(path: str) -> list[DeadLetter]:
    if not fileio.exists(path):
        return []
    try:
        with fileio.open(path) as file:
            return [DeadLetter.from_json(line) for line in file.read().splitlines()]
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{path} must hold what an earlier run set aside, it is damaged; delete it: only since when each image has "
            "been set aside is lost"
        ) from error


def _fault(letter: DeadLetter) -> tuple[str, ...]:
    """What makes two dead letters the same one, seen twice."""
    return letter.image_id, letter.product_id, letter.span, letter.reason.value, letter.sha256


def _write(path: str, content: bytes) -> None:
    """Writes a whole file: beside its place first, then renamed."""
    fileio.makedirs(path.rpartition("/")[0])
    # One broken file often comes under many names, and then many workers write it at once.
    partial = f"{path}.{uuid.uuid4().hex}.partial"
    with FileSystems.create(partial) as file:
        file.write(content)
    fileio.rename(partial, path, overwrite=True)


def _splits(examples_uri: str) -> list[str]:
    found = sorted(name.rstrip("/").removeprefix(artifacts.SPLIT_PREFIX) for name in fileio.listdir(examples_uri))
    for needed in SPLITS:
        if needed not in found:
            raise DataError(
                f"expected at least one product in the split {needed!r}, got none; add products, raise "
                "ingest.eval_fraction and ingest.test_fraction, or state splits in the manifest"
            )
    return found
