"""JPEG bytes to pixels, as a graph."""

import tensorflow as tf

CHANNELS = 3


def decode_and_resize(image_bytes: tf.Tensor, size_px: int) -> tf.Tensor:
    """The pixels of encoded JPEGs, squashed to a square.

    Values are rounded to the 8-bit grid, so that the training input may keep them as uint8 and lose nothing.

    image_bytes: [batch] string.
    size_px: the side of the square.

    Returns [batch, size_px, size_px, 3] float32 in 0..1, each a multiple of 1/255.
    """

    def decode_one(encoded: tf.Tensor) -> tf.Tensor:
        # The default DCT method is the fast, inexact one, and differs between builds of libjpeg.
        image = tf.io.decode_jpeg(encoded, channels=CHANNELS, dct_method="INTEGER_ACCURATE")
        image = tf.image.resize(image, (size_px, size_px), antialias=True)
        return tf.ensure_shape(image, (size_px, size_px, CHANNELS))

    pixels = tf.map_fn(decode_one, image_bytes, fn_output_signature=tf.float32)
    # Multiplied, not divided: graphs are optimised so anyway, and to the last bit it is what convert_image_dtype does.
    return tf.round(tf.clip_by_value(pixels, 0.0, 255.0)) * (1.0 / 255.0)
