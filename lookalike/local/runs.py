"""One training and one promotion on this machine: build the pipeline, run it, say what came of it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tfx.orchestration import metadata

from components.accuracy import accuracy_by_slice
from components.candidate import CandidateFacts
from components.verdict import StageVerdict
from lookalike.configs.settings import Settings, SettingsError, merge
from lookalike.local.runner import IN_PROCESS, PipelineRun, output_uris, run_pipeline
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
from lookalike.review.evidence import MAX_NAME_LENGTH
from lookalike.review.store import is_storable
from lookalike.storage.address import is_remote
from lookalike.word import Word
from pipeline import TRAINING, Places, create_promotion_pipeline, create_training_pipeline

OnNode = Callable[[str], None]
CANDIDATE_TYPE = "components.Candidate"
CANDIDATES = f"{TRAINING}.OpenReview"  # the node that makes them
READINESS = f"{TRAINING}.Readiness"


@dataclass(frozen=True)
class Request:
    """What a training run is asked for.

    source: folder or manifest.
    day: the fingerprint of the source's content.
    submitted_by: who starts the run, '' for nobody.
    config, overrides: the words its settings were asked for by; a run that ends well is remembered by them.
    """

    source: str
    day: str
    submitted_by: str
    config: str
    overrides: Sequence[str]


class CandidateState(Word):
    """What has become of a candidate."""

    REFUSED = "refused"  # by the checks, before anybody was asked
    AWAITING_REVIEW = "awaiting review"
    BLESSED = "blessed"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Training:
    """A training run that ended well.

    candidate: what is now before people, or was refused offline.
    candidate_uri: its artifact.
    accuracy: of the classifier on held-out images, by slice, as `components.accuracy` tells it.
    account: what became of all that was read, as `catalog.account` documents it.
    readiness: what could be learnt and measured, as `catalog.readiness` documents it.
    run: which nodes worked.
    """

    candidate: CandidateFacts
    candidate_uri: str
    accuracy: list[dict[str, Any]]
    account: dict[str, Any]
    readiness: dict[str, Any]
    run: PipelineRun


@dataclass(frozen=True)
class Promotion:
    """A promotion that ended well.

    release: pushed now, or before by the same decision.
    run: which nodes worked.
    """

    release: Release
    run: PipelineRun


def train(workspace: Workspace, settings: Settings, request: Request, on_node: OnNode) -> Training:
    """Runs the training pipeline on a source.

    Its settings are remembered when its candidate is before people. A run that was refused or failed has put nothing
    there, and must not speak for candidates that are.

    Raises SettingsError: who submits has too long a name, or one that is no text.
    Raises ReviewStoreError: no database answers where the review is to be.
    Raises DataError: the source, or what was found in it, cannot be used.
    Raises WorkspaceBusyError: another run is going on.
    """
    _check_name(request.submitted_by)
    with workspace.locked():
        workspace.review_session().close()  # an address that nobody answers at would cost the whole training
        pipeline = create_training_pipeline(
            settings,
            _places(workspace),
            source=request.source if is_remote(request.source) else str(Path(request.source).resolve()),
            fingerprint=request.day,
            baseline_release=workspace.baseline_of_day(request.day, settings),
            submitted_by=request.submitted_by,
            beam_args=IN_PROCESS,
            metadata=_metadata(workspace),
        )
        run = run_pipeline(pipeline, workspace.metadata, on_node)
        uri = run.artifact_uri(CANDIDATE_TYPE)
        candidate = CandidateFacts.load(uri)
        if not candidate.refusals:
            workspace.remember(request.config, request.overrides)
    return Training(
        candidate,
        uri,
        accuracy_by_slice(run.artifact_uri("ModelEvaluation")),
        run.account or {},
        _readiness(workspace),
        run,
    )


def _readiness(workspace: Workspace) -> dict[str, Any]:
    return StageVerdict.load(output_uris(workspace.metadata, READINESS)[0]).facts


def _check_name(submitted_by: str) -> None:
    """The review's database would refuse it at the end of the training."""
    if len(submitted_by) > MAX_NAME_LENGTH:
        raise SettingsError(
            f"--by must name who starts the run in at most {MAX_NAME_LENGTH} characters, got {len(submitted_by)}"
        )
    if not is_storable(submitted_by):
        raise SettingsError(f"--by must name who starts the run in UTF-8 text, got {submitted_by[:40]!a}")


