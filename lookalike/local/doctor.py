"""Whether this machine and a workspace are fit to run: one finding for each thing and each file, with what to do."""

import importlib.metadata
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from ml_metadata.proto import metadata_store_pb2
from sqlalchemy import Engine, create_engine, inspect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from lookalike.catalog.dead_letters import DeadLetter
from lookalike.catalog.taxonomy import Taxonomy
from lookalike.configs.settings import Settings
from lookalike.errors import SystemRefusedError, UserError
from lookalike.local.metadata import open_metadata
from lookalike.local.workspace import SETTINGS_FILE, Workspace, open_workspace, read_baseline
from lookalike.release.ledger import Ledger
from lookalike.release.manifest import ReleaseError, verify
from lookalike.release.store import RELEASES
from lookalike.review.decisions import load_signing_key
from lookalike.review.evidence import EVIDENCE_FILE, read_evidence
from lookalike.review.overview import list_rounds
from lookalike.rooms import ROOT, check_rooms

MIN_FREE_BYTES = 5 * 1024**3
MIN_MEMORY_BYTES = 4 * 1024**3
P = ParamSpec("P")
Artifact = metadata_store_pb2.Artifact
DOCUMENTS = {  # of the kinds of artifact, by the names that ML Metadata has for these
    "components.Candidate": "candidate.json",
    "components.RetrievalEvaluation": EVIDENCE_FILE,
    "components.Taxonomy": "taxonomy.json",
    "components.Verdict": "verdict.json",
}
PACKAGES = ("tfx", "tensorflow", "tf-keras", "apache-beam", "tensorflow-transform", "ml-metadata", "scann")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    what: was looked at; a file is named by its path below the root.
    ok: whether it will do.
    told: what was found; where it will not do, what to do as well.
    """

    what: str
    ok: bool
    told: str


class _UnfitError(Exception):
    """What was looked at will not do; the message says why, and what to do."""


def examine(root: Path) -> list[Finding]:
    """Looks at everything, whatever the findings before; changes nothing."""
    return [
        _look("python", _python),
        *(_look(package, _package, package) for package in PACKAGES),
        _look("rooms", _rooms),
        _look("memory", _memory),
        _disk(root),
        *_workspace(Workspace(root, Settings())),
    ]


def _python() -> str:
    told = f"3.10 expected, {sys.version.split()[0]} found"
    if sys.version_info[:2] != (3, 10):
        raise _UnfitError(f"{told}; {_again()} with Python 3.10")
    return told


def _package(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise _UnfitError(f"not installed; {_again()}") from error


def _again() -> str:
    """How what is installed beside this code is installed again."""
    return "run `make setup`" if (ROOT / "Makefile").exists() else "install Lookalike again"


def _rooms() -> str:
    check_rooms()
    return "all ours"


def _memory() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    told = f"4 GiB needed, {memory / 1024**3:.0f} GiB found"
    if memory < MIN_MEMORY_BYTES:
        raise _UnfitError(f"{told}; give this machine more, or take another one")
    return told


def _disk(root: Path) -> Finding:
    existing = next(path for path in (root.resolve(), *root.resolve().parents) if path.exists())
    return _look(f"disk at {existing}", _room_on, existing)


def _room_on(existing: Path) -> str:
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    told = f"5 GiB free and writable needed, {free / 1024**3:.0f} GiB {'writable' if writable else 'read-only'} found"
    if not writable:
        raise _UnfitError(f"{told}; make it writable for this user, or choose another place by --root")
    if free < MIN_FREE_BYTES:
        raise _UnfitError(f"{told}; free some space, or choose another place by --root")
    return told


def _workspace(places: Workspace) -> Iterator[Finding]:
    """places: of the root; its settings are read here."""
    if not _is_begun(places):
        yield Finding("workspace", True, f"none at {places.root} yet, `lookalike run` makes one")
        return
    yield _look(SETTINGS_FILE, _settings, places.root)
    workspace = _open_as_far_as_possible(places)
    metadata = _look("metadata.sqlite", _metadata, workspace)
    yield metadata
    yield from _artifacts(workspace) if metadata.ok else [Finding("artifacts", False, _not_before(metadata.what))]
    yield _look("review database", _review, workspace)
    yield _look("review/signing.key", _signing_key, workspace)
    yield _look("releases/CURRENT", _current, workspace)
    ledger = workspace.releases.ledger
    yield _look("releases/history.jsonl", _history, ledger)
    yield _look("releases/.last_version", _last_version, ledger)
    for directory in _releases(workspace):
        yield _look(str(directory.relative_to(workspace.root)), _release, directory)
    for folder, check in (("days", _day), ("checkpoints", _checkpoint), ("dead_letters", _letters)):
        yield from _folder(workspace.root / folder, check)


def _is_begun(places: Workspace) -> bool:
    """Whether a run, even one that was killed, has left anything at a root."""
    left = (SETTINGS_FILE, "metadata.sqlite", "artifacts", "review", "releases", "days", "checkpoints", "dead_letters")
    return any((places.root / name).exists() for name in left)


def _settings(root: Path) -> str:
    if not (root / SETTINGS_FILE).exists():
        return "none yet, a run that puts a candidate before people writes it"
    open_workspace(root)
    return "valid settings"


def _open_as_far_as_possible(places: Workspace) -> Workspace:
    """With settings that cannot be read, what lies below the root can still be looked at."""
    try:
        return open_workspace(places.root)[0]
    except (UserError, OSError):
        return places


def _look(what: str, look: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Finding:
    try:
        return Finding(what, True, look(*args, **kwargs))
    except (UserError, _UnfitError) as error:
        return Finding(what, False, " ".join(str(error).split()))
    except OSError as error:
        return Finding(what, False, str(SystemRefusedError.of(error)))
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding(what, False, f"cannot be read: {' '.join(str(error).split())}; restore it from a backup")


def _not_before(what: str) -> str:
    return f"not looked at; mend {what} first"


def _metadata(workspace: Workspace) -> str:
    if not workspace.metadata.exists():
        return "none yet"
    store = open_metadata(workspace.metadata, only_read=True)
    _check_pages(workspace.metadata)
    return f"{len(store.get_executions())} steps have run"


def _artifacts(workspace: Workspace) -> Iterator[Finding]:
    """Whether they are in their places, and each document of them that cannot be read."""
    live = _live(workspace)
    yield _look("artifacts", _in_their_places, workspace.root, [place for _, place in live])
    for kind, place in live:
        if kind in DOCUMENTS and place.exists():
            file = place / DOCUMENTS[kind]
            found = _look(_below(workspace.root, file), _document, file)
            if not found.ok:
                yield found


def _live(workspace: Workspace) -> list[tuple[str, Path]]:
    """The kind and the place of every artifact; what a killed step left is none."""
    if not workspace.metadata.exists():
        return []
    store = open_metadata(workspace.metadata, only_read=True)
    kinds = {kind.id: kind.name for kind in store.get_artifact_types()}
    return [(kinds[one.type_id], Path(one.uri)) for one in store.get_artifacts() if one.state == Artifact.LIVE]


def _in_their_places(root: Path, places: list[Path]) -> str:
    """Addresses are absolute: after a move they lead to where the root was, or to what is there now."""
    elsewhere = [place for place in places if not place.is_relative_to(root)]
    if elsewhere:
        raise _UnfitError(
            f"expected every artifact below {root}, {len(elsewhere)} of {len(places)} are recorded elsewhere "
            f"such as {elsewhere[0]}: the root was moved or copied; move it back, or mount it there (mount --bind)"
        )
    if missing := [place for place in places if not place.exists()]:
        raise _UnfitError(
            f"{len(missing)} of {len(places)} are missing, such as {missing[0]}; restore them from a backup"
        )
    return f"{len(places)}, all in their places" if places else "none yet"


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _document(file: Path) -> str:
    try:
        _read_document(file)
    except (OSError, UserError, ValueError, TypeError) as error:
        raise _UnfitError(
            f"{file} must be the JSON that a run wrote, it is missing or damaged; restore it from a backup, "
            "or train again"
        ) from error
    return "as a run writes it"


def _read_document(file: Path) -> None:
    """Reads it as whoever needs it does."""
    # Here, for the row about the rooms tells of foreign ones, whatever comes after it.
    from components.candidate import CandidateFacts
    from components.verdict import StageVerdict

    match file.name:
        case "candidate.json":
            CandidateFacts.load(str(file.parent))
        case "verdict.json":
            StageVerdict.load(str(file.parent))
        case "taxonomy.json":
            Taxonomy.from_json(file.read_text(encoding="utf-8"))
        case _:
            read_evidence(file.parent)


def _review(workspace: Workspace) -> str:
    """Opens the database to read only: the commands that open it for work make what is missing."""
    try:
        url = make_url(workspace.review_database)
        if url.get_backend_name() == "sqlite":
            return _review_file(Path(url.database or "").absolute())
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        return _rounds(create_engine(url, execution_options={"postgresql_readonly": True}))
    except (ArgumentError, ImportError) as error:
        raise _UnfitError(
            "review.database_url must be the address of a SQLite or PostgreSQL database, it is none; "
            "give another one by --set to the next `lookalike run`"
        ) from error


def _review_file(database: Path) -> str:
    if not database.exists():
        return f"none at {database} yet"
    _check_pages(database)
    return _rounds(create_engine(URL.create("sqlite", database=database.as_uri(), query={"mode": "ro", "uri": "true"})))


def _rounds(engine: Engine) -> str:
    try:
        with closing(engine.connect()) as connection, Session(connection) as session:
            return f"{len(list_rounds(session)) if inspect(connection).has_table('round') else 0} rounds"
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().partition("\n")[0]
        raise _UnfitError(
            f"it cannot be read: {reason}; make it reachable and readable, or restore it from a backup"
        ) from error
    except (ValueError, TypeError, KeyError) as error:
        raise _UnfitError("it holds a round or decision that cannot be read; restore it from a backup") from error
    finally:
        engine.dispose()


def _check_pages(database: Path) -> None:
    """Reads a SQLite file to its end, for a damaged page is told only by who reads it."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            [(first, *_), *_] = connection.execute("PRAGMA quick_check")
    except sqlite3.DatabaseError as error:
        first = str(error)
    if first != "ok":
        raise _UnfitError(f"{database} is damaged: {first}; restore it from a backup")


