"""XML feeds: each element that has the required column as a child is a row; entities and DTDs are refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from xml.etree.ElementTree import Element, ParseError

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from lookalike.tables.table import MAX_ROW_BYTES, Header, Row, Table, TableError


def open_xml(path: Path, header: Header) -> Table:
    """Names without their namespaces are the columns; an element that comes twice in a row is a list.

    Raises TableError.
    """
    unwanted = set[str]()
    return Table(_rows(path, header, unwanted), "", unwanted)


class _Bounded:
    """A file that gives up when a row does not end."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self.since_row = 0

    def read(self, size: int = -1) -> bytes:
        """See io.RawIOBase."""
        data = self._file.read(size)
        self.since_row += len(data)
        if self.since_row > MAX_ROW_BYTES:
            raise TableError(f"a row of {self._path} must come to at most {MAX_ROW_BYTES} bytes")
        return data


def _rows(path: Path, header: Header, unwanted: set[str]) -> Iterator[Row]:
    number = 0
    try:
        with path.open("rb") as file:
            bounded = _Bounded(path, file)
            for row in _row_elements(bounded, header):
                number += 1
                yield Row(number, header.wanted(_cells(row), unwanted))
    except DefusedXmlException as error:
        raise TableError(
            f"{path} must be XML without a DTD and entities of its own: loading it could run wild"
        ) from error
    except ParseError as error:
        raise TableError(f"{path} must be XML to its end, after row {number}: {error}") from error
    if not number:
        raise header.missing(_first_names(path), path)


def _row_elements(file: _Bounded, header: Header) -> Iterator[Element]:
    open_elements: list[Element] = []
    for event, element in ElementTree.iterparse(file, events=("start", "end"), forbid_dtd=True):
        if event == "start":
            open_elements.append(element)
            continue
        open_elements.pop()
        if any(header.column_of(_local(child.tag)) == header.required and not len(child) for child in element):
            yield element
            file.since_row = 0
            element.clear()
            if open_elements:
                open_elements[-1].remove(element)  # or all rows would be kept to the end


def _first_names(path: Path) -> list[str]:
    """Of the children of the first element that has any, which is a row in most feeds."""
    with path.open("rb") as file:
        for _, element in ElementTree.iterparse(_Bounded(path, file), forbid_dtd=True):
            if len(element):
                return [_local(child.tag) for child in element]
    return []


def _cells(row: Element) -> dict[str, Any]:
    cells: dict[str, Any] = dict(row.attrib)
    for child in row:
        name, text = _local(child.tag), "".join(child.itertext()).strip()
        known = cells.get(name)
        cells[name] = text if known is None else [*(known if isinstance(known, list) else [known]), text]
    return cells


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
