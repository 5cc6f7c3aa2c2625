"""Which files are tables, and how each kind is opened."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from lookalike.errors import in_words
from lookalike.tables.delimited import open_delimited
from lookalike.tables.json_rows import open_json, open_json_lines
from lookalike.tables.parquet import open_parquet
from lookalike.tables.spreadsheet import open_spreadsheet
from lookalike.tables.table import Header, Row, Table, TableError
from lookalike.tables.xml_rows import open_xml

_OPENERS: dict[str, Callable[[Path, Header], Table]] = {
    ".csv": open_delimited,
    ".tsv": open_delimited,
    ".txt": open_delimited,
    ".jsonl": open_json_lines,
    ".ndjson": open_json_lines,
    ".json": open_json,
    ".parquet": open_parquet,
    ".xlsx": open_spreadsheet,
    ".xml": open_xml,
}
TABLE_SUFFIXES = tuple(_OPENERS)

_SIGNATURES = {b"PK\x03\x04": ".xlsx", b"PAR1": ".parquet"}
_UNREADABLE = {
    b"\x1f\x8b": "it is packed by gzip: unpack it",
    b"\xd0\xcf\x11\xe0": "it is a workbook of Excel 2003 or older: save it as .xlsx or CSV",
}
_SIGNATURE_BYTES = 4


def is_table(name: str) -> bool:
    """Whether a file of this name is for us to read as a table."""
    return name.lower().endswith(TABLE_SUFFIXES)


def open_table(path: Path, header: Header) -> Table:
    """A table of any kind; what its first bytes say goes before its name.

    Raises TableError: it cannot be read, is of no kind that we know, or lacks the required column. While the rows are
    read, too.
    """
    with _told(path):
        table = _OPENERS[_kind(path)](path, header)
    return replace(table, rows=_told_rows(path, table.rows))


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if path.is_dir():
        return ".parquet"
    with path.open("rb") as file:
        signature = file.read(_SIGNATURE_BYTES)
    for start, why in _UNREADABLE.items():
        if signature.startswith(start):
            raise TableError(f"{path} must be a table that can be read: {why}")
    kind = _SIGNATURES.get(signature, suffix)
    if kind not in _OPENERS:
        raise TableError(f"a table must be one of {', '.join(_OPENERS)}, got {path}")
    return kind


def _told_rows(path: Path, rows: Iterable[Row]) -> Iterator[Row]:
    with _told(path):
        yield from rows


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TableError(f"the table {path} must be readable: {in_words(error)}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter: of a column's name
        raise TableError(f"the table {path} must be readable: {' '.join(str(error).split())}") from error
