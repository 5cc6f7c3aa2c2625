"""Seeded augmentation of a batch: the same seed gives the same pictures, whatever the worker.

Mirror, rotation, shear, zoom and shift are one projective transform, so that pixels are resampled once.
"""

import math

import tensorflow as tf

from lookalike.configs.settings import TrainingSettings


def augment(pixels: tf.Tensor, seed: tf.Tensor, settings: TrainingSettings) -> tf.Tensor:
    """A changed copy of each image.

    pixels: [batch, size, size, 3] uint8.
    seed: [2] int64; another seed for every batch.
    settings: how far to go.

    Returns [batch, size, size, 3] float32 in 0..1.
    """
    geometry_seed, colour_seed, erase_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    images = tf.image.convert_image_dtype(pixels, tf.float32)
    images = _move(images, geometry_seed, settings)
    images = _relight(images, colour_seed, settings.colour_jitter)
    return _erase(images, erase_seed, settings.erase_fraction)


def _move(images: tf.Tensor, seed: tf.Tensor, settings: TrainingSettings) -> tf.Tensor:
    batch, size = tf.shape(images)[0], tf.cast(images.shape[1], tf.float32)
    uniform = tf.random.stateless_uniform((6, batch), seed, -1.0, 1.0)
    angle = uniform[0] * (settings.max_rotation_degrees * math.pi / 180.0)
    shear = uniform[1] * settings.max_shear
    # A factor below 1 reads a smaller window: zoom in. Zooming out is allowed half as far, for it shows no pixels.
    scale = 1.0 - settings.max_zoom * (0.25 + 0.75 * uniform[2])
    mirror = tf.where(uniform[3] < 0, -1.0, 1.0)
    # The affine map from output to input coordinates around the centre: A = scale · rotation · shear · mirror.
    a = scale * tf.cos(angle) * mirror
    b = scale * (shear * tf.cos(angle) - tf.sin(angle))
    c = scale * tf.sin(angle) * mirror
    d = scale * (shear * tf.sin(angle) + tf.cos(angle))
    centre = (size - 1.0) / 2.0
    slack = tf.abs(1.0 - scale) * size / 2.0
    x0 = centre - (a + b) * centre + uniform[4] * slack
    y0 = centre - (c + d) * centre + uniform[5] * slack
    zero = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, x0, c, d, y0, zero, zero], axis=1),
        output_shape=tf.shape(images)[1:3],
        interpolation="BILINEAR",
        fill_mode="NEAREST",
        fill_value=0.0,
    )


def _relight(images: tf.Tensor, seed: tf.Tensor, jitter: float) -> tf.Tensor:
    """Brightness, contrast and white balance, each within ± jitter (white balance a third of it)."""
    uniform = tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 5), seed, -1.0, 1.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    images = (images - mean) * (1.0 + jitter * uniform[..., 0:1]) + mean * (1.0 + jitter * uniform[..., 1:2])
    return tf.clip_by_value(images * (1.0 + jitter / 3.0 * uniform[..., 2:5]), 0.0, 1.0)


def _erase(images: tf.Tensor, seed: tf.Tensor, fraction: float) -> tf.Tensor:
    """A grey square over half of the images (Zhong et al. 2017, arXiv 1708.04896)."""
    batch, size = tf.shape(images)[0], images.shape[1]
    uniform = tf.random.stateless_uniform((3, batch, 1), seed)
    position = tf.range(size, dtype=tf.float32)[None, :] / float(size)
    corner = uniform[:2] * (1.0 - fraction)
    inside = tf.logical_and(position >= corner, position < corner + fraction)  # [2, batch, size]
    square = tf.logical_and(inside[0][:, :, None], inside[1][:, None, :])
    erased = tf.logical_and(square, uniform[2][:, :, None] < 0.5)
    return tf.where(erased[..., None], 0.5, images)
