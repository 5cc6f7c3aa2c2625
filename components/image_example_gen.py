"""Ingest: a catalogue source becomes checked, canonical, split examples; what cannot be used is told apart.

Pictures lie in files from the worker that decodes them on; between the steps go facts alone, and no worker has all.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import chain
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import AsDict, AsIter, AsSingleton, TaggedOutput
from tfx import v1 as tfx
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components import artifacts
from components.canonical_shards import CanonicalShards, read_picture
from components.component import component
from components.dead_letter_files import (
    DEAD_LETTERS_FILE,
    WriteDeadLetters,
    merge_dead_letters,
    quarantine,
    read_dead_letters,
)
from components.large_buffers import returned_at_once
from components.packed_records import Decoded, Placed, packed, unpacked
from components.product_ties import in_groups
from components.tf_examples import encode, write_records
from lookalike.catalog.account import Account, Kept, account_of, accounted
from lookalike.catalog.dead_letters import DataError, DeadLetter, check_dead_letter_thresholds
from lookalike.catalog.fingerprints import content_sha256, letter_digest, row_digest, sum_of_digests
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.images import LOW_INFO, recipe
from lookalike.catalog.notes import Note, Notes
from lookalike.catalog.notes import merged as merged_notes
from lookalike.catalog.originals import ImageRejected, read_original
from lookalike.catalog.placement import DecodedImage, Placement, place
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.rows import in_categories
from lookalike.catalog.shared_pictures import SAYS_NOTHING
from lookalike.catalog.sources import Part, kept_in, merge_product, parts_of, read_part
from lookalike.catalog.splits import SplitRule
from lookalike.catalog.taxonomy import Taxonomy
from lookalike.configs.settings import IngestSettings
from lookalike.storage.address import open_folder
from lookalike.storage.folder import joined

IMAGES_PER_SHARD = 1000
NEAR_ACROSS = "near-duplicate pictures lie across splits, and their queries are not measured"

WORK = "work"
"""Below the examples while they are made: what one step leaves for another, gone in the end."""
_CANONICAL, _CARRIED, _DEAD, _REFUSAL = "canonical", "carried", "dead", "refusal"
_TALLY, _FINGERPRINT, _KEPT, _NOTES = "tally.json", "fingerprint", "kept.json", "notes.json"


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
    """Reads `source`, whose content is that of `fingerprint`.

    Raises DataError: when categories look alike, too much is unusable, or the source is not as it was when its
    fingerprint was taken. Dead letters are written first, below `dead_letter_root` to
    a folder of the fingerprint's first digits, with the originals in `quarantine/<sha256>`.
    """
    limits = IngestSettings(**json.loads(settings))
    parts = parts_of(source, limits.window_spans)
    dead_letters = joined(dead_letter_root, fingerprint[:16])
    with _working(examples.uri) as work:
        with _typed_refusals(work), returned_at_once(), beam_pipeline as pipeline:
            _ingest(pipeline, parts, limits, examples.uri, taxonomy.uri, dead_letters)
        left = open_folder(work)
        if left.read(_FINGERPRINT).decode() != fingerprint:
            raise DataError(f"a source must stay as it is while it is read, {source} has changed: run again")
        account = _account(work, dead_letters)
        with accounted(lambda: account):
            check_dead_letter_thresholds(
                json.loads(left.read(_TALLY)),
                read_dead_letters(dead_letters),
                max_ratio=limits.max_dead_ratio,
                max_category_ratio=limits.max_category_dead_ratio,
            )
    examples.split_names = artifact_utils.encode_split_names(_splits(examples.uri))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples.set_int_custom_property(artifacts.LONGEST_SIDE, limits.longest_side_px)
    examples.set_string_custom_property("spans", ",".join(part.span for part in parts if part.span))
    examples.set_string_custom_property(artifacts.ACCOUNT, json.dumps(account.to_document(), ensure_ascii=False))


def _account(work: str, dead_letters: str) -> Account:
    left = open_folder(work)
    counted = json.loads(left.read(_KEPT)) if _KEPT in left.children() else {}
    notes = Notes.from_document(json.loads(left.read(_NOTES)))
    details = joined(dead_letters, DEAD_LETTERS_FILE)
    return account_of(Kept(**counted), read_dead_letters(dead_letters), notes, details)


@contextmanager
def _working(examples_uri: str) -> Iterator[str]:
    """The address of what is needed while examples are made; it is gone in the end, however that comes."""
    try:
        yield joined(examples_uri, WORK)
    finally:
        open_folder(examples_uri).remove(WORK)


@contextmanager
def _typed_refusals(work: str) -> Iterator[None]:
    """Raises what `_refusing` left: of an error in a worker, Beam hands on words alone."""
    try:
        yield
    except Exception:
        if _REFUSAL in open_folder(work).children():
            raise DataError(open_folder(work).read(_REFUSAL).decode()) from None
        raise


@contextmanager
def _refusing(work: str) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        _write(work, _REFUSAL, str(error).encode())
        raise


def _ingest(
    pipeline: beam.Pipeline,
    parts: list[Part],
    limits: IngestSettings,
    examples_uri: str,
    taxonomy_uri: str,
    dead_letters: str,
) -> None:
    work = joined(examples_uri, WORK)
    canonical = joined(work, _CANONICAL)
    read = (
        pipeline
        | "Parts" >> beam.Create(parts)
        | "Read rows" >> beam.FlatMap(_read_rows, work, limits).with_outputs("dead", "notes", main="rows")
    )
    merged = (
        read.rows
        | "By product" >> beam.GroupByKey()
        | "Merge rows"
        >> beam.FlatMap(_merge_rows, parts[-1].span).with_outputs("dead", "notes", "counted", main="rows")
    )
    dead_rows = (read.dead, merged.dead) | "Dead rows" >> beam.Flatten()
    tally = (
        (merged.counted, dead_rows | "Count dead rows" >> beam.Map(lambda letter: ("category", letter.category)))
        | "All rows" >> beam.Flatten()
        | "Tally" >> beam.CombineGlobally(_Tally()).without_defaults()
        | "Check rows" >> beam.Map(_check_rows, work)
    )
    decoded = merged.rows | "Decode" >> beam.ParDo(
        _Decode(limits.longest_side_px, canonical), AsSingleton(tally)
    ).with_outputs("dead", "digests", main="products")
    tied = in_groups(decoded.products, limits)
    placed = tied.groups | "Place" >> beam.FlatMap(
        _place, AsSingleton(tally), limits, AsIter(tied.shared), AsDict(tied.rules)
    ).with_outputs("dead", "notes", "kept", "categories", main="images")
    taxonomy = (
        placed.categories
        | "Distinct" >> beam.Distinct()
        | "All categories" >> beam.combiners.ToList()
        | "Taxonomy" >> beam.Map(_write_taxonomy, taxonomy_uri)
    )
    _ = (
        placed.kept
        | "All kept" >> beam.CombineGlobally(_added).without_defaults()
        | "Kept" >> beam.Map(_write_kept, AsSingleton(taxonomy), work)
    )
    _ = (
        (read.notes, merged.notes, placed.notes)
        | "Notes" >> beam.Flatten()
        | "All notes" >> beam.CombineGlobally(merged_notes).without_defaults()
        | "Keep notes" >> beam.Map(lambda notes: _write(work, _NOTES, json.dumps(notes.to_document()).encode()))
    )
    _ = (
        placed.images
        | "By shard" >> beam.GroupByKey()  # so that files are sorted, and a rerun writes the same bytes
        | "Write examples" >> beam.Map(_write_shard, examples_uri, canonical)
    )
    unusable = (
        (decoded.dead, placed.dead) | "Unusable" >> beam.Flatten() | "Quarantine" >> beam.Map(quarantine, dead_letters)
    )
    _ = (
        (unusable, dead_rows)
        | "Dead" >> beam.Flatten()
        | "Write dead letters" >> beam.ParDo(WriteDeadLetters(joined(work, _DEAD)))
        | "All dead" >> beam.combiners.ToList()
        | "Merge dead letters" >> beam.Map(_merge_dead_letters, work, dead_letters)
    )
    _ = (
        (decoded.digests, dead_rows | "Digests" >> beam.Map(letter_digest))
        | "All digests" >> beam.Flatten()
        | "Sum" >> beam.CombineGlobally(sum_of_digests).without_defaults()
        | "Keep fingerprint" >> beam.Map(lambda found: _write(work, _FINGERPRINT, found.encode()))
    )


def _read_rows(part: Part, work: str, settings: IngestSettings) -> Iterator[Any]:
    """Rows by product with their place in time, dead letters, and notes."""
    notes = Notes()
    with _refusing(work):
        for number, found in enumerate(read_part(part, settings, kept_in(joined(work, _CARRIED)))):
            match found:
                case DeadLetter():
                    yield TaggedOutput("dead", found)
                case Note():
                    notes.add(found)
                case _:
                    yield found.product_id, packed((part.span, number, found))
    yield TaggedOutput("notes", notes)


def _merge_rows(product: tuple[str, Iterable[bytes]], last_span: str) -> Iterator[Any]:
    oldest_first = sorted(map(unpacked, product[1]), key=lambda stated: stated[:2])
    rows, told = merge_product([row for _, _, row in oldest_first], last_span)
    yield packed(rows)
    for row in rows:
        yield TaggedOutput("counted", ("category", row.category))
        yield TaggedOutput("counted", ("domain", row.domain))
        for category in row.categories:
            yield TaggedOutput("counted", ("listed", category))
    for one in told:
        if isinstance(one, Note):
            notes = Notes()
            notes.add(one)
            yield TaggedOutput("notes", notes)
        else:
            yield TaggedOutput("dead", one)


class _Tally(beam.CombineFn):
    """Counts rows by `category` (those that could not be used, too) and by `domain`, and all categories `listed`."""

    def create_accumulator(self) -> Counter[tuple[str, str]]:
        return Counter()

    def add_input(self, tally: Counter[tuple[str, str]], counted: tuple[str, str]) -> Counter[tuple[str, str]]:
        tally[counted] += 1
        return tally

    def merge_accumulators(self, tallies: Iterable[Counter[tuple[str, str]]]) -> Counter[tuple[str, str]]:
        return sum(tallies, Counter())

    def extract_output(self, tally: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
        kinds: dict[str, dict[str, int]] = {"category": {}, "domain": {}, "listed": {}}
        for (kind, name), count in tally.items():
            kinds[kind][name] = count
        return kinds


def _check_rows(tally: Mapping[str, Mapping[str, int]], work: str) -> Mapping[str, Mapping[str, int]]:
    """What can be told before the first picture is decoded. Raises DataError."""
    with _refusing(work):
        if "catalog" not in tally["domain"]:
            num_wild = sum(tally["domain"].values())
            raise DataError(f"expected images of the domain catalog to find, got {num_wild} wild ones alone")
        try:
            Taxonomy.from_categories(tally["listed"])
        except ValueError as error:
            raise DataError(str(error)) from error
    _write(work, _TALLY, json.dumps(tally["category"]).encode())
    return tally


class _Decode(beam.DoFn):
    """The images of a product → those that can be used, their pictures being written; dead letters of the others.

    Beside them goes what a fingerprint adds up. The tally is not used: it comes once the rows are checked, and nothing
    is decoded before.
    """

    def __init__(self, longest_side_px: int, canonical: str) -> None:
        self._longest_side_px = longest_side_px
        self._canonical = canonical

    def setup(self) -> None:
        self._decoder = GuardedDecoder()
        self._decoder.__enter__()

    def teardown(self) -> None:
        self._decoder.__exit__(None, None, None)

    def start_bundle(self) -> None:
        self._shards = CanonicalShards(self._canonical)

    def finish_bundle(self) -> None:
        self._shards.close()

    def process(self, data: bytes, tally: object) -> Iterator[Any]:  # noqa: ARG002
        usable: list[Decoded] = []
        for image in unpacked(data):
            try:
                usable.append(decoded := self._decode(image))
                yield TaggedOutput("digests", row_digest(image, decoded.facts.image.sha256))
            except ImageRejected as rejected:
                yield TaggedOutput("digests", row_digest(image, image.sha256 or content_sha256(image.uri)))
                yield TaggedOutput("dead", DeadLetter.of(image, rejected.reason, rejected.detail))
        if usable:
            yield usable

    def _decode(self, image: CatalogImage) -> Decoded:
        original = read_original(image.uri, sha256=image.sha256)
        canonical = self._decoder.canonicalise(original, longest_side_px=self._longest_side_px, crop=image.crop)
        read = replace(
            image,
            sha256=hashlib.sha256(original).hexdigest(),
            canonical_sha256=hashlib.sha256(canonical.jpeg).hexdigest(),
            canonical_recipe=recipe(self._longest_side_px),
        )
        facts = DecodedImage(read, canonical.perceptual_hash, LOW_INFO in canonical.flags)
        return Decoded(facts, self._shards.add(canonical.jpeg, read.canonical_sha256))


def _place(
    group: Iterable[bytes],
    tally: Mapping[str, Mapping[str, int]],
    limits: IngestSettings,
    shared: Iterable[int],
    rules: Mapping[str, SplitRule],
) -> Iterator[Any]:
    num_shards = -(-sum(tally["domain"].values()) // IMAGES_PER_SHARD)
    images: list[Decoded] = list(chain.from_iterable(map(unpacked, group)))
    placed = place(
        [one.facts for one in images],
        near_duplicate_distance=limits.near_duplicate_distance,
        eval_fraction=limits.eval_fraction,
        test_fraction=limits.test_fraction,
        seed=limits.seed,
        shared=(without := frozenset(shared)),
        rules=rules,
    )
    notes = (
        Notes({NEAR_ACROSS: placed.pairs_across_splits}, {NEAR_ACROSS: []}) if placed.pairs_across_splits else Notes()
    )
    products: Counter[str] = Counter()
    for facts, at in images:
        outcome = placed.outcomes[facts.image.stated_as]
        if isinstance(outcome, Placement):
            image = in_categories(facts.image, outcome.categories)
            products[image.product_id] += 1
            if facts.perceptual_hash in without and not facts.low_info:
                notes.add(Note(SAYS_NOTHING, image.image_id))
            yield TaggedOutput("categories", image.category)
            yield _shard(image, outcome.split, num_shards), packed(Placed(image, at, outcome))
        else:
            yield TaggedOutput("dead", DeadLetter.of(facts.image, outcome.reason, outcome.detail))
    yield TaggedOutput("kept", (products.total(), len(products)))
    if notes.counts:
        yield TaggedOutput("notes", notes)


def _shard(image: CatalogImage, split: str, num_shards: int) -> str:
    """The file that an image goes to: of its split, and by its name alone."""
    number = int.from_bytes(hashlib.sha256(image.image_id.encode()).digest()[:8], "big") % num_shards
    return f"{artifacts.SPLIT_PREFIX}{split}/images-{number:05d}-of-{num_shards:05d}.tfrecord"


def _added(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    images, products = zip(*counts, strict=True) if (counts := list(counts)) else ((), ())
    return sum(images), sum(products)


def _write_kept(counted: tuple[int, int], taxonomy: Taxonomy, work: str) -> None:
    images, products = counted
    kept = Kept(images, products, len(taxonomy.categories))
    _write(work, _KEPT, json.dumps(asdict(kept)).encode())


def _write_taxonomy(categories: list[str], taxonomy_uri: str) -> Taxonomy:
    taxonomy = Taxonomy.from_categories(categories)
    _write(taxonomy_uri, artifacts.TAXONOMY_FILE, taxonomy.to_json().encode())
    return taxonomy


def _write_shard(shard: tuple[str, Iterable[bytes]], examples_uri: str, canonical: str) -> None:
    name, images = shard
    placed: list[Placed] = sorted(map(unpacked, images), key=lambda one: (one.image.image_id, one.image.key))
    write_records(open_folder(examples_uri), name, (encode(_example(one, canonical)) for one in placed))


def _example(placed: Placed, canonical: str) -> CatalogImage:
    goes = placed.placement
    return replace(placed.image, label=goes.label, seen_in=goes.seen_in, jpeg=read_picture(canonical, placed.at))


def _merge_dead_letters(written: list[str], work: str, dead_letters: str) -> None:
    with _refusing(work):
        merge_dead_letters(written, joined(work, _DEAD), dead_letters)


def _write(address: str, name: str, content: bytes) -> None:
    with open_folder(address).writing(name) as path:
        path.write_bytes(content)


def _splits(examples_uri: str) -> list[str]:
    prefix, children = artifacts.SPLIT_PREFIX, open_folder(examples_uri).children()
    return [name.rstrip("/").removeprefix(prefix) for name in children if name.startswith(prefix)]
