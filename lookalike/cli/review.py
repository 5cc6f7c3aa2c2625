"""The commands with which analysts judge candidates and decide on them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.console import plain, print_json, say, tell, tell_rows
from lookalike.cli.options import ROOT, AsJson, Root, open_root

if TYPE_CHECKING:
    from lookalike.review.rounds import Answer

SHOWN_TASKS = 10
group = typer.Typer(help="Judge candidates and decide on them.")


@group.command("list")
def review_list(root: Root = ROOT, as_json: AsJson = False) -> None:
    """List the review rounds, newest first."""
    from lookalike.review.overview import list_rounds

    workspace, _ = open_root(root)
    with workspace.review_session() as session:
        rows = [plain(asdict(summary)) for summary in list_rounds(session)]
    if as_json:
        return print_json(rows)
    shown = ("round_id", "candidate_id", "kind", "state", "verdict", "simulated", "judgements", "open_votes")
    tell_rows([{name: row[name] for name in shown} for row in rows], as_json, title="Review rounds")


@group.command("show")
def review_show(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Show a round: its candidate, what is still to judge, and the outcome once it is known."""
    from lookalike.review.overview import describe_round
    from lookalike.review.rounds import pending_tasks

    workspace, _ = open_root(root)
    with workspace.review_session() as session:
        details = describe_round(session, round_id)
        pending = [_task(task) for task in pending_tasks(session, round_id)]
    told = plain(asdict(details)) | {"pending_tasks": pending}
    if as_json:
        return print_json(told)
    tell(told["summary"] | told["candidate"] | told["outcome"], as_json, title=f"Round {round_id}")
    for task in pending[:SHOWN_TASKS]:
        tell(_pictures(task), as_json, title=f"Task {task['task']}")
    if len(pending) > SHOWN_TASKS:
        say(f"{len(pending) - SHOWN_TASKS} more tasks are shown as these are judged, or at once by --json")


@group.command("judge")
def review_judge(
    task_id: Annotated[int, typer.Argument(help="From `review show`.")],
    answer: Annotated[str, typer.Argument(help="1…5 (left … right better), 0…8 (how many fit), or cant_judge.")],
    rater: Annotated[str, typer.Option("--rater", help="Who judges.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Record one judgement; saying the same again changes nothing."""
    from lookalike.review.rounds import record_judgement

    if not rater.strip():
        raise typer.BadParameter("--rater must name who judges, got nothing")
    given = _parse_answer(answer)
    workspace, _ = open_root(root)
    with workspace.review_session() as session:
        try:
            judgement = record_judgement(
                session, task_id, rater=rater, answer=given, idempotency_key=f"{rater}:{task_id}"
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    tell(plain(asdict(judgement)), as_json, title="Recorded")


@group.command("simulate")
def review_simulate(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    raters: Annotated[int, typer.Option(min=1, help="How many simulated raters.")] = 6,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="How often they err.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of their errors.")] = 0,
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Let simulated raters judge a round. It is marked as simulated from then on, and so is its decision."""
    from lookalike.review.simulated_raters import judge_round

    workspace, _ = open_root(root)
    with workspace.review_session() as session:
        recorded = judge_round(session, round_id, num_raters=raters, error_rate=error_rate, seed=seed)
    tell({"round": round_id, "simulated_judgements": recorded}, as_json, title="Simulated")


@group.command("bless")
def review_bless(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    by: Annotated[str, typer.Option("--by", help="Who decides; not who started the run.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Sign the blessing of a candidate whose judgements carry it."""
    _decide(root, round_id, "bless", by, reason, as_json)


@group.command("reject")
def review_reject(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    by: Annotated[str, typer.Option("--by", help="Who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Sign the rejection of a candidate."""
    _decide(root, round_id, "reject", by, reason, as_json)


def _parse_answer(text: str) -> "Answer":
    from lookalike.review.rounds import CANT_JUDGE

    if text == CANT_JUDGE:
        return CANT_JUDGE
    if not text.isdecimal():
        raise typer.BadParameter(f"an answer is a number or {CANT_JUDGE}, got {text}")
    return int(text)


def _task(task: Any) -> dict[str, Any]:
    """Where a rater finds the pictures, and what may be answered."""
    return {
        "task": task.task_id,
        "kind": task.kind,
        "query": str(task.query_image),
        "grids": [[str(path) for path in grid] for grid in task.grids],
        "answers": f"{task.valid_answers[0]}…{task.valid_answers[-1]}",
    }


def _pictures(task: dict[str, Any]) -> dict[str, Any]:
    """A task as lines, a picture each; two grids are compared, one is graded."""
    sides = ("left", "right") if len(task["grids"]) == 2 else ("result",)
    grids = zip(sides, task["grids"], strict=True)
    shown = {f"{side} {rank}": path for side, grid in grids for rank, path in enumerate(grid, start=1)}
    return {"kind": task["kind"], "answers": task["answers"], "query": task["query"]} | shown


def _decide(root: Path, round_id: int, verdict: str, by: str, reason: str, as_json: bool) -> None:
    from lookalike.review.decisions import Verdict, decide, load_or_create_signing_key

    workspace, settings = open_root(root)
    with workspace.review_session() as session:
        decision = decide(
            session,
            round_id,
            Verdict(verdict),
            decided_by=by,
            reason=reason,
            signing_key=load_or_create_signing_key(workspace.signing_key),
            valid_days=settings.review.expiry_days,
        )
    tell(plain(asdict(decision)), as_json, title="Decision")
