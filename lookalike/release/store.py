"""The store of releases: each push is built aside, verified, published whole; only then does CURRENT point at it."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lookalike.release.ledger import Ledger, Pointer
from lookalike.release.manifest import MANIFEST_FILE, Manifest, ReleaseError, read_manifest, verify, write_manifest
from lookalike.storage.address import local_path, open_folder
from lookalike.storage.folder import ChangedError, joined
from lookalike.storage.lease import locked
from lookalike.storage.local import sweep
from lookalike.storage.staging import fetched, workplace

Build = Callable[[Path, int], None]

RELEASES = "releases"
ENCODERS = "encoder"
ENCODER_FILE = "saved_model.pb"
"""The file of an encoder that a TF Serving waits for, and so the last one to come."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Release:
    """One immutable version: its address and its manifest, as read (call `verify` before loading files)."""

    version: int
    address: str
    manifest: Manifest

    @property
    def decision_id(self) -> str:
        """The signed decision that allowed it."""
        return str(self.manifest.facts["decision_id"])

    @property
    def reference(self) -> str:
        """Which release this is, wherever it is named: <address>@<sha256 of its manifest>."""
        return f"{self.address}@{self.manifest.sha256}"

    @property
    def directory(self) -> Path:
        """Its directory on this machine; of a release in an object store, see `ReleaseCache`."""
        return local_path(self.address)

    @property
    def encoder_directory(self) -> Path:
        """The SavedModel's directory."""
        return self.directory / ENCODERS / str(self.version)

    def verify(self) -> None:
        """Checks every file against the manifest. Raises ReleaseError naming the file."""
        with fetched(self.address) as directory:
            found = verify(directory)
        if found.sha256 != self.manifest.sha256:
            raise ReleaseError(f"the manifest of {self.address} has changed since it was read")


def split_reference(reference: str) -> tuple[str, str]:
    """Address and manifest's sha256 of a `Release.reference`; '' for the digest where there is none, as in 0.1.0."""
    address, at, sha256 = reference.rpartition("@")
    return (address, sha256) if at else (reference, "")


def is_there(reference: str) -> bool:
    """Whether the release that a reference names is still in its place, and not another one."""
    address, sha256 = split_reference(reference)
    try:
        found = read_manifest(address).sha256
    except ReleaseError:
        return False
    return sha256 in ("", found)


