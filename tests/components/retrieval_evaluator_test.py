import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from components import artifacts
from components.retrieval_evaluator import RetrievalEvaluator, judge
from components.verdict import StageVerdict
from lookalike.configs.settings import EvaluationSettings
from lookalike.release.manifest import ReleaseError, tree_sha256, write_manifest
from lookalike.retrieval.headline import NothingToMeasureError
from lookalike.review.evidence import read_evidence

LIMITS = EvaluationSettings(min_recall_at_1=0.5, max_recall_loss=0.02, bootstrap_resamples=10, pictured_queries=3)


def metrics(wild=None, product=None, category=None):
    """Metrics of which only recall@1 of the three tracks matters; None: the track has no query."""

    def track(recall):
        return {"num_queries": 0 if recall is None else 10, "recall_at_1": recall}

    return {
        "product": {"wild→catalog": track(wild), "overall": track(product)},
        "category": {"overall": track(category)},
    }


def test_the_floor_is_reached_or_not():
    passed, failed = judge(metrics(wild=0.5), None, LIMITS), judge(metrics(wild=0.499), None, LIMITS)
    assert passed == StageVerdict(
        True, ["product, wild→catalog: recall@1 at least 0.500, got 0.500"], {"recall_at_1": 0.5}
    )
    assert not failed.passed
    assert failed.reasons == ["product, wild→catalog: recall@1 at least 0.500, got 0.499"]


def test_falling_behind_the_serving_release_fails_though_the_floor_is_reached():
    verdict = judge(metrics(wild=0.7), metrics(wild=0.75), LIMITS)
    assert not verdict.passed
    assert verdict.reasons == [
        "product, wild→catalog: recall@1 at least 0.500, got 0.700",
        "product, wild→catalog: recall@1 at least 0.730 (the serving release has 0.750), got 0.700",
    ]


def test_a_loss_within_the_limit_passes():
    assert judge(metrics(wild=0.75), metrics(wild=0.76), LIMITS).passed


def test_a_better_model_below_the_floor_fails():
    verdict = judge(metrics(wild=0.4), metrics(wild=0.1), LIMITS)
    assert not verdict.passed
    assert len(verdict.reasons) == 2


@pytest.mark.parametrize(
    ("measured", "track"),
    [
        (metrics(wild=0.9, product=0.1, category=0.1), "product, wild→catalog"),
        (metrics(product=0.9, category=0.1), "product, overall"),
        (metrics(category=0.9), "category, overall"),
    ],
)
def test_the_most_demanding_track_that_has_queries_decides(measured, track):
    verdict = judge(measured, None, LIMITS)
    assert verdict.passed
    assert verdict.reasons[0].startswith(f"{track}: ")


def test_without_any_query_nothing_is_waved_through():
    with pytest.raises(NothingToMeasureError, match="expected queries"):
        judge(metrics(), None, LIMITS)


@pytest.fixture
def evaluate(artifact, make_examples, model, stored_image):
    """Evaluates the encoder on three held-out products, each with a wild photo, and five trained ones."""

    def run(baseline_release="", **limits):
        test = [stored_image(f"p{n}/a.jpg", n) for n in range(3)]
        test += [stored_image(f"p{n}/w.jpg", n, view=1, domain="wild") for n in range(3)]
        # Nearly the same picture was trained on: it asks nothing.
        test.append(stored_image("p2/seen.jpg", 2, view=2, domain="wild", seen_in="train"))
        train = [stored_image(f"p{n}/a.jpg", n) for n in range(3, 8)]
        train.append(stored_image("p3/w.jpg", 3, view=1, domain="wild"))
        evaluation, verdict = (
            artifact(artifacts.RetrievalEvaluation, "evaluation"),
            artifact(artifacts.VerdictArtifact, "v"),
        )
        RetrievalEvaluator.test_call(
            examples=make_examples({"train": train, "test": test}),
            model=model,
            evaluation=evaluation,
            verdict=verdict,
            settings=json.dumps(dataclasses.asdict(LIMITS) | limits),
            baseline_release=baseline_release,
        )
        return Path(evaluation.uri), StageVerdict.load(verdict.uri)

    return run


def test_first_candidate_is_measured_alone(evaluate, model):
    directory, verdict = evaluate()
    report = json.loads((directory / "metrics.json").read_text())
    assert (report["split"], report["num_gallery_images"], report["baseline"]) == ("test", 8, None)
    wild = report["candidate"]["product"]["wild→catalog"]
    assert (wild["num_queries"], wild["recall_at_1"]) == (3, 1.0)
    assert verdict.passed
    assert verdict.facts == {"recall_at_1": 1.0}
    assert "<html" in (directory / "page.html").read_text()
    evidence = read_evidence(directory)
    assert len(evidence.queries) == 3, "all of them, whatever a round will ask"
    assert {query.domain for query in evidence.queries} == {"wild"}
    assert evidence.candidate.baseline_version is None
    assert evidence.candidate.model_sha256 == tree_sha256(Path(model.uri) / "Format-Serving")


def test_evidence_stops_at_its_limit(evaluate):
    directory, _ = evaluate(max_review_queries=2)
    assert len(read_evidence(directory).queries) == 2


def test_serving_release_answers_the_same_photos(evaluate, encoder_dir, tmp_path):
    release = tmp_path / "releases" / "3"
    shutil.copytree(encoder_dir, release / "encoder" / "3")
    manifest = write_manifest(release, {"version": 3})
    directory, verdict = evaluate(f"{release}@{manifest.sha256}")
    report = json.loads((directory / "metrics.json").read_text())
    assert report["baseline"] == report["candidate"]
    assert len(verdict.reasons) == 2
    evidence = read_evidence(directory)
    assert evidence.candidate.baseline_version == 3
    assert evidence.candidate.candidate_id.endswith(f"-vs-3-{manifest.sha256[:6]}")
    assert all(query.is_exact_tie for query in evidence.queries)


def test_a_release_that_was_replaced_since_is_compared_with_nothing(evaluate, encoder_dir, tmp_path):
    release = tmp_path / "releases" / "3"
    shutil.copytree(encoder_dir, release / "encoder" / "3")
    write_manifest(release, {"version": 3})
    with pytest.raises(ReleaseError, match="must be the release of manifest abababababab, got"):
        evaluate(f"{release}@{'ab' * 32}")


def test_gallery_stops_at_its_limit_and_takes_what_is_asked_for_first(evaluate):
    directory, verdict = evaluate(max_gallery_images=6)
    report = json.loads((directory / "metrics.json").read_text())
    assert report["num_gallery_images"] == 6  # three of them asked for
    assert (report["num_queries"], report["num_queries_left_out"]) == (6, 0)
    assert report["candidate"]["product"]["wild→catalog"]["num_queries"] == 3
    assert verdict.passed


def test_queries_stop_at_the_same_limit_with_what_answers_them_in_the_gallery(evaluate):
    directory, verdict = evaluate(max_gallery_images=2)
    report = json.loads((directory / "metrics.json").read_text())
    assert (report["num_queries"], report["num_queries_left_out"], report["num_gallery_images"]) == (2, 4, 2)
    wild = report["candidate"]["product"]["wild→catalog"]
    assert (wild["num_queries"], wild["recall_at_1"]) == (1, 1.0)  # of two images of one product
    assert verdict.passed
