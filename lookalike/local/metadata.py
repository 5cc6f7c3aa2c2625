"""Opens ML Metadata's file: which step ran on what, and where its artifacts lie."""

from pathlib import Path

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from lookalike.errors import UserError

Sqlite = metadata_store_pb2.SqliteMetadataSourceConfig


class MetadataError(UserError, code="METADATA_UNUSABLE"):
    """ML Metadata cannot use its file."""


def open_metadata(path: Path, *, only_read: bool = False) -> MetadataStore:
    """The store in a SQLite file, which is made where there is none, unless it is only read.

    Raises MetadataError: the file is damaged, or of another version.
    """
    mode = Sqlite.READONLY if only_read else Sqlite.READWRITE_OPENCREATE
    config = metadata_store_pb2.ConnectionConfig(sqlite=Sqlite(filename_uri=str(path), connection_mode=mode))
    try:
        return MetadataStore(config)
    except RuntimeError as error:  # it says no more than this
        raise MetadataError(
            f"{path} must be a database for ML Metadata: {_reason(error)}; restore it from a backup, or delete "
            "it: releases and reviews stay, but the next run repeats every step, and a candidate that was not promoted "
            "has to be trained again"
        ) from error


def _reason(error: RuntimeError) -> str:
    """The first sentence, without the query that the library was about to make."""
    said = str(error).removeprefix("Error when executing query: ")
    return said.partition(" query: ")[0].partition(". ")[0]
