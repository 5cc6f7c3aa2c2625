import pytest

from lookalike.tables.delimited import MAX_RECORD_LINES
from lookalike.tables.table import MAX_ROW_BYTES, TableError


def cells(rows):
    return [dict(row.cells) for row in rows if not row.fault]


def faults(rows):
    return [(row.line, row.fault) for row in rows if row.fault]


def test_rows_come_with_their_lines(read):
    rows, table = read('Image, title\na.jpg,"Hat, red"\n\nb.jpg,\n', "a.csv")
    assert cells(rows) == [{"image": "a.jpg", "title": "Hat, red"}, {"image": "b.jpg", "title": ""}]
    assert [row.line for row in rows] == [2, 4]
    assert table.assumed == ""


TEXT = 'image{0}title{0}price\na.jpg{0}"Größe {0}"{0}1\nb.jpg{0}Hat{0}2\n'


@pytest.mark.parametrize(
    ("delimiter", "encoding", "end", "assumed"),
    [
        (",", "utf-8", "\n", ""),
        (",", "utf-8-sig", "\r\n", ""),
        (",", "utf-8", "\r", ""),
        (";", "cp1252", "\r\n", "semicolons, Windows-1252"),
        ("\t", "utf-16", "\r\n", "tabs, UTF-16"),
        ("|", "utf-8", "\n", "bars"),
        (";", "utf-16-le", "\n", "semicolons, UTF-16"),
        (",", "utf-16-be", "\n", "UTF-16"),
    ],
)
def test_whatever_a_program_writes_is_the_same_table(read, delimiter, encoding, end, assumed):
    rows, table = read(TEXT.format(delimiter).replace("\n", end).encode(encoding), "a.csv")
    assert cells(rows) == [
        {"image": "a.jpg", "title": f"Größe {delimiter}", "price": "1"},
        {"image": "b.jpg", "title": "Hat", "price": "2"},
    ]
    assert table.assumed == assumed


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;"])
def test_first_line_may_state_the_delimiter(read, first):
    rows, table = read(f"{first}\r\nimage;title\r\na.jpg;1,5\r\n", "a.csv")
    assert (cells(rows), table.assumed) == ([{"image": "a.jpg", "title": "1,5"}], "semicolons")


def test_damaged_line_of_utf8_is_that_line_and_not_another_encoding(read):
    rows, table = read("image,title\na.jpg,é\nb.jpg,è\n".encode() + b"c.jpg,\xff\n", "a.csv")
    assert [row["title"] for row in cells(rows)] == ["é", "è"]
    assert faults(rows) == [(4, "a line must be UTF-8, as the others are")]
    assert table.assumed == ""


def test_a_large_file_that_cr_parts_is_still_utf8(read):
    lines = ["image,title"] + [f"{number}.jpg,ééééééééééé" for number in range(60_000)]
    rows, table = read("\r".join(lines), "a.csv")
    assert (len(cells(rows)), table.assumed) == (60_000, "")


def test_empty_rows_are_none_and_ragged_ones_end_in_nothing(read):
    rows, _ = read("image,title,price\n,,\n  ,\na.jpg\nb.jpg,x,1,,,\nc.jpg,x,1,2\n", "a.csv")
    assert cells(rows) == [{"image": "a.jpg"}, {"image": "b.jpg", "title": "x", "price": "1"}]
    assert faults(rows) == [(6, "a row must have 3 cells, got 4")]


def test_columns_that_nobody_wants_may_be_nameless_and_doubled(read):
    rows, table = read("image,,x,x,\na.jpg,1,2,3,4\n", "a.csv")
    assert (cells(rows), table.unwanted) == ([{"image": "a.jpg"}], {"x"})


def test_quoted_line_breaks_stay_in_their_cell(read):
    rows, _ = read('image,title\na.jpg,"red\nhat ""x"""\nb.jpg,c\n', "a.csv")
    assert [row.cells["title"] for row in rows] == ['red\nhat "x"', "c"]
    assert [row.line for row in rows] == [2, 4]


def test_quote_that_never_closes_costs_one_line(read):
    lines = ['bad.jpg,"open'] + [f"{number}.jpg,x" for number in range(3 * MAX_RECORD_LINES)]
    rows, _ = read("image,title\n" + "\n".join(lines), "a.csv")
    assert [line for line, _ in faults(rows)] == [2]
    assert len(cells(rows)) == 3 * MAX_RECORD_LINES


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"bad.jpg,a\0b", "NUL"),
        (b"bad.jpg," + b"x" * (10 * MAX_ROW_BYTES), f"at most {MAX_ROW_BYTES} characters"),
        (b"bad.jpg," + b"x" * 500_000, "field larger than field limit"),
        (b"bad.jpg,a,b", "must have 2 cells, got 3"),
        (b'bad.jpg,"a"b', "CSV"),
    ],
)
def test_malformed_line_is_told_and_costs_only_itself(read, line, words):
    rows, _ = read(b"image,title\na.jpg,x\n" + line + b"\nb.jpg,y\n", "a.csv")
    [(number, fault)] = faults(rows)
    assert number == 3
    assert words in fault
    assert [row["image"] for row in cells(rows)] == ["a.jpg", "b.jpg"]


def test_formula_is_mere_text(read):
    formula = "=cmd|' /C calc'!A0"
    assert read(f"image,title\na.jpg,{formula}\n", "a.csv")[0][0].cells["title"] == formula


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "column names, got nothing"),
        (b"\n\n,,\n", "column names, got nothing"),
        (b"picture,title\na.jpg,x\n", "column 'image', got picture, title"),
        (b"image,IMAGE\na.jpg,x\n", "must be different ones, image came twice"),
        (b"\0\0\0\0", "column names"),
    ],
)
def test_table_without_usable_columns_is_refused(read, content, words):
    with pytest.raises(TableError, match=words):
        read(content, "a.csv")
