import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_model_analysis.proto import validation_result_pb2
from tfx import v1 as tfx

from components import artifacts
from components.accuracy import why_not_blessed
from components.candidate import CandidateFacts
from components.open_review import OpenReview
from components.review_evidence import CandidateIdentity, EmbeddedImages, write_review_evidence
from components.verdict import StageVerdict
from lookalike.catalog.image_file import ImageFile
from lookalike.configs.settings import ReviewSettings
from lookalike.review.rounds import pending_tasks
from lookalike.review.store import open_store

PASSED = StageVerdict(True, ["good enough"], {})
TOO_LOW = (
    "the classifier must be right on at least 0.4 of the labelled held-out images (evaluation.min_accuracy), got 0.25:"
    " train for longer, state more labelled products, or lower it"
)


@pytest.fixture
def open_review(artifact, stored_image, tmp_path):
    """Asks for a round on the evidence of three photos."""
    evaluation = artifact(artifacts.RetrievalEvaluation, "evaluation")
    queries = [stored_image(f"q{number}", number, view=1, domain="wild") for number in range(3)]
    images = EmbeddedImages(
        ImageFile(io.BytesIO(), queries),
        ImageFile(io.BytesIO(), [stored_image(f"g{number}", number) for number in range(3)]),
        np.eye(3, dtype="f4"),
        np.eye(3, dtype="f4"),
    )
    identity = CandidateIdentity("ab" * 32, "/model", None, "", {"recall_at_1": 1.0})
    write_review_evidence(Path(evaluation.uri), candidate=images, baseline=None, identity=identity, max_queries=3)
    uris = {name: f"/{name}" for name in ("examples", "taxonomy", "model")}
    standard = tfx.types.standard_artifacts

    def run(name="candidate", *, by="Ana", tfma=True, retrieval=PASSED, infra=PASSED, **settings):
        blessing = artifact(standard.ModelBlessing, f"{name}-blessing")
        (Path(blessing.uri) / ("BLESSED" if tfma else "NOT_BLESSED")).touch()
        accuracy = artifact(standard.ModelEvaluation, f"{name}-accuracy")
        write_validations(accuracy.uri, *([] if tfma else [failure(floor=0.4, got=0.25)]))
        verdicts = (
            artifact(artifacts.VerdictArtifact, f"{name}-retrieval"),
            artifact(artifacts.VerdictArtifact, f"{name}-infra"),
        )
        for verdict, told in zip(verdicts, (retrieval, infra), strict=True):
            told.save(verdict.uri)
        inputs = {"examples": standard.Examples(), "taxonomy": artifacts.Taxonomy(), "model": standard.Model()}
        for key, made in inputs.items():
            made.uri = uris[key]
        inputs["examples"].set_int_custom_property("longest_side_px", 48)
        candidate = artifact(artifacts.Candidate, name)
        OpenReview.test_call(
            **inputs,
            blessing=blessing,
            accuracy=accuracy,
            evaluation=evaluation,
            retrieval_verdict=verdicts[0],
            infra_verdict=verdicts[1],
            candidate=candidate,
            settings=json.dumps(dataclasses.asdict(ReviewSettings(**settings))),
            promotion_settings='{"index": {"exact_below": 7}}',
            submitted_by=by,
            database_url=f"sqlite:///{tmp_path}/review.db",
        )
        return CandidateFacts.load(candidate.uri)

    return run


@pytest.fixture
def tasks(tmp_path):
    """The open tasks of a round."""

    def read(round_id):
        with open_store(f"sqlite:///{tmp_path}/review.db")() as session:
            return pending_tasks(session, round_id)

    return read


def failure(floor, got):
    """What TFMA writes of a metric below its floor."""
    found = validation_result_pb2.ValidationFailure()
    found.metric_threshold.value_threshold.lower_bound.value = floor
    found.metric_value.double_value.value = got
    return found


