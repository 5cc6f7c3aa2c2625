"""Offline proof: held-out photos search the whole catalogue, against floors and against the serving release."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import artifacts
from components.component import component
from components.retrieval_page import render_page
from components.review_evidence import CandidateIdentity, EmbeddedImages, write_review_evidence
from components.tf_examples import read_images
from components.verdict import StageVerdict
from lookalike.catalog.product import CatalogImage
from lookalike.configs.mounts import mounted_path, output_directory
from lookalike.configs.settings import EvaluationSettings
from lookalike.encoder.embedder import InProcessEmbedder, embed_all
from lookalike.release.manifest import ReleaseError, read_manifest, tree_sha256
from lookalike.release.store import split_reference
from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.headline import NothingToMeasureError, headline
from lookalike.retrieval.metrics import RetrievalEvaluation, evaluate_retrieval

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
    queries, gallery = _queries_and_gallery(examples, limits.max_gallery_images)
    encoder = mounted_path(path_utils.serving_model_path(model.uri))
    candidate = _ask(encoder, queries, gallery)
    measured = _measure(candidate, limits)
    baseline, baseline_metrics = None, None
    serving = _find_release(baseline_release) if baseline_release else None
    if serving:
        baseline = _ask(serving / "encoder" / serving.name, queries, gallery)
        baseline_metrics = _measure(baseline, limits).metrics
    judgement = judge(measured.metrics, baseline_metrics, limits)
    judgement.save(verdict.uri)
    report = {
        "split": artifacts.HELD_OUT_SPLIT,
        "num_gallery_images": len(gallery),
        "candidate": measured.metrics,
        "baseline": baseline_metrics,
    }
    directory = output_directory(evaluation.uri)
    (directory / artifacts.METRICS_FILE).write_text(json.dumps(report, indent=2))
    page = render_page(report, judgement, measured, queries, gallery, limits.pictured_queries)
    (directory / PAGE_FILE).write_text(page)
    write_review_evidence(
        directory,
        candidate=candidate,
        baseline=baseline,
        identity=CandidateIdentity(
            model_sha256=tree_sha256(encoder),
            model_uri=model.uri,
            baseline_version=int(serving.name) if serving else None,
            baseline_manifest_sha256=split_reference(baseline_release)[1],
            metrics=judgement.facts,
        ),
        max_queries=limits.max_review_queries,
    )


def _find_release(reference: str) -> Path:
    """The directory of a release. Raises ReleaseError where there is another one by now."""
    directory, sha256 = split_reference(reference)
    found = read_manifest(directory).sha256
    if sha256 not in ("", found):
        raise ReleaseError(f"{directory} must be the release of manifest {sha256[:12]}, got {found[:12]}: run again")
    return mounted_path(directory)


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


def _queries_and_gallery(
    examples: tfx.types.standard_artifacts.Examples, max_gallery_images: int
) -> tuple[list[CatalogImage], list[CatalogImage]]:
    """The held-out images, and the catalogue images they search: held-out ones first, then others up to a limit."""
    held_out = list(read_images(examples.path(split=artifacts.HELD_OUT_SPLIT) + "/*"))
    gallery = [image for image in held_out if image.domain == "catalog"]
    queries = [image for image in held_out if not image.seen_in]  # the others show what may have been trained on
    if not queries:
        raise NothingToMeasureError(
            f"expected held-out images to ask with, got none: nearly the same pictures as all {len(held_out)} are in "
            "another split; add products, or raise ingest.test_fraction"
        )
    others = (
        split for split in artifact_utils.decode_split_names(examples.split_names) if split != artifacts.HELD_OUT_SPLIT
    )
    for image in chain.from_iterable(read_images(examples.path(split=split) + "/*") for split in others):
        if len(gallery) >= max_gallery_images:
            break
        if image.domain == "catalog":
            gallery.append(image)
    return queries, gallery


def _ask(encoder: Path, queries: list[CatalogImage], gallery: list[CatalogImage]) -> EmbeddedImages:
    embed = InProcessEmbedder(encoder).embed
    return EmbeddedImages(
        queries=queries,
        gallery=gallery,
        query_embeddings=embed_all(embed, [image.jpeg for image in queries]),
        gallery_embeddings=embed_all(embed, [image.jpeg for image in gallery]),
    )


def _measure(images: EmbeddedImages, limits: EvaluationSettings) -> RetrievalEvaluation:
    return evaluate_retrieval(
        images.query_embeddings,
        images.gallery_embeddings,
        RetrievalTable.of(images.queries),
        RetrievalTable.of(images.gallery),
        num_resamples=limits.bootstrap_resamples,
    )
