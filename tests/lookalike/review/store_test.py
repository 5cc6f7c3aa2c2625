import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.orm import Session, sessionmaker

from lookalike.configs.settings import ReviewSettings
from lookalike.review.store import (
    SETTING_OF_COLUMN,
    CandidateRow,
    JudgementRow,
    ReviewStoreError,
    RoundRow,
    TaskRow,
    open_store,
    write_transaction,
)


def round_row(now: datetime, **changes: Any) -> RoundRow:
    candidate = CandidateRow(candidate_id="c", model_sha256="", model_uri="", submitted_by="", metrics={"a": 1.5})
    fields = {
        "candidate": candidate,
        "kind": "sxs",
        "evidence_dir": "/evidence",
        "evidence_sha256": "",
        "votes_per_task": 1,
        "min_judged_queries": 1,
        "delta": 0.1,
        "critical_z": 1.96,
        "precision_floor": 0.6,
        "opened_at": now,
        "expires_at": now + timedelta(days=1),
    }
    return RoundRow(**{**fields, **changes})


def task_row(slots: int = 1) -> TaskRow:
    return TaskRow(position=0, query={"ü": [1, None]}, flip=True, automatic_tie=False, slots=slots)


def judgement_row(task: TaskRow, now: datetime, rater: str, key: str) -> JudgementRow:
    return JudgementRow(task=task, rater=rater, answer="3", simulated=False, idempotency_key=key, judged_at=now)


def test_postgresql_is_reached_by_its_plain_url(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with store() as session:
        assert str(session.scalar(text("SELECT version()"))).startswith("PostgreSQL")
    store.kw["bind"].dispose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://ana:secret@127.0.0.1:1/none", "connection"),
        ("mongodb://ana:secret@127.0.0.1/none", "mongodb"),
        ("ana:secret", "another form: ana"),
        ("sqlite:////proc", "unable to open database file"),
    ],
)
def test_an_address_without_a_database_is_told_in_one_line_that_keeps_the_password(url: str, reason: str) -> None:
    with pytest.raises(ReviewStoreError, match=f"review.*{reason}") as raised:
        open_store(url)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_rows_come_back_as_they_went(session: Session, now: datetime) -> None:
    with write_transaction(session):
        session.add(round_row(now, tasks=[task_row()]))
    row = session.scalars(select(RoundRow)).one()
    assert (row.delta, row.candidate.metrics, row.tasks[0].query) == (0.1, {"a": 1.5}, {"ü": [1, None]})


def test_times_are_kept_in_utc(session: Session, now: datetime) -> None:
    local = now.astimezone(timezone(timedelta(hours=5)))
    with write_transaction(session):
        session.add(round_row(local))
    opened_at = session.scalars(select(RoundRow)).one().opened_at
    assert opened_at == now
    assert opened_at.tzinfo is timezone.utc


def test_a_time_without_zone_is_refused(session: Session, now: datetime) -> None:
    with pytest.raises(StatementError, match="times must carry a zone"), write_transaction(session):
        session.add(round_row(now, opened_at=now.replace(tzinfo=None)))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "vote"},
        {"votes_per_task": 0},
        {"min_judged_queries": 0},
        {"delta": 1.0},
        {"critical_z": 0.0},
        {"precision_floor": 1.1},
        {"expires_at": datetime(2020, 1, 1, tzinfo=timezone.utc)},
    ],
)
def test_the_database_refuses_rules_out_of_range(session: Session, now: datetime, changes: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), write_transaction(session):
        session.add(round_row(now, **changes))
    assert session.scalars(select(RoundRow)).all() == []


def bounds(setting: str) -> dict[str, float]:
    """JSON Schema's bounds of a setting of the review."""
    described = TypeAdapter(ReviewSettings).json_schema()["properties"][setting]
    return {name: value for name, value in described.items() if "inimum" in name or "aximum" in name}


def edges(setting: str, kind: type) -> tuple[list[Any], list[Any]]:
    """The outermost values that a setting may have, and the nearest that it may not."""
    inside, outside = [], []
    for name, bound in bounds(setting).items():
        outwards = -math.inf if "inimum" in name else math.inf
        if kind is int:
            beside = int(bound) + (1 if outwards > 0 else -1), int(bound) - (1 if outwards > 0 else -1)
        else:
            beside = math.nextafter(bound, outwards), math.nextafter(bound, -outwards)
        is_exclusive = name.startswith("exclusive")
        inside.append(beside[1] if is_exclusive else kind(bound))
        outside.append(kind(bound) if is_exclusive else beside[0])
    return inside, outside


def test_every_bounded_setting_of_the_review_is_a_rule_of_the_table_or_none_that_it_keeps() -> None:
    bounded = {field.name for field in dataclasses.fields(ReviewSettings) if bounds(field.name)}
    assert bounded - set(SETTING_OF_COLUMN.values()) == {"num_queries", "expiry_days"}


