"""The executors of both pipelines, with every artifact in an object store."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tfx import v1 as tfx
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.dsl.components.base.base_executor import BaseExecutor

from components.candidate import CandidateFacts
from lookalike.catalog.fingerprints import fingerprint
from lookalike.catalog.sources import open_source
from lookalike.configs.settings import Settings, override
from lookalike.drawing.catalog import draw_catalog
from lookalike.local.runner import IN_PROCESS
from lookalike.release.store import ReleaseStore
from lookalike.review.decisions import Decision, sign_decision
from lookalike.storage.address import open_folder
from pipeline import Places, create_promotion_pipeline, create_training_pipeline


def run_executors(pipeline, root):
    """Runs the nodes in their order, as a container would → their outputs: (node, key) → artifact."""
    made = {}
    for node in pipeline.components:
        outputs = {key: [channel.type()] for key, channel in node.outputs.items()}
        for key, [artifact] in outputs.items():
            artifact.uri = f"{root}/{node.id}/{key}"
            made[node.id, key] = artifact
        if isinstance(node, tfx.dsl.Importer):
            made[node.id, "result"].uri = node.exec_properties["artifact_uri"]
            continue
        inputs = {
            key: [made[channel.producer_component_id, channel.output_key]] for key, channel in node.inputs.items()
        }
        executor = node.executor_spec.executor_class
        context = (
            BaseBeamExecutor.Context(beam_pipeline_args=list(IN_PROCESS))
            if issubclass(executor, BaseBeamExecutor)
            else BaseExecutor.Context()
        )
        executor(context).Do(inputs, outputs, dict(node.exec_properties))
    return made


def bless(candidate, key):
    now = datetime.now(timezone.utc)
    decision = Decision(
        decision_id="decision-1",
        round_id=candidate.round_id,
        candidate_id=candidate.candidate_id,
        model_sha256=candidate.model_sha256,
        evidence_sha256="e" * 64,
        judgements_sha256="f" * 64,
        verdict="bless",
        decided_by="Ana",
        reason="better",
        simulated=False,
        statistics={"z": 2.5},
        decided_at=now,
        expires_at=now + timedelta(days=7),
    )
    return sign_decision(decision, key).to_json()


@pytest.mark.slow
def test_source_becomes_a_release_in_an_object_store(s3_address, tiny_settings, tmp_path):
    manifest = draw_catalog(tmp_path / "drawn", num_products=36, seed=1, image_size_px=64)
    source = f"{s3_address}/source"
    for path in filter(Path.is_file, manifest.parent.rglob("*")):
        with open_folder(source).writing(path.relative_to(manifest.parent).as_posix()) as copy:
            copy.write_bytes(path.read_bytes())
    settings = override(Settings(), [f"{name}={value}" for name, value in tiny_settings.items()])
    places = Places(
        artifacts=f"{s3_address}/artifacts",
        checkpoints=f"{s3_address}/checkpoints",
        dead_letters=f"{s3_address}/dead_letters",
        releases=f"{s3_address}/releases",
        review_database=f"sqlite:///{tmp_path}/review.db",
    )
    source = f"{source}/{manifest.name}"
    training = create_training_pipeline(
        settings,
        places,
        source=source,
        fingerprint=fingerprint(open_source(source, window_spans=settings.ingest.window_spans)),
        baseline_release="",
        submitted_by="Bo",
    )
    made = run_executors(training, places.artifacts)
    model = made["Trainer", "model"].uri
    assert made["Evaluator", "blessing"].get_string_custom_property("current_model") == model
    candidate = CandidateFacts.load(made["OpenReview", "candidate"].uri)
    assert (candidate.refusals, candidate.model_uri) == ([], model)
    assert not list(open_folder(places.checkpoints).files())

    key = Ed25519PrivateKey.generate()
    promotion = create_promotion_pipeline(
        settings,
        places,
        candidate_uri=made["OpenReview", "candidate"].uri,
        model_uri=candidate.model_uri,
        examples_uri=candidate.examples_uri,
        taxonomy_uri=candidate.taxonomy_uri,
        evaluation_uri=candidate.evaluation_uri,
        decision=bless(candidate, key),
        public_key=key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )
    run_executors(promotion, places.artifacts)
    assert ReleaseStore(places.releases).current().version == 1
