"""The very network that is trained, with the weights it starts from: a mark that training has to beat."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from lookalike.configs.settings import ModelSettings
from trainer.models.embedding import build_model
from transform.image_ops import decode_and_resize


def untrained_encoder(settings: ModelSettings, seed: int) -> Callable[[Sequence[bytes]], npt.NDArray[np.float32]]:
    """Canonical JPEGs of one batch → [num_images, dim] float32, L2-normalised.

    settings: of the network.
    seed: of its weights.
    """
    keras.utils.set_random_seed(seed)
    model = build_model(settings, num_classes=1)

    def embed(jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
        pixels = decode_and_resize(tf.constant(list(jpegs)), settings.image_size_px)
        return model(pixels, training=False)["embedding"].numpy()

    return embed
