"""The newest encoders of a release store that lies in an object store, on this machine for a model server to load."""

import hashlib
from pathlib import Path

from lookalike.release.manifest import MANIFEST_FILE, verify
from lookalike.release.store import ENCODER_FILE
from lookalike.storage.address import open_folder
from lookalike.storage.folder import Folder
from lookalike.storage.local import LocalFolder, sweep
from lookalike.storage.staging import fetch, workplace


class EncoderMirror:
    """Follows <address>/<version>/ in a local directory, the newest max_versions of it.

    directory: this mirror's own; one process at a time.
    """

    def __init__(self, address: str, cache: Path, *, max_versions: int) -> None:
        self.directory = cache / "encoders" / hashlib.sha256(address.encode()).hexdigest()[:12]
        self._source = open_folder(address)
        self._target = LocalFolder(str(self.directory))
        self._max_versions = max_versions

    def refresh(self) -> None:
        """Looks once: fetches what is new, whole and checked, and takes away what is old or gone.

        Raises OSError where the store cannot be read or the disk is full, ReleaseError for a file that came damaged.
        """
        sweep(self._target)
        wanted = sorted(_whole_versions(self._source))[-self._max_versions :]
        for version in reversed(wanted):
            self._keep(str(version))
        for version in set(_whole_versions(self._target)) - set(wanted):
            self._target.remove(str(version))

    def _keep(self, version: str) -> None:
        if _manifest(self._target, version) == _manifest(self._source, version):
            return
        with workplace(self._target) as directory:
            fetch(self._source, directory, below=version)
            verify(directory)
            self._target.remove(version)
            self._target.publish(directory, version, last=ENCODER_FILE)


def _whole_versions(folder: Folder) -> list[int]:
    names = [name.rstrip("/") for name in folder.children()]
    return [int(name) for name in names if name.isdecimal() and ENCODER_FILE in folder.children(name)]


def _manifest(folder: Folder, version: str) -> bytes:
    """What tells two encoders of one number apart: a store that is rebuilt gives out its numbers again."""
    try:
        return folder.read(f"{version}/{MANIFEST_FILE}")
    except FileNotFoundError:
        return b""
