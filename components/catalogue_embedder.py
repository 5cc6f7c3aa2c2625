"""Embeds the whole catalogue with a blessed model, and the held-out photos that will try the index out.

TFX's BulkInferrer would copy every image back beside its vector; the gallery wants the vector and a thumbnail.
"""

import heapq
import io
import uuid
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue
from PIL import Image, ImageOps
from tfx import v1 as tfx
from tfx.utils import path_utils

from components import artifacts
from components.component import component
from components.tf_examples import ReadExamples, decode
from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.product import CatalogImage
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
from lookalike.storage.address import open_folder
from lookalike.storage.folder import joined
from lookalike.storage.staging import fetched, workplace

THUMBNAIL_PX = 160
PIECE_ROWS = 2048  # with thumbnails of some 5 kB, 10 MB are held in memory
BATCH = 32  # 8 to 64 cost the same an image; a fixed one rounds alike in every run

GALLERY = "gallery"
QUERY = "query"
Role = str
Embedded = tuple[CatalogImage, npt.NDArray[np.float32]]

PIECES = "pieces"
Piece = tuple[Role, str]
"""Sorted rows that a worker has written, named by nobody else: below PIECES lie a catalogue and its embeddings."""


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
    folder = open_folder(embeddings.uri)
    encoder = path_utils.serving_model_dir(model.uri)
    with beam_pipeline as pipeline:
        pieces = [
            _embed_split(pipeline, split.rstrip("/"), examples.uri, encoder, embeddings.uri)
            for split in open_folder(examples.uri).children()
            if split.startswith(artifacts.SPLIT_PREFIX)  # an imported artifact on Kubeflow has no split names
        ]
        _ = (
            pieces
            | "All pieces" >> beam.Flatten(pipeline=pipeline)
            | "Names" >> beam.combiners.ToList()
            | "Merge" >> beam.Map(_merge, embeddings.uri)
        )
    folder.remove(PIECES)
    if CATALOG_FILE not in folder.children():
        raise DataError(f"expected at least one image of the domain 'catalog' to search, got none in {examples.uri}")


def _embed_split(pipeline: beam.Pipeline, split: str, examples_uri: str, encoder: str, uri: str) -> beam.PCollection:
    return (
        pipeline
        | f"Read {split}" >> ReadExamples(joined(examples_uri, split))
        | f"Roles {split}" >> beam.FlatMap(roles, held_out=split == artifacts.SPLIT_PREFIX + artifacts.HELD_OUT_SPLIT)
        | f"Batch {split}" >> beam.BatchElements(min_batch_size=BATCH, max_batch_size=BATCH)
        | f"Embed {split}" >> beam.ParDo(_Embed(encoder, joined(uri, PIECES)))
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
    """Batches of (role, CatalogImage) → pieces: rows go to files at once, and only names to the next step.

    A worker that fails leaves files that nobody has the name of.
    """

    def __init__(self, encoder: str, pieces: str) -> None:
        self._encoder = encoder
        self._pieces = pieces

    def setup(self) -> None:
        self._held = ExitStack()  # the encoder is loaded by the first image
        self._embedder = InProcessEmbedder(self._held.enter_context(fetched(self._encoder)))

    def teardown(self) -> None:
        self._held.close()

    def start_bundle(self) -> None:
        self._rows: defaultdict[Role, list[Embedded]] = defaultdict(list)

    def process(self, batch: Sequence[tuple[Role, CatalogImage]]) -> Iterator[Piece]:
        jpegs = [_mirrored(image) if role == QUERY else image.jpeg for role, image in batch]
        for (role, image), vector in zip(batch, self._embedder.embed(jpegs), strict=True):
            self._rows[role].append((_with_thumbnail(image), vector))
        for role in [role for role, rows in self._rows.items() if len(rows) >= PIECE_ROWS]:
            yield role, _write_piece(self._rows.pop(role), self._pieces)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for role, rows in self._rows.items():
            piece = role, _write_piece(rows, self._pieces)
            yield WindowedValue(piece, GlobalWindow().max_timestamp(), [GlobalWindow()])


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


def _write_piece(rows: list[Embedded], pieces: str) -> str:
    rows.sort(key=lambda row: by_category(row[0]))
    folder, name = open_folder(pieces), uuid.uuid4().hex
    with workplace(folder) as directory:
        write_catalog(directory / CATALOG_FILE, (image for image, _ in rows))
        write_embeddings(directory / EMBEDDINGS_FILE, np.stack([vector for _, vector in rows]))
        folder.publish(directory, name, last=EMBEDDINGS_FILE)
    return name


def _merge(pieces: list[Piece], uri: str) -> None:
    folder = open_folder(uri)
    with fetched(joined(uri, PIECES)) as directory:
        gallery, asked = ([directory / name for role, name in pieces if role == wanted] for wanted in (GALLERY, QUERY))
        if not gallery:
            return
        dim = read_embeddings(gallery[0] / EMBEDDINGS_FILE).shape[1]
        with folder.writing(artifacts.QUERIES_FILE) as vectors:
            deque(_merged(asked, vectors, dim), maxlen=0)
        with folder.writing(EMBEDDINGS_FILE) as vectors, folder.writing(CATALOG_FILE) as catalog:
            write_catalog(catalog, _merged(gallery, vectors, dim))


def _merged(pieces: Sequence[Path], vectors: Path, dim: int) -> Iterator[CatalogImage]:
    """Writes the vectors of sorted pieces as one sorted whole, and gives the images; of each piece one is in memory."""
    num_rows = sum(len(read_embeddings(piece / EMBEDDINGS_FILE)) for piece in pieces)
    target = np.lib.format.open_memmap(vectors, "w+", np.float32, (num_rows, dim))
    rows = heapq.merge(*map(_rows, pieces), key=lambda row: by_category(row[0]))
    for number, (image, vector) in enumerate(rows):
        target[number] = vector
        yield image
    target.flush()


def _rows(piece: Path) -> Iterator[Embedded]:
    catalog = Catalog.open(piece / CATALOG_FILE)
    for row, vector in enumerate(read_embeddings(piece / EMBEDDINGS_FILE)):
        yield replace(catalog.image(row), jpeg=catalog.thumbnail(row)), vector
