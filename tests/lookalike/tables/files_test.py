import csv
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lookalike.tables.files import open_table
from lookalike.tables.table import TableError


def rows_of(path, header):
    return list(open_table(path, header).rows)


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "a.ods", r"one of \.csv, \.tsv"),
        (b"\x1f\x8b\x08", "a.csv", "packed by gzip"),
        (b"\xd0\xcf\x11\xe0", "a.xls", "save it as .xlsx or CSV"),
    ],
)
def test_what_we_cannot_read_is_refused_with_the_way_out(read, content, name, words):
    with pytest.raises(TableError, match=words):
        read(content, name)


def test_a_file_that_is_not_there_is_told(read):
    with pytest.raises(TableError, match=r"none\.csv must be readable: .*no such file"):
        read(None, "none.csv")


BYTES = st.lists(
    st.one_of(
        st.binary(max_size=12), st.sampled_from([b"a.jpg", b",", b'"', b"\n", b"\r", b"{", b"}", b"[", b"\xef\xbb\xbf"])
    ),
    max_size=40,
).map(b"".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(BYTES, st.sampled_from(["manifest.csv", "manifest.jsonl"]))
def test_whatever_the_lines_hold_reading_goes_on_to_the_end(tmp_path, header, noise, name):
    first, last = (b"image,title\n", b"end.jpg,x\n") if name.endswith("csv") else (b"{}\n", b'{"image": "end.jpg"}\n')
    (tmp_path / name).write_bytes(first + noise + b"\n" + last)
    rows = rows_of(tmp_path / name, header)
    assert not any(row.fault and row.cells for row in rows)
    if b'"' not in noise:  # an open quote may rightly take the last line with it
        assert rows[-1].cells.get("image") == "end.jpg"


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=20)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), max_size=8))
def test_what_a_csv_writer_or_json_wrote_is_read_back(tmp_path, header, records):
    rows = [{"image": image, "title": title} for image, title in records]
    with (tmp_path / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["image", "title"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "manifest.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    read = [dict(row.cells) for row in rows_of(tmp_path / "manifest.csv", header)]
    assert read == [row for row in rows if any(map(str.strip, row.values()))]
    assert [dict(row.cells) for row in rows_of(tmp_path / "manifest.jsonl", header)] == rows
