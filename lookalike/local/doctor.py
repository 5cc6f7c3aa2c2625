"""Whether this machine and a workspace are fit to run: one finding each, with what to do."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lookalike.local.workspace import NoWorkspaceError, open_workspace
from lookalike.review.overview import list_rounds

MIN_FREE_BYTES = 5 * 1024**3
MIN_MEMORY_BYTES = 4 * 1024**3
PACKAGES = ("tfx", "tensorflow", "tf-keras", "apache-beam", "tensorflow-transform", "ml-metadata", "scann")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
      what: was looked at.
      ok: whether it will do.
      told: what was found, or expected and found.
    """

    what: str
    ok: bool
    told: str


def examine(root: Path) -> list[Finding]:
    """Looks at everything, whatever the findings before."""
    return [
        Finding("python", sys.version_info[:2] == (3, 10), f"3.10 expected, {sys.version.split()[0]} found"),
        *_packages(),
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


def _memory() -> Finding:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Finding("memory", memory >= MIN_MEMORY_BYTES, f"4 GiB needed, {memory / 1024**3:.0f} GiB found")


def _disk(root: Path) -> Finding:
    existing = next(path for path in (root.resolve(), *root.resolve().parents) if path.exists())
    free, writable = shutil.disk_usage(existing).free, os.access(existing, os.W_OK)
    told = f"5 GiB free and writable needed, {free / 1024**3:.0f} GiB {'writable' if writable else 'read-only'} found"
    return Finding(f"disk at {existing}", writable and free >= MIN_FREE_BYTES, told)


def _workspace(root: Path) -> Iterator[Finding]:
    try:
        workspace, _ = open_workspace(root)
    except NoWorkspaceError:
        yield Finding("workspace", True, f"none at {root} yet")
        return

    def rounds() -> str:
        with workspace.review_session() as session:
            return f"{len(list_rounds(session))} rounds"

    def release() -> str:
        current = workspace.releases.current()
        if current is None:
            return "none promoted yet"
        current.verify()
        return f"version {current.version}, every file as its manifest says"

    yield _attempt("review database", rounds)
    yield _attempt("current release", release)


def _attempt(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except Exception as error:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding(what, False, f"{type(error).__name__}: {error}")