def candidate_state(workspace: Workspace, candidate: CandidateFacts) -> CandidateState:
    """Refused by its own run, or as far as its review is."""
    if candidate.refusals:
        return CandidateState.REFUSED
    with workspace.review_session() as session:
        decision = find_decision(session, candidate.candidate_id)
    if decision is None:
        return CandidateState.AWAITING_REVIEW
    return CandidateState.BLESSED if decision.verdict == Verdict.BLESS else CandidateState.REJECTED


def find_candidate(workspace: Workspace, candidate_id: str = "") -> str:
    """The artifact of a candidate as its last run left it; for '', of the candidate of the last run.

    Raises DecisionPending: there is none, so nothing can have been decided.
    """
    for uri in output_uris(workspace.metadata, CANDIDATES):
        if candidate_id in ("", CandidateFacts.load(uri).candidate_id):
            return uri
    raise _pending(workspace, f"a candidate {candidate_id or 'of any name'}")


def promote(workspace: Workspace, settings: Settings, candidate_uri: str, on_node: OnNode) -> Promotion:
    """Runs the promotion pipeline for a candidate on which people have decided.

    workspace: where.
    settings: of the workspace; those that were kept with the candidate go before them.
    candidate_uri: from `find_candidate`.
    on_node: called with each node that starts.

    Raises DecisionError: pending, rejected, expired, or not to be trusted; nothing is pushed.
    Raises ReleaseError: it was pushed before, and its release has been removed since.
    Raises WorkspaceBusyError: another run is going on.
    """
    candidate = CandidateFacts.load(candidate_uri)
    if candidate.refusals:
        raise DecisionRejected(
            f"candidate {candidate.candidate_id} was refused offline: {'; '.join(candidate.refusals)}"
        )
    public_key = load_or_create_signing_key(workspace.signing_key).public_key()
    with workspace.locked():
        pipeline = create_promotion_pipeline(
            _kept_settings(workspace, settings, candidate),
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
        try:
            run = run_pipeline(pipeline, workspace.metadata, on_node)
        except DecisionPending as error:  # by the gate, which knows no root
            raise _pending(workspace, f"a decision about candidate {candidate.candidate_id}") from error
    for release in workspace.releases.releases():
        if release.manifest.facts.get("candidate_id") == candidate.candidate_id:
            return Promotion(release, run)
    raise ReleaseError(f"expected the release of candidate {candidate.candidate_id}, it was removed from the store")


def _kept_settings(workspace: Workspace, settings: Settings, candidate: CandidateFacts) -> Settings:
    """The settings of a candidate's promotion; candidates of 0.1.0 kept none.

    A round's rules are fixed when it is opened: whether simulated judgements may decide, too, so that no run
    afterwards can open the gate to them.
    """
    kept = _merged(settings, candidate)
    asked = (CandidateFacts.load(uri) for uri in output_uris(workspace.metadata, CANDIDATES))
    same = [facts for facts in asked if facts.candidate_id == candidate.candidate_id and not facts.refusals]
    allow_simulated = all(_merged(settings, facts).review.allow_simulated for facts in same)
    return replace(kept, review=replace(kept.review, allow_simulated=allow_simulated))


def _merged(settings: Settings, candidate: CandidateFacts) -> Settings:
    try:
        return merge(settings, candidate.settings)
    except SettingsError as error:
        raise SettingsError(f"settings of candidate {candidate.candidate_id}: {error}; run its day again") from error


def _decision(workspace: Workspace, candidate_id: str) -> str:
    """The stored decision as a document, '' while there is none; its judgements must be those it was made on."""
    with workspace.review_session() as session:
        decision = find_decision(session, candidate_id)
        if decision is None:
            return ""
        verify_judgements(session, decision)
        return decision.to_json()


def _pending(workspace: Workspace, what: str) -> DecisionPending:
    rounds = f"lookalike review list --root {shlex.quote(str(workspace.root))}"
    return DecisionPending(
        f"expected {what} in {workspace.root}, found none yet; `{rounds}` shows what is still to judge"
    )


def _metadata(workspace: Workspace) -> Any:
    return metadata.sqlite_metadata_connection_config(str(workspace.metadata))


def _places(workspace: Workspace) -> Places:
    return Places(
        artifacts=str(workspace.artifacts),
        checkpoints=str(workspace.checkpoints),
        dead_letters=str(workspace.dead_letters),
        releases=workspace.releases.address,
        review_database=workspace.review_database,
    )
