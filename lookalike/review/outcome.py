"""What a round's judgements say: the numbers, and each rule of blessing that they do not meet."""

from collections.abc import Mapping
from dataclasses import dataclass

from lookalike.review.evidence import query_from_json
from lookalike.review.rounds import CANT_JUDGE, RoundKind, parse_answer
from lookalike.review.statistics import tango_z, wilson_lower_bound
from lookalike.review.store import RoundRow, TaskRow

Number = int | float


@dataclass(frozen=True)
class Outcome:
    """A round can be blessed when it has no obstacles; while it is being judged, its numbers tell progress only."""

    numbers: Mapping[str, Number]
    obstacles: tuple[str, ...]


def assess(row: RoundRow) -> Outcome:
    """Reads a round's judgements against its rules.

    The statistic waits until every vote is in: its critical value holds for one look at a fixed number of queries.
    """
    open_votes = sum(task.slots for task in row.tasks)
    if open_votes:
        progress = {"tasks": len(row.tasks), "open_votes": open_votes}
        return Outcome(progress, (f"the round is not complete: {open_votes} votes are still to come",))
    scores = [score for score in map(_query_score, row.tasks) if score is not None]
    common = {"queries": len(scores), "not_judged": len(row.tasks) - len(scores), "critical_z": row.critical_z}
    if len(scores) < row.min_judged_queries:
        shortage = f"at least {row.min_judged_queries} queries must be judged, got {len(scores)}"
        return Outcome(common, (shortage,))
    outcome = _compare(row, scores) if row.kind == RoundKind.SXS else _grade(row, scores)
    return Outcome({**common, **outcome.numbers}, outcome.obstacles)


def _compare(row: RoundRow, scores: list[float]) -> Outcome:
    """Against the serving release: not worse by `delta` (Tango's z at −delta), and not shown to be worse at all."""
    wins, losses = sum(score > 0 for score in scores), sum(score < 0 for score in scores)
    z_margin = tango_z(wins, losses, len(scores), -row.delta)
    z_zero = tango_z(wins, losses, len(scores), 0.0)
    obstacles = []
    if z_margin < row.critical_z:
        obstacles.append(f"non-inferiority needs z(-{row.delta:g}) of {row.critical_z:g}, got {z_margin:.3f}")
    if -z_zero >= row.critical_z:
        obstacles.append(
            f"the candidate is worse than the baseline: z(0) is {z_zero:.3f}, the limit -{row.critical_z:g}"
        )
    numbers = {
        "wins": wins,
        "losses": losses,
        "ties": len(scores) - wins - losses,
        "automatic_ties": sum(task.automatic_tie for task in row.tasks),
        "delta": row.delta,
        "z_at_minus_delta": z_margin,
        "z_at_zero": z_zero,
    }
    return Outcome(numbers, tuple(obstacles))


def _grade(row: RoundRow, scores: list[float]) -> Outcome:
    """With nothing serving yet: precision@8 must be surely above the floor.

    The results of one query stand or fall together, so the bound counts queries and not query × result pairs: each
    query is one trial with its share of good results as a fractional success. That is Wilson's bound with the
    results of a query taken as perfectly correlated, the conservative end.
    """
    precision = sum(scores) / len(scores)
    bound = wilson_lower_bound(sum(scores), len(scores), row.critical_z)
    numbers = {
        "precision_at_8": precision,
        "precision_lower_bound": bound,
        "precision_floor": row.precision_floor,
    }
    if bound >= row.precision_floor:
        return Outcome(numbers, ())
    wanted = f"precision@8 must be at least {row.precision_floor:g} with confidence"
    return Outcome(numbers, (f"{wanted}, got {precision:.3f} with a lower bound of {bound:.3f}",))


def _query_score(task: TaskRow) -> float | None:
    """Mean vote of one query: its sign is the winner (sxs), or its value the share of good results (grade)."""
    if task.automatic_tie:
        return 0.0
    answers = [parse_answer(judgement.answer) for judgement in task.judgements]
    votes = [_vote(task, answer) for answer in answers if answer != CANT_JUDGE]
    return sum(votes) / len(votes) if votes else None


def _vote(task: TaskRow, answer: int) -> float:
    if task.round.kind != RoundKind.SXS:
        return answer / len(query_from_json(task.query).candidate)
    towards_right = (answer > 3) - (answer < 3)
    return -towards_right if task.flip else towards_right
