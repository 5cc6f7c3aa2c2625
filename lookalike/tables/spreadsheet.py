"""Excel's workbooks (.xlsx), read a row at a time and only as far as they unpack to a bounded size."""

import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openpyxl
from openpyxl.utils.exceptions import InvalidFileException

from lookalike.tables.table import Header, Row, Table, TableError

MAX_UNPACKED_BYTES = 512 * 1024 * 1024  # of the whole workbook; its texts are held in memory
MAX_COLUMNS = 1000
_HEADER_ROWS = 20  # among which the names of the columns must be: titles and empty rows may stand above


def open_spreadsheet(path: Path, header: Header) -> Table:
    """The first sheet that has the required column. Raises TableError."""
    _check_size(path)
    with _workbook(path) as workbook:
        sheets = [sheet for sheet in workbook.worksheets if sheet.sheet_state == "visible"]
        for sheet in sheets:
            found = _header_row(sheet, header)
            if found is not None:
                number, names = found
                columns = header.columns(names, path)
                assumed = f"sheet {sheet.title!r} of {len(sheets)}" if len(sheets) > 1 else ""
                unwanted = {name for name, column in zip(names, columns, strict=True) if name and not column}
                return Table(_rows(path, sheet.title, number, columns), assumed, unwanted)
        first = next(_values(sheets[0]), ()) if sheets else ()
    raise header.missing(filter(None, map(_name, first)), path)


def _check_size(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
    except zipfile.BadZipFile as error:
        raise TableError(f"{path} must be an .xlsx workbook, it is damaged or of another format: {error}") from error
    if unpacked > MAX_UNPACKED_BYTES:
        raise TableError(f"{path} must unpack to at most {MAX_UNPACKED_BYTES >> 20} MiB, got {unpacked >> 20} MiB")


@contextmanager
def _workbook(path: Path) -> Iterator[Any]:
    with warnings.catch_warnings(), path.open("rb") as file:  # by a path it would go by the suffix
        warnings.simplefilter("ignore")  # of styles and extensions, which are of no interest
        try:
            workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        except (InvalidFileException, KeyError, ValueError, zipfile.BadZipFile, SyntaxError) as error:
            raise TableError(f"{path} must be an .xlsx workbook: {' '.join(str(error).split())[:120]}") from error
        try:
            yield workbook
        finally:
            workbook.close()


def _values(sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # what a program wrote of them may be wrong, or a million columns
    return iter(sheet.iter_rows(values_only=True, max_col=MAX_COLUMNS))


def _header_row(sheet: Any, header: Header) -> tuple[int, list[str]] | None:
    """The number and names of the row that names the required column; None where none does."""
    for number, cells in zip(range(1, _HEADER_ROWS + 1), _values(sheet), strict=False):
        names = [_name(cell) for cell in cells]
        if any(header.column_of(name) == header.required for name in names):
            return number, names
    return None


def _name(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()


def _rows(path: Path, title: str, header_row: int, columns: Sequence[str]) -> Iterator[Row]:
    with _workbook(path) as workbook:
        for number, cells in enumerate(_values(workbook[title]), start=1):
            if number > header_row and any(cell is not None for cell in cells):
                yield Row(number, {column: cell for column, cell in zip(columns, cells, strict=False) if column})
