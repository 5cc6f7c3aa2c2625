"""The manifest of a release: what it is, and the hash of every file in it, so that nothing else is ever loaded."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.errors import UserError
from lookalike.storage.address import is_remote, local_path, open_folder
from lookalike.storage.folder import joined

MANIFEST_FILE = "manifest.json"

_FORMAT = 1
_PICKLE_SUFFIXES = (".pkl", ".pickle")
_CHUNK_BYTES = 1 << 20


class ReleaseError(UserError, code="RELEASE_REFUSED"):
    """A release, or the store that holds it, is not as it must be; the message names the file."""


@dataclass(frozen=True)
class Manifest:
    """facts: what was stated when it was written, JSON-ready. files: path inside the release → sha256.

    sha256: of the manifest file itself, which by its contents ties every other file.
    """

    facts: Mapping[str, Any]
    files: Mapping[str, str]
    sha256: str


def write_manifest(directory: Path, facts: Mapping[str, Any]) -> Manifest:
    """Hashes every file of a finished release and writes its manifest, the last file to be written.

    Raises ReleaseError on a file that no release may hold: a pickle, a symbolic link, a device.
    """
    files = {name: _sha256(directory / name) for name in _file_names(directory)}
    content = {"format": _FORMAT, "facts": dict(facts), "files": files}
    (directory / MANIFEST_FILE).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return read_manifest(directory)


def read_manifest(release: Path | str) -> Manifest:
    """Reads the manifest at a release's address without checking the files it lists (`verify` does).

    Raises ReleaseError.
    """
    address = str(release)
    if not is_remote(address) and local_path(address).is_symlink():
        raise ReleaseError(f"{address} must be a folder of its own, got a link: put what it leads to in its place")
    try:
        data = open_folder(address).read(MANIFEST_FILE)
    except FileNotFoundError:
        raise ReleaseError(f"a release must hold {MANIFEST_FILE}, not found in {address}") from None
    content = _content(joined(address, MANIFEST_FILE), data)
    return Manifest(content["facts"], content["files"], hashlib.sha256(data).hexdigest())


def verify(directory: Path) -> Manifest:
    """Checks that a release holds exactly the files of its manifest, unchanged.

    Reads every byte. Raises ReleaseError naming the first file that is extra, missing, changed, or never allowed.
    """
    manifest = read_manifest(directory)
    found = set(_file_names(directory))
    for name in sorted(found - manifest.files.keys()):
        raise ReleaseError(f"{directory / name} is not in the manifest")
    for name in sorted(manifest.files.keys() - found):
        raise ReleaseError(f"{directory / name} is in the manifest and missing")
    for name, expected in sorted(manifest.files.items()):
        if _sha256(directory / name) != expected:
            raise ReleaseError(f"{directory / name} has changed: its sha256 must be {expected}")
    return manifest


def tree_sha256(directory: Path) -> str:
    """One digest of the names and contents of all files below a directory, such as a SavedModel."""
    digest = hashlib.sha256()
    for name in _file_names(directory):
        digest.update(f"{name}\0{_sha256(directory / name)}\n".encode())
    return digest.hexdigest()


def _file_names(directory: Path) -> Iterator[str]:
    """Yields the paths of a release's files inside it, its manifest aside.

    Only these are ever opened: a name in a manifest that leads elsewhere is not among them, so it counts as missing.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise ReleaseError(f"{path} must be a plain file, got a link or a device")
        if path.suffix.lower() in _PICKLE_SUFFIXES:
            raise ReleaseError(f"{path} is a pickle: loading it could run code, so no release may hold one")
        if path.is_file() and path != directory / MANIFEST_FILE:
            yield path.relative_to(directory).as_posix()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _content(path: str, data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    found = content.get("format") if isinstance(content, dict) else None
    if isinstance(found, int) and found > _FORMAT:
        raise ReleaseError(
            f"{path} must be of format {_FORMAT}, got {found}: it was written by a newer version; install that"
        )
    if found != _FORMAT or not isinstance(content.get("facts"), dict) or not _is_text_to_text(content.get("files")):
        raise ReleaseError(f"{path} must be a manifest of format {_FORMAT}, got something else")
    return dict(content)


def _is_text_to_text(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())
