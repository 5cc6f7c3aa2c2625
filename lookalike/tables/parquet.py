"""Parquet: one file, or a folder of parts as Spark writes it, read in batches whatever the row groups are."""

from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow_hotfix

from lookalike.tables.table import Header, Row, Table, TableError

# pyarrow 10 unpickles the type of a column, so that opening a stranger's file runs its code (CVE-2023-47248).
pyarrow_hotfix.install()

_BATCH_ROWS = 1024
_PICTURE_BATCH_ROWS = 16  # where rows carry the pictures themselves
_PAGE_BYTES = 1024 * 1024  # read ahead of a column; without a bound it is all of a row group
_PART = "*.parquet"
_NOT_PYTHONS = (ValueError, OverflowError, LookupError)  # no UTF-8, no year of Python's, no zone that it knows
_UNREADABLE = object()
# A page is unpacked at once. Text comes to a tenth of itself; what comes to less than a hundredth is no text of a shop.
_MAX_RATIO, _MAX_UNPACKED_BYTES = 100, 64 * 1024 * 1024


def open_parquet(path: Path, header: Header) -> Table:
    """A file, or a folder of them with the same columns. Raises TableError."""
    parts = [path]
    if path.is_dir():
        parts = sorted(part for part in path.rglob(_PART) if not part.name.startswith(("_", ".")))
        if not parts:
            raise TableError(f"a folder of Parquet parts must hold files {_PART}, got none in {path}")
    names = _open(parts[0]).schema_arrow.names
    columns = header.columns(names, path)
    return Table(
        _rows(parts, header),
        f"{len(parts)} parts" if path.is_dir() else "",
        {name for name, column in zip(names, columns, strict=True) if not column},
    )


def _rows(parts: Sequence[Path], header: Header) -> Iterator[Row]:
    number = 0
    for part in parts:
        with _open(part) as file:
            names = file.schema_arrow.names
            wanted = {name: column for name, column in zip(names, header.columns(names, part), strict=True) if column}
            _check_unpacked(part, file.metadata, wanted)
            carries = any(_carries_bytes(file.schema_arrow.field(name).type) for name in wanted)
            for batch in file.iter_batches(_PICTURE_BATCH_ROWS if carries else _BATCH_ROWS, columns=list(wanted)):
                columns = [wanted[name] for name in batch.schema.names]
                for cells in zip(*map(_values, batch.columns), strict=True):
                    number += 1
                    yield _row(number, columns, cells)


def _check_unpacked(path: Path, metadata: pq.FileMetaData, wanted: Container[str]) -> None:
    """By what the file says of itself. Raises TableError."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            unpacked, packed = column.total_uncompressed_size, column.total_compressed_size
            is_wanted = column.path_in_schema.partition(".")[0] in wanted
            if is_wanted and unpacked > max(_MAX_UNPACKED_BYTES, _MAX_RATIO * packed):
                raise TableError(
                    f"the column {column.path_in_schema} of {path} must unpack to at most {_MAX_RATIO} times its size, "
                    f"got {packed:,} bytes that say they hold {unpacked:,}"
                )


def _carries_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(_carries_bytes(kind[index].type) for index in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _row(number: int, columns: Sequence[str], cells: Sequence[Any]) -> Row:
    unreadable = [column for column, cell in zip(columns, cells, strict=True) if cell is _UNREADABLE]
    if unreadable:
        return Row(number, fault=f"{unreadable[0][:40]} must be UTF-8 text or a number, got what cannot be read")
    return Row(number, dict(zip(columns, cells, strict=True)))


def _values(column: pa.Array) -> list[Any]:
    """The cells of a batch as Python's; all at once, and one by one where one of them cannot be read."""
    try:
        cells = column.to_pylist()
    except _NOT_PYTHONS:
        cells = list(map(_value, column))
    if pa.types.is_float32(column.type) or pa.types.is_float16(column.type):
        narrow = column.type.to_pandas_dtype()
        # 19.9 in a narrow column would come back as 19.899999618530273: the shortest text is what was meant.
        return [None if cell is None else float(str(narrow(cell))) for cell in cells]
    return list(cells)


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except _NOT_PYTHONS:
        return _UNREADABLE


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, buffer_size=_PAGE_BYTES)
    except (pa.ArrowException, UnicodeDecodeError):
        raise
    except (RuntimeError, ValueError) as error:  # pyarrow_hotfix's, of a pickle and of what only claims to be one
        raise TableError(
            f"the columns of {path} must be of plain types, got one whose type is a pickle: loading it could run code; "
            "write the file without Python extension types"
        ) from error
