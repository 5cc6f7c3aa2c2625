"""The store of releases: each push is staged, verified, renamed into place, and only then does CURRENT point at it."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lookalike.release.durable import STAGING_PREFIX, locked, replace_link, sync, sync_tree
from lookalike.release.ledger import Ledger, Pointer
from lookalike.release.manifest import Manifest, ReleaseError, read_manifest, verify, write_manifest

Build = Callable[[Path, int], None]


@dataclass(frozen=True)
class Release:
    """One immutable version: its directory and its manifest, as read (call `verify` before loading files)."""

    version: int
    directory: Path
    manifest: Manifest

    @property
    def decision_id(self) -> str:
        """The signed decision that allowed it."""
        return str(self.manifest.facts["decision_id"])

    @property
    def reference(self) -> str:
        """Which release this is, wherever it is named: <directory>@<sha256 of its manifest>."""
        return f"{self.directory}@{self.manifest.sha256}"

    @property
    def encoder_directory(self) -> Path:
        """The SavedModel's directory."""
        return self.directory / "encoder" / str(self.version)

    def verify(self) -> None:
        """Checks every file against the manifest. Raises ReleaseError naming the file."""
        if verify(self.directory).sha256 != self.manifest.sha256:
            raise ReleaseError(f"the manifest of {self.directory} has changed since it was read")


def split_reference(reference: str) -> tuple[str, str]:
    """Directory and manifest's sha256 of a `Release.reference`; '' for the digest where there is none, as in 0.1.0."""
    directory, at, sha256 = reference.rpartition("@")
    return (directory, sha256) if at else (reference, "")


def is_there(reference: str) -> bool:
    """Whether the release that a reference names is still in its place, and not another one."""
    directory, sha256 = split_reference(reference)
    try:
        return read_manifest(Path(directory)).sha256 == (sha256 or read_manifest(Path(directory)).sha256)
    except ReleaseError:
        return False


