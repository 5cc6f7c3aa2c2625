"""Canonical pictures between decoding and their examples: in files of bounded size, so that none crosses a shuffle."""

import uuid
from contextlib import ExitStack
from typing import BinaryIO, NamedTuple

from lookalike.storage.address import open_folder

SHARD_BYTES = 64 * 1024 * 1024


class Place(NamedTuple):
    """Where a picture lies: which shard, and where in it, in bytes."""

    shard: str
    offset: int
    num_bytes: int


class CanonicalShards:
    """Writes pictures to shards that nobody else writes to; each picture once.

    A shard can be read once it is full, or after `close`.
    """

    def __init__(self, address: str) -> None:
        self._folder = open_folder(address)
        self._open = ExitStack()
        self._file: BinaryIO | None = None
        self._places: dict[str, Place] = {}

    def add(self, jpeg: bytes, sha256: str) -> Place:
        """Keeps a picture, whose digest is given."""
        if sha256 not in self._places:
            file = self._file or self._begin()
            self._places[sha256] = Place(self._name, file.tell(), len(jpeg))
            file.write(jpeg)
        place = self._places[sha256]
        if self._file and self._file.tell() >= SHARD_BYTES:
            self.close()
        return place

    def close(self) -> None:
        """Publishes what was kept last."""
        self._open.close()
        self._file = None
        self._places.clear()

    def _begin(self) -> BinaryIO:
        self._name = uuid.uuid4().hex
        self._file = self._open.enter_context(self._open.enter_context(self._folder.writing(self._name)).open("wb"))
        return self._file


def read_picture(address: str, place: Place) -> bytes:
    """One picture of the shards at an address."""
    found = open_folder(address).read(place.shard, offset=place.offset, max_bytes=place.num_bytes)
    return found[: place.num_bytes]
