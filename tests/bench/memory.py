"""What ingest takes of memory and time: at 4,000 images, and at 32,000 of the same kind.

python -m tests.bench.memory SOURCE OUT    ingests one source in this process, and prints its figures
"""

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FEW, MANY = 4_000, 32_000


def bench_memory() -> Iterator[tuple[str, str, float]]:
    """Each in a process of its own, whose peak is its own."""
    with tempfile.TemporaryDirectory() as directory:
        few, many = (_measured(Path(directory, str(count)), count) for count in (FEW, MANY))
    yield "memory", f"ingest of {FEW:,} images, peak MiB above its imports", few["peak_mib"]
    yield "memory", f"ingest of {MANY:,} images, peak MiB above its imports", many["peak_mib"]
    yield "memory", "  MiB of its imports", many["imports_mib"]
    yield "memory", f"s an image at {MANY:,}, of that at {FEW:,}", (many["s"] / MANY) / (few["s"] / FEW)


def _measured(directory: Path, count: int) -> dict[str, float]:
    source = directory / "source"
    source.mkdir(parents=True)
    _write_source(source, count)
    command = [sys.executable, "-W", "ignore", "-m", __spec__.name, str(source), str(directory / "out")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _write_source(directory: Path, count: int) -> None:
    """Small pictures, unlike each other: what grows with the number of images is what is asked for."""
    rng = np.random.default_rng(0)
    with (directory / "manifest.jsonl").open("w") as manifest:
        for number in range(count):
            product = number // 3
            colours = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            encoded = io.BytesIO()
            Image.fromarray(colours).resize((24, 24)).save(encoded, "JPEG")
            (directory / f"{number}.jpg").write_bytes(encoded.getvalue())
            row = {
                "image": f"{number}.jpg",
                "product_id": f"p{product}",
                "category": f"Kind {product % 40} > Kind {product % 120}",
                "title": f"Product {product} of the shop",
                "price": "12.50",
                "url": f"https://shop.example/products/{product}",
            }
            manifest.write(json.dumps(row) + "\n")


def _ingest(source: str, out: str) -> dict[str, Any]:
    import apache_beam as beam
    from tfx import v1 as tfx

    from components import artifacts
    from components.image_example_gen import ImageExampleGen
    from lookalike.catalog.fingerprints import fingerprint
    from lookalike.catalog.sources import open_source
    from lookalike.configs.settings import IngestSettings

    imports_mib, start = _peak_mib(), time.perf_counter()
    examples, taxonomy = tfx.types.standard_artifacts.Examples(), artifacts.Taxonomy()
    examples.uri, taxonomy.uri = f"{out}/examples", f"{out}/taxonomy"
    ImageExampleGen.test_call(
        examples=examples,
        taxonomy=taxonomy,
        source=source,
        fingerprint=fingerprint(open_source(source, window_spans=1)),
        settings=json.dumps(asdict(IngestSettings())),
        dead_letter_root=f"{out}/dead_letters",
        beam_pipeline=beam.Pipeline(runner="FnApiRunner"),
    )
    return {
        "imports_mib": imports_mib,
        "peak_mib": _peak_mib() - imports_mib,
        "s": time.perf_counter() - start,
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    json.dump(_ingest(*sys.argv[1:]), sys.stdout)
