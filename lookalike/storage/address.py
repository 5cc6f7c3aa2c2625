"""Which folder an address means."""

from pathlib import Path

from lookalike.storage.folder import Folder
from lookalike.storage.local import LocalFolder
from lookalike.storage.objects import open_object_folder

OBJECT_SCHEMES = ("s3", "gs", "az")


def is_remote(address: str) -> bool:
    """Whether an address is of an object store. Raises ValueError where it is neither that nor a path."""
    scheme, separator, rest = address.partition("://")
    if not separator or scheme == "file":
        return False
    if scheme not in OBJECT_SCHEMES or not rest.partition("/")[0]:
        kinds = ", ".join(f"{one}://bucket/…" for one in OBJECT_SCHEMES)
        raise ValueError(f"an address must be a path, file:///…, or one of {kinds}; got {address!r}")
    return True


def local_path(address: str) -> Path:
    """The path of an address that is not remote."""
    return Path(address.removeprefix("file://"))


def open_folder(address: str) -> Folder:
    """The folder at an address; nothing is read yet. Raises ValueError where it is no address."""
    return open_object_folder(address) if is_remote(address) else LocalFolder(str(local_path(address)))
