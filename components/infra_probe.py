"""Loads an encoder and asks it, in a process of its own: run as `python -m components.infra_probe ENCODER QUERIES`.

QUERIES is the address of a folder of examples. One JSON document comes out on standard output.
"""

import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

from components.tf_examples import read_images
from lookalike.encoder.embedder import InProcessEmbedder

NUM_QUERIES = 16
MAX_NORM_ERROR = 1e-3


def probe(encoder_dir: Path, queries: str) -> dict:
    """Asks real images one by one and all at once.

    Returns the embedding's dimension, the number of queries, and the median latency in ms of one image.
    Raises ValueError: if answers are not of length one, or one image is answered differently alone and in a batch.
    """
    jpegs = [image.jpeg for image in islice(read_images(queries), NUM_QUERIES)]
    embedder = InProcessEmbedder(encoder_dir)
    batch = embedder.embed(jpegs)
    norms = np.linalg.norm(batch, axis=1)
    if np.abs(norms - 1.0).max() > MAX_NORM_ERROR:
        raise ValueError(f"embeddings must have length 1, got {norms.min():.4f} to {norms.max():.4f}")
    latencies_ms = []
    for row, jpeg in enumerate(jpegs):
        start = time.perf_counter()
        alone = embedder.embed([jpeg])
        latencies_ms.append((time.perf_counter() - start) * 1000.0)
        if not np.allclose(alone[0], batch[row], atol=1e-4):
            raise ValueError(f"query {row} must be answered alike alone and in a batch, got two answers")
    return {"dim": batch.shape[1], "num_queries": len(jpegs), "p50_ms": float(np.median(latencies_ms))}


if __name__ == "__main__":
    json.dump(probe(Path(sys.argv[1]), sys.argv[2]), sys.stdout)
