from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from lookalike.configs.settings import ReviewSettings
from lookalike.review.evidence import Evidence, image_path, query_from_json, write_evidence
from lookalike.review.rounds import (
    Answer,
    Judgement,
    JudgementConflict,
    NotFound,
    OpenedRound,
    ReviewError,
    RoundExpired,
    Task,
    TaskTaken,
    load_round,
    next_task,
    open_round,
    pending_tasks,
    record_judgement,
)
from lookalike.review.store import JudgementRow, TaskRow

MakeEvidence = Callable[..., Evidence]
OpenRound = Callable[..., OpenedRound]


def judge(session: Session, task: Task, rater: str, answer: Answer, now: datetime, key: str = "") -> Judgement:
    return record_judgement(
        session,
        task.task_id,
        rater=rater,
        answer=answer,
        idempotency_key=key or f"{rater}/{task.task_id}",
        now=now,
    )


def test_a_round_compares_where_a_baseline_serves(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=5, ties=2))
    assert (opened.kind, opened.num_tasks, opened.automatic_ties) == ("sxs", 3, 2)
    assert opened.expires_at == now + timedelta(days=7)
    assert [len(task.grids) for task in pending_tasks(session, opened.round_id)] == [2, 2, 2]


def test_a_first_round_grades(session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound) -> None:
    opened = open_small_round(make_evidence(baseline=False))
    assert (opened.kind, opened.num_tasks) == ("grade", 4)
    task = pending_tasks(session, opened.round_id)[0]
    assert len(task.grids) == 1
    assert list(task.valid_answers) == [0, 1, 2]


def test_opening_again_returns_the_round_with_its_first_rules(session: Session, open_small_round: OpenRound) -> None:
    first = open_small_round(delta=0.1)
    again = open_small_round(delta=0.9)
    assert again == replace(first, stands=("non_inferiority_margin 0.1 (asked now: 0.9)",))
    assert load_round(session, first.round_id).delta == 0.1


def test_who_asks_again_or_for_another_number_of_queries_gets_the_standing_round(
    session: Session, open_small_round: OpenRound
) -> None:
    first = open_small_round(submitted_by="Ana", num_queries=3)
    assert (first.submitted_by, first.num_tasks, first.stands) == ("Ana", 3, ())
    again = open_small_round(submitted_by="Bo", num_queries=2)
    assert (again.round_id, again.submitted_by, again.num_tasks) == (first.round_id, "Ana", 3)
    assert again.stands == ("submitted_by Ana (asked now: Bo)", "num_queries 3 (asked now: 2)")
    assert load_round(session, first.round_id).candidate.submitted_by == "Ana"
    assert open_small_round(submitted_by="", num_queries=3).stands == ("submitted_by Ana (asked now: nobody)",)


def test_evidence_written_again_with_more_queries_leaves_the_round(
    make_evidence: MakeEvidence, open_small_round: OpenRound
) -> None:
    first = open_small_round(make_evidence(queries=3))
    again = open_small_round(make_evidence(queries=5), num_queries=3)
    assert again == first


def test_other_pictures_for_a_query_need_another_candidate(
    make_evidence: MakeEvidence, open_small_round: OpenRound
) -> None:
    evidence = make_evidence(queries=3)
    open_small_round(evidence)
    query = evidence.queries[1]
    turned = replace(query, candidate=query.candidate[::-1])
    with pytest.raises(ReviewError, match=r"opened on other pictures for 1 of its 3 queries.*training\.seed"):
        open_small_round(replace(evidence, queries=(evidence.queries[0], turned, evidence.queries[2])))


def test_another_model_needs_another_candidate(make_evidence: MakeEvidence, open_small_round: OpenRound) -> None:
    evidence = make_evidence()
    open_small_round(evidence)
    other = replace(evidence, candidate=replace(evidence.candidate, model_sha256="0" * 64))
    with pytest.raises(ReviewError, match="a candidate has one round"):
        open_small_round(other)


@pytest.mark.parametrize("num_queries", [1, 10, 30])
def test_a_round_asks_the_first_queries_of_its_evidence(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, num_queries: int
) -> None:
    opened = open_small_round(make_evidence(queries=30), num_queries=num_queries)
    asked = [task.query["query_id"] for task in load_round(session, opened.round_id).tasks]
    assert asked == [f"q{number:03}" for number in range(num_queries)]


def test_the_longest_expiry_that_may_be_set_is_a_date(session: Session, open_small_round: OpenRound) -> None:
    with pytest.raises(ValidationError, match="less than or equal to 1000000"):
        ReviewSettings(expiry_days=1_000_001)
    opened = open_small_round(expiry_days=1_000_000)
    assert load_round(session, opened.round_id).expires_at.year == 4764


