from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session

from lookalike.review.decisions import decide
from lookalike.review.evidence import Evidence
from lookalike.review.overview import SubmittedCandidate, describe_round, list_rounds
from lookalike.review.rounds import NotFound, OpenedRound, pending_tasks, record_judgement

MakeEvidence = Callable[..., Evidence]
OpenRound = Callable[..., OpenedRound]


def judge_all(session: Session, opened: OpenedRound, now: datetime, **changes: Any) -> None:
    for task in pending_tasks(session, opened.round_id):
        arguments = {"rater": "bo", "answer": 3, "idempotency_key": str(task.task_id), "now": now}
        record_judgement(session, task.task_id, **{**arguments, **changes})


def test_rounds_are_listed_newest_first_with_their_state(
    session: Session,
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    signing_key: Ed25519PrivateKey,
    now: datetime,
) -> None:
    opened = {
        name: open_small_round(make_evidence(name=name, ties=1), expiry_days=days)
        for name, days in [("expired", 1), ("decided", 1), ("complete", 7), ("open", 7)]
    }
    judge_all(session, opened["complete"], now)
    decide(
        session,
        opened["decided"].round_id,
        "reject",
        decided_by="Cy",
        reason="no",
        signing_key=signing_key,
        now=now,
    )
    listed = list_rounds(session, now=now + timedelta(days=2))
    assert [(row.candidate_id, row.state) for row in listed] == [
        (name, name) for name in ("open", "complete", "decided", "expired")
    ]
    assert [row.verdict for row in listed] == [None, None, "reject", None]
    assert [(row.num_queries, row.automatic_ties, row.judgements, row.open_votes) for row in listed] == [
        (4, 1, 0, 3),
        (4, 1, 3, 0),
        (4, 1, 0, 3),
        (4, 1, 0, 3),
    ]


def test_an_empty_store_lists_nothing(session: Session) -> None:
    assert list_rounds(session) == []


def test_one_simulated_judgement_marks_the_round_in_every_listing(
    session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round()
    assert not list_rounds(session, now=now)[0].simulated
    first = pending_tasks(session, opened.round_id)[0]
    record_judgement(session, first.task_id, rater="s", answer=3, idempotency_key="s", simulated=True, now=now)
    judge_all(session, opened, now)
    assert list_rounds(session, now=now)[0].simulated
    assert describe_round(session, opened.round_id, now=now).summary.simulated


def test_a_simulated_decision_marks_the_round(
    session: Session, open_small_round: OpenRound, signing_key: Ed25519PrivateKey, now: datetime
) -> None:
    opened = open_small_round()
    decision = decide(
        session,
        opened.round_id,
        "reject",
        decided_by="robot",
        reason="no",
        signing_key=signing_key,
        simulated=True,
        now=now,
    )
    details = describe_round(session, opened.round_id, now=now)
    assert details.summary.simulated
    assert details.decision == decision


def test_a_round_is_described_with_candidate_and_outcome_once_complete(
    session: Session,
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    now: datetime,
    tmp_path: Path,
) -> None:
    opened = open_small_round()
    before = describe_round(session, opened.round_id, now=now)
    assert before.candidate == SubmittedCandidate(**asdict(make_evidence().candidate), submitted_by="Ana")
    assert before.evidence_dir == tmp_path
    assert before.outcome.numbers == {"tasks": 4, "open_votes": 4}
    judge_all(session, opened, now)
    after = describe_round(session, opened.round_id, now=now)
    assert (after.outcome.numbers["ties"], after.decision) == (4, None)


def test_a_round_nobody_opened_is_not_found(session: Session) -> None:
    with pytest.raises(NotFound, match="round, got 5"):
        describe_round(session, 5)
