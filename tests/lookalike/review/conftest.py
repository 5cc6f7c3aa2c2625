import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.orm import Session, sessionmaker

from lookalike.review.evidence import Candidate, Evidence, EvidenceQuery, EvidenceResult, image_path, write_evidence
from lookalike.review.rounds import OpenedRound, open_round
from lookalike.review.store import Table, open_store

POSTGRES_PROGRAMS = Path("/usr/lib/postgresql")  # where Debian keeps them, a folder a version
NOON = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)


def sha256(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def result(name: str, product_id: str = "", category: str = "") -> EvidenceResult:
    return EvidenceResult(image_sha256=sha256(name), product_id=product_id, category=category, score=0.5)


def query(number: int, *, baseline: bool = True, tie: bool = False) -> EvidenceQuery:
    """The candidate finds the query's product twice; the baseline finds others of no category."""
    product = f"shirt-{number}"
    good = tuple(result(f"{product}/{rank}", product, "Tops > Shirt") for rank in range(2))
    bad = tuple(result(f"other-{number}/{rank}", f"other-{number}") for rank in range(2))
    return EvidenceQuery(
        query_id=f"q{number:03}",
        image_sha256=sha256(f"query-{number}"),
        category="Tops > Shirt",
        product_id=product,
        domain="wild",
        candidate=good,
        baseline=(good if tie else bad) if baseline else None,
    )


def evidence(*, queries: int = 4, ties: int = 0, baseline: bool = True, name: str = "run-7") -> Evidence:
    return Evidence(
        candidate=Candidate(
            candidate_id=name,
            model_sha256=sha256(f"model of {name}"),
            model_uri=f"{name}-pipeline",
            baseline_version=3 if baseline else None,
            metrics={"recall_at_1": 0.5},
        ),
        queries=tuple(query(n, baseline=baseline, tie=n < ties) for n in range(queries)),
    )


def write_images(evidence: Evidence, directory: Path) -> None:
    for query in evidence.queries:
        for image in query.image_hashes:
            path = image_path(directory, image)
            path.parent.mkdir(exist_ok=True, parents=True)
            path.touch()


@pytest.fixture
def now() -> datetime:
    return NOON


@pytest.fixture
def make_evidence() -> Callable[..., Evidence]:
    return evidence


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server of this session's own, reached by a socket alone."""
    programs = sorted(POSTGRES_PROGRAMS.glob("*/bin/initdb"))
    if not programs:
        pytest.skip(f"needs PostgreSQL (Debian: apt-get install postgresql), there is none in {POSTGRES_PROGRAMS}")
    # Not below pytest's own folder, which no other user may enter.
    directory = tempfile.mkdtemp(prefix="lookalike-postgres-")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user:
        shutil.chown(directory, user)

    def run(program: str, *arguments: str) -> None:
        command = [programs[-1].with_name(program), f"--pgdata={directory}/data", *arguments]
        subprocess.run(command, cwd=directory, user=user, stdout=subprocess.DEVNULL, check=True)

    run("initdb", "--username=postgres", "--auth=trust", "--no-sync")
    options = f"-c listen_addresses= -c unix_socket_directories={directory} -c fsync=off"
    run("pg_ctl", "--wait", f"--log={directory}/log", f"--options={options}", "start")
    yield f"postgresql://postgres@/postgres?host={directory}"
    run("pg_ctl", "--mode=immediate", "stop")
    shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new SQLite file, and an empty PostgreSQL database."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/new/folder/review.db"


@pytest.fixture
def store(store_url: str) -> Iterator[sessionmaker[Session]]:
    sessions = open_store(store_url)
    yield sessions
    engine = sessions.kw["bind"]
    Table.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def session(store: sessionmaker[Session]) -> Iterator[Session]:
    with store() as opened:
        yield opened


@pytest.fixture
def signing_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def open_small_round(session: Session, tmp_path: Path) -> Callable[..., OpenedRound]:
    """Writes drawn evidence and opens a round on it; every rule can be overridden by name."""

    def opened(subject: Evidence | None = None, **rules: Any) -> OpenedRound:
        subject = subject or evidence()
        write_evidence(subject, tmp_path)
        write_images(subject, tmp_path)
        settings: dict[str, Any] = {
            "submitted_by": "Ana",
            "num_queries": 100,
            "votes_per_task": 1,
            "min_judged_queries": 1,
            "delta": 0.1,
            "critical_z": 1.96,
            "precision_floor": 0.5,
            "expiry_days": 7,
            "seed": 5,
            "now": NOON,
        }
        return open_round(session, tmp_path, **{**settings, **rules})

    return opened
