"""A round's life: opened on evidence, handed out as tasks, judged, complete or expired."""

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import Select, exists, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Session

from lookalike.errors import UserError
from lookalike.review.evidence import (
    Evidence,
    EvidenceQuery,
    EvidenceResult,
    evidence_sha256,
    image_path,
    query_from_json,
    query_to_json,
    read_evidence,
)
from lookalike.review.store import (
    MAX_ID,
    SETTING_OF_COLUMN,
    CandidateRow,
    JudgementRow,
    RoundRow,
    TaskRow,
    is_storable,
    write_transaction,
)
from lookalike.word import Word

Answer = int | Literal["cant_judge"]
CANT_JUDGE: Final = "cant_judge"
# A candidate has one round, which is decided once; the same day run again is the same candidate.
ANOTHER_CANDIDATE = "train another candidate (another training.seed, or the next day)"
MAX_RATER_LENGTH = 200  # leaves room in a column for the idempotency keys that are made of it


class RoundKind(Word):
    """What raters are asked."""

    SXS = "sxs"  # side by side: which of two grids is better, against the release that serves
    GRADE = "grade"  # how many results are good, while nothing serves


class ReviewError(UserError, code="REVIEW_REFUSES"):
    """The review refuses what was asked; the message says why."""


class NotFound(ReviewError):  # noqa: N818
    """No such round or task."""


class RoundExpired(ReviewError):  # noqa: N818
    """The round's time is over: what was judged is kept, and nothing can be blessed by it."""


class RoundDecided(ReviewError):  # noqa: N818
    """The round has its decision."""


class TaskTaken(ReviewError):  # noqa: N818
    """The task has all its votes, or this rater's already; ask for the next one."""


class JudgementConflict(ReviewError):  # noqa: N818
    """The idempotency key was used for another judgement."""


@dataclass(frozen=True)
class OpenedRound:
    """What `open_round` made, or found made.

    num_tasks: without the automatic ties.
    submitted_by: who asked for it first, '' for nobody.
    stands: what it was opened with, in words, where that is not what was asked now; empty for a new round.
    """

    round_id: int
    candidate_id: str
    kind: RoundKind
    num_tasks: int
    automatic_ties: int
    submitted_by: str
    expires_at: datetime
    stands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Task:
    """What a rater is shown, and no more: two grids (left, right) to compare, or one to grade.

    Which arm is on the left stays in the store. An answer is 1 (left much better) … 5 (right much better) for 'sxs',
    the number of results that are exact or near-same for 'grade', or 'cant_judge'.
    """

    task_id: int
    round_id: int
    kind: RoundKind
    query_image: Path
    grids: tuple[tuple[Path, ...], ...]

    @property
    def valid_answers(self) -> range:
        """The numbers that answer this task."""
        return range(1, 6) if self.kind == RoundKind.SXS else range(len(self.grids[0]) + 1)


@dataclass(frozen=True)
class Judgement:
    """One stored answer."""

    task_id: int
    rater: str
    answer: Answer
    simulated: bool
    judged_at: datetime


