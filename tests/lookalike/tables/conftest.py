from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike.tables.files import open_table
from lookalike.tables.table import Header, Table

COLUMNS = ("image", "title", "price", "attr:fit")


@pytest.fixture
def header() -> Header:
    """Wants a few columns, whose names are known in lower case."""
    return Header(lambda name: name.strip().lower() if name.strip().lower() in COLUMNS else "", "image")


@pytest.fixture
def read(tmp_path: Path, header: Header) -> Callable[..., tuple[list, Table]]:
    """The rows of a table, and the table; content None is of a file that is there already."""

    def read(content: bytes | str | None, name: str) -> tuple[list, Table]:
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        table = open_table(path, header)
        return list(table.rows), table

    return read