def test_too_few_queries_to_ever_decide_are_refused(open_small_round: OpenRound) -> None:
    with pytest.raises(ReviewError, match="at least 5 queries to be decided, got 4"):
        open_small_round(min_judged_queries=5)


def test_a_rule_out_of_range_is_refused_whole(session: Session, open_small_round: OpenRound) -> None:
    with pytest.raises(IntegrityError):
        open_small_round(delta=2.0)
    assert session.scalar(select(func.count()).select_from(TaskRow)) == 0
    assert open_small_round().num_tasks == 4


def test_missing_images_are_told_before_anybody_looks(
    session: Session, make_evidence: MakeEvidence, tmp_path: Path, now: datetime
) -> None:
    write_evidence(make_evidence(queries=1, baseline=False), tmp_path)
    with pytest.raises(ReviewError, match="got 3 of 3 missing"):
        open_round(
            session,
            tmp_path,
            submitted_by="",
            num_queries=1,
            votes_per_task=1,
            min_judged_queries=1,
            delta=0.1,
            critical_z=1.96,
            precision_floor=0.5,
            expiry_days=7,
            seed=0,
            now=now,
        )


def test_sides_are_flipped_by_the_coin_and_the_flip_is_undone_in_the_store(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, tmp_path: Path
) -> None:
    opened = open_small_round(make_evidence(queries=40))
    rows = {row.id: row for row in load_round(session, opened.round_id).tasks}
    for task in pending_tasks(session, opened.round_id):
        candidate = query_from_json(rows[task.task_id].query).candidate
        images = tuple(image_path(tmp_path, result.image_sha256) for result in candidate)
        assert task.grids.index(images) == (0 if rows[task.task_id].flip else 1)
    assert 10 < sum(row.flip for row in rows.values()) < 30


def test_a_task_names_neither_arm_nor_truth(session: Session, open_small_round: OpenRound) -> None:
    opened = open_small_round()
    shown = repr(pending_tasks(session, opened.round_id)[0])
    assert not any(word in shown for word in ("flip", "candidate", "baseline", "shirt", "Tops", "score"))


def test_a_rater_is_given_each_task_once_and_then_none(
    session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(votes_per_task=2)
    seen = []
    while task := next_task(session, opened.round_id, "bo", now=now):
        seen.append(task.task_id)
        judge(session, task, "bo", 3, now)
    assert len(seen) == len(set(seen)) == 4
    assert len(pending_tasks(session, opened.round_id)) == 4


def test_raters_side_by_side_meet_different_tasks(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=50))
    tasks = [next_task(session, opened.round_id, rater, now=now) for rater in ("bo", "cy", "di", "ed")]
    assert len({task.task_id for task in tasks if task}) == 4


@pytest.mark.parametrize("answer", [1, 5, "cant_judge"])
def test_answers_are_kept_in_full(session: Session, open_small_round: OpenRound, now: datetime, answer: Answer) -> None:
    task = pending_tasks(session, open_small_round().round_id)[0]
    stored = judge(session, task, "bo", answer, now)
    assert stored == Judgement(task.task_id, "bo", answer, False, now)
    assert session.scalars(select(JudgementRow.answer)).all() == [str(answer)]


@pytest.mark.parametrize(("baseline", "answer"), [(True, 0), (True, 6), (False, 3), (False, -1), (True, True)])
def test_other_answers_are_refused_and_keep_the_slot(
    session: Session,
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    now: datetime,
    baseline: bool,
    answer: int,
) -> None:
    opened = open_small_round(make_evidence(baseline=baseline))
    task = pending_tasks(session, opened.round_id)[0]
    with pytest.raises(ValueError, match=f"or 'cant_judge', got {answer}"):
        judge(session, task, "bo", answer, now)
    assert task in pending_tasks(session, opened.round_id)


