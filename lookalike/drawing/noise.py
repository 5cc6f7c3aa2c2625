"""Smooth random fields: creases, uneven walls, the pile of a carpet."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def smooth_noise(rng: np.random.Generator, side: int, *, cells: int) -> NDArray[np.float32]:
    """Returns soft noise, [side, side] float32 of about unit variance, `cells` bumps across."""
    coarse = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.float32)