def _signing_key(workspace: Workspace) -> str:
    if not workspace.signing_key.exists():
        return "none yet, the first decision makes one"
    load_signing_key(workspace.signing_key)
    return "a private key, readable by its owner only"


def _current(workspace: Workspace) -> str:
    pointer = workspace.releases.ledger.current()
    if pointer is None:
        return "none promoted yet"
    try:
        workspace.releases.current()
    except ReleaseError as error:
        raise _UnfitError(
            f"{error}; restore release {pointer.version} from a backup, "
            "or let another one serve by `lookalike rollback`"
        ) from error
    return f"release {pointer.version} serves"


def _history(ledger: Ledger) -> str:
    """With what CURRENT says, which the store takes for its last line."""
    _check_before("releases/CURRENT", ledger.current)
    history = ledger.history()
    return f"{len(history)} times a release began to serve" if history else "none yet"


def _last_version(ledger: Ledger) -> str:
    """With what the history says, whose versions are spent too."""
    _check_before("releases/history.jsonl", ledger.history)
    version = ledger.last_version()
    return f"{version} is the highest version ever given" if version else "none yet"


def _check_before(what: str, read: Callable[[], object]) -> None:
    """What is wrong with another file is told by its own row."""
    try:
        read()
    except ReleaseError as error:
        raise _UnfitError(_not_before(what)) from error


