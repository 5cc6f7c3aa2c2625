from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from lookalike.review.evidence import Evidence
from lookalike.review.outcome import assess
from lookalike.review.rounds import OpenedRound, ReviewError, load_round
from lookalike.review.simulated_raters import judge_round
from lookalike.review.store import JudgementRow

MakeEvidence = Callable[..., Evidence]


OpenRound = Callable[..., OpenedRound]


def answers(session: Session) -> list[tuple[str, str]]:
    votes = session.scalars(select(JudgementRow).order_by(JudgementRow.task_id, JudgementRow.rater))
    return [(vote.rater, vote.answer) for vote in votes]


def test_attentive_raters_see_the_better_side_whichever_it_is(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=10, ties=2))
    assert judge_round(session, opened.round_id, num_raters=3, error_rate=0.0, seed=1, now=now) == 8
    numbers = assess(load_round(session, opened.round_id)).numbers
    assert (numbers["wins"], numbers["losses"], numbers["ties"]) == (8, 0, 2)
    assert {answer for _, answer in answers(session)} == {"1", "5"}


def test_attentive_raters_grade_by_product_and_category(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(baseline=False))
    judge_round(session, opened.round_id, num_raters=1, error_rate=0.0, seed=1, now=now)
    assert assess(load_round(session, opened.round_id)).numbers["precision_at_8"] == 1.0


def test_every_judgement_is_marked_simulated(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence())
    judge_round(session, opened.round_id, num_raters=2, error_rate=0.2, seed=1, now=now)
    assert session.scalars(select(JudgementRow.simulated)).all() == [True] * 4


def test_votes_are_spread_over_the_raters_and_all_given(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=9), votes_per_task=2)
    assert judge_round(session, opened.round_id, num_raters=3, error_rate=0.1, seed=1, now=now) == 18
    shares = session.execute(select(func.count()).select_from(JudgementRow).group_by(JudgementRow.rater))
    assert all(4 <= share <= 8 for (share,) in shares)


def test_the_seed_repeats_the_judgements_and_noise_changes_them(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=12, baseline=False))

    def judged_anew(error_rate: float, seed: int) -> list[tuple[str, str]]:
        for task in load_round(session, opened.round_id).tasks:
            task.slots = 1
            for vote in task.judgements:
                session.delete(vote)
        session.commit()
        judge_round(session, opened.round_id, num_raters=2, error_rate=error_rate, seed=seed, now=now)
        return answers(session)

    assert judged_anew(0.5, 1) == judged_anew(0.5, 1)
    assert judged_anew(0.5, 1) != judged_anew(0.5, 2)
    assert {answer for _, answer in judged_anew(0.9, 1)} != {"2"}


def test_a_second_call_has_nothing_left_to_do(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence())
    judge_round(session, opened.round_id, num_raters=1, error_rate=0.0, seed=1, now=now)
    assert judge_round(session, opened.round_id, num_raters=1, error_rate=0.0, seed=1, now=now) == 0


def test_too_few_raters_to_complete_a_round_are_refused(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound
) -> None:
    opened = open_small_round(make_evidence(), votes_per_task=3)
    with pytest.raises(ReviewError, match="needs at least 3 raters, one a vote, got 2"):
        judge_round(session, opened.round_id, num_raters=2, error_rate=0.0, seed=1)