def open_round(
    session: Session,
    evidence_dir: Path,
    *,
    submitted_by: str,
    num_queries: int,
    votes_per_task: int,
    min_judged_queries: int,
    delta: float,
    critical_z: float,
    precision_floor: float,
    expiry_days: float,
    seed: int,
    now: datetime | None = None,
) -> OpenedRound:
    """Opens a candidate's round on the first `num_queries` of its evidence, sided by `seed`, and commits it.

    A second call for the candidate returns the round as it is, and says where that is not what was asked: its rules
    were fixed before the first judgement, and who asked first may not decide.

    Raises ReviewError: the candidate's round was opened on other pictures; there are fewer queries than
    `min_judged_queries`; or images are missing below `evidence_dir`.
    Raises sqlalchemy.exc.IntegrityError: a rule is outside its range (see the table's constraints).
    """
    opened_at = now or utc_now()
    evidence = read_evidence(evidence_dir)
    queries = evidence.queries[:num_queries]
    rules = {
        "votes_per_task": votes_per_task,
        "min_judged_queries": min_judged_queries,
        "delta": delta,
        "critical_z": critical_z,
        "precision_floor": precision_floor,
    }
    with write_transaction(session):
        standing = find_round(session, evidence.candidate.candidate_id)
        if standing is not None:
            _check_same_pictures(standing, evidence)
            asked = {"submitted_by": submitted_by, "num_queries": len(queries), **rules}
            return _opened(standing, stands=_differences(standing, asked))
        _check_enough(queries, min_judged_queries)
        _check_images(queries, evidence_dir)
        row = RoundRow(
            candidate=CandidateRow(**asdict(evidence.candidate), submitted_by=submitted_by),
            kind=RoundKind.GRADE if evidence.candidate.baseline_version is None else RoundKind.SXS,
            evidence_dir=str(evidence_dir.absolute()),
            evidence_sha256=evidence_sha256(evidence_dir),
            **rules,
            opened_at=opened_at,
            expires_at=opened_at + timedelta(days=expiry_days),
            tasks=_make_tasks(queries, votes_per_task, seed),
        )
        session.add(row)
        session.flush()
        return _opened(row)


def next_task(session: Session, round_id: int, rater: str, *, now: datetime | None = None) -> Task | None:
    """The task this rater should judge next, or None when no open task is left for them.

    Each rater meets the tasks in an order of their own, so that raters who work side by side seldom judge the same
    task for its last vote. Nothing is reserved: the vote counts when it is recorded.
    """
    require_open(load_round(session, round_id), now or utc_now())
    task_ids = session.scalars(_open_task_ids(round_id, rater)).all()
    if not task_ids:
        return None
    return _show(load_task(session, min(task_ids, key=_order_of(rater))))


def pending_tasks(session: Session, round_id: int) -> list[Task]:
    """All tasks of a round that still want votes, in the round's order."""
    return [_show(task) for task in load_round(session, round_id).tasks if task.slots > 0]


def record_judgement(
    session: Session,
    task_id: int,
    *,
    rater: str,
    answer: Answer,
    idempotency_key: str,
    simulated: bool = False,
    now: datetime | None = None,
) -> Judgement:
    """Stores one rater's answer and commits it; the same key again returns the stored judgement.

    Raises ValueError: the answer is none of the task's kind.
    Raises ReviewError: the rater's name is too long, or no text.
    Raises TaskTaken: the task has its votes, or this rater's; nothing is stored.
    Raises JudgementConflict: the key belongs to another judgement.
    Raises RoundExpired, RoundDecided: the round takes no more judgements.
    """
    check_text("a rater's name", rater, MAX_RATER_LENGTH)
    with write_transaction(session):
        # In PostgreSQL the locked task makes a double click wait here, and then find what the first one stored.
        task = load_task(session, task_id, lock=True)
        stored = session.scalar(select(JudgementRow).filter_by(idempotency_key=idempotency_key))
        if stored is not None:
            return _replay(stored, task_id, rater, answer)
        # Shared with other raters, exclusive against decide(): no judgement slips in behind a decision.
        require_open(load_round(session, task.round_id, lock="share"), now or utc_now())
        _check_answer(_show(task), answer)
        _claim_slot(session, task, rater)
        row = JudgementRow(
            task_id=task_id,
            rater=rater,
            answer=str(answer),
            simulated=simulated,
            idempotency_key=idempotency_key,
            judged_at=now or utc_now(),
        )
        session.add(row)
        session.flush()
        return _judgement(row)


def utc_now() -> datetime:
    """The present, with its zone."""
    return datetime.now(timezone.utc)


def find_round(session: Session, candidate_id: str) -> RoundRow | None:
    """The row of a candidate's round, where it has one."""
    return session.scalar(select(RoundRow).filter_by(candidate_id=candidate_id))


