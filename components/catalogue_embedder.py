"""Embeds the whole catalogue with a blessed model, and the held-out photos that will try the index out.

TFX's BulkInferrer would copy every image back beside its vector; the gallery wants the vector and a thumbnail.
"""

import hashlib
import heapq
import io
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from tfx import v1 as tfx
from tfx.dsl.io import fileio
from tfx.utils import path_utils

from components import artifacts
from components.component import component
from components.tf_examples import decode
from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.product import CatalogImage
from lookalike.configs.mounts import mounted_path, output_directory
from lookalike.encoder.embedder import InProcessEmbedder
from lookalike.release.contents import (
    CATALOG_FILE,
    EMBEDDINGS_FILE,
    Catalog,
    by_category,
    read_embeddings,
    write_catalog,
    write_embeddings,
)

THUMBNAIL_PX = 160
NUM_SHARDS = 32  # a million images make shards of some 150 MB
BATCH = 32  # 8 to 64 cost the same an image; a fixed one rounds alike in every run

GALLERY = "gallery"
QUERY = "query"
Role = str
Embedded = tuple[CatalogImage, npt.NDArray[np.float32]]


@component(use_beam=True)
def CatalogueEmbedder(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    embeddings: tfx.dsl.components.OutputArtifact[artifacts.Embeddings],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Writes catalogue.arrow and embeddings.npy, row by row the same, and queries.npy.

    `blessing` is why this may run at all.

    Raises DataError: when there is no catalogue image.
    """
    directory = output_directory(embeddings.uri)
    shards = directory / "shards"
    encoder_dir = mounted_path(path_utils.serving_model_path(model.uri))
    with beam_pipeline as pipeline:  # an imported artifact on Kubeflow has no split names, so folders are asked
        for folder in fileio.glob(f"{examples.uri}/{artifacts.SPLIT_PREFIX}*"):
            split = Path(folder).name.removeprefix(artifacts.SPLIT_PREFIX)
            _embed_split(pipeline, split, f"{folder}/*", encoder_dir, shards)
    gallery, asked = (sorted(shards.glob(f"{role}-*")) for role in (GALLERY, QUERY))
    if not gallery:
        raise DataError(f"expected at least one image of the domain 'catalog' to search, got none in {examples.uri}")
    _merge(gallery, directory)
    vectors = [read_embeddings(shard / EMBEDDINGS_FILE) for shard in asked]
    no_query = read_embeddings(directory / EMBEDDINGS_FILE)[:0]  # [0, dim] where nothing asks
    np.save(directory / artifacts.QUERIES_FILE, np.concatenate([no_query, *vectors]))
    shutil.rmtree(shards)


def _embed_split(pipeline: beam.Pipeline, split: str, file_pattern: str, encoder_dir: Path, shards: Path) -> None:
    _ = (
        pipeline
        | f"Read {split}" >> beam.io.ReadFromTFRecord(file_pattern)
        | f"Roles {split}" >> beam.FlatMap(roles, held_out=split == artifacts.HELD_OUT_SPLIT)
        | f"Batch {split}" >> beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
        | f"Embed {split}" >> beam.ParDo(_Embed(encoder_dir))
        | f"Shard {split}" >> beam.Map(_with_shard, split)
        | f"By shard {split}" >> beam.GroupByKey()
        | f"Write {split}" >> beam.Map(_write_shard, shards)
    )


def roles(serialized: bytes, held_out: bool) -> Iterator[tuple[Role, CatalogImage]]:
    """What an image is for: catalogue images are the gallery, held-out ones ask.

    A held-out image that is in the gallery asks as its mirror image: a query must not be in the index it tries out.
    """
    image = decode(serialized)
    if image.domain == "catalog":
        yield GALLERY, image
    if held_out:
        yield QUERY, image


class _Embed(beam.DoFn):
    """Batches of (role, CatalogImage) → (role, the image with a thumbnail, [dim] float32)."""

    def __init__(self, encoder_dir: Path) -> None:
        self._encoder_dir = encoder_dir

    def setup(self) -> None:
        self._embedder = InProcessEmbedder(self._encoder_dir)

    def process(self, batch: Sequence[tuple[Role, CatalogImage]]) -> Iterator[tuple[Role, Embedded]]:
        jpegs = [_mirrored(image) if role == QUERY else image.jpeg for role, image in batch]
        for (role, image), vector in zip(batch, self._embedder.embed(jpegs), strict=True):
            yield role, (_with_thumbnail(image), vector)


def _mirrored(image: CatalogImage) -> bytes:
    if image.domain != "catalog":
        return image.jpeg
    return _encode(ImageOps.mirror(Image.open(io.BytesIO(image.jpeg))), quality=95)


def _with_thumbnail(image: CatalogImage) -> CatalogImage:
    thumbnail = Image.open(io.BytesIO(image.jpeg))
    thumbnail.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    return replace(image, jpeg=_encode(thumbnail, quality=85))


def _encode(image: Image.Image, quality: int) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _with_shard(item: tuple[Role, Embedded], split: str) -> tuple[str, Embedded]:
    role, embedded = item
    shard = hashlib.sha256(embedded[0].key.encode()).digest()[0] % NUM_SHARDS
    return f"{role}-{split}-{shard:05d}", embedded


def _write_shard(item: tuple[str, Iterable[Embedded]], shards: Path) -> None:
    name, unsorted = item
    embedded = sorted(unsorted, key=lambda pair: by_category(pair[0]))
    directory = output_directory(str(shards / name))
    write_catalog(directory / CATALOG_FILE, (image for image, _ in embedded))
    write_embeddings(directory / EMBEDDINGS_FILE, np.stack([vector for _, vector in embedded]))


def _merge(shards: Sequence[Path], directory: Path) -> None:
    """Writes the rows of sorted shards as one sorted gallery, a row in memory at a time."""
    catalogs = [Catalog.open(shard / CATALOG_FILE) for shard in shards]
    vectors = [read_embeddings(shard / EMBEDDINGS_FILE) for shard in shards]
    gallery = np.lib.format.open_memmap(
        directory / EMBEDDINGS_FILE, "w+", np.float32, (sum(map(len, vectors)), vectors[0].shape[1])
    )

    def rows() -> Iterator[CatalogImage]:
        ordered = heapq.merge(*map(_numbered, catalogs, count()))
        for row, (_, shard, shard_row) in enumerate(ordered):
            gallery[row] = vectors[shard][shard_row]
            yield replace(catalogs[shard].image(shard_row), jpeg=catalogs[shard].thumbnail(shard_row))

    write_catalog(directory / CATALOG_FILE, rows())
    gallery.flush()


def _numbered(catalog: Catalog, shard: int) -> Iterator[tuple[Any, int, int]]:
    return ((by_category(catalog.image(row)), shard, row) for row in range(len(catalog)))
