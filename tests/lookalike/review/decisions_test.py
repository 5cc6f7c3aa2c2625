import base64
import json
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from lookalike.review.decisions import (
    Decision,
    DecisionError,
    DecisionExpired,
    DecisionInvalid,
    DecisionPending,
    DecisionRefused,
    DecisionRejected,
    SigningKeyError,
    Verdict,
    decide,
    find_decision,
    load_or_create_signing_key,
    public_key_path,
    sign_decision,
    verify_decision,
    verify_judgements,
)
from lookalike.review.evidence import Evidence, evidence_sha256
from lookalike.review.rounds import (
    OpenedRound,
    ReviewError,
    RoundDecided,
    RoundExpired,
    load_round,
    pending_tasks,
    record_judgement,
)
from lookalike.review.store import DecisionRow, JudgementRow, TaskRow

MakeEvidence = Callable[..., Evidence]
OpenRound = Callable[..., OpenedRound]


def grade_all(session: Session, opened: OpenedRound, answer: int, now: datetime, *, simulated: int = 0) -> None:
    """Gives every open task one vote, the first `simulated` of them by machines."""
    for number, task in enumerate(pending_tasks(session, opened.round_id)):
        record_judgement(
            session,
            task.task_id,
            rater="bo",
            answer=answer,
            idempotency_key=f"{task.task_id}",
            simulated=number < simulated,
            now=now,
        )


