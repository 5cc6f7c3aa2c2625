"""Offline proof: held-out photos search the whole catalogue, against floors and against the serving release."""

import hashlib
import heapq
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import artifacts
from components.component import component
from components.retrieval_page import render_page
from components.review_evidence import CandidateIdentity, EmbeddedImages, write_review_evidence
from components.tf_examples import read_images
from components.verdict import StageVerdict
from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.product import CatalogImage
from lookalike.configs.settings import EvaluationSettings
from lookalike.encoder.embedder import InProcessEmbedder, embed_all
from lookalike.release.manifest import ReleaseError, read_manifest, tree_sha256
from lookalike.release.store import split_reference
from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.headline import NothingToMeasureError, headline
from lookalike.retrieval.metrics import RetrievalEvaluation, evaluate_retrieval
from lookalike.storage.folder import joined
from lookalike.storage.staging import fetched, published

PAGE_FILE = "page.html"


@component
def RetrievalEvaluator(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    evaluation: tfx.dsl.components.OutputArtifact[artifacts.RetrievalEvaluation],
    verdict: tfx.dsl.components.OutputArtifact[artifacts.VerdictArtifact],
    settings: tfx.dsl.components.Parameter[str],
    baseline_release: tfx.dsl.components.Parameter[str],
) -> None:
    """Evaluates the candidate, and beside it the release of the reference `baseline_release` ('' = none is serving)."""
    limits = EvaluationSettings(**json.loads(settings))
    with TemporaryFile() as pictures:
        photos = _Photos.read(examples, limits.max_gallery_images, pictures)
        with fetched(path_utils.serving_model_dir(model.uri)) as encoder:
            candidate, model_sha256 = _ask(encoder, photos), tree_sha256(encoder)
        measured = _measure(candidate, limits)
        baseline, baseline_metrics = None, None
        version, serving_encoder = _find_release(baseline_release) if baseline_release else (None, "")
        if serving_encoder:
            with fetched(serving_encoder) as encoder:
                baseline = _ask(encoder, photos)
            baseline_metrics = _measure(baseline, limits).metrics
        judgement = judge(measured.metrics, baseline_metrics, limits)
        judgement.save(verdict.uri)
        report = {
            "split": artifacts.HELD_OUT_SPLIT,
            "account": json.loads(examples.get_string_custom_property(artifacts.ACCOUNT) or "null"),
            "num_queries": len(photos.queries),
            "num_queries_left_out": photos.num_left_out,
            "num_gallery_images": len(photos.gallery),
            "candidate": measured.metrics,
            "baseline": baseline_metrics,
        }
        with published(evaluation.uri) as directory:
            (directory / artifacts.METRICS_FILE).write_text(json.dumps(report, indent=2))
            page = render_page(report, judgement, measured, photos.queries, photos.gallery, limits.pictured_queries)
            (directory / PAGE_FILE).write_text(page)
            write_review_evidence(
                directory,
                candidate=candidate,
                baseline=baseline,
                identity=CandidateIdentity(
                    model_sha256=model_sha256,
                    model_uri=model.uri,
                    baseline_version=version,
                    baseline_manifest_sha256=split_reference(baseline_release)[1],
                    metrics=judgement.facts,
                ),
                max_queries=limits.max_review_queries,
            )


def _find_release(reference: str) -> tuple[int, str]:
    """Version and encoder's address of a release. Raises ReleaseError where there is another one by now."""
    address, sha256 = split_reference(reference)
    found = read_manifest(address).sha256
    if sha256 not in ("", found):
        raise ReleaseError(f"{address} must be the release of manifest {sha256[:12]}, got {found[:12]}: run again")
    version = PurePosixPath(address).name
    return int(version), joined(address, f"encoder/{version}")


