"""One training and one promotion on this machine: build the pipeline, run it, say what came of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tfx.orchestration import metadata

from components.accuracy import accuracy_by_slice
from components.candidate import CandidateFacts
from lookalike.configs.settings import Settings
from lookalike.local.runner import IN_PROCESS, PipelineRun, artifact_uris, run_pipeline
from lookalike.local.workspace import Workspace
from lookalike.release.manifest import ReleaseError
from lookalike.release.store import Release
from lookalike.review.decisions import (
    DecisionPending,
    DecisionRejected,
    Verdict,
    find_decision,
    load_or_create_signing_key,
    verify_judgements,
)
from pipeline import Places, create_promotion_pipeline, create_training_pipeline

OnNode = Callable[[str], None]
CANDIDATE_TYPE = "components.Candidate"


@dataclass(frozen=True)
class Training:
    """A training run that ended well.

    Attributes:
      candidate: what is now before people, or was refused offline.
      candidate_uri: its artifact.
      accuracy: of the classifier on held-out images, by slice, as `components.accuracy` tells it.
      run: which nodes worked.
    """

    candidate: CandidateFacts
    candidate_uri: str
    accuracy: list[dict[str, Any]]
    run: PipelineRun


@dataclass(frozen=True)
class Promotion:
    """A promotion that ended well.

    Attributes:
      release: pushed now, or before by the same decision.
      run: which nodes worked.
    """

    release: Release
    run: PipelineRun


def train(
    workspace: Workspace, settings: Settings, source: str, day: str, submitted_by: str, on_node: OnNode
) -> Training:
    """Runs the training pipeline on a source.

    Args:
      workspace: where.
      settings: every knob.
      source: folder or manifest.
      day: the fingerprint of the source's content.
      submitted_by: who starts the run, '' for nobody.
      on_node: called with each node that starts.

    Raises:
      DataError: the source, or what was found in it, cannot be used.
      WorkspaceBusyError: another run is going on.
    """
    with workspace.locked():
        pipeline = create_training_pipeline(
            settings,
            _places(workspace),
            source=str(Path(source).resolve()),
            fingerprint=day,
            baseline_release=workspace.baseline_of_day(day, settings),
            submitted_by=submitted_by,
            beam_args=IN_PROCESS,
            metadata=_metadata(workspace),
        )
        run = run_pipeline(pipeline, workspace.metadata, on_node)
    uri = run.artifact_uri(CANDIDATE_TYPE)
    return Training(CandidateFacts.load(uri), uri, accuracy_by_slice(run.artifact_uri("ModelEvaluation")), run)


def candidate_state(workspace: Workspace, candidate: CandidateFacts) -> str:
    """refused (offline), awaiting review, blessed, or rejected."""
    if candidate.refusals:
        return "refused"
    with workspace.review_session() as session:
        decision = find_decision(session, candidate.candidate_id)
    if decision is None:
        return "awaiting review"
    return "blessed" if decision.verdict == Verdict.BLESS else "rejected"


def find_candidate(workspace: Workspace, candidate_id: str = "") -> str:
    """The artifact of a candidate, the newest one for ''.

    Raises:
      DecisionPending: there is none, so nothing can have been decided.
    """
    for uri in artifact_uris(workspace.metadata, CANDIDATE_TYPE):
        if candidate_id in ("", CandidateFacts.load(uri).candidate_id):
            return uri
    raise DecisionPending(f"expected a candidate {candidate_id or 'of any name'} in {workspace.root}, found none")


def promote(workspace: Workspace, settings: Settings, candidate_uri: str, on_node: OnNode) -> Promotion:
    """Runs the promotion pipeline for a candidate on which people have decided.

    Raises:
      DecisionError: pending, rejected, expired, or not to be trusted; nothing is pushed.
      ReleaseError: it was pushed before, and its release has been removed since.
      WorkspaceBusyError: another run is going on.
    """
    candidate = CandidateFacts.load(candidate_uri)
    if candidate.refusals:
        raise DecisionRejected(
            f"candidate {candidate.candidate_id} was refused offline: {'; '.join(candidate.refusals)}"
        )
    public_key = load_or_create_signing_key(workspace.signing_key).public_key()
    with workspace.locked():
        pipeline = create_promotion_pipeline(
            settings,
            _places(workspace),
            candidate_uri=candidate_uri,
            model_uri=candidate.model_uri,
            examples_uri=candidate.examples_uri,
            taxonomy_uri=candidate.taxonomy_uri,
            evaluation_uri=candidate.evaluation_uri,
            decision=_decision(workspace, candidate.candidate_id),
            public_key=public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
            beam_args=IN_PROCESS,
            metadata=_metadata(workspace),
        )
        run = run_pipeline(pipeline, workspace.metadata, on_node)
    for release in workspace.releases.releases():
        if release.manifest.facts["candidate_id"] == candidate.candidate_id:
            return Promotion(release, run)
    raise ReleaseError(f"expected the release of candidate {candidate.candidate_id}, it was removed from the store")


def _decision(workspace: Workspace, candidate_id: str) -> str:
    """The stored decision as a document, '' while there is none; its judgements must be those it was made on."""
    with workspace.review_session() as session:
        decision = find_decision(session, candidate_id)
        if decision is None:
            return ""
        verify_judgements(session, decision)
        return decision.to_json()


def _metadata(workspace: Workspace) -> Any:
    return metadata.sqlite_metadata_connection_config(str(workspace.metadata))


def _places(workspace: Workspace) -> Places:
    return Places(
        artifacts=str(workspace.artifacts),
        checkpoints=str(workspace.checkpoints),
        dead_letters=str(workspace.dead_letters),
        releases=str(workspace.releases.root),
        review_database=workspace.review_database,
    )
