"""What lies in a release: the names of its files, the catalogue's records and pictures, the embeddings, the canary."""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow_hotfix

from lookalike.catalog.product import CatalogImage, Kind, Reach, fields_of, from_columns, to_columns
from lookalike.catalog.taxonomy import parse_category
from lookalike.release.manifest import ReleaseError
from lookalike.retrieval import exact, metrics
from lookalike.retrieval.exact import FloatMatrix, Neighbours

# pyarrow 10 unpickles the type of a column, so that opening a stranger's file runs its code (CVE-2023-47248).
pyarrow_hotfix.install()

INDEX_DIRECTORY = "index"
EMBEDDINGS_FILE = "embeddings.npy"
CATALOG_FILE = "catalogue.arrow"
TAXONOMY_FILE = "taxonomy.json"
METRICS_FILE = "metrics.json"
DECISION_FILE = "decision.json"
CANARY_FILE = "canary.npz"
MIN_RECALL_FACT = "min_canary_recall"
"""Of a release's manifest: what its index must find of the canary; the limit that its gate had."""

_REQUIRED = ("image_id", "product_id", "category", "thumbnail")
_ARROW = {Kind.TEXTS: pa.list_(pa.string()), Kind.ATTRIBUTES: pa.string()}  # attributes: one JSON object


def _columns() -> Iterator[tuple[str, pa.DataType]]:
    for one in fields_of(Reach.RELEASE):
        if one.kind is Kind.PRICE:
            yield one.name, pa.float64()  # for filters; the text below is what was stated
            yield f"{one.name}_text", pa.string()
        else:
            yield one.name, _ARROW.get(one.kind, pa.string())
    yield "thumbnail", pa.binary()


# 1: rows in no order, and the columns of _REQUIRED with title, gender, price and attributes.
# 2: rows in the order of `by_category`. A column more is no new format: readers take what they know.
_FORMAT = 2
_FORMAT_KEY = b"lookalike.format"
_SCHEMA = pa.schema(list(_columns()), metadata={_FORMAT_KEY: str(_FORMAT)})
_ROWS_PER_BATCH = 1024  # bounds the memory of writing


def by_category(image: CatalogImage) -> tuple[Any, ...]:
    """The order of a gallery's rows, in which a category and all below it are one slice, and so is a product."""
    return parse_category(image.category), image.product_id, image.image_id, image.crop or ()


class Catalog:
    """The records of a release, memory-mapped: row i describes embedding i and id i of the index.

    knows_pictures: whether digests of the canonical images are kept, as since format 2.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.knows_pictures = "canonical_sha256" in table.column_names

    @classmethod
    def open(cls, path: Path) -> "Catalog":
        """Maps a file that `write_catalog` wrote. Raises ReleaseError where it is something else."""
        try:
            table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as error:
            raise ReleaseError(f"{path} must be an Arrow file, got something else: {error}") from error
        except (RuntimeError, ValueError) as error:  # pyarrow_hotfix's, of a pickle and of what only claims to be one
            raise ReleaseError(
                f"the columns of {path} must be of plain types, got one whose type is a pickle: loading it could run "
                "code, so no release may hold one"
            ) from error
        _check_format(path, table.schema)
        return cls(table)

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def image(self, row: int) -> CatalogImage:
        """Reads the facts of one image, without its picture. Raises IndexError for a row that is not there."""
        values = {name: self._value(name, row) for name in self._table.column_names if name != "thumbnail"}
        return from_columns({**values, "attributes": json.loads(values.get("attributes") or "{}")})

    def thumbnail(self, row: int) -> bytes:
        """Reads one picture, a JPEG. Raises IndexError for a row that is not there."""
        return bytes(self._value("thumbnail", row))

    @cached_property
    def pictures(self) -> list[str]:
        """`CatalogImage.picture` of every row; the image's name where no digest is kept."""
        return self._column("canonical_sha256" if self.knows_pictures else "image_id")

    @cached_property
    def product_ids(self) -> list[str]:
        """The product id of every row."""
        return self._column("product_id")

    @cached_property
    def categories(self) -> list[str]:
        """The category of every row, '' where unlabelled."""
        return self._column("category")

    @cached_property
    def other_categories(self) -> dict[int, list[str]]:
        """Row → its further categories, of the rows that have any."""
        if "other_categories" not in self._table.column_names:
            return {}
        return {row: others for row, others in enumerate(self._column("other_categories")) if others}

    def is_available(self, availability: str) -> npt.NDArray[np.bool_]:
        """[num_images] whether each is of a product of this availability, as the record writes it (in_stock)."""
        if "availability" not in self._table.column_names:
            return np.zeros(len(self), np.bool_)
        equal = pc.fill_null(pc.equal(self._table.column("availability"), availability), False)
        return np.asarray(equal.to_numpy(), np.bool_)

    def _column(self, name: str) -> list[Any]:
        return list(self._table.column(name).to_pylist())

    def _value(self, name: str, row: int) -> Any:
        if not 0 <= row < len(self):
            raise IndexError(f"row must be between 0 and {len(self) - 1}, got {row}")
        return self._table.column(name)[row].as_py()


def _check_format(path: Path, schema: pa.Schema) -> None:
    found = int((schema.metadata or {}).get(_FORMAT_KEY, 1))
    if found > _FORMAT:
        raise ReleaseError(
            f"{path} must be of format {_FORMAT} or older, got {found}: it was written by a newer version; install that"
        )
    if missing := [name for name in _REQUIRED if name not in schema.names]:
        raise ReleaseError(f"{path} must have the columns {', '.join(_REQUIRED)}, got none named {', '.join(missing)}")


def write_catalog(path: Path, images: Iterable[CatalogImage]) -> int:
    """Writes images, whose `jpeg` is a thumbnail, in the order of their embeddings. Returns how many."""
    rows = iter(images)
    num_images = 0
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        while batch := list(islice(rows, _ROWS_PER_BATCH)):
            writer.write_batch(pa.RecordBatch.from_pylist([_row(image) for image in batch], schema=_SCHEMA))
            num_images += len(batch)
    return num_images


def _row(image: CatalogImage) -> dict[str, Any]:
    columns = to_columns(image, Reach.RELEASE)
    attributes = json.dumps(dict(columns["attributes"]), ensure_ascii=False, sort_keys=True)
    return {**columns, "attributes": attributes, "thumbnail": image.jpeg}


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
    min_recall: float,
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
