import csv
import json
import pickle
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.manifests import MAX_LINE_BYTES, MAX_RECORD_LINES, read_manifest


def read(tmp_path, content, name="manifest.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return list(read_manifest(path))


def cells(rows):
    return [dict(row.cells) for row in rows if not row.fault]


def faults(rows):
    return [(row.line, row.fault) for row in rows if row.fault]


def test_csv_rows_come_with_their_lines(tmp_path):
    rows = read(tmp_path, b'image, title\na.jpg,"Hat, red"\n\nb.jpg,\n')
    assert cells(rows) == [{"image": "a.jpg", "title": "Hat, red"}, {"image": "b.jpg", "title": ""}]
    assert [row.line for row in rows] == [2, 4]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_byte_order_mark_and_line_ends_are_no_part_of_a_cell(tmp_path, end):
    rows = read(tmp_path, b"\xef\xbb\xbfimage,title" + end + b"a.jpg,Hat" + end)
    assert cells(rows) == [{"image": "a.jpg", "title": "Hat"}]


def test_quoted_line_breaks_stay_in_their_cell(tmp_path):
    rows = read(tmp_path, b'image,title\na.jpg,"red\nhat ""x"""\nb.jpg,c\n')
    assert [row.cells["title"] for row in rows] == ['red\nhat "x"', "c"]
    assert [row.line for row in rows] == [2, 4]


def test_quote_that_never_closes_costs_one_line(tmp_path):
    lines = [b'bad.jpg,"open'] + [b"%d.jpg,x" % i for i in range(3 * MAX_RECORD_LINES)]
    rows = read(tmp_path, b"image,title\n" + b"\n".join(lines))
    assert [line for line, _ in faults(rows)] == [2]
    assert len(cells(rows)) == 3 * MAX_RECORD_LINES


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"bad.jpg,a\0b", "NUL"),
        (b"bad.jpg,\xff\xfe", "UTF-8"),
        (b"bad.jpg," + b"x" * (10 * 1024 * 1024), f"at most {MAX_LINE_BYTES} bytes"),
        (b"bad.jpg," + b"x" * 500_000, "field larger than field limit"),
        (b"bad.jpg", "must have 2 cells, got 1"),
        (b"bad.jpg,a,b", "must have 2 cells, got 3"),
        (b'bad.jpg,"a"b', "CSV"),
    ],
)
def test_malformed_csv_line_is_told_and_costs_only_itself(tmp_path, line, words):
    rows = read(tmp_path, b"image,title\na.jpg,x\n" + line + b"\nb.jpg,y\n")
    [(number, fault)] = faults(rows)
    assert number == 3
    assert words in fault
    assert [row["image"] for row in cells(rows)] == ["a.jpg", "b.jpg"]


def test_formula_is_mere_text(tmp_path):
    formula = "=cmd|' /C calc'!A0"
    assert read(tmp_path, f"image,title\na.jpg,{formula}\n".encode())[0].cells["title"] == formula


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "column names, got nothing"),
        (b"picture,title\na.jpg,x\n", "column 'image', got picture, title"),
        (b"image;title\na.jpg;x\n", "column 'image', got image;title"),
        (b"image,image\na.jpg,x\n", "different names"),
        ("image,title\n".encode("utf-16"), "column names"),
    ],
)
def test_csv_without_usable_columns_is_refused(tmp_path, content, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path, content)


def test_json_lines_keep_their_types_and_tell_their_faults(tmp_path):
    lines = [
        b'\xef\xbb\xbf{"image": "a.jpg", "price": 3.5}',
        b"",
        b"[1]",
        b'{"image": ',
        b"[" * 500_000,
        b'{"image": "\xff"}',
        b'{"price": ' + b"9" * 100_000 + b"}",
        b'{"image": "b.jpg", "crop": [0, 0, 1, 1]}',
    ]
    rows = read(tmp_path, b"\n".join(lines), "manifest.jsonl")
    assert cells(rows) == [{"image": "a.jpg", "price": 3.5}, {"image": "b.jpg", "crop": [0, 0, 1, 1]}]
    assert [line for line, _ in faults(rows)] == [3, 4, 5, 6, 7]


def test_parquet_rows_are_read(tmp_path):
    table = pa.table({"image": ["a.jpg", "b.jpg"], "price": [1.5, None]})
    pq.write_table(table, tmp_path / "manifest.parquet")
    rows = list(read_manifest(tmp_path / "manifest.parquet"))
    assert cells(rows) == [{"image": "a.jpg", "price": 1.5}, {"image": "b.jpg", "price": None}]


