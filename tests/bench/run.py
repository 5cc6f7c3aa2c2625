"""The benchmarks: each line is a ratio of two ways measured in this one run, for absolute figures drift.

python -m tests.bench.run [NAME …]    (ingest, training, request, index, hostile, memory, tables; by default all:
twelve minutes)
"""

import io
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

# Before numpy and TensorFlow are imported: idle threads must not spin while others are timed.
os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_WAIT_POLICY": "passive"}

import numpy as np
import numpy.typing as npt
from PIL import Image
from rich.console import Console
from rich.table import Table

from tests.bench.hostile import bench_hostile
from tests.bench.memory import bench_memory
from tests.bench.tables import bench_tables

NUM_IMAGES = 140
INDEX_SIZE = 100_000
DIM = 128
Row = tuple[str, str, float]


def seconds(work: Callable[[], object], repeats: int = 3) -> float:
    """The fastest of a few runs."""
    timings = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        timings.append(time.perf_counter() - start)
    return min(timings)


def photos() -> list[bytes]:
    """Drawn photos, the same on every machine."""
    from lookalike.drawing.catalog import draw_catalog

    with tempfile.TemporaryDirectory() as directory:
        draw_catalog(Path(directory), num_products=NUM_IMAGES // 7, seed=1, image_size_px=400)
        return [path.read_bytes() for path in sorted(Path(directory).rglob("*.jpg"))]


def bench_ingest() -> Iterator[Row]:
    """What checking every image in a guarded process costs."""
    from lookalike.catalog.guarded_decoder import GuardedDecoder

    def plain(originals: list[bytes]) -> None:
        for original in originals:
            image = Image.open(io.BytesIO(original)).convert("RGB")
            image.thumbnail((256, 256), Image.Resampling.LANCZOS)
            image.save(io.BytesIO(), "JPEG", quality=95, subsampling=0)

    drawn = photos()
    large, small = ([_resized(one, side_px) for one in drawn] for side_px in (1000, 128))
    with GuardedDecoder() as decoder:

        def guarded(originals: list[bytes]) -> None:
            for original in originals:
                decoder.canonicalise(original, longest_side_px=256)

        guarded(large[:1])
        guarded_s = seconds(lambda: guarded(large))
        yield (
            "ingest",
            "guarded canonicalise at 1,000 px, of a plain Pillow loop's images/s",
            seconds(lambda: plain(large)) / guarded_s,
        )
        yield "ingest", "  images/s, one process", len(large) / guarded_s
        # In turn, for the processor's speed changes from second to second.
        above_s = [_cpu_s(lambda: guarded(small)) - _cpu_s(lambda: plain(small)) for _ in range(20)]
    above_ms = statistics.mean(above_s) / len(small) * 1000
    yield "ingest", "at 128 px, ms of CPU an image above the plain loop", above_ms
    yield "ingest", "  ± (standard error of 20 rounds)", statistics.stdev(above_s) / 20**0.5 / len(small) * 1000


def _resized(photo: bytes, side_px: int) -> bytes:
    encoded = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((side_px, side_px)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()


def _cpu_s(work: Callable[[], object]) -> float:
    """Of this process and of those that it has started."""
    before = _spent_s()
    work()
    return _spent_s() - before


def _spent_s() -> float:
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return (
        time.process_time() + sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in children) / 1e9
    )


def bench_training() -> Iterator[Row]:
    """Whether the input ever starves the step."""
    import tensorflow as tf

    from lookalike.configs import load_settings
    from lookalike.retrieval.ground_truth import RetrievalTable
    from trainer.data import ImageSet, augmented_batches
    from trainer.models.embedding import build_model, compile_model
    from trainer.processor import bfloat16_rewrite

    settings = load_settings("demo")
    size, batch, steps = settings.model.image_size_px, settings.training.batch_size, 15
    rng = np.random.default_rng(0)
    ids = np.arange(512)
    text = list(map(str, ids.tolist()))
    images = ImageSet(
        pixels=rng.integers(0, 256, (512, size, size, 3), np.uint8),
        label_ids=ids % 12,
        product_ids=ids // 4,
        table=RetrievalTable(text, text, text, text),
    )

    def step_s(bfloat16: bool) -> tuple[float, float, float]:
        with bfloat16_rewrite(bfloat16):
            model = build_model(settings.model, 12)
            compile_model(model, settings.training, 1000)
            dataset = augmented_batches(images, settings.training, steps, model.optimizer.iterations)
            same = tf.data.Dataset.from_tensors(next(iter(dataset))).repeat()
            model.fit(same, steps_per_epoch=2, verbose=0)
            alone = seconds(lambda: model.fit(same, steps_per_epoch=steps, verbose=0)) / steps
            both = seconds(lambda: model.fit(dataset, steps_per_epoch=steps, verbose=0)) / steps
            batches = iter(dataset)
            feed = seconds(lambda: [next(batches) for _ in range(steps)]) / steps
        return alone, both, feed

    alone_s, both_s, feed_s = step_s(settings.training.bfloat16)
    yield "training", "input and step together, of the slower alone", max(alone_s, feed_s) / both_s
    yield "training", "bfloat16 step, times the float step's speed", step_s(False)[0] / alone_s
    yield "training", "  images/s", batch / both_s


def bench_request() -> Iterator[Row]:
    """What a request costs beside its encoder: decoding as at ingest, searching, describing."""
    import tensorflow as tf

    from lookalike.catalog.images import canonicalise
    from lookalike.configs import load_settings
    from lookalike.retrieval.scann_index import IndexSpec, ScannIndex, build
    from trainer.models.embedding import build_model
    from transform.image_ops import decode_and_resize

    model_settings = load_settings("folder").model
    model = build_model(model_settings, 12)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def encode(jpegs: tf.Tensor) -> tf.Tensor:
        return model(decode_and_resize(jpegs, model_settings.image_size_px), training=False)["embedding"]

    originals = photos()[:60]
    canonical = [canonicalise(original, longest_side_px=256).jpeg for original in originals]
    with tempfile.TemporaryDirectory() as directory:
        vectors = _unit_vectors(19_000, model_settings.embedding_dim)
        build(vectors, IndexSpec("exact"), Path(directory, "index"))
        index = ScannIndex.load(Path(directory, "index"))

    def ask(original: bytes) -> None:
        jpeg = canonicalise(original, longest_side_px=256).jpeg
        index.search(encode(tf.constant([jpeg])).numpy(), 40)

    encode(tf.constant(canonical[:1]))
    encoder_s = seconds(lambda: [encode(tf.constant([jpeg])) for jpeg in canonical])
    whole_s = seconds(lambda: [ask(original) for original in originals])
    search_s = seconds(lambda: [index.search(vectors[row : row + 1], 40) for row in range(60)])
    yield "request", "encoder alone, of the whole request", encoder_s / whole_s
    yield "request", "search, of the whole request", search_s / whole_s
    yield "request", "  whole request, ms", whole_s / len(originals) * 1000


def bench_index() -> Iterator[Row]:
    """The index that is chosen at 100 k images, against exact search, on clustered vectors."""
    from lookalike.retrieval import exact
    from lookalike.retrieval.metrics import neighbour_recall
    from lookalike.retrieval.scann_index import ScannIndex, build, choose_spec

    points = _clustered(INDEX_SIZE + 500)
    gallery, queries = points[:INDEX_SIZE], points[INDEX_SIZE:]
    with tempfile.TemporaryDirectory() as directory:
        start = time.perf_counter()
        build(gallery, choose_spec(len(gallery)), Path(directory, "index"))
        build_s = time.perf_counter() - start
        index = ScannIndex.load(Path(directory, "index"))
        num_bytes = sum(path.stat().st_size for path in Path(directory, "index").iterdir())
    truth = exact.search(queries, gallery, 10)
    found = np.concatenate([index.search(query[None], 10).ids for query in queries])
    index_s = seconds(lambda: [index.search(query[None], 10) for query in queries])
    exact_s = seconds(lambda: [gallery @ query for query in queries[:50]]) * len(queries) / 50
    yield "index", "recall@10 of exact search", neighbour_recall(exact.score(queries, gallery, found), truth.scores, 10)
    yield "index", "queries/s, times numpy's", exact_s / index_s
    yield "index", "bytes on disk, of the vectors'", num_bytes / gallery.nbytes
    yield "index", "  queries/s, one at a time", len(queries) / index_s
    yield "index", "  build, s", build_s


def _unit_vectors(count: int, dim: int) -> npt.NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((count, dim), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _clustered(count: int) -> npt.NDArray[np.float32]:
    """Clusters of clusters in 24 local dimensions: well-separated clusters would flatter any index."""
    rng = np.random.default_rng(0)
    points = np.zeros((count, DIM), np.float32)
    for clusters, spread in ((100, 1.0), (4000, 0.6), (count, 0.5)):
        offsets = rng.standard_normal((clusters, 24)) @ rng.standard_normal((24, DIM)) / np.sqrt(24)
        points += (spread * offsets[rng.integers(clusters, size=count)]).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


BENCHMARKS = {
    "ingest": bench_ingest,
    "training": bench_training,
    "request": bench_request,
    "index": bench_index,
    "hostile": bench_hostile,
    "memory": bench_memory,
    "tables": bench_tables,
}


def main(names: list[str]) -> None:
    """Runs the named benchmarks and prints a table."""
    table = Table("", "what", "measured", title=f"{os.cpu_count()} cores", title_justify="left")
    for name in names or BENCHMARKS:
        for room, what, value in BENCHMARKS[name]():
            table.add_row(room, what, f"{value:,.3g}" if value < 100 else f"{value:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
