import pickle
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lookalike.tables.table import TableError


def cells(rows):
    return [dict(row.cells) for row in rows if not row.fault]


def test_rows_are_read(read, tmp_path):
    table = pa.table({"image": ["a.jpg", "b.jpg"], "price": [1.5, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    rows = read(None, "a.parquet")[0]
    assert cells(rows) == [{"image": "a.jpg", "price": 1.5}, {"image": "b.jpg", "price": None}]


def test_without_image_column_is_refused(read, tmp_path):
    pq.write_table(pa.table({"picture": ["a.jpg"]}), tmp_path / "a.parquet")
    with pytest.raises(TableError, match="column 'image', got picture"):
        read(None, "a.parquet")[0]


YEAR_10000 = pa.array([253_402_300_800, 0], pa.timestamp("s"))
NOT_UTF8 = pa.StringArray.from_buffers(2, pa.py_buffer(struct.pack("<3i", 0, 1, 2)), pa.py_buffer(b"\xffb"))


@pytest.mark.parametrize("values", [YEAR_10000, NOT_UTF8], ids=["year 10000", "not UTF-8"])
def test_a_cell_that_cannot_be_read_costs_its_row_alone(read, tmp_path, values):
    pq.write_table(pa.table({"image": ["a.jpg", "b.jpg"], "title": values}), tmp_path / "a.parquet")
    bad, good = read(None, "a.parquet")[0]
    assert (bad.line, bad.fault) == (1, "title must be UTF-8 text or a number, got what cannot be read")
    assert (good.line, good.fault, good.cells["image"]) == (2, "", "b.jpg")


@pytest.mark.parametrize("values", [YEAR_10000, NOT_UTF8], ids=["year 10000", "not UTF-8"])
def test_a_column_that_nobody_wants_is_named_and_not_read(read, tmp_path, values):
    table = pa.table({"image": ["a.jpg", "b.jpg"], "attr:fit": ["slim", None], "since": values})
    pq.write_table(table, tmp_path / "a.parquet")
    (first, second), table = read(None, "a.parquet")
    assert first.cells == {"image": "a.jpg", "attr:fit": "slim"}
    assert second.cells == {"image": "b.jpg", "attr:fit": None}
    assert table.unwanted == {"since"}


def test_a_folder_of_parts_is_one_table(read, tmp_path):
    (tmp_path / "a.parquet/part=1").mkdir(parents=True)
    for name in ("part-0.snappy.parquet", "part=1/part-1.parquet", "_hidden.parquet"):
        pq.write_table(pa.table({"image": [name], "title": [1]}), tmp_path / "a.parquet" / name)
    (tmp_path / "a.parquet/_SUCCESS").touch()
    rows, table = read(None, "a.parquet")
    assert [(row.line, row.cells["image"]) for row in rows] == [
        (1, "part-0.snappy.parquet"),
        (2, "part=1/part-1.parquet"),
    ]
    assert table.assumed == "2 parts"


def test_an_empty_folder_of_parts_is_refused(read, tmp_path):
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(TableError, match="must hold files"):
        read(None, "a.parquet")


def test_values_of_every_kind_come_as_pythons(read, tmp_path):
    picture = pa.array([{"bytes": b"jpeg", "path": "a.jpg"}])
    dictionary = pa.array(["red"]).dictionary_encode()
    table = pa.table({"image": picture, "title": dictionary, "attr:fit": [["slim", "long"]]})
    pq.write_table(table, tmp_path / "a.parquet")
    [row] = read(None, "a.parquet")[0]
    assert row.cells == {"image": {"bytes": b"jpeg", "path": "a.jpg"}, "title": "red", "attr:fit": ["slim", "long"]}


def test_a_column_whose_name_is_no_text_is_refused_in_one_line(read, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": ["a.jpg"], "zzz": ["b"]}), path)
    path.write_bytes(path.read_bytes().replace(b"zzz", b"\xff\xff\xff"))
    with pytest.raises(TableError, match=r"a\.parquet must be readable") as refused:
        read(None, path.name)
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
def test_whose_columns_carry_a_pickle_is_refused_and_nothing_runs(read, tmp_path, is_pickle):
    pickled = pickle.dumps(Planted(tmp_path / "left_behind")) if is_pickle else b"no pickle"
    table = pa.table([["a.jpg"]], schema_with_pickled_type("image", pickled))
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"one whose type is a pickle: .* without Python extension types") as refused:
        read(None, "a.parquet")[0]
    assert not (tmp_path / "left_behind").exists()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + bytes(50) + b"PAR1", b"<html>"])
def test_damaged_file_is_refused(read, content):
    with pytest.raises(TableError, match="must be readable"):
        read(content, "a.parquet")


def test_a_bomb_is_refused_before_it_is_unpacked(read, tmp_path):
    bomb = pa.table({"image": ["a.jpg"], "title": ["x" * 80_000_000]})
    pq.write_table(bomb, tmp_path / "a.parquet", compression="zstd", use_dictionary=False, write_statistics=False)
    assert (tmp_path / "a.parquet").stat().st_size < 100_000
    with pytest.raises(TableError, match=r"title .* at most 100 times its size, got .* that say they hold 80,0"):
        read(None, "a.parquet")