def load_round(session: Session, round_id: int, *, lock: Literal["no", "share", "exclusive"] = "no") -> RoundRow:
    """The row of a round; raises NotFound. Locks work in PostgreSQL; SQLite's write transaction needs none."""
    locking = {"no": None, "share": {"read": True}, "exclusive": True}[lock]
    row = session.get(RoundRow, round_id, with_for_update=locking) if abs(round_id) <= MAX_ID else None
    if row is None:
        raise NotFound(f"expected the id of a round, got {round_id}; `lookalike review list` shows them")
    return row


def load_task(session: Session, task_id: int, *, lock: bool = False) -> TaskRow:
    """The row of a task; raises NotFound."""
    row = session.get(TaskRow, task_id, with_for_update=lock or None) if abs(task_id) <= MAX_ID else None
    if row is None:
        raise NotFound(f"expected the id of a task, got {task_id}; `lookalike review show` lists those of a round")
    return row


def check_text(what: str, text: str, max_length: int | None = None) -> None:
    """Raises ReviewError unless every database keeps the text as it is."""
    if max_length is not None and len(text) > max_length:
        raise ReviewError(f"{what} must be at most {max_length} characters long, got {len(text)}; give a shorter one")
    if not is_storable(text):
        raise ReviewError(f"{what} must be text in UTF-8 without a NUL, got {text[:40]!a}; write it so")


def parse_answer(stored: str) -> Answer:
    """The answer that a judgement's column spells."""
    return CANT_JUDGE if stored == CANT_JUDGE else int(stored)


def require_open(row: RoundRow, now: datetime) -> None:
    """Raises RoundDecided or RoundExpired where a round takes nothing more."""
    if row.decision is not None:
        raise RoundDecided(f"round {row.id} has been decided and takes nothing more")
    if now >= row.expires_at:
        raise RoundExpired(
            f"round {row.id} expired at {row.expires_at.isoformat()}, it is now {now.isoformat()}; {ANOTHER_CANDIDATE}"
        )


def _check_same_pictures(row: RoundRow, evidence: Evidence) -> None:
    """Evidence may be written again, by another version and with more queries: raters must have seen the same."""
    now_shown = {query.query_id: query.shown for query in evidence.queries}
    asked = [query_from_json(task.query) for task in row.tasks]
    others = [query.query_id for query in asked if now_shown.get(query.query_id, query.shown) != query.shown]
    if others or row.candidate.model_sha256 != evidence.candidate.model_sha256:
        raise ReviewError(
            f"round {row.id} of candidate {row.candidate_id} was opened on other pictures for {len(others)} of its"
            f" {len(asked)} queries, and a candidate has one round; take back what changed its search, or"
            f" {ANOTHER_CANDIDATE}"
        )


def _differences(row: RoundRow, asked: Mapping[str, object]) -> tuple[str, ...]:
    """What a round was opened with, by its settings' names, where that is not what is asked now."""
    standing = {"submitted_by": row.candidate.submitted_by, "num_queries": len(row.tasks)}
    standing |= {column: getattr(row, column) for column in SETTING_OF_COLUMN}
    return tuple(
        f"{SETTING_OF_COLUMN.get(name, name)} {_word(standing[name])} (asked now: {_word(value)})"
        for name, value in asked.items()
        if standing[name] != value
    )


def _word(value: object) -> str:
    return "nobody" if value == "" else str(value)


def _check_enough(queries: Sequence[EvidenceQuery], min_judged: int) -> None:
    if len(queries) < min_judged:
        raise ReviewError(f"a round needs at least {min_judged} queries to be decided, got {len(queries)}")


def _check_images(queries: Sequence[EvidenceQuery], evidence_dir: Path) -> None:
    wanted = sorted({image for query in queries for image in query.image_hashes})
    missing = [path for path in (image_path(evidence_dir, image) for image in wanted) if not path.is_file()]
    if missing:
        raise ReviewError(
            f"expected the images of all queries, got {len(missing)} of {len(wanted)} missing: {missing[0]}"
        )


