"""Text with a delimiter, as spreadsheets, shops and data frames write it."""

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO

from lookalike.tables.table import MAX_ROW_BYTES, Header, Row, Table, TableError

# A quoted cell may hold line breaks. One that never closes its quote must not swallow the rest of the file.
MAX_RECORD_LINES = 20
_SAMPLE_BYTES = 4096
_MOSTLY = 0.9
_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_SEP = "sep="  # Excel's first line
UTF8, WINDOWS = "utf-8-sig", "cp1252"
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_SPOKEN = {WINDOWS: "Windows-1252", "utf-16": "UTF-16", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16"}


@dataclass(frozen=True)
class Line:
    """A line of text, or what is wrong with it."""

    number: int
    text: str = ""
    fault: str = ""


def open_delimited(path: Path, header: Header) -> Table:
    """CSV and its relatives; the first row that is not empty names the columns. Raises TableError."""
    encoding = encoding_of(path)
    first, delimiter = _first_row(path, encoding, header)
    names = _cells(first.text, delimiter) or []
    columns = header.columns([name.strip() for name in names], path)
    assumed = [_DELIMITERS.get(delimiter, repr(delimiter))] if delimiter != "," else []
    return Table(
        _rows(path, encoding, delimiter, columns, first.number),
        ", ".join([*assumed, *spoken(encoding)]),
        {name for name, column in zip(names, columns, strict=True) if name.strip() and not column},
    )


def spoken(encoding: str) -> list[str]:
    """What an encoding is called where it is told: nothing for UTF-8."""
    return [_SPOKEN[encoding]] if encoding in _SPOKEN else []


def encoding_of(path: Path) -> str:
    """UTF-16 by its mark or its zeros; else UTF-8, unless more lines that are not ASCII contradict it than bear it out.

    So a damaged line in a file of UTF-8 stays one damaged line.
    """
    with path.open("rb") as file:
        sample = file.read(_SAMPLE_BYTES)
        if encoding := _BOMS.get(sample[:2]) or _utf16_without_mark(sample):
            return encoding
        file.seek(0)
        chunks = iter(partial(file.readline, MAX_ROW_BYTES), b"")  # one that holds all, where CR ends the lines
        votes = sum(_vote(line) for chunk in chunks for line in chunk.splitlines())
    return UTF8 if votes >= 0 else WINDOWS


def _utf16_without_mark(sample: bytes) -> str:
    """Latin text has a zero in nearly every second byte."""
    least = _MOSTLY * (len(sample) // 2)
    if len(sample) > 1 and sample[1::2].count(0) >= least > sample[::2].count(0):
        return "utf-16-le"
    return "utf-16-be" if len(sample) > 1 and sample[::2].count(0) >= least > sample[1::2].count(0) else ""


def _vote(line: bytes) -> int:
    if line.isascii():
        return 0
    try:
        line.decode()
    except UnicodeDecodeError:
        return -1
    return 1


def lines_of(path: Path, encoding: str) -> Iterator[Line]:
    """The lines of a file, whichever of CR, LF and CR LF ends them; one of a megabyte is a fault and is skipped."""
    errors = "surrogateescape" if encoding == UTF8 else "replace"
    with path.open("r", encoding=encoding, errors=errors, newline=None) as file:
        number = 0
        while text := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(text) > MAX_ROW_BYTES:
                _skip_to_next_line(file, text)
                yield Line(number, fault=f"a line must be at most {MAX_ROW_BYTES} characters long")
            else:
                yield _line(number, text)


def _skip_to_next_line(file: TextIO, read: str) -> None:
    while read and not read.endswith("\n"):
        read = file.readline(MAX_ROW_BYTES)


def _line(number: int, text: str) -> Line:
    if "\0" in text:
        return Line(number, fault="a line must be text, got a NUL")
    if not text.isascii() and any("\udc80" <= letter <= "\udcff" for letter in text):
        return Line(number, fault="a line must be UTF-8, as the others are")
    return Line(number, text)


def _first_row(path: Path, encoding: str, header: Header) -> tuple[Line, str]:
    """The line that names the columns, and the delimiter between them."""
    stated = ""
    for line in lines_of(path, encoding):
        text = line.text.strip().strip('"')
        if line.number == 1 and text.lower().startswith(_SEP) and len(text) == len(_SEP) + 1:
            stated = text[-1]
        elif line.fault or text.strip("".join(_DELIMITERS)):
            break
    else:
        raise TableError(f"{path} must start with a line of column names, got nothing")
    if line.fault:
        raise TableError(f"{path} must start with a line of column names: {line.fault}")
    delimiter = stated or max(_DELIMITERS, key=lambda one: _fit(_cells(line.text, one) or [], header))
    if _cells(line.text, delimiter) is None:
        raise TableError(f"{path} must start with a line of column names, got {line.text[:80]!r}")
    return line, delimiter


def _fit(names: Sequence[str], header: Header) -> tuple[int, int]:
    """How well a delimiter cuts the first line: by the columns that are wanted, then by all."""
    return sum(bool(header.column_of(name.strip())) for name in names), len(names)


def _cells(text: str, delimiter: str) -> list[str] | None:
    """The cells of a record; None where it is none, or is not complete."""
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return None


def _rows(path: Path, encoding: str, delimiter: str, columns: Sequence[str], header_line: int) -> Iterator[Row]:
    lines = lines_of(path, encoding)
    for _ in range(header_line):
        next(lines)
    for number, cells in _records(lines, delimiter):
        if isinstance(cells, str):
            yield Row(number, fault=cells)
        elif not any(map(str.strip, cells)):  # spreadsheets write them below their last row
            continue
        elif any(map(str.strip, cells[len(columns) :])):
            yield Row(number, fault=f"a row must have {len(columns)} cells, got {len(cells)}")
        else:  # a spreadsheet leaves out empty cells at the end, or writes too many
            yield Row(number, {column: cell for column, cell in zip(columns, cells, strict=False) if column})


def _records(lines: Iterator[Line], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Line number and cells of each record; in place of the cells, the fault of a line that is in none."""
    ahead: deque[Line] = deque()
    while _fill(ahead, lines, 1):
        cells, num_lines = _first_record(ahead, lines, delimiter)
        if cells:  # a blank line is no record
            yield ahead[0].number, cells
        for _ in range(num_lines):
            ahead.popleft()


def _first_record(ahead: deque[Line], lines: Iterator[Line], delimiter: str) -> tuple[list[str] | str, int]:
    """Cells, or the fault, of the record that starts at ahead[0], and how many lines it takes."""
    text = fault = ""
    for num_lines in range(1, MAX_RECORD_LINES + 1):
        if not _fill(ahead, lines, num_lines) or ahead[num_lines - 1].fault:
            break
        text += ahead[num_lines - 1].text
        try:
            return next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True), []), num_lines
        except csv.Error as error:
            fault = f"a line must be well-formed CSV: {error}"
            if "unexpected end of data" not in str(error):  # only an open quote may close on a later line
                break
    return ahead[0].fault or fault, 1


def _fill(ahead: deque[Line], lines: Iterator[Line], num_lines: int) -> bool:
    while len(ahead) < num_lines:
        line = next(lines, None)
        if line is None:
            return False
        ahead.append(line)
    return True
