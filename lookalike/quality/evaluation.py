"""Labelled photos against a release's gallery, beside what colour alone and an untrained network reach."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.originals import ImageRejected, read_original
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.sources import kept_in, open_source
from lookalike.configs.settings import IngestSettings
from lookalike.encoder.embedder import Embed, InProcessEmbedder, embed_all
from lookalike.quality.baselines import colour_embeddings
from lookalike.release import contents
from lookalike.release.contents import Catalog
from lookalike.release.store import Release
from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.metrics import evaluate_retrieval

GALLERY_DOMAIN = "catalog"


@dataclass(frozen=True)
class Queries:
    """Photos that could be read.

    rows: what is known of each, its canonical picture included.
    num_unusable: rows that are not among them.
    """

    rows: ImageFile
    num_unusable: int

    @property
    def jpegs(self) -> Iterator[bytes]:
        """The canonical pictures, one a row."""
        return (row.jpeg for row in self.rows)


def read_queries(source: str, settings: IngestSettings, longest_side_px: int, pictures: BinaryIO) -> Queries:
    """Reads a folder or table of labelled photos as ingest would.

    settings: of ingest, but for the size of pictures, which is the release's.
    pictures: an open file that keeps the canonical pictures.
    Raises DataError: if not one can be used.
    """
    rows = ImageFile(pictures)
    with GuardedDecoder() as decoder, tempfile.TemporaryDirectory() as carried:
        found = open_source(source, window_spans=1, settings=settings, keep=kept_in(carried))
        for row in found.rows:
            try:
                original = read_original(row.uri, sha256=row.sha256)
                jpeg = decoder.canonicalise(original, longest_side_px=longest_side_px, crop=row.crop).jpeg
            except ImageRejected:
                continue
            rows.append(replace(row, jpeg=jpeg, canonical_sha256=hashlib.sha256(jpeg).hexdigest()))
    if not rows:
        raise DataError(f"expected at least one usable image in {source}, got none of {len(found.rows)}")
    return Queries(rows, len(found.rows) + len(found.dead) - len(rows))


def evaluate_release(release: Release, queries: Queries) -> dict[str, Any]:
    """The release's encoder on the queries, against the release's own vectors, by exact search.

    Returns the metrics of `retrieval.metrics.evaluate_retrieval`.
    """
    release.verify()
    embeddings = embed_all(InProcessEmbedder(release.encoder_directory).embed, queries.jpegs)
    gallery = contents.read_embeddings(release.directory / contents.EMBEDDINGS_FILE)
    return _measure(embeddings, gallery, queries, release)


def evaluate_baseline(release: Release, queries: Queries, embed: Embed = colour_embeddings) -> dict[str, Any]:
    """Another embedding of the same queries and the same gallery, whose pictures are the release's thumbnails."""
    catalog = _catalog(release)
    thumbnails = map(catalog.thumbnail, range(len(catalog)))
    return _measure(embed_all(embed, queries.jpegs), embed_all(embed, thumbnails), queries, release)


def _measure(
    queries: npt.NDArray[np.float32], gallery: npt.NDArray[np.float32], asked: Queries, release: Release
) -> dict[str, Any]:
    catalog = _catalog(release)
    table = RetrievalTable(
        picture=catalog.pictures,
        product_id=catalog.product_ids,
        category=catalog.categories,
        domain=[GALLERY_DOMAIN] * len(catalog),
    )
    # A release of before digests were kept knows its pictures by name; then the photos that ask are known so too.
    rows = asked.rows.facts if catalog.knows_pictures else list(map(_known_by_name, asked.rows.facts))
    return evaluate_retrieval(queries, np.asarray(gallery), RetrievalTable.of(rows), table).metrics


def _known_by_name(image: CatalogImage) -> CatalogImage:
    return replace(image, canonical_sha256="", sha256="")


def _catalog(release: Release) -> Catalog:
    return Catalog.open(Path(release.directory, contents.CATALOG_FILE))
