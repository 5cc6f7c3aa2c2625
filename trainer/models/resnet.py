"""A compact ResNet of basic blocks, trained from scratch.

He et al. 2015, "Deep Residual Learning for Image Recognition", arXiv 1512.03385, figure 3 (18 and 34 layers).
"""

import tensorflow as tf
import tf_keras as keras

BLOCKS_PER_STAGE = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}

# Keras' default of .99 lags behind in runs of a few thousand steps and costs a fifth of the recall.
BATCH_NORM_MOMENTUM = 0.9


def build_resnet(image_size_px: int, depth: int, width: int) -> keras.Model:
    """The trunk: [batch, size, size, 3] float32 in 0..1 → [batch, 8 · width] float32, globally average-pooled."""
    pixels = keras.Input((image_size_px, image_size_px, 3), name="pixels")
    x = keras.layers.Rescaling(2.0, offset=-1.0)(pixels)
    x = _convolve(x, width, stride=2)
    x = keras.layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, blocks in enumerate(BLOCKS_PER_STAGE[depth]):
        for block in range(blocks):
            x = _basic_block(x, width * 2**stage, stride=2 if stage and not block else 1)
    return keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x), name=f"resnet{depth}")


def _convolve(x: tf.Tensor, channels: int, stride: int = 1, kernel: int = 3, relu: bool = True) -> tf.Tensor:
    x = keras.layers.Conv2D(
        channels, kernel, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    x = keras.layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM)(x)
    return keras.layers.ReLU()(x) if relu else x


def _basic_block(x: tf.Tensor, channels: int, stride: int) -> tf.Tensor:
    shortcut = x
    if stride > 1 or x.shape[-1] != channels:
        shortcut = _convolve(x, channels, stride, kernel=1, relu=False)
    x = _convolve(_convolve(x, channels, stride), channels, relu=False)
    return keras.layers.ReLU()(keras.layers.Add()([x, shortcut]))