def _make_tasks(queries: Sequence[EvidenceQuery], votes_per_task: int, seed: int) -> list[TaskRow]:
    coin = random.Random(f"sides {seed}")
    return [
        TaskRow(
            position=position,
            query=query_to_json(query),
            flip=coin.random() < 0.5,
            automatic_tie=query.is_exact_tie,
            slots=0 if query.is_exact_tie else votes_per_task,
        )
        for position, query in enumerate(queries)
    ]


def _opened(row: RoundRow, stands: tuple[str, ...] = ()) -> OpenedRound:
    ties = sum(task.automatic_tie for task in row.tasks)
    return OpenedRound(
        round_id=row.id,
        candidate_id=row.candidate_id,
        kind=RoundKind(row.kind),
        num_tasks=len(row.tasks) - ties,
        automatic_ties=ties,
        submitted_by=row.candidate.submitted_by,
        expires_at=row.expires_at,
        stands=stands,
    )


def _open_task_ids(round_id: int, rater: str) -> Select[tuple[int]]:
    judged = exists().where(JudgementRow.task_id == TaskRow.id, JudgementRow.rater == rater)
    return select(TaskRow.id).where(TaskRow.round_id == round_id, TaskRow.slots > 0, ~judged)


def _order_of(rater: str) -> Callable[[int], bytes]:
    return lambda task_id: hashlib.sha256(f"{rater}\n{task_id}".encode()).digest()


def _show(task: TaskRow) -> Task:
    directory = Path(task.round.evidence_dir)
    query = query_from_json(task.query)
    grids = [query.candidate] if query.baseline is None else [query.baseline, query.candidate]
    if task.flip:
        grids.reverse()
    return Task(
        task_id=task.id,
        round_id=task.round_id,
        kind=RoundKind(task.round.kind),
        query_image=image_path(directory, query.image_sha256),
        grids=tuple(_grid_images(directory, grid) for grid in grids),
    )


def _grid_images(directory: Path, grid: tuple[EvidenceResult, ...]) -> tuple[Path, ...]:
    return tuple(image_path(directory, result.image_sha256) for result in grid)


def _check_answer(task: Task, answer: Answer) -> None:
    if str(answer) not in {*map(str, task.valid_answers), CANT_JUDGE}:
        numbers = f"{task.valid_answers[0]} to {task.valid_answers[-1]}"
        raise ValueError(f"a {task.kind} task is answered by {numbers} or {CANT_JUDGE!r}, got {answer!r}")


def _replay(stored: JudgementRow, task_id: int, rater: str, answer: Answer) -> Judgement:
    if (stored.task_id, stored.rater, stored.answer) != (task_id, rater, str(answer)):
        raise JudgementConflict(
            f"{stored.rater} answered task {stored.task_id} with {stored.answer}, got {answer} for task {task_id} now: "
            "a judgement stays as it was given"
        )
    return _judgement(stored)


def _claim_slot(session: Session, task: TaskRow, rater: str) -> None:
    """Takes one vote of a task in a single statement: racing raters never take more than there are."""
    if session.scalar(select(JudgementRow.id).filter_by(task_id=task.id, rater=rater)) is not None:
        raise TaskTaken(f"expected one judgement a rater, got a second one of {rater!r} for task {task.id}")
    claim = update(TaskRow).where(TaskRow.id == task.id, TaskRow.slots > 0).values(slots=TaskRow.slots - 1)
    claimed = session.execute(claim)
    if not isinstance(claimed, CursorResult) or claimed.rowcount != 1:
        raise TaskTaken(f"task {task.id} has all its votes")


def _judgement(row: JudgementRow) -> Judgement:
    return Judgement(row.task_id, row.rater, parse_answer(row.answer), row.simulated, row.judged_at)
