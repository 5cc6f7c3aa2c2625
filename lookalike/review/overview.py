"""Rounds as people list and open them: plain dataclasses, with everything simulated marked as such."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookalike.review.decisions import Decision, Verdict, stored_decision
from lookalike.review.evidence import Candidate
from lookalike.review.outcome import Outcome, assess
from lookalike.review.rounds import RoundKind, load_round, utc_now
from lookalike.review.store import JudgementRow, RoundRow, TaskRow
from lookalike.word import Word


class RoundState(Word):
    """How far a round is."""

    OPEN = "open"  # votes are still to come
    COMPLETE = "complete"  # all votes are in, and nobody has decided
    DECIDED = "decided"
    EXPIRED = "expired"  # its time ended without a decision


@dataclass(frozen=True)
class RoundSummary:
    """One line of the list; `simulated` where any judgement or the decision is."""

    round_id: int
    candidate_id: str
    kind: RoundKind
    state: RoundState
    verdict: Verdict | None
    simulated: bool
    num_queries: int
    automatic_ties: int
    judgements: int
    open_votes: int
    opened_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class SubmittedCandidate(Candidate):
    """A candidate and who asked for its round, '' for nobody."""

    submitted_by: str


@dataclass(frozen=True)
class RoundDetails:
    """All there is to know before deciding; the outcome holds no win counts while votes are still to come."""

    summary: RoundSummary
    candidate: SubmittedCandidate
    evidence_dir: Path
    outcome: Outcome
    decision: Decision | None


def list_rounds(session: Session, *, now: datetime | None = None) -> list[RoundSummary]:
    """All rounds, newest first."""
    rows = session.scalars(select(RoundRow).order_by(RoundRow.id.desc()))
    return [_summarise(session, row, now or utc_now()) for row in rows]


def describe_round(session: Session, round_id: int, *, now: datetime | None = None) -> RoundDetails:
    """One round with its candidate, outcome and decision; raises NotFound."""
    row = load_round(session, round_id)
    return RoundDetails(
        summary=_summarise(session, row, now or utc_now()),
        candidate=_candidate(row),
        evidence_dir=Path(row.evidence_dir),
        outcome=assess(row),
        decision=stored_decision(row),
    )


def _summarise(session: Session, row: RoundRow, now: datetime) -> RoundSummary:
    """Counts in the database: a list of a year's rounds does not read their judgements."""
    decision = stored_decision(row)
    num_queries, automatic_ties, open_votes = session.execute(
        select(
            func.count(),
            func.count().filter(TaskRow.automatic_tie),
            func.coalesce(func.sum(TaskRow.slots), 0),
        ).where(TaskRow.round_id == row.id)
    ).one()
    judgements, simulated = session.execute(
        select(func.count(), func.count().filter(JudgementRow.simulated))
        .select_from(JudgementRow)
        .join(TaskRow)
        .where(TaskRow.round_id == row.id)
    ).one()
    return RoundSummary(
        round_id=row.id,
        candidate_id=row.candidate_id,
        kind=RoundKind(row.kind),
        state=_state(row, open_votes, now),
        verdict=decision.verdict if decision else None,
        simulated=bool(simulated) or (decision is not None and decision.simulated),
        num_queries=num_queries,
        automatic_ties=automatic_ties,
        judgements=judgements,
        open_votes=open_votes,
        opened_at=row.opened_at,
        expires_at=row.expires_at,
    )


def _state(row: RoundRow, open_votes: int, now: datetime) -> RoundState:
    if row.decision is not None:
        return RoundState.DECIDED
    if now >= row.expires_at:
        return RoundState.EXPIRED
    return RoundState.OPEN if open_votes else RoundState.COMPLETE


def _candidate(row: RoundRow) -> SubmittedCandidate:
    stored = row.candidate
    return SubmittedCandidate(
        candidate_id=stored.candidate_id,
        model_sha256=stored.model_sha256,
        model_uri=stored.model_uri,
        submitted_by=stored.submitted_by,
        baseline_version=stored.baseline_version,
        metrics=stored.metrics,
    )