@pytest.mark.parametrize("column", SETTING_OF_COLUMN)
def test_settings_and_database_draw_the_same_line(session: Session, now: datetime, column: str) -> None:
    setting = SETTING_OF_COLUMN[column]
    inside, outside = edges(setting, type(getattr(ReviewSettings(), setting)))
    assert inside
    for value in inside:
        TypeAdapter(ReviewSettings).validate_python({"num_queries": 2**31 - 1, setting: value})
        with write_transaction(session):
            session.add(round_row(now, **{column: value}))
            session.flush()
            session.execute(delete(RoundRow))
            session.execute(delete(CandidateRow))
        session.expunge_all()
    for value in outside:
        with pytest.raises(ValidationError):
            TypeAdapter(ReviewSettings).validate_python({setting: value})
        with pytest.raises((IntegrityError, DataError)), write_transaction(session):
            session.add(round_row(now, **{column: value}))


def test_the_database_refuses_negative_slots(session: Session, now: datetime) -> None:
    with write_transaction(session):
        session.add(round_row(now, tasks=[task_row(slots=0)]))
    with pytest.raises(IntegrityError), write_transaction(session):
        session.execute(update(TaskRow).values(slots=TaskRow.slots - 1))


@pytest.mark.parametrize("second", [("bo", "key-2"), ("cy", "key-1"), ("", "key-2")])
def test_the_database_refuses_a_second_vote_a_reused_key_and_a_nameless_rater(
    session: Session, now: datetime, second: tuple[str, str]
) -> None:
    task = task_row()
    with write_transaction(session):
        session.add(round_row(now, tasks=[task]))
        session.add(judgement_row(task, now, "bo", "key-1"))
    with pytest.raises(IntegrityError), write_transaction(session):
        session.add(judgement_row(task, now, *second))


def test_the_database_refuses_a_judgement_of_no_task(session: Session, now: datetime) -> None:
    with pytest.raises(IntegrityError), write_transaction(session):
        session.add(
            JudgementRow(task_id=99, rater="bo", answer="3", simulated=False, idempotency_key="k", judged_at=now)
        )


def test_a_failed_block_leaves_nothing(session: Session, now: datetime) -> None:
    def write_and_fail() -> None:
        with write_transaction(session):
            session.add(round_row(now))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert session.scalars(select(RoundRow)).all() == []


def test_many_processes_may_open_a_new_store_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/review.db"
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(open_store, [url] * 8))
    for store in stores:
        store.kw["bind"].dispose()


def test_a_reader_who_dawdles_stops_no_writer(store: sessionmaker[Session], now: datetime) -> None:
    with store() as reader, store() as writer:
        assert reader.scalars(select(RoundRow)).all() == []
        with write_transaction(writer):
            writer.add(round_row(now))
        with write_transaction(reader):
            assert reader.scalars(select(RoundRow)).one().kind == "sxs"


def test_sqlite_checks_foreign_keys_and_logs_ahead(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/review.db")
    with store() as session:
        assert session.scalar(text("PRAGMA foreign_keys")) == 1
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    store.kw["bind"].dispose()


def test_a_file_that_is_no_database_is_named_at_once_with_the_way_out(tmp_path: Path) -> None:
    database = tmp_path / "review.sqlite"
    database.write_bytes(b"no database at all" * 100)
    with pytest.raises(ReviewStoreError) as refused:
        open_store(f"sqlite:///{database}")
    assert str(refused.value) == (
        f"the review's database {database} cannot be used: file is not a database; make it reachable and writable, "
        "or restore it from a backup"
    )


def test_a_database_that_lost_its_pages_is_told(tmp_path: Path, now: datetime) -> None:
    database = tmp_path / "review.sqlite"
    store = open_store(f"sqlite:///{database}")
    with store() as session, write_transaction(session):
        session.add(round_row(now))
    store.kw["bind"].dispose()  # the last one to leave folds the write-ahead log into the file
    os.truncate(database, 5000)
    with pytest.raises(ReviewStoreError, match="malformed"), open_store(f"sqlite:///{database}")() as session:
        session.scalars(select(RoundRow)).all()


def test_an_address_that_names_no_database_is_told_without_its_password() -> None:
    for url in ("nonsense", "oracle9://ann:secret@host/shop"):
        with pytest.raises(ReviewStoreError, match=r"review.database_url must look like") as refused:
            open_store(url)
        assert "secret" not in str(refused.value)


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    with pytest.raises(ReviewStoreError, match=r"cannot be used: .*connection") as refused:
        open_store("postgresql://ann:secret@127.0.0.1:1/shop")
    assert "secret" not in str(refused.value)