def write_validations(directory, *failures):
    result = validation_result_pb2.ValidationResult(validation_ok=not failures)
    if failures:
        result.metric_validations_per_slice.add().failures.extend(failures)
    with tf.io.TFRecordWriter(f"{directory}/validations.tfrecord") as file:
        file.write(result.SerializeToString())


def test_an_evaluation_that_measured_nothing_says_so(tmp_path):
    write_validations(tmp_path)
    assert why_not_blessed(str(tmp_path)).startswith("the classifier was not measured")


def test_a_round_opens_once_for_a_candidate_that_nothing_speaks_against(open_review, tasks, tmp_path):
    facts = open_review("first")
    assert facts.refusals == []
    assert (facts.candidate_id, facts.model_sha256) == ("abababababab", "ab" * 32)
    assert (facts.model_uri, facts.examples_uri, facts.taxonomy_uri) == ("/model", "/examples", "/taxonomy")
    assert facts.evaluation_uri == str(tmp_path / "evaluation")
    assert facts.longest_side_px == 48
    assert len(tasks(facts.round_id)) == 3
    assert (facts.submitted_by, facts.stands) == ("Ana", [])
    assert facts.settings == {"index": {"exact_below": 7}}
    assert open_review("second") == facts
    assert len(tasks(facts.round_id)) == 3


def test_the_same_day_started_by_another_or_for_more_queries_ends_with_the_standing_round(open_review, tasks, caplog):
    first = open_review("first", num_queries=2, min_judged_queries=1)
    again = open_review("second", by="Bo", num_queries=300, min_judged_queries=1)
    told = ["submitted_by Ana (asked now: Bo)", "num_queries 2 (asked now: 3)"]
    assert again == dataclasses.replace(first, stands=told)
    assert again.submitted_by == "Ana"
    assert len(tasks(first.round_id)) == 2
    assert (
        "round 1 stands as it was opened: submitted_by Ana (asked now: Bo); num_queries 2 (asked now: 3)" in caplog.text
    )


def test_a_candidate_of_0_1_0_or_of_a_later_version_is_read(tmp_path):
    old = {"candidate_id": "c", "round_id": 1, "refusals": [], "model_sha256": "ab" * 32, "longest_side_px": 64}
    old |= {name: f"/{name}" for name in ("model_uri", "examples_uri", "taxonomy_uri", "evaluation_uri")}
    (tmp_path / "candidate.json").write_text(json.dumps(old))
    found = CandidateFacts.load(str(tmp_path))
    assert (found.submitted_by, found.stands, found.settings) == ("", [], {})
    (tmp_path / "candidate.json").write_text(json.dumps(old | {"colour": "blue"}))
    assert CandidateFacts.load(str(tmp_path)) == found


def test_a_small_catalogue_may_have_fewer_photos_than_a_round_wants(open_review, tasks):
    facts = open_review(num_queries=300, min_judged_queries=200)
    assert len(tasks(facts.round_id)) == 3


@pytest.mark.parametrize(
    ("against", "refusals"),
    [
        ({"tfma": False}, [TOO_LOW]),
        ({"retrieval": StageVerdict(False, ["recall too low"], {})}, ["recall too low"]),
        ({"infra": StageVerdict(False, ["does not load"], {})}, ["does not load"]),
        (
            {
                "tfma": False,
                "retrieval": StageVerdict(False, ["recall too low", "worse than before"], {}),
                "infra": StageVerdict(False, ["does not load"], {}),
            },
            [TOO_LOW, "recall too low", "worse than before", "does not load"],
        ),
    ],
)
def test_what_failed_offline_is_not_put_before_people(open_review, tmp_path, caplog, against, refusals):
    facts = open_review(**against)
    assert facts.round_id is None
    assert facts.refusals == refusals
    assert facts.submitted_by == "Ana"
    assert not (tmp_path / "review.db").exists()
    assert all(refusal in caplog.text for refusal in refusals)
