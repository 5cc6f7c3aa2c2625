import io
import zipfile
from datetime import date

import openpyxl
import pytest

from lookalike.tables import spreadsheet
from lookalike.tables.table import TableError


def workbook(*sheets):
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    saved = io.BytesIO()
    book.save(saved)
    return saved.getvalue()


ROWS = [
    ["Export of the shop"],
    [],
    ["Image", "Title", None, "Size"],
    ["a.jpg", "Größe", 1, 38],
    [None] * 4,
    ["b.jpg", "x", date(2026, 11, 27)],
]


@pytest.mark.parametrize("name", ["a.xlsx", "called.csv"])
def test_the_names_of_columns_may_stand_below_a_title_and_empty_rows_are_none(read, name):
    rows, table = read(workbook(("Products", ROWS)), name)
    assert [(row.line, dict(row.cells)) for row in rows] == [
        (4, {"image": "a.jpg", "title": "Größe"}),
        (6, {"image": "b.jpg", "title": "x"}),
    ]
    assert (table.assumed, table.unwanted) == ("", {"Size"})


def test_the_sheet_that_has_the_column_is_read_and_told(read):
    rows, table = read(workbook(("Notes", [["x"]]), ("Products", ROWS)), "a.xlsx")
    assert (len(rows), table.assumed) == (2, "sheet 'Products' of 2")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (workbook(("Notes", [["picture", "title"]])), "must have a column 'image', got picture, title"),
        (workbook(("Notes", [])), "must have a column 'image'"),
        (b"PK\x03\x04 damaged", "must be an .xlsx workbook"),
    ],
)
def test_what_is_no_table_is_refused(read, content, words):
    with pytest.raises(TableError, match=words):
        read(content, "a.xlsx")


def test_a_bomb_is_refused_before_it_is_unpacked(read, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", bytes(2 << 20))
    monkeypatch.setattr(spreadsheet, "MAX_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(TableError, match="unpack to at most 1 MiB, got 2 MiB"):
        read(packed.getvalue(), "a.xlsx")