class ReleaseStore:
    """Releases in a directory, written by one process at a time and read by any number.

    root/releases/<version>/          a release with its manifest; versions only grow
    root/encoder/<version>            link to that release's SavedModel: what a TF Serving points at
    root/CURRENT                      JSON: the version that serves, its manifest's sha256, and how it came to serve
    root/history.jsonl                one line for each push and rollback
    root/.staging-*                   unfinished work; the next writer removes what a killed one left

    A release is published once CURRENT has pointed at it. One that a kill stopped short of that is finished by a push
    of the same decision, and removed by a push of another.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ledger = Ledger(root)

    def push(self, build: Build, *, decision_id: str, facts: Mapping[str, Any]) -> Release:
        """Builds, verifies and publishes the next version, once for each decision.

        build: fills an empty directory with the files of the version it is given, among them encoder/<version>/.
        decision_id: a decision pushed before gets its release back, verified, and CURRENT stays.
        facts: JSON-ready, kept in the manifest; version and decision_id are added.

        Raises what build raises, ReleaseError, or OSError (disk full, read-only); then the store is as it was.
        """
        if not decision_id:
            raise ValueError("decision_id must name the decision that allows the release, got ''")
        self.root.mkdir(parents=True, exist_ok=True)
        with self._writing(keep_decision=decision_id):
            release = self._of_decision(decision_id)
            if release is None:
                release = self._stage(build, {**facts, "decision_id": decision_id})
            else:
                release.verify()
            if release.version not in self._published():
                self._link_encoder(release)
                self._point_at(release, event="push")
            return release

    def current(self) -> Release | None:
        """The release that serves, or None before the first push. Raises ReleaseError where the store is damaged."""
        pointer = self._ledger.current()
        if pointer is None:
            return None
        release = self._open(pointer.version)
        if release.manifest.sha256 != pointer.manifest_sha256:
            raise ReleaseError(f"the manifest of {release.directory} is not the one that CURRENT names")
        return release

    def releases(self) -> list[Release]:
        """Every published release, oldest first."""
        return [self._open(version) for version in self._published()]

    def rollback(self, version: int | None = None) -> Release:
        """Makes an earlier release serve again, by default the newest one older than the current.

        Later encoders are unlinked, because a TF Serving takes the highest version that it sees. Giving a later version
        goes forward again.

        Raises ReleaseError where there is no such release, or it is damaged; then nothing changes.
        """
        with self._writing():
            release = self._open(self._earlier() if version is None else self._existing(version))
            release.verify()
            self._link_encoder(release)
            self._point_at(release, event="rollback")
            self._unlink_later_encoders()
            return release

    def prune(self, keep: int) -> list[int]:
        """Removes the oldest releases, leaving the newest `keep` and the current one. Returns the removed versions."""
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        with self._writing():
            serving = self._serving()
            removed = [version for version in self._published()[:-keep] if version != serving]
            for version in removed:
                self._remove(version)
            return removed

    def _stage(self, build: Build, facts: Mapping[str, Any]) -> Release:
        version = max([self._ledger.last_version(), *self._versions()]) + 1
        staging = self.root / f"{STAGING_PREFIX}release"
        staging.mkdir()
        build(staging, version)
        if not (staging / "encoder" / str(version)).is_dir():
            raise ReleaseError(f"a release must hold encoder/{version}, not found in what was built")
        write_manifest(staging, {**facts, "version": version})
        verify(staging)
        sync_tree(staging)
        # The number is spent before anything with it can be seen, so that no two releases ever share one.
        self._ledger.spend_version(version)
        self._releases_directory.mkdir(exist_ok=True)
        staging.rename(self._releases_directory / str(version))
        sync(self._releases_directory)
        return self._open(version)

    def _point_at(self, release: Release, *, event: str) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        pointer = Pointer(release.version, release.manifest.sha256, event, self._serving(), release.decision_id, at)
        self._ledger.point_at(pointer)

    @contextmanager
    def _writing(self, keep_decision: str | None = None) -> Iterator[None]:
        """Holds the lock, with the store tidy before, and after a failure too."""
        if not self.root.is_dir():
            raise ReleaseError(
                f"the release store must be a directory, found none at {self.root}: nothing was promoted yet; "
                "`lookalike promote` makes the first release"
            )
        with locked(self.root / ".lock"):
            self._tidy(keep_decision)
            try:
                yield
            except BaseException:
                self._tidy()
                raise

    def _tidy(self, keep_decision: str | None = None) -> None:
        """Removes what was never published, save a whole release of the decision that is about to be pushed."""
        for path in self.root.glob(f"{STAGING_PREFIX}*"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        self._ledger.complete_history()
        self._unlink_later_encoders()
        for version in self._unpublished():
            if self._open(version).decision_id != keep_decision:
                self._remove(version)

    def _remove(self, version: int) -> None:
        """Takes a release away in one step: a half-deleted one is never seen."""
        (self._encoder_links / str(version)).unlink(missing_ok=True)
        doomed = self.root / f"{STAGING_PREFIX}removed-{version}"
        (self._releases_directory / str(version)).rename(doomed)
        shutil.rmtree(doomed)

    def _link_encoder(self, release: Release) -> None:
        self._encoder_links.mkdir(exist_ok=True)
        link = self._encoder_links / str(release.version)
        target = f"../releases/{release.version}/encoder/{release.version}"
        replace_link(link, target, staging=self.root / f"{STAGING_PREFIX}encoder")

    def _unlink_later_encoders(self) -> None:
        for version in _numbers_in(self._encoder_links):
            if version > (self._serving() or 0):
                (self._encoder_links / str(version)).unlink()

    def _earlier(self) -> int:
        serving = self._serving()
        earlier = [version for version in self._published() if serving is not None and version < serving]
        if not earlier:
            raise ReleaseError(f"rolling back needs a release older than the current one, found none in {self.root}")
        return earlier[-1]

    def _existing(self, version: int) -> int:
        if version not in self._published():
            published = ", ".join(map(str, self._published())) or "none yet"
            raise ReleaseError(f"version must be one of the releases in {self.root}: {published}; got {version}")
        return version

    def _of_decision(self, decision_id: str) -> Release | None:
        pushed = {pointer.version for pointer in self._ledger.history() if pointer.decision_id == decision_id}
        torn = self._unpublished()  # after tidying, only of this decision
        versions = [version for version in self._versions() if version in pushed or version in torn]
        return self._open(versions[-1]) if versions else None

    def _open(self, version: int) -> Release:
        directory = self._releases_directory / str(version)
        manifest = read_manifest(directory)
        if manifest.facts.get("version") != version or "decision_id" not in manifest.facts:
            raise ReleaseError(f"the manifest in {directory} must be of version {version} and name its decision")
        return Release(version, directory, manifest)

    def _versions(self) -> list[int]:
        return _numbers_in(self._releases_directory)

    def _published(self) -> list[int]:
        """Versions that exist and that CURRENT has pointed at, ascending."""
        pointed_at = {pointer.version for pointer in self._ledger.history()}
        return [version for version in self._versions() if version in pointed_at]

    def _unpublished(self) -> list[int]:
        published = self._published()
        return [version for version in self._versions() if version not in published]

    def _serving(self) -> int | None:
        pointer = self._ledger.current()
        return None if pointer is None else pointer.version

    @property
    def _releases_directory(self) -> Path:
        return self.root / "releases"

    @property
    def _encoder_links(self) -> Path:
        return self.root / "encoder"


def _numbers_in(directory: Path) -> list[int]:
    """Names in a directory that are version numbers, ascending; none where there is no directory."""
    names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())
