import json
from decimal import Decimal

import pytest

from lookalike.tables.table import MAX_ROW_BYTES, TableError


def cells(rows):
    return [dict(row.cells) for row in rows if not row.fault]


def test_lines_keep_their_types_and_tell_their_faults(read):
    lines = [
        b'\xef\xbb\xbf{"image": "a.jpg", "price": 3.5}',
        b"",
        b"[1]",
        b'{"image": ',
        b"[" * 500_000,
        '{"image": "é.jpg"}'.encode(),
        b'{"image": "\xff"}',
        b'{"price": ' + b"9" * 100_000 + b"}",
        b'{"Image": "b.jpg", "title": ["x", "y"], "size": 3}',
    ]
    rows, table = read(b"\n".join(lines), "a.jsonl")
    assert cells(rows) == [
        {"image": "a.jpg", "price": 3.5},
        {"image": "é.jpg"},
        {"image": "b.jpg", "title": ["x", "y"]},
    ]
    assert [row.line for row in rows if row.fault] == [3, 4, 5, 7, 8]
    assert table.unwanted == {"size"}


ROWS = [{"image": "a.jpg", "price": 1.5}, {"image": "b.jpg", "title": None}]
READ = [{"image": "a.jpg", "price": Decimal("1.5")}, {"image": "b.jpg", "title": None}]


@pytest.mark.parametrize(
    ("text", "assumed"),
    [
        (json.dumps(ROWS), ""),
        (json.dumps(ROWS, indent=1), ""),
        (json.dumps({"count": 2, "tags": {"x": [1]}, "products": ROWS}), "the rows under 'products'"),
    ],
)
def test_an_array_is_read_alone_or_as_a_value_of_one_object(read, text, assumed):
    rows, table = read(text, "a.json")
    assert (cells(rows), table.assumed) == (READ, assumed)


def test_lines_may_be_called_json(read):
    rows, _ = read('{"image": "a.jpg", "x": [{"image": 1}]}\n{"image": ["b.jpg"]}\n', "a.json")
    assert cells(rows) == [{"image": "a.jpg"}, {"image": ["b.jpg"]}]


def test_an_element_that_is_no_object_costs_itself(read):
    rows, _ = read('[{"image": "a.jpg"}, 3, {"image": "b.jpg"}]', "a.json")
    assert [(row.line, row.fault) for row in rows if row.fault] == [(2, "a row must be a JSON object, got a number")]
    assert len(cells(rows)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"image": "a.jpg"}, {"image": ', "JSON to its end, after row 1"),
        ("<html>", "must be JSON"),
        ("3", "must be a JSON array of objects"),
        ('{"a": 1}', "must be a JSON array of objects"),
        ("[" * 100_000, "nested at most 100 deep"),
        ('[{"image": ' + "[" * 100_000, "nested at most 100 deep"),
        ('[{"image": "' + "x" * 2 * MAX_ROW_BYTES + '"}]', f"at most {MAX_ROW_BYTES} bytes"),
        ('[{"image": [' + "1," * MAX_ROW_BYTES + "1]}]", f"at most {MAX_ROW_BYTES} bytes"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line_and_in_bounded_memory(read, text, words):
    with pytest.raises(TableError, match=words) as refused:
        read(text, "a.json")
    assert "\n" not in str(refused.value)
