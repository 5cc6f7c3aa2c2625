"""What needs no training: the marks that a trained network has to beat."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from configs.settings import ModelSettings
from mining.colour import lab_histogram

Embed = Callable[[Sequence[bytes]], npt.NDArray[np.float32]]

BATCH = 64
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


def untrained_embeddings(settings: ModelSettings, seed: int) -> Embed:
    """The very network that is trained, with the weights it starts from."""

    def embed(jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
        import tensorflow as tf
        import tf_keras as keras

        from trainer.models.embedding import build_model
        from transform.image_ops import decode_and_resize

        keras.utils.set_random_seed(seed)
        model = build_model(settings, num_classes=1)
        batches = (list(jpegs[start : start + BATCH]) for start in range(0, len(jpegs), BATCH))
        pixels = (decode_and_resize(tf.constant(batch), settings.image_size_px) for batch in batches)
        return np.concatenate([model(batch, training=False)["embedding"].numpy() for batch in pixels])

    return embed


def _thumbnail(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    image.thumbnail((SIDE_PX, SIDE_PX))
    return image
