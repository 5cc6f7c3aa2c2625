"""Lets a model pass only with a valid signed blessing of that very model."""

from datetime import datetime, timezone
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tfx import v1 as tfx
from tfx.components.evaluator import constants as evaluator_constants
from tfx.utils import path_utils

from components import artifacts
from components.candidate import CandidateFacts
from components.component import component
from lookalike.documents import CandidateUnreadableError
from lookalike.release.manifest import tree_sha256
from lookalike.review.decisions import Decision, DecisionInvalid, DecisionPending, verify_decision
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched


@component
def HumanGate(
    candidate: tfx.dsl.components.InputArtifact[artifacts.Candidate],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    decision: tfx.dsl.components.Parameter[str],
    public_key: tfx.dsl.components.Parameter[str],
    allow_simulated: tfx.dsl.components.Parameter[bool],
) -> None:
    """Blesses or raises.

    A blessing may come from TFX's cache after the decision has expired: ReleasePusher checks again when it pushes.

    candidate: what the training pipeline put before people.
    model: its SavedModel.
    blessing: written only when everything holds.
    decision: the JSON document, '' while there is none.
    public_key: PEM of the review's Ed25519 key.
    allow_simulated: whether simulated raters may decide.

    Raises DecisionError: pending, rejected, expired, or not a decision about this model.
    """
    with fetched(path_utils.serving_model_dir(model.uri)) as encoder_dir:
        check_decision(
            decision,
            candidate=CandidateFacts.load(candidate.uri),
            encoder_dir=encoder_dir,
            public_key=public_key,
            allow_simulated=allow_simulated,
        )
    with open_folder(blessing.uri).writing(evaluator_constants.BLESSED_FILE_NAME) as path:
        path.write_text(decision)
    blessing.set_int_custom_property(
        evaluator_constants.ARTIFACT_PROPERTY_BLESSED_KEY, evaluator_constants.BLESSED_VALUE
    )
    blessing.set_string_custom_property(evaluator_constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(evaluator_constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)


def check_decision(
    document: str, *, candidate: CandidateFacts, encoder_dir: Path, public_key: str, allow_simulated: bool
) -> Decision:
    """The decision, if it is a blessing of the model as it lies there now.

    Raises DecisionError: of the kind that fits; DecisionPending for an empty document.
    Raises CandidateUnreadableError: the model is gone, which is no forgery.
    """
    if not document:
        raise DecisionPending(
            f"expected a decision about candidate {candidate.candidate_id}, got none yet; "
            "`lookalike review list` shows what is still to judge"
        )
    if not (encoder_dir / "saved_model.pb").is_file():
        raise CandidateUnreadableError.of(encoder_dir, f"the model of {candidate.candidate_id}", "no saved_model.pb")
    key = load_pem_public_key(public_key.encode())
    if not isinstance(key, Ed25519PublicKey):
        raise DecisionInvalid("expected an Ed25519 public key, got a key of another kind")
    found = Decision.from_json(document)
    if found.candidate_id != candidate.candidate_id:
        raise DecisionInvalid(f"expected a decision about {candidate.candidate_id}, got one about {found.candidate_id}")
    verify_decision(
        found,
        public_key=key,
        model_sha256=tree_sha256(encoder_dir),
        now=datetime.now(timezone.utc),
        allow_simulated=allow_simulated,
    )
    return found