@pytest.fixture
def good_round(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> OpenedRound:
    """A first round of 4 queries, graded 2 of 2 throughout."""
    opened = open_small_round(make_evidence(baseline=False))
    grade_all(session, opened, 2, now)
    return opened


@pytest.fixture
def make_decision(session: Session, signing_key: Ed25519PrivateKey, now: datetime) -> Callable[..., Decision]:
    def decided(opened: OpenedRound, verdict: Any = "bless", **changes: Any) -> Decision:
        arguments = {"decided_by": "Cy", "reason": "looks right", "signing_key": signing_key, "now": now}
        return decide(session, opened.round_id, verdict, **{**arguments, **changes})

    return decided


MakeDecision = Callable[..., Decision]


@pytest.fixture
def check(signing_key: Ed25519PrivateKey, now: datetime) -> Callable[..., None]:
    def checked(decision: Decision | None, **changes: Any) -> None:
        model = decision.model_sha256 if decision else "0" * 64
        arguments = {"model_sha256": model, "now": now, "allow_simulated": False}
        verify_decision(decision, public_key=signing_key.public_key(), **{**arguments, **changes})

    return checked


Check = Callable[..., None]


def test_a_blessing_passes_and_says_what_it_rests_on(
    make_evidence: MakeEvidence,
    good_round: OpenedRound,
    make_decision: MakeDecision,
    check: Check,
    now: datetime,
    tmp_path: Path,
) -> None:
    decision = make_decision(good_round)
    check(decision)
    evidence = make_evidence(baseline=False)
    assert decision.model_sha256 == evidence.candidate.model_sha256
    assert decision.evidence_sha256 == evidence_sha256(tmp_path)
    assert decision.statistics["precision_at_8"] == 1.0
    assert decision.expires_at == now + timedelta(days=7)
    assert not decision.simulated


def test_the_document_survives_json_and_the_store(
    session: Session, good_round: OpenedRound, make_decision: MakeDecision, check: Check
) -> None:
    decision = make_decision(good_round)
    assert Decision.from_json(decision.to_json()) == decision
    stored = find_decision(session, good_round.candidate_id)
    assert stored == decision
    check(stored)


def test_the_signature_covers_sorted_json_of_all_other_fields(
    good_round: OpenedRound, make_decision: MakeDecision, signing_key: Ed25519PrivateKey
) -> None:
    decision = make_decision(good_round)
    document = json.loads(decision.to_json())
    signature = base64.b64decode(document.pop("signature"))
    signed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    signing_key.public_key().verify(signature, signed)


FORGERIES: dict[str, dict[str, Any]] = {
    "verdict": {"verdict": "reject"},
    "candidate": {"candidate_id": "another"},
    "model": {"model_sha256": "f" * 64},
    "evidence": {"evidence_sha256": "f" * 64},
    "judgements": {"judgements_sha256": "f" * 64},
    "expiry": {"expires_at": datetime.fromisoformat("2030-01-01T00:00:00+00:00")},
    "reason": {"reason": "looks wonderful"},
    "decider": {"decided_by": "Ana"},
    "simulated": {"simulated": True},
    "statistics": {"statistics": {"precision_at_8": 0.99}},
    "no signature": {"signature": ""},
    "no base64": {"signature": "not base64!"},
    "signature of nothing": {"signature": base64.b64encode(bytes(64)).decode()},
}


@pytest.mark.parametrize("change", FORGERIES.values(), ids=FORGERIES.keys())
def test_an_edited_decision_is_invalid(
    good_round: OpenedRound, make_decision: MakeDecision, check: Check, change: dict[str, Any]
) -> None:
    forged = replace(make_decision(good_round), **change)
    with pytest.raises(DecisionInvalid, match="not signed by the expected key"):
        check(forged, allow_simulated=True)


def test_a_rejection_edited_into_a_blessing_is_invalid(
    good_round: OpenedRound, make_decision: MakeDecision, check: Check
) -> None:
    rejection = make_decision(good_round, "reject")
    with pytest.raises(DecisionInvalid):
        check(replace(rejection, verdict="bless"))


def test_another_persons_key_is_invalid(good_round: OpenedRound, make_decision: MakeDecision, check: Check) -> None:
    forged = sign_decision(make_decision(good_round), Ed25519PrivateKey.generate())
    with pytest.raises(DecisionInvalid, match=r"not signed by the expected key; restore .* or train another candidate"):
        check(forged)


def test_a_decision_replayed_for_another_model_is_invalid(
    good_round: OpenedRound, make_decision: MakeDecision, check: Check
) -> None:
    with pytest.raises(DecisionInvalid, match="expected a decision about model 999999999999"):
        check(make_decision(good_round), model_sha256="9" * 64)


def test_a_rejection_is_a_rejection_with_its_reason(
    good_round: OpenedRound, make_decision: MakeDecision, check: Check
) -> None:
    with pytest.raises(DecisionRejected, match="Cy rejected run-7: mixes up shoes"):
        check(make_decision(good_round, "reject", reason="mixes up shoes"))


def test_a_blessing_ends_at_its_expiry(
    good_round: OpenedRound, make_decision: MakeDecision, check: Check, now: datetime
) -> None:
    decision = make_decision(good_round, valid_days=1)
    check(decision, now=now + timedelta(hours=23))
    with pytest.raises(DecisionExpired, match="a round is decided once; train another candidate"):
        check(decision, now=now + timedelta(days=1))


def test_no_decision_is_pending(session: Session, good_round: OpenedRound, check: Check) -> None:
    assert find_decision(session, "nobody") is None
    with pytest.raises(DecisionPending):
        check(find_decision(session, good_round.candidate_id))


def test_all_refusals_share_one_class() -> None:
    refusals = (DecisionPending, DecisionInvalid, DecisionRejected, DecisionExpired)
    assert all(issubclass(refusal, DecisionError) for refusal in refusals)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "bless"}', "extra", "naive time", "wrong verdict"])
def test_a_document_of_another_form_is_invalid(good_round: OpenedRound, make_decision: MakeDecision, text: str) -> None:
    document = json.loads(make_decision(good_round).to_json())
    variants = {
        "extra": {**document, "override": True},
        "naive time": {**document, "expires_at": "2030-01-01T00:00:00"},
        "wrong verdict": {**document, "verdict": "maybe"},
    }
    with pytest.raises(DecisionInvalid, match="expected a decision document") as refused:
        Decision.from_json(json.dumps(variants[text]) if text in variants else text)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("simulated_votes", [1, 4])
def test_any_simulated_vote_makes_the_decision_simulated(
    session: Session,
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    make_decision: MakeDecision,
    check: Check,
    now: datetime,
    simulated_votes: int,
) -> None:
    opened = open_small_round(make_evidence(baseline=False))
    grade_all(session, opened, 2, now, simulated=simulated_votes)
    decision = make_decision(opened)
    assert decision.simulated
    check(decision, allow_simulated=True)
    with pytest.raises(DecisionInvalid, match="expected a decision by people, got the simulated one of 'Cy'"):
        check(decision)


def test_a_simulated_decider_makes_the_decision_simulated(good_round: OpenedRound, make_decision: MakeDecision) -> None:
    assert make_decision(good_round, simulated=True).simulated


