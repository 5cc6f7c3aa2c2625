"""The preprocessing_fn: pixels and vocabulary ids, the same graph in training and serving."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tensorflow_transform as tft

from transform import features, image_ops


def preprocessing_fn(inputs: Mapping[str, tf.Tensor], custom_config: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Raw features to transformed ones (`transform.features` names both).

    inputs: the raw features, each [batch] as the committed schema shapes them.
    custom_config: `image_size_px`, the side of the encoder's input.
    """
    label_id = tft.compute_and_apply_vocabulary(
        inputs[features.LABEL], default_value=-1, vocab_filename=features.LABEL_VOCABULARY
    )
    passed_on = (features.CANONICAL_SHA256, features.PRODUCT_ID, features.CATEGORY, features.LABEL, features.DOMAIN)
    return {
        features.PIXELS: image_ops.decode_and_resize(inputs[features.IMAGE], custom_config["image_size_px"]),
        features.LABEL_ID: label_id,
        features.LABEL_WEIGHT: tf.cast(label_id >= 0, tf.float32),
        **{name: tf.identity(inputs[name]) for name in passed_on},
    }
