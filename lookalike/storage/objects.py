"""A prefix of an object store: Amazon's S3 and what speaks its protocol, Google's and Azure's.

What a folder has and this lacks: a tree is published, copied and removed file by file, so that only its file `last`
tells whether it is whole, and two attempts at one name at a time may mix; copies cost bytes; a lock outlives its holder
for a while (lease.py); the parts of a large upload that was killed stay, unseen, until the bucket's own rule for
unfinished uploads takes them away.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, S3Store

from lookalike.storage.folder import ChangedError, File, OutsideError, Stamped, checked_name, joined

if TYPE_CHECKING:
    from obstore import GetOptions  # these exist for checkers only
    from obstore.store import ClientConfig, ObjectStore

# A request may take as long as a large body needs, but must not pause; obstore repeats what fails, for three minutes.
_CLIENT: "ClientConfig" = {"timeout": timedelta(hours=1), "read_timeout": timedelta(minutes=1)}
_CHUNK_BYTES = 1024 * 1024


@dataclass
class ObjectFolder:
    """Objects of a store whose keys begin with a prefix.

    address: scheme://bucket/prefix, as errors name it.   prefix: '' or 'a/b'.
    """

    address: str
    store: "ObjectStore"
    prefix: str

    def read(self, name: str, *, max_bytes: int | None = None, offset: int = 0) -> bytes:
        """See Folder."""
        key = self._key(name)
        with self._told(name):
            if offset:
                some: GetOptions = {"range": {"offset": offset}}
                if max_bytes is not None:
                    some = {"range": (offset, offset + max_bytes + 1)}
                return bytes(self.store.get(key, options=some).bytes())
            found = self.store.get(key)
            if max_bytes is None or found.meta["size"] <= max_bytes:
                return bytes(found.bytes())
            return bytes(self.store.get_range(key, start=0, length=max_bytes + 1))

    def open(self, name: str) -> BinaryIO:
        """See Folder. A nameless temporary file, so that all that is read is of one version, and can be sought in."""
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            with self._told(name):
                for chunk in self.store.get(self._key(name)).stream(min_chunk_size=_CHUNK_BYTES):
                    file.write(chunk)
        except BaseException:
            file.close()
            raise
        file.seek(0)
        return file

    def files(self, below: str = "") -> Iterator[File]:
        """See Folder. Holds all names at once: not every store lists them in order."""
        top = self._key(below)
        with self._told(below):
            found = [one for chunk in self.store.list(top or None, chunk_size=1000) for one in chunk]
        # What a console shows as an empty folder is an object whose key is the folder's.
        named = [File(self._name(one["path"]), one["size"]) for one in found if one["path"] != top]
        yield from sorted(named)

    def children(self, below: str = "") -> list[str]:
        """See Folder."""
        top = self._key(below)
        with self._told(below):
            found = self.store.list_with_delimiter(top or None)
        keys = [one["path"] for one in found["objects"] if one["path"] != top]
        keys += [f"{prefix}/" for prefix in found["common_prefixes"]]
        return sorted(key.removeprefix(f"{top}/") for key in keys)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """See Folder."""
        key = self._inner_key(name)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, f"file{Path(name).suffix}")
            yield path
            with self._told(name):
                self.store.put(key, path)

    def read_stamped(self, name: str) -> Stamped:
        """See Folder."""
        with self._told(name):
            found = self.store.get(self._key(name))
            return Stamped(bytes(found.bytes()), _stamp(found.meta["e_tag"], found.meta["version"]))

    def replace(self, name: str, data: bytes, stamp: str | None) -> str:
        """See Folder."""
        key, address = self._inner_key(name), joined(self.address, name)
        try:
            with self._told(name):
                put = self.store.put(key, data, mode="create" if stamp is None else json.loads(stamp))
        except (FileExistsError, FileNotFoundError, ChangedError) as error:
            raise ChangedError(errno.EAGAIN, "changed since it was read", address) from error
        return _stamp(put["e_tag"], put["version"])

    def publish(self, directory: Path, name: str, *, last: str) -> None:
        """See Folder."""
        names = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
        if last not in names:
            raise FileNotFoundError(errno.ENOENT, "what is published must hold the file that comes last", last)
        self._make_room(name, last)
        for inner in names:
            if inner != last:
                with self._told(joined(name, inner)):
                    self.store.put(self._inner_key(joined(name, inner)), directory / inner)
        with self._told(joined(name, last)):
            self.store.put(self._inner_key(joined(name, last)), directory / last, mode="create")

    def duplicate(self, name: str, to: str, *, last: str) -> None:
        """See Folder. The store copies by itself; no byte comes here."""
        names = [file.name.removeprefix(f"{checked_name(name, self.address)}/") for file in self.files(name)]
        if last not in names:
            raise FileNotFoundError(errno.ENOENT, "what is copied must hold the file that comes last", self.address)
        self._make_room(to, last)
        for inner in [*(one for one in names if one != last), last]:
            with self._told(joined(name, inner)):
                self.store.copy(self._inner_key(joined(name, inner)), self._inner_key(joined(to, inner)))

    def remove(self, name: str, *, first: str = "") -> None:
        """See Folder."""
        key = self._inner_key(name)
        if first:
            self._delete(self._inner_key(joined(name, first)))
        for file in self.files(name):
            self._delete(self._key(file.name))
        self._delete(key)

    def _make_room(self, name: str, last: str) -> None:
        """Removes what an attempt that died left under a name. Raises FileExistsError where one has ended."""
        if any(file.name == joined(checked_name(name, self.address), last) for file in self.files(name)):
            raise FileExistsError(errno.EEXIST, "published already", joined(self.address, name))
        self.remove(name)

    def _delete(self, key: str) -> None:
        with suppress(FileNotFoundError), self._told(self._name(key)):
            self.store.delete(key)

    def _key(self, name: str) -> str:
        return joined(self.prefix, checked_name(name, self.address)).lstrip("/")

    def _inner_key(self, name: str) -> str:
        """The key of a file or a folder to be written or removed, which the folder itself is not."""
        if not checked_name(name, self.address):
            raise OutsideError(errno.EACCES, "expected a name inside the folder, got the folder", self.address)
        return self._key(name)

    def _name(self, key: str) -> str:
        return key.removeprefix(f"{self.prefix}/") if self.prefix else key

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """Turns what obstore raises into what Python raises for files, with the address and without credentials."""
        address = joined(self.address, name)
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), address) from error
        except AlreadyExistsError as error:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), address) from error
        except PreconditionError as error:
            raise ChangedError(errno.EAGAIN, "changed since it was read", address) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise PermissionError(errno.EACCES, "the store refuses these credentials", address) from error
        except (BaseError, ValueError) as error:
            raise OSError(errno.EIO, _in_words(error), address) from error


def open_object_folder(address: str) -> ObjectFolder:
    """The objects below s3://bucket/prefix, gs://bucket/prefix or az://container/prefix.

    Credentials, region and endpoint come from the environment as the tools of each store name them (AWS_ACCESS_KEY_ID,
    AWS_ENDPOINT_URL, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME, …) or from the machine's own role.
    """
    scheme, _, rest = address.partition("://")
    bucket, _, prefix = rest.partition("/")
    store = _open_store(scheme, bucket, _environment(), os.getpid())
    return ObjectFolder(address.rstrip("/"), store, checked_name(prefix.strip("/"), address))


def _environment() -> tuple[tuple[str, str], ...]:
    """What the stores go by."""
    return tuple((name, value) for name, value in os.environ.items() if name.startswith(("AWS_", "GOOGLE_", "AZURE_")))


@lru_cache(maxsize=16)
def _open_store(scheme: str, bucket: str, _environment: tuple[tuple[str, str], ...], _pid: int) -> "ObjectStore":
    """One a process, which keeps its connections: a picture at a time would open one each."""
    if scheme == "gs":
        return GCSStore(bucket, client_options=_CLIENT)
    if scheme == "az":
        return AzureStore(bucket, client_options=_CLIENT)
    return S3Store(bucket, client_options={**_CLIENT, "allow_http": _s3_endpoint().startswith("http://")})


def _s3_endpoint() -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")  # the first one counts for obstore, too
    return next((value for name in names if (value := os.environ.get(name))), "")


def _stamp(e_tag: str | None, version: str | None) -> str:
    """What a store compares: S3 and Azure the e_tag, Google's the generation."""
    stated = {"e_tag": e_tag, "version": version}
    return json.dumps({name: value for name, value in stated.items() if value is not None})


def _in_words(error: Exception) -> str:
    """The first line of what went wrong, without the request: its URL may hold a signature."""
    line = re.sub(r"Error performing \w+ .*? - ", "", str(error).partition("\n")[0])
    return re.sub(r"\?\S*", "", line.partition("<?xml")[0]).strip()
