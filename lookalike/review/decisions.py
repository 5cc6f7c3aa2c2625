"""What comes out of a review: one decision a round, signed so that nothing of it can be changed or reused."""

import base64
import os
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from sqlalchemy.orm import Session

from lookalike.documents import first_fault
from lookalike.errors import EXIT_AWAITING_REVIEW, EXIT_REJECTED, UserError
from lookalike.review.canonical import canonical_json, canonical_sha256
from lookalike.review.outcome import Number, assess
from lookalike.review.rounds import (
    ANOTHER_CANDIDATE,
    ReviewError,
    check_text,
    find_round,
    load_round,
    require_open,
    utc_now,
)
from lookalike.review.store import DecisionRow, RoundRow, TaskRow, write_transaction
from lookalike.word import Word


class Verdict(Word):
    """What people say of a candidate."""

    BLESS = "bless"
    REJECT = "reject"


class SigningKeyError(UserError, code="SIGNING_KEY_UNUSABLE"):
    """The key that decisions are signed with is not safe, or is none."""


class DecisionRefused(ReviewError, code="VERDICT_REFUSED"):  # noqa: N818
    """The round cannot be decided so; the message has the numbers."""


class DecisionError(UserError, code="DECISION_REFUSED", exit_status=EXIT_REJECTED):
    """A decision that does not let a candidate through."""


class DecisionPending(DecisionError, code="AWAITING_REVIEW", exit_status=EXIT_AWAITING_REVIEW):  # noqa: N818
    """Nobody has decided yet."""


class DecisionRejected(DecisionError, code="REJECTED"):  # noqa: N818
    """People said no."""


class DecisionExpired(DecisionError, code="DECISION_EXPIRED"):  # noqa: N818
    """The blessing was not used in time."""


class DecisionInvalid(DecisionError, code="DECISION_INVALID"):  # noqa: N818
    """Not a decision of ours about this model: forged, edited, replayed, or simulated where people must decide."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Decision:
    """The signed outcome of a round; `signature` is Ed25519, in base64, over all other fields' canonical JSON."""

    decision_id: str
    round_id: int
    candidate_id: str
    model_sha256: str
    evidence_sha256: str
    judgements_sha256: str
    verdict: Annotated[Verdict, Field(strict=False)]  # its word will do
    decided_by: str
    reason: str
    simulated: bool
    statistics: Mapping[str, Number]
    decided_at: AwareDatetime
    expires_at: AwareDatetime
    signature: str = ""

    def to_json(self) -> str:
        """The document that `from_json` reads."""
        return canonical_json(_DECISION.dump_python(self, mode="json")).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> "Decision":
        """Reads a decision, unverified; raises DecisionInvalid when it is not one in form."""
        try:
            return _DECISION.validate_json(text)
        except ValidationError as error:
            raise DecisionInvalid(
                f"expected a decision document, but {first_fault(error)}; restore the review's database from a backup,"
                f" or {ANOTHER_CANDIDATE}"
            ) from error

    def signed_bytes(self) -> bytes:
        """What the signature covers: everything but itself."""
        fields: dict[str, Any] = _DECISION.dump_python(self, mode="json")
        del fields["signature"]
        return canonical_json(fields)


_DECISION = TypeAdapter(Decision)


def decide(
    session: Session,
    round_id: int,
    verdict: Verdict,
    *,
    decided_by: str,
    reason: str,
    signing_key: Ed25519PrivateKey,
    simulated: bool = False,
    valid_days: float = 7,
    now: datetime | None = None,
) -> Decision:
    """Decides a round, once: signs the decision, commits it and returns it; the same call again returns it again.

    Raises DecisionRefused: a blessing that the judgements do not carry; a second, different decision; no name or no
    reason; or, unless simulated, the submitter of the run deciding it.
    Raises ReviewError: the name or the reason is no text.
    Raises RoundExpired: the round ended without a decision.
    """
    decided_at = now or utc_now()
    check_text("the name of who decides", decided_by)
    check_text("a reason", reason)
    with write_transaction(session):
        row = load_round(session, round_id, lock="exclusive")
        if row.decision is not None:
            return _same_again(Decision.from_json(row.decision.document), verdict, decided_by, reason)
        require_open(row, decided_at)
        _check_decider(row, decided_by, reason, simulated=simulated)
        decision = sign_decision(
            Decision(
                decision_id=secrets.token_hex(16),
                **_subject(row),
                verdict=verdict,
                decided_by=decided_by,
                reason=reason,
                simulated=simulated or has_simulated_judgements(row),
                statistics=_check_verdict(row, verdict),
                decided_at=decided_at,
                expires_at=decided_at + timedelta(days=valid_days),
            ),
            signing_key,
        )
        row.decision = DecisionRow(decision_id=decision.decision_id, document=decision.to_json())
        return decision


def find_decision(session: Session, candidate_id: str) -> Decision | None:
    """The stored decision about a candidate, unverified; None while its round is open or where it has none."""
    row = find_round(session, candidate_id)
    return None if row is None else stored_decision(row)


def stored_decision(row: RoundRow) -> Decision | None:
    """The decision of a round's row, unverified."""
    return None if row.decision is None else Decision.from_json(row.decision.document)


def sign_decision(decision: Decision, signing_key: Ed25519PrivateKey) -> Decision:
    """The decision with its signature."""
    signature = signing_key.sign(decision.signed_bytes())
    return replace(decision, signature=base64.b64encode(signature).decode())


