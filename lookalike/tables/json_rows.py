"""JSON Lines, and one JSON array of objects, read an object at a time."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import ijson

from lookalike.errors import kind_of
from lookalike.tables.delimited import Line, encoding_of, lines_of, spoken
from lookalike.tables.table import MAX_ROW_BYTES, Header, Row, Table, TableError

_EVENT_BYTES = 50  # what the least event may come to in memory
_BUFFER_BYTES = 4096  # all of its events are spelt out before the first one is seen
_MAX_DEPTH = 100
_STEPS = {"start_map": 1, "start_array": 1, "end_map": -1, "end_array": -1}


def open_json_lines(path: Path, header: Header) -> Table:
    """An object a line. Raises TableError."""
    encoding, unwanted = encoding_of(path), set[str]()
    return Table(_line_rows(path, encoding, header, unwanted), ", ".join(spoken(encoding)), unwanted)


def open_json(path: Path, header: Header) -> Table:
    """An array of objects, alone or as a value of one object; or JSON Lines under this name. Raises TableError."""
    if _starts_with_a_row(path, header):
        return open_json_lines(path, header)
    with path.open("rb") as file:
        prefix = _rows_prefix(path, file)
    unwanted = set[str]()
    assumed = f"the rows under {prefix.removesuffix('.item')!r}" if prefix != "item" else ""
    return Table(_array_rows(path, prefix, header, unwanted), assumed, unwanted)


def _line_rows(path: Path, encoding: str, header: Header, unwanted: set[str]) -> Iterator[Row]:
    for line in lines_of(path, encoding):
        if line.fault:
            yield Row(line.number, fault=line.fault)
        elif line.text.strip():
            yield _line_row(line.number, line.text, header, unwanted)


def _line_row(number: int, text: str, header: Header, unwanted: set[str]) -> Row:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # a megabyte of '[' recurses
        return Row(number, fault=f"a line must be a JSON object: {error}")
    return _object_row(number, value, header, unwanted)


def _object_row(number: int, value: Any, header: Header, unwanted: set[str]) -> Row:
    if not isinstance(value, dict):
        return Row(number, fault=f"a row must be a JSON object, got {kind_of(value)}")
    return Row(number, header.wanted(value, unwanted))


def _starts_with_a_row(path: Path, header: Header) -> bool:
    first = next(lines_of(path, encoding_of(path)), Line(1))
    try:
        value = json.loads(first.text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and any(header.column_of(name) == header.required for name in value)


def _rows_prefix(path: Path, file: BinaryIO) -> str:
    """Where the rows lie, in ijson's words."""
    try:
        for prefix, event, _ in _bounded(path, ijson.parse(file, buf_size=_BUFFER_BYTES), ""):
            if event == "start_array" and "." not in prefix:
                return f"{prefix}.item" if prefix else "item"
    except ijson.JSONError as error:
        raise TableError(f"{path} must be JSON: {_in_words(error)}") from error
    raise TableError(f"{path} must be a JSON array of objects, got none")


def _array_rows(path: Path, prefix: str, header: Header, unwanted: set[str]) -> Iterator[Row]:
    number = 0
    with path.open("rb") as file:
        try:
            for value in ijson.items(_bounded(path, ijson.parse(file, buf_size=_BUFFER_BYTES), prefix), prefix):
                number += 1
                yield _object_row(number, value, header, unwanted)
        except (ijson.JSONError, UnicodeDecodeError) as error:
            raise TableError(f"{path} must be JSON to its end, after row {number}: {_in_words(error)}") from error


def _bounded(path: Path, events: Iterator[tuple[str, str, Any]], prefix: str) -> Iterator[tuple[str, str, Any]]:
    """The events, as long as no row of them is larger or deeper than a row may be."""
    size = depth = 0
    for event in events:
        size = 0 if event[0] == prefix else size + _EVENT_BYTES + len(event[0]) + len(str(event[2] or ""))
        depth += _STEPS.get(event[1], 0)
        if size > MAX_ROW_BYTES:
            raise TableError(f"a row of {path} must come to at most {MAX_ROW_BYTES} bytes")
        if depth > _MAX_DEPTH:  # each event spells out where it is
            raise TableError(f"a row of {path} must be nested at most {_MAX_DEPTH} deep")
        yield event


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
