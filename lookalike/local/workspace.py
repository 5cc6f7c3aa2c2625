"""Everything a shop has on one machine lies below one root."""

import fcntl
import json
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from lookalike.configs.settings import Settings, SettingsError, load_settings
from lookalike.errors import EXIT_USAGE, UserError
from lookalike.local.days import day_key
from lookalike.release.store import ReleaseStore, is_there
from lookalike.review.store import open_store
from lookalike.storage.local import replace_file

SETTINGS_FILE = "workspace.json"


class NoWorkspaceError(UserError, code="NO_WORKSPACE", exit_status=EXIT_USAGE):
    """There is no workspace at a root."""

    @classmethod
    def at(cls, root: Path, missing: str) -> "NoWorkspaceError":
        """Says what was looked for, and the command that makes it."""
        begin = f"lookalike run --data FOLDER --root {shlex.quote(str(root))}"
        return cls(f"expected a workspace at {root}, found no {missing}; start with `{begin}`")


class WorkspaceDamagedError(UserError, code="WORKSPACE_DAMAGED"):
    """A file that a run left in a workspace is not what was written."""


class WorkspaceBusyError(UserError, code="WORKSPACE_BUSY"):
    """Another run is at work in the same root."""


class Workspace:
    """The layout below a root; nothing is made before it is needed.

    root: any directory; moved as a whole, it is the same workspace no more, for artifacts keep absolute paths.
    settings: of which the review's database may lie elsewhere.
    """

    def __init__(self, root: Path, settings: Settings) -> None:
        self.root = root.resolve()
        self.artifacts = self.root / "artifacts"
        self.metadata = self.root / "metadata.sqlite"
        self.checkpoints = self.root / "checkpoints"
        self.dead_letters = self.root / "dead_letters"
        self.signing_key = self.root / "review" / "signing.key"
        self.releases = ReleaseStore(self.root / "releases")
        self.review_database = settings.review.database_url or f"sqlite:///{self.root / 'review' / 'review.sqlite'}"

    def remember(self, config: str, overrides: Sequence[str]) -> None:
        """Keeps the settings' name and overrides, so that later commands need the root alone."""
        self.root.mkdir(parents=True, exist_ok=True)
        replace_file(self.root / SETTINGS_FILE, json.dumps({"config": config, "overrides": list(overrides)}))

    def review_session(self) -> Session:
        """A session with the review's store, made where it does not exist; close it by `with`."""
        return open_store(self.review_database)()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps a second run out of the root; freed by the system however this one ends.

        Raises WorkspaceBusyError: at once, if there is one already.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise WorkspaceBusyError(
                    f"expected no other run in {self.root}, one is going on; wait until it ends, or take another --root"
                ) from error
            yield

    def baseline_of_day(self, fingerprint: str, settings: Settings) -> str:
        """The reference of the release that served when this day was first run, '' when none did.

        A day is a content of the source with the settings that make a candidate of it. Running it again asks the same
        question: against the same release, even when the day's own candidate serves by now. One that was removed
        since is asked no more.
        """
        note = self.root / "days" / f"{day_key(fingerprint, settings)}.json"
        noted = _noted_baseline(note)
        baseline = self._serving_reference() if noted is None else noted
        note.parent.mkdir(parents=True, exist_ok=True)
        replace_file(note, json.dumps({"fingerprint": fingerprint, "baseline_release": baseline}))
        return baseline

    def _serving_reference(self) -> str:
        current = self.releases.current()
        return "" if current is None else current.reference


def _noted_baseline(note: Path) -> str | None:
    """What a day's note says, unless there is none or its release was removed or replaced."""
    if not note.exists():
        return None
    baseline = read_baseline(note)
    return baseline if not baseline or is_there(baseline) else None


def open_workspace(root: Path) -> tuple[Workspace, Settings]:
    """The workspace that a run made at a root, with the settings of its last run.

    Raises NoWorkspaceError: no run has been there, or none that put a candidate before people.
    Raises WorkspaceDamagedError: what it left cannot be read.
    Raises SettingsError: what is remembered there are no settings of this version.
    """
    remembered = root / SETTINGS_FILE
    if not remembered.exists():
        raise NoWorkspaceError.at(root, SETTINGS_FILE)
    try:
        settings = load_settings(*_read_remembered(remembered))
    except SettingsError as error:
        raise SettingsError(f"{remembered}: {error}; a new `lookalike run` replaces what it remembers") from error
    return Workspace(root, settings), settings


def open_releases(root: Path) -> ReleaseStore:
    """The releases below a root, whatever the settings of its runs: they need none to be served or rolled back.

    Raises NoWorkspaceError: neither a run nor a release has been there.
    """
    workspace = Workspace(root, Settings())
    releases = Path(workspace.releases.address)
    if not (releases.exists() or workspace.metadata.exists()):
        raise NoWorkspaceError.at(root, releases.name)
    return workspace.releases


def _read_remembered(path: Path) -> tuple[str, list[str]]:
    """What `Workspace.remember` wrote."""
    try:
        document = json.loads(path.read_text())
        return str(document["config"]), [str(override) for override in document["overrides"]]
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceDamagedError(
            f"{path} must be the JSON that a run wrote, it is damaged; restore it from a backup, "
            "or repeat the last `lookalike run` with its --config and --set, which writes it again"
        ) from error


def read_baseline(note: Path) -> str:
    """What `Workspace.baseline_of_day` wrote of a day. Raises WorkspaceDamagedError."""
    try:
        return str(json.loads(note.read_text())["baseline_release"])
    except (ValueError, KeyError, TypeError) as error:
        raise WorkspaceDamagedError(
            f"{note} must be the JSON that a run wrote, it is damaged; restore it from a backup, or delete it: "
            "the day is then measured against the release that serves now"
        ) from error
