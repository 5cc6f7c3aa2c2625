"""What the reviewers are shown: photos, and the products that the candidate and the serving release find for each."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.product import CatalogImage
from lookalike.retrieval.exact import Neighbours, search
from lookalike.review.evidence import (
    GRID_SIZE,
    IMAGES_FOLDER,
    Candidate,
    Evidence,
    EvidenceQuery,
    EvidenceResult,
    image_path,
    write_evidence,
)

# Several images of a product come together, and a grid shows a product once.
DEPTH = 8 * GRID_SIZE


@dataclass(frozen=True)
class EmbeddedImages:
    """Queries and gallery through one encoder.

    query_embeddings: [num_queries, dim] float32, L2-normalised.
    gallery_embeddings: [num_gallery, dim] float32, L2-normalised.
    """

    queries: ImageFile
    gallery: ImageFile
    query_embeddings: npt.NDArray[np.float32]
    gallery_embeddings: npt.NDArray[np.float32]


@dataclass(frozen=True)
class CandidateIdentity:
    """Which model this is, and what speaks for it so far."""

    model_sha256: str
    model_uri: str
    baseline_version: int | None
    baseline_manifest_sha256: str
    metrics: Mapping[str, float]

    @property
    def candidate_id(self) -> str:
        """Names the model, and the release that it is compared with by version and manifest."""
        model = self.model_sha256[:12]
        if self.baseline_version is None:
            return model
        return f"{model}-vs-{self.baseline_version}-{self.baseline_manifest_sha256[:6]}".rstrip("-")


def write_review_evidence(
    directory: Path,
    *,
    candidate: EmbeddedImages,
    baseline: EmbeddedImages | None,
    identity: CandidateIdentity,
    max_queries: int,
) -> None:
    """Writes evidence.json and the pictures it names.

    Queries are held-out photos, wild ones where there are any, in the order of a hash of the model and the photo:
    nobody who trains a model can aim at those that a round will ask first.
    """
    rows = _draw(candidate.queries, identity.model_sha256, max_queries)
    grids = _grids(candidate, rows)
    baseline_grids = _grids(baseline, rows) if baseline else [None] * len(rows)
    (directory / IMAGES_FOLDER).mkdir(parents=True)
    queries = []
    for row, grid, baseline_grid in zip(rows, grids, baseline_grids, strict=True):
        query = candidate.queries[row]
        queries.append(
            EvidenceQuery(
                query_id=query.key,
                image_sha256=_keep(query, directory),
                category=query.category,
                product_id=query.product_id,
                domain=query.domain,
                candidate=_results(candidate.gallery, grid, directory),
                baseline=None if baseline_grid is None else _results(candidate.gallery, baseline_grid, directory),
            )
        )
    who = Candidate(
        candidate_id=identity.candidate_id,
        model_sha256=identity.model_sha256,
        model_uri=identity.model_uri,
        baseline_version=identity.baseline_version,
        metrics=identity.metrics,
    )
    write_evidence(Evidence(candidate=who, queries=tuple(queries)), directory)


def _draw(queries: ImageFile, model_sha256: str, max_queries: int) -> list[int]:
    wild = [row for row, image in enumerate(queries.facts) if image.domain == "wild"]

    def by_hash(row: int) -> bytes:
        return hashlib.sha256(f"{model_sha256}:{queries.facts[row].key}".encode()).digest()

    return sorted(wild or range(len(queries)), key=by_hash)[:max_queries]


Grid = list[tuple[int, float]]
"""Rows of the gallery, and their scores."""


def _grids(images: EmbeddedImages, rows: Sequence[int]) -> list[Grid]:
    depth = min(DEPTH, len(images.gallery))
    found = search(images.query_embeddings[rows], images.gallery_embeddings, depth)
    return [_grid(images, images.queries.facts[row], found, place) for place, row in enumerate(rows)]


def _grid(images: EmbeddedImages, query: CatalogImage, found: Neighbours, place: int) -> Grid:
    """The best image of each of the nearest products, the photo itself left out."""
    best: dict[str, tuple[int, float]] = {}
    for row, score in zip(found.ids[place].tolist(), found.scores[place].tolist(), strict=True):
        image = images.gallery.facts[row]
        if image.picture != query.picture:
            best.setdefault(image.product_id, (row, score))
    return list(best.values())[:GRID_SIZE]


def _results(gallery: ImageFile, grid: Grid, directory: Path) -> tuple[EvidenceResult, ...]:
    return tuple(
        EvidenceResult(
            image_sha256=_keep(image, directory), product_id=image.product_id, category=image.category, score=score
        )
        for image, score in ((gallery[row], score) for row, score in grid)
    )


def _keep(image: CatalogImage, directory: Path) -> str:
    """Writes the picture under a name that tells nothing about the arm it came from."""
    sha256 = hashlib.sha256(image.jpeg).hexdigest()
    image_path(directory, sha256).write_bytes(image.jpeg)
    return sha256