def test_parquet_without_image_column_is_refused(tmp_path):
    pq.write_table(pa.table({"picture": ["a.jpg"]}), tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match="column 'image', got picture"):
        list(read_manifest(tmp_path / "manifest.parquet"))


YEAR_10000 = pa.array([253_402_300_800, 0], pa.timestamp("s"))
NOT_UTF8 = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xffb"))


@pytest.mark.parametrize("values", [YEAR_10000, NOT_UTF8], ids=["year 10000", "not UTF-8"])
def test_a_parquet_cell_that_cannot_be_read_costs_its_row_alone(tmp_path, values):
    pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "title": values}), tmp_path / "manifest.parquet")
    bad, good = read_manifest(tmp_path / "manifest.parquet")
    assert (bad.line, bad.fault) == (1, "title must be UTF-8 text or a number, got what cannot be read")
    assert (good.line, good.fault, good.cells["image"]) == (2, "", "b.jpg")


@pytest.mark.parametrize("values", [YEAR_10000, NOT_UTF8], ids=["year 10000", "not UTF-8"])
def test_a_parquet_column_that_nobody_knows_is_named_and_not_read(tmp_path, values):
    table = pa.table({"image": ["a.jpg", "b.jpg"], "attr:fit": ["slim", None], "since": values})
    pq.write_table(table, tmp_path / "manifest.parquet")
    first, second = read_manifest(tmp_path / "manifest.parquet")
    assert first.cells == {"image": "a.jpg", "attr:fit": "slim", "since": None}
    assert second.cells == {"image": "b.jpg", "attr:fit": None, "since": None}


def test_a_parquet_column_whose_name_is_no_text_is_refused_in_one_line(tmp_path):
    path = tmp_path / "manifest.parquet"
    pq.write_table(pa.table({"image": ["a.jpg"], "zzz": ["b"]}), path)
    path.write_bytes(path.read_bytes().replace(b"zzz", b"\xff\xff\xff"))
    with pytest.raises(DataError, match=r"manifest\.parquet must be readable") as refused:
        list(read_manifest(path))
    assert str(refused.value).isprintable()


class Planted:
    """Loading its pickle leaves a file behind."""

    def __init__(self, left_behind):
        self.left_behind = left_behind

    def __reduce__(self):
        return Path.touch, (self.left_behind,)


def schema_with_pickled_type(name, pickled):
    """As pyarrow writes a column of a PyExtensionType."""
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled}
    return pa.schema([pa.field(name, pa.string(), metadata=metadata)])


@pytest.mark.parametrize("is_pickle", [True, False])
def test_parquet_whose_columns_carry_a_pickle_is_refused_and_nothing_runs(tmp_path, is_pickle):
    pickled = pickle.dumps(Planted(tmp_path / "left_behind")) if is_pickle else b"no pickle"
    table = pa.table([["a.jpg"]], schema_with_pickled_type("image", pickled))
    pq.write_table(table, tmp_path / "manifest.parquet")
    with pytest.raises(DataError, match=r"one whose type is a pickle: .* without Python extension types") as refused:
        list(read_manifest(tmp_path / "manifest.parquet"))
    assert not (tmp_path / "left_behind").exists()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"PAR1" + bytes(50) + b"PAR1", b"<html>"])
def test_damaged_parquet_is_refused(tmp_path, content):
    with pytest.raises(DataError, match="must be readable"):
        read(tmp_path, content, "manifest.parquet")


def test_other_files_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"one of .csv, .jsonl, .parquet"):
        read(tmp_path, b"", "manifest.xlsx")
    with pytest.raises(DataError, match="must be readable"):
        list(read_manifest(tmp_path / "none.csv"))


BYTES = st.lists(
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b"a.jpg", b",", b'"', b"\n", b"\r", b"{", b"}", b"[", b"\xef\xbb\xbf"])
    ),
    max_size=40,
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(BYTES, st.sampled_from(["manifest.csv", "manifest.jsonl"]))
def test_whatever_the_lines_hold_reading_goes_on_to_the_end(tmp_path, noise, name):
    first, last = (b"image,title\n", b"end.jpg,x\n") if name.endswith("csv") else (b"", b'{"image": "end.jpg"}\n')
    rows = read(tmp_path, first + noise + b"\n" + last, name)
    assert not any(row.fault and row.cells for row in rows)
    if b'"' not in noise:  # an open quote may rightly take the last line with it
        assert rows[-1].cells.get("image") == "end.jpg"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_what_a_csv_writer_or_json_wrote_is_read_back(tmp_path, records):
    rows = [{"image": image, "title": title} for image, title in records]
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "title"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    assert cells(read_manifest(tmp_path / "manifest.csv")) == rows
    assert cells(read_manifest(tmp_path / "manifest.jsonl")) == rows
