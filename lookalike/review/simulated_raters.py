"""Raters made of noise and the evidence's own truth, for demos and tests: marked as simulated in every judgement."""

import random
from collections import deque
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session

from lookalike.review.evidence import Evidence, EvidenceQuery, EvidenceResult, read_evidence
from lookalike.review.rounds import ReviewError, RoundKind, Task, load_round, next_task, record_judgement

_SAME_PRODUCT = 2
_SAME_CATEGORY = 1
_UNRELATED = 0
_GAINS = (_UNRELATED, _SAME_CATEGORY, _SAME_PRODUCT)

# Differences of the grids' mean gain, as a share of the best gain, from which a rater sees better and much better.
_BETTER = 0.05
_MUCH_BETTER = 0.25

Truth = tuple[str, str]


def judge_round(
    session: Session,
    round_id: int,
    *,
    num_raters: int,
    error_rate: float,
    seed: int,
    now: datetime | None = None,
) -> int:
    """Lets simulated raters judge a round until no task is open; returns the number of their judgements.

    They see a task as people do, only its images, and know of each image its product and category. Every look at a
    result goes wrong with probability `error_rate`. An interrupted call is completed by the next one.

    Raises ReviewError: fewer raters than votes a task wants, so that the round could never be completed.
    """
    row = load_round(session, round_id)
    if num_raters < row.votes_per_task:
        raise ReviewError(f"round {round_id} needs at least {row.votes_per_task} raters, one a vote, got {num_raters}")
    truth = _truth_by_image(read_evidence(Path(row.evidence_dir)))
    waiting = deque(f"simulated-{number}" for number in range(1, num_raters + 1))
    judged = 0
    while waiting:
        rater = waiting.popleft()
        task = next_task(session, round_id, rater, now=now)
        if task is None:
            continue
        answer = _answer(task, truth, error_rate, random.Random(f"{seed}/{rater}/{task.task_id}"))
        record_judgement(
            session,
            task.task_id,
            rater=rater,
            answer=answer,
            idempotency_key=f"simulated/{task.task_id}/{rater}",
            simulated=True,
            now=now,
        )
        waiting.append(rater)
        judged += 1
    return judged


def _truth_by_image(evidence: Evidence) -> dict[str, Truth]:
    shown: list[EvidenceQuery | EvidenceResult] = list(evidence.queries)
    for query in evidence.queries:
        shown += [*query.candidate, *(query.baseline or ())]
    return {image.image_sha256: (image.product_id, image.category) for image in shown}


def _answer(task: Task, truth: dict[str, Truth], error_rate: float, rng: random.Random) -> int:
    query = truth[task.query_image.stem]
    gains = [[_perceived_gain(query, truth[image.stem], error_rate, rng) for image in grid] for grid in task.grids]
    if task.kind == RoundKind.SXS:
        left, right = (sum(grid) / len(grid) / _SAME_PRODUCT for grid in gains)
        return _preference(right - left)
    return sum(gain >= _SAME_CATEGORY for gain in gains[0])


def _perceived_gain(query: Truth, result: Truth, error_rate: float, rng: random.Random) -> int:
    if rng.random() < error_rate:
        return rng.choice(_GAINS)
    if result[0] == query[0]:
        return _SAME_PRODUCT
    return _SAME_CATEGORY if query[1] and result[1] == query[1] else _UNRELATED


def _preference(difference: float) -> int:
    """The 5-point answer to how much better the right grid is."""
    size = (abs(difference) >= _BETTER) + (abs(difference) >= _MUCH_BETTER)
    return 3 + size if difference > 0 else 3 - size
