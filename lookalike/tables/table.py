"""What every kind of table comes to: rows of cells under the columns that somebody wants, and what was assumed."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookalike.errors import EXIT_BAD_DATA, UserError

MAX_ROW_BYTES = 1024 * 1024  # of text; a picture that a row carries is bounded where it is decoded
_MAX_SHOWN_CHARS = 200


class TableError(UserError, code="BAD_DATA", exit_status=EXIT_BAD_DATA):
    """A table that cannot be used at all."""


@dataclass(frozen=True)
class Row:
    """One row: its cells by column, or what is wrong with it.

    line: 1-based line of a text file, 1-based row of any other.   fault: '' for a well-formed row.
    """

    line: int
    cells: Mapping[str, Any] = field(default_factory=dict)
    fault: str = ""


@dataclass(frozen=True)
class Header:
    """What the names over a table's columns mean.

    column_of: a name as it is written → the column that it means, '' where nobody wants it.
    required: the column without which no table can be used.   way_out: what to do where it is missing.
    """

    column_of: Callable[[str], str]
    required: str
    way_out: str = "rename the one that is meant"

    def columns(self, names: Sequence[str], where: Path) -> list[str]:
        """The column of each name; '' where nobody wants it.

        Raises TableError: the required one is missing, or one that is wanted comes twice.
        """
        columns = list(map(self.column_of, names))
        if self.required not in columns:
            raise self.missing(names, where)
        twice = sorted({column for column in columns if column and columns.count(column) > 1})
        if twice:
            raise TableError(
                f"the columns of {where} must be different ones, {shown(twice)} came twice: {shown(names)}"
            )
        return columns

    def missing(self, names: Iterable[object], where: Path) -> TableError:
        """What to raise where these names came, and not the required one."""
        return TableError(f"{where} must have a column {self.required!r}, got {shown(names) or 'none'}; {self.way_out}")

    def wanted(self, cells: Mapping[str, Any], unwanted: set[str]) -> dict[str, Any]:
        """The cells of a row that brings its own names; the names that nobody wants are added to `unwanted`."""
        found: dict[str, Any] = {}
        for name, value in cells.items():
            if column := self.column_of(name):
                found.setdefault(column, value)
            else:
                unwanted.add(name)
        return found


@dataclass(frozen=True)
class Table:
    """A table that is open.

    rows: read once, in order; malformed ones carry their fault and do not end the reading. Raises TableError, where the
      rest cannot be read.
    assumed: what the file does not say itself, such as "semicolons, Windows-1252"; '' where all is as usual.
    unwanted: names of columns that nobody wants; complete when the rows have been read.
    """

    rows: Iterable[Row]
    assumed: str = ""
    unwanted: set[str] = field(default_factory=set)


def shown(names: Iterable[object]) -> str:
    """Names as they stand in a message."""
    return ", ".join(map(str, names))[:_MAX_SHOWN_CHARS]
