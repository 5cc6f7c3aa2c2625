"""Releases of an object store on this machine: fetched whole, checked, and bounded in number."""

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from lookalike.release.manifest import MANIFEST_FILE, ReleaseError
from lookalike.release.store import Release
from lookalike.storage.address import is_remote, open_folder
from lookalike.storage.folder import joined
from lookalike.storage.lease import locked
from lookalike.storage.local import LocalFolder, sweep
from lookalike.storage.staging import fetch, workplace

DEFAULT_CACHE = Path("~/.cache/lookalike").expanduser()


class ReleaseCache:
    """A directory with the releases that were used last, each named by its manifest's digest.

    Any number of processes may share one: each release is fetched once. What is taken away stays readable for those who
    have its files open.
    """

    def __init__(self, directory: Path, *, max_releases: int = 3) -> None:
        """max_releases: the one that serves, the one before, and one that is being loaded."""
        self._folder = LocalFolder(str(directory))
        self._max_releases = max_releases

    def verified(self, release: Release) -> Release:
        """The release on this machine, every file checked; one that lies here already is itself.

        Raises ReleaseError naming a file that is not as pushed; OSError where the store cannot be read, or the disk is
        full.
        """
        if not is_remote(release.address):
            release.verify()
            return release
        with locked(self._folder, ".lock"):
            sweep(self._folder)
            local = self._fetched(release)
            self._evict()
        return local

    def _fetched(self, release: Release) -> Release:
        name = release.manifest.sha256
        local = replace(release, address=joined(self._folder.address, name))
        with suppress(ReleaseError):  # not here, or damaged since
            local.verify()
            os.utime(local.directory)
            return local
        self._folder.remove(name)
        with workplace(self._folder) as directory:
            fetch(open_folder(release.address), directory)
            self._folder.publish(directory, name, last=MANIFEST_FILE)
        local.verify()
        return local

    def _evict(self) -> None:
        kept = [name for name in self._folder.children() if name.endswith("/")]
        by_use = sorted(kept, key=lambda name: Path(self._folder.address, name).stat().st_mtime_ns)
        for name in by_use[: -self._max_releases]:
            self._folder.remove(name)
