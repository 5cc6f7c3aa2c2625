"""What needs no training: the marks that a trained network has to beat."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.mining.colour import lab_histogram

# Both sides of a comparison are reduced to this, for a release keeps its gallery as thumbnails.
SIDE_PX = 160


def colour_embeddings(jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
    """[num_images, 540] L2-normalised: the square roots of L*a*b* histograms.

    The inner product of two is then their Bhattacharyya coefficient, a better likeness of histograms than their own.
    """
    histograms = np.stack([lab_histogram(_thumbnail(jpeg)) for jpeg in jpegs])
    roots = np.sqrt(histograms)
    roots /= np.linalg.norm(roots, axis=1, keepdims=True)
    return roots


def _thumbnail(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    image.thumbnail((SIDE_PX, SIDE_PX))
    return image