def verify_decision(
    decision: Decision | None,
    *,
    public_key: Ed25519PublicKey,
    model_sha256: str,
    now: datetime,
    allow_simulated: bool,
) -> None:
    """Returns only when the decision is a valid blessing of this very model.

    Raises DecisionPending, DecisionInvalid, DecisionRejected, DecisionExpired: checked in this order.
    """
    if decision is None:
        raise DecisionPending(f"expected a decision about model {model_sha256[:12]}, got none yet")
    _check_signature(decision, public_key)
    if decision.model_sha256 != model_sha256:
        raise DecisionInvalid(
            f"expected a decision about model {model_sha256[:12]}, got one about {decision.model_sha256[:12]};"
            f" restore the model from a backup, or {ANOTHER_CANDIDATE}"
        )
    if decision.simulated and not allow_simulated:
        raise DecisionInvalid(
            f"expected a decision by people, got the simulated one of {decision.decided_by!r};"
            f" {ANOTHER_CANDIDATE}, for people to judge"
        )
    if decision.verdict != Verdict.BLESS:
        raise DecisionRejected(f"{decision.decided_by} rejected {decision.candidate_id}: {decision.reason}")
    if now >= decision.expires_at:
        raise DecisionExpired(
            f"the blessing was valid until {decision.expires_at.isoformat()}, it is now {now.isoformat()}, and a"
            f" round is decided once; {ANOTHER_CANDIDATE}"
        )


def verify_judgements(session: Session, decision: Decision) -> None:
    """Raises DecisionInvalid when the round's tasks or judgements are no longer those that were decided on."""
    found = judgements_sha256(load_round(session, decision.round_id))
    if found != decision.judgements_sha256:
        raise DecisionInvalid(
            f"decision {decision.decision_id} rests on judgements {decision.judgements_sha256[:12]}, the store now"
            f" holds {found[:12]}: they were changed afterwards; restore the review's database from a backup, or"
            f" {ANOTHER_CANDIDATE}"
        )


def judgements_sha256(row: RoundRow) -> str:
    """The digest of all that a round's outcome is computed from."""
    return canonical_sha256([_task_record(task) for task in row.tasks])


def has_simulated_judgements(row: RoundRow) -> bool:
    """Whether any vote of a round was not a person's."""
    return any(judgement.simulated for task in row.tasks for judgement in task.judgements)


def load_or_create_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key at `path` (mode 0600); the public one lies beside it as `<name>.pub`.

    Raises SigningKeyError: others than its owner may read the private key, or it is none.
    """
    if not path.exists():
        _create_private_key(path)
    key = load_signing_key(path)
    _publish(key.public_key(), public_key_path(path))
    return key


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """The private key at `path`; raises SigningKeyError as `load_or_create_signing_key` does."""
    if path.stat().st_mode & 0o077:
        raise SigningKeyError(f"{path} must be readable by its owner only; run `chmod 600 {shlex.quote(str(path))}`")
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError: it wants a password
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SigningKeyError(
            f"{path} must hold an Ed25519 private key without a password, got something else; restore it from a "
            "backup, or delete it for a new one: what was blessed and not promoted yet can then no longer be: "
            + ANOTHER_CANDIDATE
        )
    return key


def public_key_path(signing_key_path: Path) -> Path:
    """Where the public half of a signing key lies."""
    return signing_key_path.with_name(signing_key_path.name + ".pub")


def _same_again(standing: Decision, verdict: Verdict, decided_by: str, reason: str) -> Decision:
    if (standing.verdict, standing.decided_by, standing.reason) != (verdict, decided_by, reason):
        raise DecisionRefused(
            f"round {standing.round_id} was decided ({standing.verdict}) by {standing.decided_by} at"
            f" {standing.decided_at.isoformat()}; a round is decided once"
        )
    return standing


def _check_decider(row: RoundRow, decided_by: str, reason: str, *, simulated: bool) -> None:
    if not decided_by.strip() or not reason.strip():
        raise DecisionRefused(f"a decision needs a name and a reason, got {decided_by!r} and {reason!r}")
    submitter = row.candidate.submitted_by.strip().casefold()
    if not simulated and submitter and decided_by.strip().casefold() == submitter:
        raise DecisionRefused(f"{decided_by} submitted the run: another person must decide round {row.id}")


def _check_verdict(row: RoundRow, verdict: Verdict) -> Mapping[str, Number]:
    """The numbers of the round, where they carry the verdict: to reject, none are needed."""
    outcome = assess(row)
    if verdict == Verdict.BLESS and outcome.obstacles:
        raise DecisionRefused(f"round {row.id} cannot be blessed: {'; '.join(outcome.obstacles)}")
    return outcome.numbers


def _subject(row: RoundRow) -> dict[str, Any]:
    """What a decision about a round is bound to."""
    return {
        "round_id": row.id,
        "candidate_id": row.candidate_id,
        "model_sha256": row.candidate.model_sha256,
        "evidence_sha256": row.evidence_sha256,
        "judgements_sha256": judgements_sha256(row),
    }


def _check_signature(decision: Decision, public_key: Ed25519PublicKey) -> None:
    try:
        public_key.verify(base64.b64decode(decision.signature, validate=True), decision.signed_bytes())
    except (InvalidSignature, ValueError) as error:
        raise DecisionInvalid(
            f"decision {decision.decision_id} is not signed by the expected key; restore the review's"
            f" database and the key from a backup, or {ANOTHER_CANDIDATE}"
        ) from error


def _task_record(task: TaskRow) -> list[Any]:
    votes = [
        [vote.rater, vote.answer, vote.simulated, vote.idempotency_key, vote.judged_at.isoformat()]
        for vote in task.judgements
    ]
    return [task.position, task.query, task.flip, task.automatic_tie, task.slots, votes]


def _publish(key: Ed25519PublicKey, path: Path) -> None:
    pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not path.exists() or path.read_bytes() != pem:
        path.write_bytes(pem)


def _create_private_key(path: Path) -> None:
    """Appears whole or not at all; where two processes race, the first one's key stays."""
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)