class ReleaseStore:
    """Releases at an address, written by one process at a time and read by any number.

    releases/<version>/          a release with its manifest; versions only grow
    encoder/<version>/           its SavedModel once more, with a manifest of its own: what a TF Serving points at
    CURRENT                      JSON: the version that serves, its manifest's sha256, and how it came to serve
    history.jsonl                one line for each push and rollback
    .staging-*                   unfinished work; the next writer removes what a killed one left

    A release is published once CURRENT has pointed at it. One that a kill stopped short of that is finished by a push
    of the same decision, and removed by a push of another. (Stores of 0.2.0 and before have links below encoder/, which
    stay until their releases are removed.)
    """

    def __init__(self, address: Path | str) -> None:
        """address: a path, or one in an object store. Raises ValueError where it is neither."""
        self.address = str(address)
        self._folder = open_folder(self.address)
        self.ledger = Ledger(self._folder)

    def push(self, build: Build, *, decision_id: str, facts: Mapping[str, Any]) -> Release:
        """Builds, verifies and publishes the next version, once for each decision.

        build: fills an empty directory with the files of the version it is given, among them encoder/<version>/.
        decision_id: a decision pushed before gets its release back, verified, and CURRENT stays.
        facts: JSON-ready, kept in the manifest; version and decision_id are added.

        Raises what build raises, ReleaseError, or OSError (disk full, read-only); then the store is as it was.
        """
        if not decision_id:
            raise ValueError("decision_id must name the decision that allows the release, got ''")
        with self._writing(keep_decision=decision_id):
            release = self._of_decision(decision_id)
            if release is None:
                release = self._publish(build, {**facts, "decision_id": decision_id})
            else:
                release.verify()
            if release.version not in self._published():
                self._show_encoder(release)
                self._point_at(release, event="push")
            return release

    def current(self) -> Release | None:
        """The release that serves, or None before the first push. Raises ReleaseError where the store is damaged."""
        pointer = self.ledger.current()
        if pointer is None:
            return None
        release = self._open(pointer.version)
        if release.manifest.sha256 != pointer.manifest_sha256:
            raise ReleaseError(f"the manifest of {release.address} is not the one that CURRENT names")
        return release

    def releases(self) -> list[Release]:
        """Every published release, oldest first."""
        return [self._open(version) for version in self._published()]

    def rollback(self, version: int | None = None, *, drain_s: float = 0) -> Release:
        """Makes an earlier release serve again, by default the newest one older than the current.

        Later encoders are taken away, because a TF Serving takes the highest version that it sees: at once those that
        lie between the two releases, so that a server which keeps two versions has both; the one that served only after
        drain_s, in which search servers change over. What a kill leaves of it, the next writer does. Giving a later
        version goes forward again.

        Raises ReleaseError where there is no such release, or it is damaged; then nothing changes.
        """
        self._check_begun()
        with self._writing():
            release = self._open(self._earlier() if version is None else self._existing(version))
            release.verify()
            self._show_encoder(release)
            self._hide_encoders(after=release.version, before=self._serving())
            self._point_at(release, event="rollback")
        time.sleep(drain_s)
        with self._writing():  # which takes the later encoders away, unless somebody has gone forward meanwhile
            return release

    def prune(self, keep: int) -> list[int]:
        """Removes the oldest releases, leaving the newest `keep` and the current one. Returns the removed versions."""
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        self._check_begun()
        with self._writing():
            serving = self._serving()
            removed = [version for version in self._published()[:-keep] if version != serving]
            for version in removed:
                self._remove(version)
            return removed

    def _publish(self, build: Build, facts: Mapping[str, Any]) -> Release:
        version = max([self.ledger.last_version(), *self._files(RELEASES)]) + 1
        with workplace(self._folder) as directory:
            build(directory, version)
            encoder = directory / ENCODERS / str(version)
            if not (encoder / ENCODER_FILE).is_file():
                raise ReleaseError(
                    f"a release must hold {ENCODERS}/{version}/{ENCODER_FILE}, not found in what was built"
                )
            write_manifest(encoder, {})
            write_manifest(directory, {**facts, "version": version})
            verify(directory)
            # The number is spent before anything with it can be seen, so that no two releases ever share one.
            self.ledger.spend_version(version)
            self._folder.publish(directory, f"{RELEASES}/{version}", last=MANIFEST_FILE)
        return self._open(version)

    def _point_at(self, release: Release, *, event: str) -> None:
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        pointer = Pointer(release.version, release.manifest.sha256, event, self._serving(), release.decision_id, at)
        self.ledger.point_at(pointer)

    def _check_begun(self) -> None:
        if self.ledger.current() is None:
            raise ReleaseError(
                f"a release store must hold a release, found none at {self.address}: nothing was promoted yet; "
                "`lookalike promote` makes the first release"
            )

    @contextmanager
    def _writing(self, keep_decision: str | None = None) -> Iterator[None]:
        """Holds the lock, with the store tidy before, and after a failure too."""
        with locked(self._folder, ".lock"):
            self._tidy(keep_decision)
            try:
                yield
            except ChangedError:  # the lock is lost: what there is to tidy is its next holder's
                raise
            except BaseException:
                self._tidy()
                raise

    def _tidy(self, keep_decision: str | None = None) -> None:
        """Removes what was never published, save a whole release of the decision that is about to be pushed."""
        sweep(self._folder)
        self.ledger.complete_history()
        self._hide_encoders(after=self._serving() or 0)
        whole, published = self._versions(), self._published()
        for version in self._files(RELEASES):
            if version not in whole:
                self._remove_torn(version)
            elif version not in published and self._open(version).decision_id != keep_decision:
                self._remove(version)

    def _remove_torn(self, version: int) -> None:
        """What an object store keeps of an upload or a removal that was killed; and a directory without manifest."""
        if version != self._serving():  # that is damage, which is told
            log.warning("release %d in %s has no manifest and can never be loaded: removed", version, self.address)
            self._remove(version)

    def _remove(self, version: int) -> None:
        """Takes a release away; a half-deleted one is never seen."""
        self._hide_encoders(after=version - 1, before=version + 1)
        self._folder.remove(f"{RELEASES}/{version}", first=MANIFEST_FILE)

    def _show_encoder(self, release: Release) -> None:
        shown = f"{ENCODERS}/{release.version}"
        with suppress(FileExistsError):  # shown already
            self._folder.duplicate(f"{RELEASES}/{release.version}/{shown}", shown, last=ENCODER_FILE)

    def _hide_encoders(self, *, after: int, before: int | None = None) -> None:
        """Takes away the encoders of all versions between two."""
        for version in self._files(ENCODERS):
            if after < version and (before is None or version < before):
                self._folder.remove(f"{ENCODERS}/{version}", first=ENCODER_FILE)

    def _earlier(self) -> int:
        serving = self._serving()
        earlier = [version for version in self._published() if serving is not None and version < serving]
        if not earlier:
            raise ReleaseError(f"rolling back needs a release older than the current one, found none in {self.address}")
        return earlier[-1]

    def _existing(self, version: int) -> int:
        if version not in self._published():
            published = ", ".join(map(str, self._published())) or "none yet"
            raise ReleaseError(f"version must be one of the releases in {self.address}: {published}; got {version}")
        return version

    def _of_decision(self, decision_id: str) -> Release | None:
        pushed = {pointer.version for pointer in self.ledger.history() if pointer.decision_id == decision_id}
        published = self._published()
        # What is not published is, after tidying, of this decision alone.
        versions = [version for version in self._versions() if version in pushed or version not in published]
        return self._open(versions[-1]) if versions else None

    def _open(self, version: int) -> Release:
        address = joined(self.address, f"{RELEASES}/{version}")
        manifest = read_manifest(address)
        if manifest.facts.get("version") != version or "decision_id" not in manifest.facts:
            raise ReleaseError(f"the manifest in {address} must be of version {version} and name its decision")
        return Release(version, address, manifest)

    def _versions(self) -> list[int]:
        """Versions that are whole, ascending."""
        # A link is listed as one file, and refused in words by `_open`.
        return [version for version, files in self._files(RELEASES).items() if files & {MANIFEST_FILE, ""}]

    def _published(self) -> list[int]:
        """Versions that exist and that CURRENT has pointed at, ascending."""
        pointed_at = {pointer.version for pointer in self.ledger.history()}
        return [version for version in self._versions() if version in pointed_at]

    def _serving(self) -> int | None:
        pointer = self.ledger.current()
        return None if pointer is None else pointer.version

    def _files(self, below: str) -> dict[int, set[str]]:
        """The files of each version in a folder of the store, versions ascending. (Empty folders are nothing.)"""
        found: defaultdict[int, set[str]] = defaultdict(set)
        for file in self._folder.files(below):
            _, version, *inner = file.name.split("/")
            if version.isdecimal():
                found[int(version)].add("/".join(inner))
        return dict(sorted(found.items()))
