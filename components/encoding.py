"""Embedding many images with the very code that serves them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.embedder import InProcessEmbedder

BATCH = 32  # 8 to 64 cost the same an image


def embed_all(encoder_dir: Path, jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """[num_images, dim] float32, L2-normalised embeddings of canonical images by the SavedModel in `encoder_dir`."""
    embedder = InProcessEmbedder(encoder_dir)
    batches = (jpegs[start : start + BATCH] for start in range(0, len(jpegs), BATCH))
    return np.concatenate([embedder.embed(batch) for batch in batches])
