"""Approximate search with ScaNN: choosing, building, loading and asking an index; the only importer of `scann`.

Importing scann costs six seconds (it loads TensorFlow), so that happens when an index is first built or loaded.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import numpy as np

from lookalike.retrieval.exact import FloatMatrix, IdMatrix, Neighbours, check_dims, check_k, check_vectors

Kind = Literal["exact", "ah", "tree_ah"]
Quantization = Literal["none", "bfloat16", "int8"]

DESCRIPTION_FILE = "index.json"
ASSETS_FILE = "scann_assets.pbtxt"

_CODEBOOK_SIZE = 16  # ScaNN's asymmetric hashing learns 16 centres a block and needs as many items
_UNIT_NORM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class IndexSpec:
    """How an index is built and searched.

    kind: exact (brute force in float32), ah (asymmetric hashing), tree_ah (partitioned first).
    num_leaves, leaves_to_search: partitions, and how many of them a query visits (tree_ah only).
    reorder: candidates rescored after hashing; quantization: the precision of the vectors kept for that.
    """

    kind: Kind
    num_leaves: int = 0
    leaves_to_search: int = 0
    reorder: int = 0
    quantization: Quantization = "none"

    def __post_init__(self) -> None:
        for name, kinds in (("kind", Kind), ("quantization", Quantization)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"{name} must be one of {get_args(kinds)}, got {getattr(self, name)!r}")
        # ScaNN 1.3.2 crashes the process on batches of quantized brute force.
        settings = (self.num_leaves, self.leaves_to_search, self.reorder, self.quantization)
        if self.kind == "exact" and settings != (0, 0, 0, "none"):
            raise ValueError(f"an exact index has no settings, got {self}")
        if self.kind != "exact" and self.reorder < 1:
            raise ValueError(f"reorder must be at least 1, got {self.reorder}")
        if self.kind == "tree_ah" and not 1 <= self.leaves_to_search <= self.num_leaves:
            raise ValueError(
                f"leaves_to_search must be 1 to {self.num_leaves} (num_leaves), got {self.leaves_to_search}"
            )


def choose_spec(
    num_items: int,
    *,
    exact_below: int = 20_000,
    ah_below: int = 100_000,
    quantization: Quantization = "bfloat16",
) -> IndexSpec:
    """Chooses an index by size: exact, then hashing alone, then a tree of about √n leaves with hashing.

    The tree's settings reached recall@10 ≥ .99 on hierarchical clusters of unit vectors: 13 leaves searched, and 70
    candidates rescored at 100 k items, growing to 150 at 1 M.
    """
    if num_items < exact_below:
        return IndexSpec("exact")
    reorder = 70 + round(80 * max(0.0, math.log10(num_items / 100_000)))
    if num_items < ah_below:
        return IndexSpec("ah", reorder=reorder, quantization=quantization)
    num_leaves = round(math.sqrt(num_items))
    return IndexSpec("tree_ah", num_leaves, min(13, num_leaves), reorder, quantization)


def build(embeddings: FloatMatrix, spec: IndexSpec, directory: Path) -> IndexSpec:
    """Builds an index over the embeddings and saves it; row i of the embeddings is id i.

    embeddings: [num_items, dim] float32, L2-normalised.
    directory: where to save, empty or missing; may be moved afterwards.

    Returns the spec as built: exact where there are too few items for the one asked for.
    Raises ValueError on embeddings that are empty, not finite or not of length 1, or a directory that is not empty.
    """
    _check_unit_vectors(embeddings)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ValueError(f"directory must be empty, got {directory} with files in it")
    spec = _feasible(spec, len(embeddings))
    _configured(embeddings, spec).build().serialize(str(directory.resolve()))
    _strip_asset_paths(directory)
    description = {"spec": asdict(spec), "size": len(embeddings), "dim": embeddings.shape[1]}
    (directory / DESCRIPTION_FILE).write_text(json.dumps(description, indent=2) + "\n")
    return spec


class ScannIndex:
    """A loaded index. Thread-safe: searching changes nothing.

    spec: how it was built; size: number of items; dim: length of a vector.
    """

    def __init__(self, searcher: Any, spec: IndexSpec, size: int, dim: int) -> None:
        self._searcher = searcher
        self.spec = spec
        self.size = size
        self.dim = dim

    @classmethod
    def load(cls, directory: Path) -> "ScannIndex":
        """Loads a saved index without changing its files. Damaged files can crash the process: check hashes first.

        Raises ValueError where files are missing, or where one is a pickle (loading it could run code).
        """
        pickles = sorted(path.name for path in directory.glob("*.pkl"))
        if pickles:
            raise ValueError(f"index must hold no pickle, got {pickles[0]} in {directory}")
        missing = [name for name in (DESCRIPTION_FILE, ASSETS_FILE) if not (directory / name).is_file()]
        if missing:
            raise ValueError(f"index must hold {missing[0]}, not found in {directory}")
        description = json.loads((directory / DESCRIPTION_FILE).read_text())
        searcher = _load_searcher(directory.resolve())
        return cls(searcher, IndexSpec(**description["spec"]), description["size"], description["dim"])

    def search(self, queries: FloatMatrix, k: int, *, leaves_to_search: int | None = None) -> Neighbours:
        """Finds about the k nearest items of every query, always k of them.

        queries: [num_queries, dim] float32, L2-normalised.
        k: 1 to size.
        leaves_to_search: instead of the spec's.

        Returns ids and scores in descending order; scores carry the error of the quantization (exact: none).
        Raises ValueError on a k out of range, shapes or types that do not fit, NaN or infinity.
        """
        # ScaNN itself answers id 0 for a NaN query, without an error.
        check_vectors("queries", queries)
        check_dims(queries, self.dim)
        check_k(k, self.size)
        if not len(queries):
            return Neighbours(np.empty((0, k), np.int64), np.empty((0, k), np.float32))
        ids, scores = self._ask(queries, k, leaves_to_search)
        # Where the visited leaves held fewer than k items, ScaNN pads with NaN: visit all leaves.
        short = np.isnan(scores).any(axis=1)
        if short.any():
            ids[short], scores[short] = self._ask(queries[short], k, self.spec.num_leaves)
        return Neighbours(ids, scores)

    def _ask(self, queries: FloatMatrix, k: int, leaves: int | None) -> tuple[IdMatrix, FloatMatrix]:
        ids, scores = self._searcher.search_batched(
            np.ascontiguousarray(queries),
            final_num_neighbors=k,
            pre_reorder_num_neighbors=max(k, self.spec.reorder),
            leaves_to_search=leaves,
        )
        return ids.astype(np.int64), scores


def _check_unit_vectors(embeddings: FloatMatrix) -> None:
    check_vectors("embeddings", embeddings)
    if not len(embeddings):
        raise ValueError("embeddings must hold at least one vector, got none")
    norms = np.linalg.norm(embeddings, axis=1)
    worst = int(np.argmax(np.abs(norms - 1)))
    if abs(norms[worst] - 1) > _UNIT_NORM_TOLERANCE:
        raise ValueError(f"embeddings must be L2-normalised, got length {norms[worst]:.4f} in row {worst}")


def _feasible(spec: IndexSpec, num_items: int) -> IndexSpec:
    """Falls back to exact where ScaNN would refuse or crash the process for want of items."""
    if spec.kind != "exact" and num_items < max(_CODEBOOK_SIZE, spec.num_leaves):
        return IndexSpec("exact")
    return spec


def _configured(embeddings: FloatMatrix, spec: IndexSpec) -> Any:
    scann = _import_scann()
    builder = scann.pybind.builder(np.ascontiguousarray(embeddings), 10, "dot_product")
    if spec.kind == "exact":
        return builder.score_brute_force()
    if spec.kind == "tree_ah":
        builder = builder.tree(spec.num_leaves, spec.leaves_to_search, spherical=True, quantize_centroids=True)
    precision = {"none": "FLOAT32", "bfloat16": "BFLOAT16", "int8": "INT8"}[spec.quantization]
    return builder.score_ah(2, anisotropic_quantization_threshold=0.2).reorder(
        spec.reorder, quantize=scann.ReorderType[precision]
    )


def _strip_asset_paths(directory: Path) -> None:
    """Keeps file names only: ScaNN saves absolute paths, and would read the old place after a move."""
    assets = _read_assets(directory)
    for asset in assets.assets:
        asset.asset_path = Path(asset.asset_path).name
    (directory / ASSETS_FILE).write_text(str(assets))


def _load_searcher(directory: Path) -> Any:
    """ScaNN's own loader, less its pickle, with the asset paths resolved in memory."""
    pybind = _import_scann().pybind
    assets = _read_assets(directory)
    for asset in assets.assets:
        path = directory / Path(asset.asset_path).name
        if not path.is_file():
            raise ValueError(f"index must hold {path.name}, not found in {directory}")
        asset.asset_path = str(path)
    return pybind.ScannSearcher(pybind.scann_pybind.ScannNumpy(str(directory), str(assets)))


def _read_assets(directory: Path) -> Any:
    from google.protobuf import text_format

    return text_format.Parse((directory / ASSETS_FILE).read_text(), _import_scann().assets_pb2.ScannAssets())


def _import_scann() -> Any:
    """The parts of ScaNN that are used, none of which is an operation of TensorFlow."""
    from scann.scann_ops import scann_assets_pb2
    from scann.scann_ops.py import scann_builder, scann_ops_pybind

    return SimpleNamespace(pybind=scann_ops_pybind, assets_pb2=scann_assets_pb2, ReorderType=scann_builder.ReorderType)