def test_what_the_judgements_do_not_carry_is_not_blessed(
    session: Session,
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    make_decision: MakeDecision,
    now: datetime,
) -> None:
    opened = open_small_round(make_evidence(baseline=False))
    grade_all(session, opened, 0, now)
    with pytest.raises(DecisionRefused, match=r"at least 0\.5 with confidence, got 0\.000"):
        make_decision(opened)
    assert make_decision(opened, "reject").verdict == "reject"


def test_an_incomplete_round_may_be_rejected_but_not_blessed(
    open_small_round: OpenRound, make_decision: MakeDecision
) -> None:
    opened = open_small_round()
    with pytest.raises(DecisionRefused, match="4 votes are still to come"):
        make_decision(opened)
    assert make_decision(opened, "reject").statistics == {"tasks": 4, "open_votes": 4}


def test_a_round_past_its_expiry_is_not_decided(
    session: Session, good_round: OpenedRound, make_decision: MakeDecision, now: datetime
) -> None:
    with pytest.raises(RoundExpired, match="train another candidate"):
        make_decision(good_round, now=now + timedelta(days=7))
    assert find_decision(session, good_round.candidate_id) is None


def test_the_same_decision_again_is_the_same_document_even_later(
    good_round: OpenedRound, make_decision: MakeDecision, now: datetime
) -> None:
    assert make_decision(good_round) == make_decision(good_round, now=now + timedelta(days=30))


@pytest.mark.parametrize("change", [{"verdict": "reject"}, {"reason": "other"}, {"decided_by": "Di"}], ids=str)
def test_another_decision_on_a_decided_round_is_refused(
    good_round: OpenedRound, make_decision: MakeDecision, change: dict[str, Any]
) -> None:
    make_decision(good_round)
    with pytest.raises(DecisionRefused, match="a round is decided once"):
        make_decision(good_round, **change)


def test_of_racing_decisions_one_stands(
    store: sessionmaker[Session], good_round: OpenedRound, signing_key: Ed25519PrivateKey, now: datetime
) -> None:
    together = Barrier(6)

    def race(name: str) -> str:
        together.wait()
        with store() as session:
            try:
                decision = decide(
                    session,
                    good_round.round_id,
                    "bless",
                    decided_by=name,
                    reason="fine",
                    signing_key=signing_key,
                    now=now,
                )
            except DecisionRefused:
                return "refused"
        return decision.decided_by

    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(race, ["Bo", "Cy", "Di", "Ed", "Flo", "Gus"]))
    with store() as session:
        standing = find_decision(session, good_round.candidate_id)
    assert outcomes.count("refused") == 5
    assert standing is not None
    assert standing.decided_by in outcomes


@pytest.mark.parametrize("name", ["Ana", " ana "])
def test_the_submitter_does_not_decide(good_round: OpenedRound, make_decision: MakeDecision, name: str) -> None:
    with pytest.raises(DecisionRefused, match="another person must decide"):
        make_decision(good_round, decided_by=name)


def test_the_submitter_may_decide_where_the_decision_is_simulated(
    good_round: OpenedRound, make_decision: MakeDecision
) -> None:
    assert make_decision(good_round, decided_by="Ana", simulated=True).decided_by == "Ana"


@pytest.mark.parametrize("change", [{"reason": " "}, {"decided_by": ""}], ids=str)
def test_a_decision_needs_a_name_and_a_reason(
    good_round: OpenedRound, make_decision: MakeDecision, change: dict[str, str]
) -> None:
    with pytest.raises(DecisionRefused, match="needs a name and a reason"):
        make_decision(good_round, **change)


@pytest.mark.parametrize("change", [{"reason": "\udcff"}, {"decided_by": "Cy\udcff"}, {"reason": "\0"}], ids=ascii)
def test_a_name_or_a_reason_that_is_no_text_decides_nothing(
    session: Session, good_round: OpenedRound, make_decision: MakeDecision, change: dict[str, str]
) -> None:
    with pytest.raises(ReviewError, match="must be text in UTF-8 without a NUL"):
        make_decision(good_round, **change)
    assert find_decision(session, good_round.candidate_id) is None


def test_a_decided_round_takes_no_more_judgements(
    session: Session, open_small_round: OpenRound, make_decision: MakeDecision, now: datetime
) -> None:
    opened = open_small_round()
    make_decision(opened, "reject")
    with pytest.raises(RoundDecided):
        grade_all(session, opened, 3, now)


