import os
import sqlite3
from pathlib import Path

import pytest

from lookalike.local.metadata import MetadataError, open_metadata

WAY_OUT = (
    "; restore it from a backup, or delete it: releases and reviews stay, but the next run repeats every step, and a "
    "candidate that was not promoted has to be trained again"
)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    """A store as a run makes it, still empty."""
    path = tmp_path / "metadata.sqlite"
    open_metadata(path)
    return path


def refusal(path: Path, *, only_read: bool = False) -> str:
    with pytest.raises(MetadataError) as refused:
        open_metadata(path, only_read=only_read)
    return str(refused.value)


@pytest.mark.parametrize("only_read", [False, True])
def test_a_damaged_file_is_named_with_what_its_loss_costs(metadata: Path, only_read: bool) -> None:
    with metadata.open("r+b") as file:
        file.write(b"damaged " * 1024)
    assert refusal(metadata, only_read=only_read) == (
        f"{metadata} must be a database for ML Metadata: file is not a database{WAY_OUT}"
    )


def test_a_file_that_ends_early_is_damaged(metadata: Path) -> None:
    os.truncate(metadata, 9000)
    assert refusal(metadata).startswith(
        f"{metadata} must be a database for ML Metadata: database disk image is malformed;"
    )


def test_a_file_of_a_newer_version_says_so(metadata: Path) -> None:
    with sqlite3.connect(metadata) as connection:
        connection.execute("UPDATE MLMDEnv SET schema_version = 11")
    assert refusal(metadata) == (
        f"{metadata} must be a database for ML Metadata: MLMD database version 11 is greater than library version 10"
        f"{WAY_OUT}"
    )


def test_reading_makes_no_file(tmp_path: Path) -> None:
    assert "unable to open database file" in refusal(tmp_path / "metadata.sqlite", only_read=True)
    assert list(tmp_path.iterdir()) == []