def test_the_same_click_again_returns_the_first_judgement(
    session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    task = pending_tasks(session, open_small_round(votes_per_task=3).round_id)[0]
    first = judge(session, task, "bo", 4, now, key="click")
    later = judge(session, task, "bo", 4, now + timedelta(days=30), key="click")
    assert later == first
    assert session.scalar(select(TaskRow.slots).filter_by(id=task.task_id)) == 2


def test_a_key_is_not_reused_for_another_answer(session: Session, open_small_round: OpenRound, now: datetime) -> None:
    task = pending_tasks(session, open_small_round().round_id)[0]
    judge(session, task, "bo", 4, now, key="click")
    with pytest.raises(JudgementConflict, match=r"answered task .* a judgement stays as it was given"):
        judge(session, task, "bo", 2, now, key="click")


def test_a_second_opinion_of_the_same_rater_is_refused(
    session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    task = pending_tasks(session, open_small_round(votes_per_task=2).round_id)[0]
    judge(session, task, "bo", 4, now, key="one")
    with pytest.raises(TaskTaken, match="a second one of 'bo'"):
        judge(session, task, "bo", 4, now, key="two")
    assert session.scalar(select(TaskRow.slots).filter_by(id=task.task_id)) == 1


def test_a_task_with_all_its_votes_takes_no_more(session: Session, open_small_round: OpenRound, now: datetime) -> None:
    task = pending_tasks(session, open_small_round().round_id)[0]
    judge(session, task, "bo", 4, now)
    with pytest.raises(TaskTaken, match="has all its votes"):
        judge(session, task, "cy", 4, now)


def test_automatic_ties_are_nobodys_work(
    session: Session, make_evidence: MakeEvidence, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(make_evidence(queries=2, ties=2))
    assert next_task(session, opened.round_id, "bo", now=now) is None


def test_an_expired_round_takes_nothing_and_keeps_what_it_has(
    session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    opened = open_small_round(expiry_days=1)
    first, second, *_ = pending_tasks(session, opened.round_id)
    judge(session, first, "bo", 4, now)
    with pytest.raises(RoundExpired):
        judge(session, second, "bo", 4, now + timedelta(days=1))
    with pytest.raises(RoundExpired):
        next_task(session, opened.round_id, "bo", now=now + timedelta(days=1))
    assert session.scalar(select(func.count()).select_from(JudgementRow)) == 1


@pytest.mark.parametrize("unknown", [41, -1, 2**31, 10**20, -(10**20)])
def test_unknown_rounds_and_tasks_are_named(session: Session, now: datetime, unknown: int) -> None:
    with pytest.raises(NotFound, match=f"round, got {unknown}; `lookalike review list`"):
        next_task(session, unknown, "bo", now=now)
    with pytest.raises(NotFound, match=f"task, got {unknown}; `lookalike review show`"):
        record_judgement(session, unknown, rater="bo", answer=1, idempotency_key="k", now=now)


@pytest.mark.parametrize(
    ("rater", "told"),
    [
        ("b" * 201, "a rater's name must be at most 200 characters long, got 201"),
        ("\udcff", r"a rater's name must be text in UTF-8 without a NUL, got '\\udcff'"),
        ("b\0", r"a rater's name must be text in UTF-8 without a NUL, got 'b\\x00'"),
    ],
    ids=["long", "bytes", "NUL"],
)
def test_a_rater_whom_not_every_database_keeps_is_refused_at_once(
    session: Session, open_small_round: OpenRound, now: datetime, rater: str, told: str
) -> None:
    task = pending_tasks(session, open_small_round().round_id)[0]
    with pytest.raises(ReviewError, match=told):
        judge(session, task, rater, 4, now, key="click")
    assert session.scalar(select(func.count()).select_from(JudgementRow)) == 0
    judge(session, task, "b" * 200, 4, now)


def test_twelve_racing_raters_clicking_thrice_give_each_task_exactly_its_votes(
    store: sessionmaker[Session],
    make_evidence: MakeEvidence,
    open_small_round: OpenRound,
    now: datetime,
) -> None:
    opened = open_small_round(make_evidence(queries=8), votes_per_task=2)
    together = Barrier(12)

    def race(rater: str) -> None:
        together.wait()
        with store() as session:
            for task in pending_tasks(session, opened.round_id):
                for _ in range(3):
                    try_to_judge(session, task, rater)

    def try_to_judge(session: Session, task: Task, rater: str) -> None:
        try:
            judge(session, task, rater, 4, now)
        except TaskTaken:
            session.rollback()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(race, [f"rater-{number}" for number in range(12)]))
    with store() as session:
        tasks = load_round(session, opened.round_id).tasks
        assert Counter(len(task.judgements) for task in tasks) == {2: 8}
        assert [task.slots for task in tasks] == [0] * 8
        assert all(len({vote.rater for vote in task.judgements}) == 2 for task in tasks)


def test_one_click_sent_by_eight_tabs_at_once_is_one_judgement(
    store: sessionmaker[Session], session: Session, open_small_round: OpenRound, now: datetime
) -> None:
    task = pending_tasks(session, open_small_round().round_id)[0]
    session.rollback()
    together = Barrier(8)

    def click(_tab: int) -> Judgement:
        together.wait()
        with store() as own:
            return judge(own, task, "bo", 2, now, key="click")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))
    assert set(answers) == {Judgement(task.task_id, "bo", 2, False, now)}
