"""What tells one day's content of a source from another's: digests of rows and files, and their sum."""

import hashlib
import json
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from lookalike.catalog.dead_letters import DeadLetter
from lookalike.catalog.product import FIELDS, CatalogImage
from lookalike.catalog.sources import Source
from lookalike.storage.address import is_remote, open_folder


def fingerprint(source: Source) -> str:
    """64 hex digits over all that a run makes of the source: rows, images' content, what was set aside.

    Where files lie does not matter. Reads every image whose manifest states no sha256.
    """
    rows = (row_digest(row, row.sha256 or content_sha256(row.uri)) for row in source.rows)
    return sum_of_digests(chain(rows, map(letter_digest, source.dead)))


def sum_of_digests(digests: Iterable[str]) -> str:
    """The sum modulo 2^256 of numbers in hex: the same in any order, and whatever was added up before.

    (A sum of hashes tells sets apart that nobody made to collide: Bellare and Micciancio 1997, AdHash.)
    """
    return f"{sum(int(digest, 16) for digest in digests) % 2**256:064x}"


def row_digest(row: CatalogImage, original_sha256: str) -> str:
    """What a row adds to the fingerprint; original_sha256 is of the file that it names, as stated or as read."""
    # Only what is stated: a field that a later version adds makes no other day of an old source.
    facts = {one.name: value for one in FIELDS if one.name != "uri" and (value := getattr(row, one.name))}
    return _digest([facts, original_sha256])


def letter_digest(letter: DeadLetter) -> str:
    """What a row that could not be used adds to the fingerprint."""
    return _digest([letter.image_id, letter.reason.value, letter.span])


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def content_sha256(uri: str) -> str:
    """Of a file, in hex; "unreadable" where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with _opened(uri) as file:
            while chunk := file.read(1024 * 1024):
                digest.update(chunk)
    except OSError:
        return "unreadable"  # it becomes a dead letter when it is ingested; it must not stop the run here
    return digest.hexdigest()


def _opened(uri: str) -> BinaryIO:
    if not is_remote(uri):
        return Path(uri).open("rb")
    parent, _, name = uri.rpartition("/")
    return open_folder(parent).open(name)