def _releases(workspace: Workspace) -> list[Path]:
    directory = Path(workspace.releases.address, RELEASES)
    return sorted(directory.iterdir(), key=lambda path: (len(path.name), path.name)) if directory.is_dir() else []


def _release(directory: Path) -> str:
    try:
        manifest = verify(directory)
    except ReleaseError as error:
        raise _UnfitError(f"{error}; restore {directory} from a backup") from error
    if str(manifest.facts.get("version")) != directory.name or "decision_id" not in manifest.facts:
        raise _UnfitError(
            f"the manifest of release {directory.name} must name this version and its decision, it does not; "
            f"restore {directory} from a backup"
        )
    return f"{len(manifest.files)} files, each as its manifest says"


def _folder(folder: Path, check: Callable[[Path], str]) -> Iterator[Finding]:
    """One finding for the files that will do, and one for each that will not."""
    files = [path for path in sorted(folder.rglob("*.json*")) if path.is_file()]
    looked = [_look(str(path.relative_to(folder.parent)), check, path) for path in files]
    unfit = [finding for finding in looked if not finding.ok]
    yield Finding(folder.name, True, f"{len(files) - len(unfit)} files can be read")
    yield from unfit


def _day(path: Path) -> str:
    return read_baseline(path)


def _checkpoint(path: Path) -> str:
    try:
        json.loads(path.read_text())
    except ValueError as error:
        raise _UnfitError(
            f"{path} must be the JSON that a training wrote, it is damaged; delete {path.parent}: "
            "that training then begins anew"
        ) from error
    return "a document"


def _letters(path: Path) -> str:
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
        try:
            DeadLetter.from_json(line)
        except (ValueError, TypeError) as error:
            raise _UnfitError(
                f"{path} must hold an image or a row that was set aside on each line, line {number} is none; "
                "restore it from a backup, or delete it: no run reads it"
            ) from error
    return "dead letters"