def judge(candidate: dict[str, Any], baseline: dict[str, Any] | None, limits: EvaluationSettings) -> StageVerdict:
    """Whether the candidate reaches the floor and does not fall behind the serving release on its headline track."""
    track = headline(candidate)
    reasons = [f"{track.name}: recall@1 at least {limits.min_recall_at_1:.3f}, got {track.recall_at_1:.3f}"]
    passed = track.recall_at_1 >= limits.min_recall_at_1
    if baseline is not None:
        serving = headline(baseline).recall_at_1
        floor = serving - limits.max_recall_loss
        reasons.append(
            f"{track.name}: recall@1 at least {floor:.3f} (the serving release has {serving:.3f}), "
            f"got {track.recall_at_1:.3f}"
        )
        passed = passed and track.recall_at_1 >= floor
    return StageVerdict(passed, reasons, {"recall_at_1": track.recall_at_1})


@dataclass(frozen=True)
class _Photos:
    """What asks and what is asked.

    queries: held-out images.   num_left_out: how many more there are.   gallery: catalogue images, held-out ones first.
    """

    queries: ImageFile
    num_left_out: int
    gallery: ImageFile

    @classmethod
    def read(cls, examples: tfx.types.standard_artifacts.Examples, limit: int, pictures: BinaryIO) -> "_Photos":
        """At most `limit` queries and as many images that they search, with their pictures in a file.

        Raises NothingToMeasureError.
        """
        splits = artifact_utils.decode_split_names(examples.split_names)
        with fetched(examples.path(split=artifacts.HELD_OUT_SPLIT)) as held_out:
            photos = cls._held_out(str(held_out), limit, pictures)
        others = (examples.path(split=split) for split in splits if split != artifacts.HELD_OUT_SPLIT)
        for image in chain.from_iterable(map(read_images, others)):
            if len(photos.gallery) >= limit:
                break
            if image.domain == "catalog":
                photos.gallery.append(image)
        return photos

    @classmethod
    def _held_out(cls, address: str, limit: int, pictures: BinaryIO) -> "_Photos":
        asking = _drawn(filter(_asks, read_images(address)), limit)
        found = _drawn((image for image in read_images(address) if image.domain == "catalog"), limit)
        queries, gallery, num_held_out, num_asking = ImageFile(pictures), ImageFile(pictures), 0, 0
        for image in read_images(address):
            num_held_out += 1
            num_asking += _asks(image)
            if image.key in asking:
                queries.append(image)
            if image.key in found:
                gallery.append(image)
        if not asking:
            raise NothingToMeasureError(
                f"expected held-out images to ask with, got none: nearly the same pictures as all {num_held_out} are "
                "in another split; add products, or raise ingest.test_fraction"
            )
        return cls(queries, num_asking - len(queries), gallery)


def _asks(image: CatalogImage) -> bool:
    return not image.seen_in  # the others show what may have been trained on


def _drawn(images: Iterable[CatalogImage], limit: int) -> set[str]:
    """The keys of at most `limit` images; products are drawn whole, so that what answers comes with what asks."""

    def order(image: CatalogImage) -> tuple[bytes, str]:
        return hashlib.sha256(image.product_id.encode()).digest(), image.key

    return {key for _, key in heapq.nsmallest(limit, map(order, images))}


def _ask(encoder: Path, photos: _Photos) -> EmbeddedImages:
    embed = InProcessEmbedder(encoder).embed
    return EmbeddedImages(
        queries=photos.queries,
        gallery=photos.gallery,
        query_embeddings=embed_all(embed, (image.jpeg for image in photos.queries)),
        gallery_embeddings=embed_all(embed, (image.jpeg for image in photos.gallery)),
    )


def _measure(images: EmbeddedImages, limits: EvaluationSettings) -> RetrievalEvaluation:
    # Whose category is in doubt has no label, and is measured by product alone.
    queries = [replace(image, category=image.label) for image in images.queries.facts]
    return evaluate_retrieval(
        images.query_embeddings,
        images.gallery_embeddings,
        RetrievalTable.of(queries),
        RetrievalTable.of(images.gallery.facts),
        num_resamples=limits.bootstrap_resamples,
    )
