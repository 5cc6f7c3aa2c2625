"""The rows of a manifest file (CSV, JSON Lines, Parquet), read in bounded memory whatever the file holds."""

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow_hotfix

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.product import is_known
from lookalike.errors import in_words, kind_of

# pyarrow 10 unpickles the type of a column, so that opening a stranger's file runs its code (CVE-2023-47248).
pyarrow_hotfix.install()

MAX_LINE_BYTES = 1024 * 1024
# A quoted cell may hold line breaks. One that never closes its quote must not swallow the rest of the file.
MAX_RECORD_LINES = 20
_PARQUET_BATCH_ROWS = 1024
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ManifestRow:
    """One row: its cells by column, or what is wrong with it.

    line: 1-based line of a text file, 1-based row of a Parquet file.   fault: '' for a well-formed row.
    """

    line: int
    cells: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


def read_manifest(path: Path) -> Iterator[ManifestRow]:
    """Each row of the manifest, in order; malformed ones carry their fault and do not end the reading.

    Raises DataError when the file as a whole cannot be used: unreadable, of another kind, no `image` column.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"a manifest must be one of {', '.join(MANIFEST_SUFFIXES)}, got {path}")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError(f"the manifest {path} must be readable: {in_words(error)}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:  # the latter: of a column's name
        raise DataError(f"the manifest {path} must be readable: {error}") from error


@dataclass(frozen=True)
class _Line:
    number: int
    text: str = ""
    fault: str = ""


def _text_lines(path: Path) -> Iterator[_Line]:
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(raw) > MAX_LINE_BYTES:
                _skip_to_next_line(file, raw)
                yield _Line(number, fault=f"a line must be at most {MAX_LINE_BYTES} bytes long")
            else:
                yield _decoded(number, raw.removeprefix(_UTF8_BOM) if number == 1 else raw)


def _skip_to_next_line(file: BinaryIO, read: bytes) -> None:
    while read and not read.endswith(b"\n"):
        read = file.readline(MAX_LINE_BYTES)


def _decoded(number: int, raw: bytes) -> _Line:
    if b"\0" in raw:
        return _Line(number, fault="a line must be text, got a NUL")
    try:
        return _Line(number, raw.decode())
    except UnicodeDecodeError as error:
        return _Line(number, fault=f"a line must be UTF-8: {error.reason} at byte {error.start}")


def _csv_rows(path: Path) -> Iterator[ManifestRow]:
    records = _csv_records(_text_lines(path))
    header = next(records, None)
    if header is None or isinstance(header[1], str):
        raise DataError(f"{path} must start with a line of column names, got {header[1] if header else 'nothing'}")
    columns = [name.strip() for name in header[1]]
    _check_columns(path, columns)
    for number, cells in records:
        if isinstance(cells, str):
            yield ManifestRow(number, fault=cells)
        elif len(cells) != len(columns):
            yield ManifestRow(number, fault=f"a row must have {len(columns)} cells, got {len(cells)}")
        else:
            yield ManifestRow(number, dict(zip(columns, cells, strict=True)))


def _csv_records(lines: Iterator[_Line]) -> Iterator[tuple[int, list[str] | str]]:
    """Line number and cells of each record; in place of the cells, the fault of a line that is in none."""
    ahead: deque[_Line] = deque()
    while _fill(ahead, lines, 1):
        cells, num_lines = _first_record(ahead, lines)
        if cells:  # a blank line is no record
            yield ahead[0].number, cells
        for _ in range(num_lines):
            ahead.popleft()


def _first_record(ahead: deque[_Line], lines: Iterator[_Line]) -> tuple[list[str] | str, int]:
    """Cells, or the fault, of the record that starts at ahead[0], and how many lines it takes."""
    text = fault = ""
    for num_lines in range(1, MAX_RECORD_LINES + 1):
        if not _fill(ahead, lines, num_lines) or ahead[num_lines - 1].fault:
            break
        text += ahead[num_lines - 1].text
        try:
            return next(csv.reader(io.StringIO(text, newline=""), strict=True), []), num_lines
        except csv.Error as error:
            fault = f"a line must be well-formed CSV: {error}"
            if "unexpected end of data" not in str(error):  # only an open quote may close on a later line
                break
    return ahead[0].fault or fault, 1


def _fill(ahead: deque[_Line], lines: Iterator[_Line], num_lines: int) -> bool:
    while len(ahead) < num_lines:
        line = next(lines, None)
        if line is None:
            return False
        ahead.append(line)
    return True


def _jsonl_rows(path: Path) -> Iterator[ManifestRow]:
    for line in _text_lines(path):
        if line.fault:
            yield ManifestRow(line.number, fault=line.fault)
        elif line.text.strip():
            yield _json_row(line)


def _json_row(line: _Line) -> ManifestRow:
    try:
        cells = json.loads(line.text)
    except (ValueError, RecursionError) as error:  # a megabyte of '[' recurses
        return ManifestRow(line.number, fault=f"a line must be a JSON object: {error}")
    if not isinstance(cells, dict):
        return ManifestRow(line.number, fault=f"a line must be a JSON object, got {kind_of(cells)}")
    return ManifestRow(line.number, cells)


def _parquet_rows(path: Path) -> Iterator[ManifestRow]:
    with _open_parquet(path) as file:
        names = file.schema_arrow.names
        _check_columns(path, names)
        # Others are named, so that the source can warn of them; what they hold need not be what Python can.
        others = dict.fromkeys(name for name in names if not is_known(name))
        number = 0
        for batch in file.iter_batches(_PARQUET_BATCH_ROWS, columns=[name for name in names if name not in others]):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            for index in range(batch.num_rows):
                number += 1
                yield _parquet_row(number, others, columns, index)


def _parquet_row(line: int, others: Mapping[str, None], columns: Mapping[str, pa.Array], index: int) -> ManifestRow:
    cells: dict[str, Any] = {**others}
    for name, values in columns.items():
        try:
            cells[name] = _as_python(values[index])
        except (ValueError, OverflowError, LookupError):  # no UTF-8, no year of Python's, no zone that it knows
            return ManifestRow(line, fault=f"{name[:40]} must be UTF-8 text or a number, got what cannot be read")
    return ManifestRow(line, cells)


def _as_python(value: pa.Scalar) -> Any:
    plain = value.as_py()
    if plain is not None and (pa.types.is_float32(value.type) or pa.types.is_float16(value.type)):
        # 19.9 in a narrow column would come back as 19.899999618530273: the shortest text is what was meant.
        return float(str(value.type.to_pandas_dtype()(plain)))
    return plain


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, UnicodeDecodeError):
        raise
    except (RuntimeError, ValueError) as error:  # pyarrow_hotfix's, of a pickle and of what only claims to be one
        raise DataError(
            f"the columns of {path} must be of plain types, got one whose type is a pickle: loading it could run code; "
            "write the file without Python extension types"
        ) from error


def _check_columns(path: Path, columns: list[str]) -> None:
    if "image" not in columns:
        raise DataError(f"{path} must have a column 'image', got {', '.join(columns)[:200]}")
    if len(set(columns)) < len(columns):
        raise DataError(f"the columns of {path} must have different names, got {', '.join(columns)[:200]}")


_READERS = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
MANIFEST_SUFFIXES = tuple(_READERS)
