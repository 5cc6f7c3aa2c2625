"""The review's tables and how sessions reach them, in SQLite or PostgreSQL."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Engine,
    ForeignKey,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine import URL, Connection, ExceptionContext, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

from lookalike.configs.settings import ReviewSettings
from lookalike.errors import UserError
from lookalike.review.evidence import MAX_NAME_LENGTH

MAX_ID = 2**31 - 1  # of PostgreSQL's integers

_SQLITE_LOCK_TIMEOUT_MS = 30_000
_WRITE = {"sqlite_begin": "BEGIN IMMEDIATE"}

# The rules that a round keeps, and the settings that bound them.
SETTING_OF_COLUMN = {
    "votes_per_task": "votes_per_task",
    "min_judged_queries": "min_judged_queries",
    "delta": "non_inferiority_margin",
    "critical_z": "critical_z",
    "precision_floor": "precision_floor",
}
_COMPARISONS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}  # JSON Schema's words


class ReviewStoreError(UserError, code="REVIEW_STORE_UNUSABLE"):
    """The review's database cannot be reached, read or written."""


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times: SQLite keeps no zone, so values are converted on the way in and marked on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Refuses a time without a zone rather than guess one."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"times must carry a zone, got {value.isoformat()}")
        return value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """PostgreSQL answers in the session's zone, SQLite without any."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


class Table(DeclarativeBase):
    """The base of the five tables: only types that SQLite and PostgreSQL share."""

    type_annotation_map = {datetime: UtcDateTime, str: String(MAX_NAME_LENGTH), dict[str, Any]: JSON}  # noqa: RUF012


class CandidateRow(Table):
    """A model that asked for a blessing."""

    __tablename__ = "candidate"

    candidate_id: Mapped[str] = mapped_column(primary_key=True)
    model_sha256: Mapped[str]
    model_uri: Mapped[str] = mapped_column(Text)
    submitted_by: Mapped[str]
    baseline_version: Mapped[int | None]
    metrics: Mapped[dict[str, Any]]


def _bounds_of_the_settings() -> Iterator[CheckConstraint]:
    """A value that only the database refused would cost the whole training before it."""
    settings = TypeAdapter(ReviewSettings).json_schema()["properties"]
    for column, setting in SETTING_OF_COLUMN.items():
        for bound, comparison in _COMPARISONS.items():
            if bound in settings[setting]:
                yield CheckConstraint(f"{column} {comparison} {settings[setting][bound]}")


class RoundRow(Table):
    """One candidate's review and the rules it was opened under, which never change afterwards."""

    __tablename__ = "round"
    __table_args__ = (
        CheckConstraint("kind IN ('sxs', 'grade')"),
        CheckConstraint("expires_at > opened_at"),
        *_bounds_of_the_settings(),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidate.candidate_id"), unique=True)
    kind: Mapped[str]
    evidence_dir: Mapped[str] = mapped_column(Text)
    evidence_sha256: Mapped[str]
    votes_per_task: Mapped[int]
    min_judged_queries: Mapped[int]
    delta: Mapped[float]
    critical_z: Mapped[float]
    precision_floor: Mapped[float]
    opened_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    candidate: Mapped[CandidateRow] = relationship()
    tasks: Mapped[list["TaskRow"]] = relationship(back_populates="round", order_by="TaskRow.position")
    decision: Mapped["DecisionRow | None"] = relationship(back_populates="round")


class TaskRow(Table):
    """One query to judge; `slots` are the votes still wanted, and a `flip` puts the candidate on the left."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("round_id", "position"), CheckConstraint("slots >= 0"))

    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"))
    position: Mapped[int]
    query: Mapped[dict[str, Any]]
    flip: Mapped[bool]
    automatic_tie: Mapped[bool]
    slots: Mapped[int]

    round: Mapped[RoundRow] = relationship(back_populates="tasks")
    judgements: Mapped[list["JudgementRow"]] = relationship(
        back_populates="task", order_by="JudgementRow.id", lazy="selectin"
    )


class JudgementRow(Table):
    """One rater's answer to one task, in full: the digits of a number, or 'cant_judge'."""

    __tablename__ = "judgement"
    __table_args__ = (UniqueConstraint("task_id", "rater"), CheckConstraint("rater <> ''"))

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"))
    rater: Mapped[str]
    answer: Mapped[str]
    simulated: Mapped[bool]
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    judged_at: Mapped[datetime]

    task: Mapped[TaskRow] = relationship(back_populates="judgements")


class DecisionRow(Table):
    """A round's one decision, as the signed document itself: columns beside it could contradict it."""

    __tablename__ = "decision"

    decision_id: Mapped[str] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("round.id"), unique=True)
    document: Mapped[str] = mapped_column(Text)

    round: Mapped[RoundRow] = relationship(back_populates="decision")


def open_store(url: str) -> sessionmaker[Session]:
    """Connects to `sqlite:///path` or `postgresql://…`, creating the file and the tables where they are missing.

    Raises ReviewStoreError: the database cannot be used; now, or whenever a session finds out.
    """
    try:
        engine = _engine(make_url(url))
    except (ArgumentError, ImportError) as error:
        raise ReviewStoreError(
            "review.database_url must look like sqlite:///path or postgresql+psycopg://user@host/database, "
            f"got one of another form: {url.partition(':')[0]}:…"
        ) from error
    event.listen(engine, "handle_error", _tell_what_was_refused)
    with engine.connect().execution_options(**_WRITE) as connection, connection.begin():
        Table.metadata.create_all(connection)
    return sessionmaker(engine)


def is_storable(text: str) -> bool:
    """Whether both databases keep it as it is: a command line's bytes that are no UTF-8 come as lone surrogates."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


@contextmanager
def write_transaction(session: Session) -> Iterator[None]:
    """Runs a block as one committed transaction, or none of it.

    In SQLite it holds the write lock from its start: a transaction that read first and then writes is refused at
    once, without waiting, when another wrote in between.
    """
    session.commit()  # ends the caller's reading, so that the block sees what others wrote meanwhile
    session.connection(execution_options=_WRITE)
    try:
        yield
        session.commit()
    finally:
        session.rollback()  # does nothing after the commit


def _engine(url: URL) -> Engine:
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() != "sqlite":
        return create_engine(url)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver's own BEGIN comes too late; _begin_sqlite sends ours
    for pragma in (f"busy_timeout={_SQLITE_LOCK_TIMEOUT_MS}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")
    _log_ahead(connection)


def _log_ahead(connection: Any) -> None:
    """Switches to the write-ahead log, which SQLite refuses at once, whatever the timeout, while another is at it."""
    deadline = time.monotonic() + _SQLITE_LOCK_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))


def _tell_what_was_refused(context: ExceptionContext) -> None:
    """Raises ReviewStoreError for what a user can mend; a broken constraint or a wrong query stays a defect."""
    refused = context.sqlalchemy_exception
    if type(refused) not in (DatabaseError, OperationalError) or context.engine is None:
        return
    url = context.engine.url
    where = url.database if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
    reason = str(context.original_exception).strip().partition("\n")[0]
    raise ReviewStoreError(
        f"the review's database {where} cannot be used: {reason}; make it reachable and writable, "
        "or restore it from a backup"
    )
