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

from lookalike.catalog.dead_letters import DeadLetter
from lookalike.configs.settings import Settings
from lookalike.errors import UserError, in_words
from lookalike.local.metadata import open_metadata
from lookalike.local.workspace import SETTINGS_FILE, Workspace, open_workspace
from lookalike.release.manifest import verify
from lookalike.review.decisions import load_signing_key
from lookalike.review.overview import list_rounds
from lookalike.rooms import check_rooms

MIN_FREE_BYTES = 5 * 1024**3
MIN_MEMORY_BYTES = 4 * 1024**3
P = ParamSpec("P")
Artifact = metadata_store_pb2.Artifact
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
        Finding("python", sys.version_info[:2] == (3, 10), f"3.10 expected, {sys.version.split()[0]} found"),
        *_packages(),
        _look("rooms", _rooms),
        _memory(),
        _disk(root),
        *_workspace(root),
    ]


def _packages() -> Iterator[Finding]:
    for package in PACKAGES:
        try:
            yield Finding(package, True, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, False, "not installed; run `make setup`")


def _rooms() -> str:
    check_rooms()
    return "all ours"


def _memory() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", memory >= MIN_MEMORY_BYTES, f"4 GiB needed, {memory / 1024**3:.0f} GiB found")


def _disk(root: Path) -> Finding:
    existing = next(path for path in (root.resolve(), *root.resolve().parents) if path.exists())
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    told = f"5 GiB free and writable needed, {free / 1024**3:.0f} GiB {'writable' if writable else 'read-only'} found"
    return Finding(f"disk at {existing}", writable and free >= MIN_FREE_BYTES, told)


def _workspace(root: Path) -> Iterator[Finding]:
    if not (root / SETTINGS_FILE).exists():
        yield Finding("workspace", True, f"none at {root} yet, `lookalike run` makes one")
        return
    yield _look(SETTINGS_FILE, _settings, root)
    workspace = _open_as_far_as_possible(root)
    yield _look("metadata.sqlite", _metadata, workspace)
    yield _look("artifacts", _artifacts, workspace)
    yield _look("review database", _review, workspace)
    yield _look("review/signing.key", _signing_key, workspace)
    yield _look("releases/CURRENT", _current, workspace)
    for directory in _releases(workspace):
        yield _look(str(directory.relative_to(workspace.root)), _release, directory)
    for folder, check in (("days", _json), ("checkpoints", _json), ("dead_letters", _letters)):
        yield from _folder(workspace.root / folder, check)


def _settings(root: Path) -> str:
    open_workspace(root)
    return "valid settings"


def _open_as_far_as_possible(root: Path) -> Workspace:
    """With settings that cannot be read, what lies below the root can still be looked at."""
    try:
        return open_workspace(root)[0]
    except UserError:
        return Workspace(root, Settings())


def _look(what: str, look: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Finding:
    try:
        return Finding(what, True, look(*args, **kwargs))
    except OSError as error:
        return Finding(what, False, in_words(error))
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding(what, False, " ".join(str(error).split()))


def _metadata(workspace: Workspace) -> str:
    if not workspace.metadata.exists():
        return "none yet"
    store = open_metadata(workspace.metadata, only_read=True)
    _check_pages(workspace.metadata)
    return f"{len(store.get_executions())} steps have run"


def _artifacts(workspace: Workspace) -> str:
    """Addresses are absolute: after a move they lead to where the root was, or to what is there now."""
    if not workspace.metadata.exists():
        return "none yet"
    recorded = open_metadata(workspace.metadata, only_read=True).get_artifacts()
    places = [Path(one.uri) for one in recorded if one.state == Artifact.LIVE]  # a killed step leaves others
    elsewhere = [place for place in places if not place.is_relative_to(workspace.root)]
    if elsewhere:
        raise _UnfitError(
            f"expected every artifact below {workspace.root}, {len(elsewhere)} of {len(places)} are recorded elsewhere "
            f"such as {elsewhere[0]}: the root was moved or copied; move it back, or mount it there (mount --bind)"
        )
    if missing := [place for place in places if not place.exists()]:
        raise _UnfitError(
            f"{len(missing)} of {len(places)} are missing, such as {missing[0]}; restore them from a backup"
        )
    return f"{len(places)}, all in their places"


def _review(workspace: Workspace) -> str:
    _, is_sqlite, file = workspace.review_database.partition("sqlite:///")
    if is_sqlite and not Path(file).exists():
        return f"none at {file} yet"
    if is_sqlite:
        _check_pages(Path(file))
    with workspace.review_session() as session:
        return f"{len(list_rounds(session))} rounds"


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
    current = workspace.releases.current()
    return "none promoted yet" if current is None else f"release {current.version} serves"


def _releases(workspace: Workspace) -> list[Path]:
    directory = workspace.releases.root / "releases"
    return sorted(directory.iterdir(), key=lambda path: (len(path.name), path.name)) if directory.is_dir() else []


def _release(directory: Path) -> str:
    return f"{len(verify(directory).files)} files, each as its manifest says"


def _folder(folder: Path, check: Callable[[Path], str]) -> Iterator[Finding]:
    """One finding for the files that will do, and one for each that will not."""
    files = [path for path in sorted(folder.rglob("*.json*")) if path.is_file()]
    looked = [_look(str(path.relative_to(folder.parent)), check, path) for path in files]
    unfit = [finding for finding in looked if not finding.ok]
    yield Finding(folder.name, True, f"{len(files) - len(unfit)} files can be read")
    yield from unfit


def _json(path: Path) -> str:
    json.loads(path.read_text())
    return "a document"


def _letters(path: Path) -> str:
    return f"{len([DeadLetter.from_json(line) for line in path.read_text().splitlines()])} dead letters"
