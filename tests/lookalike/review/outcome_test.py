from collections.abc import Callable
from datetime import datetime

import pytest
from sqlalchemy.orm import Session

from lookalike.review.evidence import Evidence
from lookalike.review.outcome import Outcome, assess
from lookalike.review.rounds import Answer, OpenedRound, load_round, record_judgement

MakeEvidence = Callable[..., Evidence]
OpenRound = Callable[..., OpenedRound]


@pytest.fixture
def outcome_of(session: Session, now: datetime) -> Callable[..., Outcome]:
    """Judges the open tasks in order, each by one answer or a tuple of them, seen with the candidate on the right."""

    def judged(opened: OpenedRound, answers: list[Answer | tuple[Answer, ...]]) -> Outcome:
        row = load_round(session, opened.round_id)
        open_tasks = [task for task in row.tasks if task.slots]
        for task, votes in zip(open_tasks, answers, strict=False):
            for number, answer in enumerate(votes if isinstance(votes, tuple) else (votes,)):
                mirrored = task.flip and row.kind == "sxs" and answer != "cant_judge"
                record_judgement(
                    session,
                    task.id,
                    rater=f"rater-{number}",
                    answer=6 - answer if mirrored else answer,  # type: ignore[operator]
                    idempotency_key=f"{task.id}/{number}",
                    now=now,
                )
        return assess(load_round(session, opened.round_id))

    return judged


OutcomeOf = Callable[..., Outcome]


def test_an_incomplete_round_tells_progress_and_no_wins(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    outcome = outcome_of(open_small_round(make_evidence(queries=4)), [5, 5, 5])
    assert outcome.numbers == {"tasks": 4, "open_votes": 1}
    assert outcome.obstacles == ("the round is not complete: 1 votes are still to come",)


def test_wins_losses_and_ties_count_by_sign_with_the_automatic_ties(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    opened = open_small_round(make_evidence(queries=8, ties=2), delta=0.9)
    numbers = outcome_of(opened, [5, 4, 4, 1, 3, "cant_judge"]).numbers
    assert (numbers["wins"], numbers["losses"], numbers["ties"]) == (3, 1, 3)
    assert (numbers["queries"], numbers["automatic_ties"], numbers["not_judged"]) == (7, 2, 1)
    assert numbers["z_at_zero"] == pytest.approx(1.0)  # (3 − 1) / √4


def test_the_majority_of_votes_decides_a_query(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    opened = open_small_round(make_evidence(queries=3), votes_per_task=3)
    numbers = outcome_of(opened, [(5, 1, 4), (2, 4, 3), ("cant_judge", 1, "cant_judge")]).numbers
    assert (numbers["wins"], numbers["ties"], numbers["losses"]) == (1, 1, 1)


def test_a_candidate_that_wins_everywhere_has_no_obstacles(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    assert outcome_of(open_small_round(make_evidence(queries=10)), [5] * 10).obstacles == ()


def test_too_few_queries_cannot_show_non_inferiority(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    # By hand: all ties give z = √(n·δ / (1 − δ)) = √(9 · .1 / .9) = 1.
    outcome = outcome_of(open_small_round(make_evidence(queries=9)), [3] * 9)
    assert outcome.numbers["z_at_minus_delta"] == pytest.approx(1.0)
    assert outcome.obstacles == ("non-inferiority needs z(-0.1) of 1.96, got 1.000",)


def test_a_candidate_shown_to_be_worse_is_told_so_even_within_the_margin(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    # By hand: 5 losses in 20, so z(0) = −√5; the margin of .9 alone would let it pass.
    outcome = outcome_of(open_small_round(make_evidence(queries=20), delta=0.9), [1] * 5 + [3] * 15)
    assert outcome.obstacles == ("the candidate is worse than the baseline: z(0) is -2.236, the limit -1.96",)


def test_unjudged_queries_are_no_ties_and_too_many_block_the_round(
    make_evidence: MakeEvidence, open_small_round: OpenRound, outcome_of: OutcomeOf
) -> None:
    opened = open_small_round(make_evidence(queries=10), min_judged_queries=9)
    outcome = outcome_of(opened, [5] * 8 + ["cant_judge"] * 2)
    assert outcome.obstacles == ("at least 9 queries must be judged, got 8",)
    assert "ties" not in outcome.numbers


@pytest.mark.parametrize(("floor", "passes"), [(0.29, True), (0.30, False)])
def test_a_first_round_needs_its_lower_bound_above_the_floor(
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    outcome_of: OutcomeOf,
    floor: float,
    passes: bool,
) -> None:
    # By hand, z = 2 and 4 queries of 2 results: shares 1, 1, 1/2, 1/2 are 3 of 4 queries; (.75 + .5 − 2·√.109375) / 2.
    opened = open_small_round(make_evidence(baseline=False), precision_floor=floor, critical_z=2.0)
    outcome = outcome_of(opened, [2, 2, 1, 1])
    assert outcome.numbers["precision_at_8"] == 0.75
    assert outcome.numbers["precision_lower_bound"] == pytest.approx(0.2943, abs=1e-4)
    assert (outcome.obstacles == ()) == passes
