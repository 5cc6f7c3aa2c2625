"""What lies in a release: the names of its files, the catalogue's records and pictures, the embeddings, the canary."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lookalike.release.manifest import ReleaseError
from lookalike.retrieval import exact, metrics
from lookalike.retrieval.exact import FloatMatrix, Neighbours

INDEX_DIRECTORY = "index"
EMBEDDINGS_FILE = "embeddings.npy"
CATALOGUE_FILE = "catalogue.arrow"
TAXONOMY_FILE = "taxonomy.json"
METRICS_FILE = "metrics.json"
DECISION_FILE = "decision.json"
CANARY_FILE = "canary.npz"

_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("product_id", pa.string()),
        ("category", pa.string()),
        ("title", pa.string()),
        ("gender", pa.string()),
        ("price", pa.float64()),
        ("attributes", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)
_ROWS_PER_BATCH = 1024  # bounds the memory of writing


@dataclass(frozen=True)
class CatalogueRecord:
    """One image of the gallery as answers show it; '' or None where the source does not say.

    attributes: name to value. thumbnail: a small JPEG.
    """

    image_id: str
    product_id: str
    category: str = ""
    title: str = ""
    gender: str = ""
    price: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)
    thumbnail: bytes = b""


class Catalogue:
    """The records of a release, memory-mapped: row i describes embedding i and id i of the index."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    @classmethod
    def open(cls, path: Path) -> "Catalogue":
        """Maps a file that `write_catalogue` wrote. Raises ReleaseError where it is something else."""
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as error:
            raise ReleaseError(f"{path} must be an Arrow file, got something else: {error}") from error
        if table.schema != _SCHEMA:
            raise ReleaseError(f"{path} must have the columns {_SCHEMA.names}, got {table.schema.names}")
        return cls(table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def record(self, row: int) -> CatalogueRecord:
        """Reads one record. Raises IndexError for a row that is not there."""
        values = {name: self._value(name, row) for name in _SCHEMA.names}
        return CatalogueRecord(**{**values, "attributes": json.loads(values["attributes"])})

    def thumbnail(self, row: int) -> bytes:
        """Reads one picture, a JPEG. Raises IndexError for a row that is not there."""
        return bytes(self._value("thumbnail", row))

    @cached_property
    def image_ids(self) -> list[str]:
        """The image id of every row."""
        return self._column("image_id")

    @cached_property
    def product_ids(self) -> list[str]:
        """The product id of every row."""
        return self._column("product_id")

    @cached_property
    def categories(self) -> list[str]:
        """The category of every row, '' where unlabelled."""
        return self._column("category")

    def _column(self, name: str) -> list[str]:
        return list(self._table.column(name).to_pylist())

    def _value(self, name: str, row: int) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(f"row must be between 0 and {len(self) - 1}, got {row}")
        return self._table.column(name)[row].as_py()


def write_catalogue(path: Path, records: Iterable[CatalogueRecord]) -> int:
    """Writes records in the order of their embeddings, a batch at a time. Returns how many."""
    rows = iter(records)
    num_records = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while batch := list(islice(rows, _ROWS_PER_BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist([_row(record) for record in batch], schema=_SCHEMA))
            num_records += len(batch)
    return num_records


def _row(record: CatalogueRecord) -> dict[str, Any]:
    attributes = json.dumps(dict(record.attributes), ensure_ascii=False, sort_keys=True)
    return {**vars(record), "attributes": attributes}


def write_embeddings(path: Path, embeddings: FloatMatrix) -> None:
    """Saves [num_items, dim] float32. Raises ValueError on other shapes or types, NaN or infinity."""
    exact.check_vectors("embeddings", embeddings)
    np.save(path, embeddings, allow_pickle=False)


def read_embeddings(path: Path) -> FloatMatrix:
    """Maps [num_items, dim] float32 without reading it. Raises ReleaseError where the file holds something else."""
    try:
        embeddings: FloatMatrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ReleaseError(f"{path} must be a float32 array, got something else: {error}") from error
    if embeddings.ndim != 2 or embeddings.dtype != np.float32:
        raise ReleaseError(f"{path} must be a [rows, dim] float32 array, got {embeddings.shape} {embeddings.dtype}")
    return embeddings


def write_canary(path: Path, queries: FloatMatrix, embeddings: FloatMatrix, *, k: int = 10) -> None:
    """Saves queries with their exact neighbours, so that an index of other embeddings is found out before it serves.

    queries: [num_queries, dim] float32, at least 1; some hundred held-out ones will do.
    embeddings: [num_items, dim] float32, what the index was built from.
    """
    found = exact.search(queries, embeddings, min(k, len(embeddings)))
    np.savez(path, queries=queries, ids=found.ids, scores=found.scores)


def check_canary(
    path: Path,
    search: Callable[[FloatMatrix, int], Neighbours],
    embeddings: FloatMatrix,
    *,
    min_recall: float = 0.95,
) -> float:
    """Asks an index the stored queries, and compares what it finds with the stored exact neighbours.

    search: the index's. embeddings: [num_items, dim] float32, those of the release.

    Returns the recall, counting ties. Raises ReleaseError where canary, embeddings and index are not of one run.
    """
    with np.load(path, allow_pickle=False) as stored:
        queries, ids, scores = stored["queries"], stored["ids"], stored["scores"]
    if ids.max() >= len(embeddings) or not np.allclose(exact.score(queries, embeddings, ids), scores, atol=1e-4):
        raise ReleaseError(f"{path} must be made from the embeddings of the release, got one of other embeddings")
    k = ids.shape[1]
    found = search(queries, k).ids
    if found.max() >= len(embeddings):
        raise ReleaseError(f"the index must hold {len(embeddings)} items, got id {found.max()}")
    recall = metrics.neighbour_recall(exact.score(queries, embeddings, found), scores, k)
    if recall < min_recall:
        raise ReleaseError(f"the index must find {min_recall:.0%} of the neighbours in {path}, got {recall:.1%}")
    return recall
