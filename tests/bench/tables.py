"""How fast rows of each kind of table come, and that memory does not grow with the table."""

import csv
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

NUM_ROWS = 100_000
_COLUMNS = ("image", "product_id", "category", "title", "price")
_MEASURE = """
import sys, time
from pathlib import Path
from lookalike.catalog.columns import Columns
from lookalike.tables.files import open_table
from lookalike.tables.table import Header
header = Header(Columns().column_of, "image")
def peak_kb():
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
Path("/proc/self/clear_refs").write_text("5")  # the peak so far was of the parent, before it became this process
before = peak_kb()
start = time.perf_counter()
count = sum(not row.fault for row in open_table(Path(sys.argv[1]), header).rows)
spent = time.perf_counter() - start
print(count / spent, (peak_kb() - before) / 1024)
"""


def bench_tables() -> Iterator[tuple[str, str, float]]:
    """Each reader in a process of its own, at 10⁴ and 10⁵ rows."""
    for kind, write in _WRITERS.items():
        speeds, memory = zip(*(_measured(kind, write, count) for count in (NUM_ROWS // 10, NUM_ROWS)), strict=True)
        yield "tables", f"{kind}: thousand rows/s at 10⁵ rows", speeds[1] / 1000
        yield "tables", f"  {kind}: MB at 10⁵ rows above those at 10⁴", memory[1] - memory[0]


def _measured(kind: str, write: Callable[[Path, Sequence[dict[str, str]]], None], count: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, f"table{kind}")
        write(path, _rows(count))
        done = subprocess.run(
            [sys.executable, "-c", _MEASURE, str(path)], capture_output=True, text=True, check=True, cwd=Path.cwd()
        )
    speed, memory = map(float, done.stdout.split())
    return speed, memory


def _rows(count: int) -> list[dict[str, str]]:
    values = ("img/{n}.jpg", "P{n}", "Shoes > Boots", "Stiefel aus Leder, Größe {n}", "{n}.90")
    return [dict(zip(_COLUMNS, (one.format(n=n) for one in values), strict=True)) for n in range(count)]


def _write_csv(path: Path, rows: Sequence[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _write_xlsx(path: Path, rows: Sequence[dict[str, str]]) -> None:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Products")
    sheet.append(_COLUMNS)
    for row in rows:
        sheet.append(list(row.values()))
    book.save(path)


def _write_xml(path: Path, rows: Sequence[dict[str, str]]) -> None:
    text = io.StringIO()
    for row in rows:
        text.write(f"<item>{''.join(f'<{name}>{escape(value)}</{name}>' for name, value in row.items())}</item>\n")
    path.write_text(f"<feed>\n{text.getvalue()}</feed>", encoding="utf-8")


_WRITERS: dict[str, Callable[[Path, Sequence[dict[str, str]]], None]] = {
    ".csv": _write_csv,
    ".jsonl": lambda path, rows: path.write_text("\n".join(map(json.dumps, rows))) and None,
    ".json": lambda path, rows: path.write_text(json.dumps(rows)) and None,
    ".parquet": lambda path, rows: pq.write_table(pa.Table.from_pylist(list(rows)), path),
    ".xlsx": _write_xlsx,
    ".xml": _write_xml,
}