def test_untouched_judgements_verify(session: Session, good_round: OpenedRound, make_decision: MakeDecision) -> None:
    verify_judgements(session, make_decision(good_round))


TAMPERINGS = {
    "answer": update(JudgementRow).where(JudgementRow.id == 1).values(answer="1"),
    "rater": update(JudgementRow).where(JudgementRow.id == 1).values(rater="Ana"),
    "simulated": update(JudgementRow).where(JudgementRow.id == 1).values(simulated=True),
    "time": update(JudgementRow).values(judged_at=datetime.fromisoformat("2020-01-01T00:00:00+00:00")),
    "order": update(JudgementRow).where(JudgementRow.id == 1).values(task_id=2, rater="di"),
    "side": update(TaskRow).where(TaskRow.id == 1).values(flip=~TaskRow.flip),
    "tie": update(TaskRow).where(TaskRow.id == 1).values(automatic_tie=True),
    "query": update(TaskRow).where(TaskRow.id == 1).values(query={}),
}


@pytest.mark.parametrize("statement", TAMPERINGS.values(), ids=TAMPERINGS.keys())
def test_judgements_edited_after_the_decision_are_found(
    session: Session, good_round: OpenedRound, make_decision: MakeDecision, statement: Any
) -> None:
    decision = make_decision(good_round)
    session.execute(statement)
    session.commit()
    with pytest.raises(DecisionInvalid, match="changed afterwards"):
        verify_judgements(session, decision)


def test_a_deleted_judgement_is_found(session: Session, good_round: OpenedRound, make_decision: MakeDecision) -> None:
    decision = make_decision(good_round)
    session.delete(load_round(session, good_round.round_id).tasks[0].judgements[0])
    session.commit()
    with pytest.raises(DecisionInvalid, match="changed afterwards"):
        verify_judgements(session, decision)


def test_a_decision_edited_in_the_store_is_invalid(
    session: Session, good_round: OpenedRound, make_decision: MakeDecision, check: Check
) -> None:
    rejection = make_decision(good_round, "reject")
    document = rejection.to_json().replace('"reject"', '"bless"')
    session.execute(update(DecisionRow).values(document=document))
    session.commit()
    with pytest.raises(DecisionInvalid):
        check(find_decision(session, good_round.candidate_id))


def test_a_key_is_made_once_private_and_with_its_public_half(
    tmp_path: Path, good_round: OpenedRound, make_decision: MakeDecision, now: datetime
) -> None:
    path = tmp_path / "keys" / "signing.pem"
    first = load_or_create_signing_key(path)
    assert load_or_create_signing_key(path).private_bytes_raw() == first.private_bytes_raw()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(file.name for file in path.parent.iterdir()) == ["signing.pem", "signing.pem.pub"]
    decision = make_decision(good_round, signing_key=first)
    public = load_pem_public_key(public_key_path(path).read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    verify_decision(decision, public_key=public, model_sha256=decision.model_sha256, now=now, allow_simulated=False)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "my shop" / "signing.pem"
    load_or_create_signing_key(path)
    path.chmod(0o644)
    with pytest.raises(SigningKeyError, match=f"run `chmod 600 '{path}'`"):
        load_or_create_signing_key(path)


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_damaged_key_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    path = tmp_path / "signing.pem"
    path.touch(mode=0o600)
    path.write_text(content)
    with pytest.raises(
        SigningKeyError, match=r"signing.pem must hold an Ed25519 .* restore it from a backup.* train another candidate"
    ):
        load_or_create_signing_key(path)


def test_a_public_key_is_no_signing_key(tmp_path: Path) -> None:
    path = tmp_path / "signing.pem"
    load_or_create_signing_key(path)
    path.write_bytes(public_key_path(path).read_bytes())
    with pytest.raises(SigningKeyError, match="must hold an Ed25519 private key"):
        load_or_create_signing_key(path)


def test_a_verdict_given_by_its_word_is_signed_and_read_as_one_of_the_two(
    good_round: OpenedRound, make_decision: MakeDecision
) -> None:
    decision = make_decision(good_round, "reject")
    assert decision.verdict is Decision.from_json(decision.to_json()).verdict is Verdict.REJECT
    assert json.loads(decision.to_json())["verdict"] == "reject"
