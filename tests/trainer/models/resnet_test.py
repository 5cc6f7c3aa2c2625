import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from trainer.models.resnet import build_resnet


def convolution(kernel: int, channels_in: int, channels_out: int) -> int:
    """Weights of a convolution without bias, and of its normalisation: scale, shift, mean, variance."""
    return kernel * kernel * channels_in * channels_out + 4 * channels_out


def test_smallest_network_has_the_parameters_counted_by_hand() -> None:
    stem = convolution(3, 3, 8)
    first_block = 2 * convolution(3, 8, 8)
    others = [convolution(3, c, 2 * c) + convolution(3, 2 * c, 2 * c) + convolution(1, c, 2 * c) for c in (8, 16, 32)]
    assert (stem, first_block, others) == (248, 1216, [3776, 14720, 58112])
    assert build_resnet(32, depth=10, width=8).count_params() == 248 + 1216 + 3776 + 14720 + 58112


@pytest.mark.parametrize(("depth", "layers_in_the_paper"), [(10, 10), (18, 18), (34, 34)])
def test_depth_counts_convolutions_of_the_main_path_and_the_head(depth: int, layers_in_the_paper: int) -> None:
    convolutions = [layer for layer in build_resnet(32, depth, 8).layers if isinstance(layer, keras.layers.Conv2D)]
    main_path = [layer for layer in convolutions if layer.kernel_size == (3, 3)]
    assert len(main_path) + 1 == layers_in_the_paper
    assert len(convolutions) - len(main_path) == 3  # one projection for each halving


@pytest.mark.parametrize(("image_size_px", "last_map_px"), [(32, 1), (96, 3), (100, 4), (224, 7)])
def test_images_are_halved_five_times(image_size_px: int, last_map_px: int) -> None:
    model = build_resnet(image_size_px, depth=10, width=8)
    assert model.layers[-2].output_shape == (None, last_map_px, last_map_px, 64)
    assert model.output_shape == (None, 64)


def test_features_are_finite_and_differ_between_images(rng) -> None:
    pixels = rng.random((3, 32, 32, 3), np.float32)
    features = build_resnet(32, depth=10, width=8)(tf.constant(pixels), training=False).numpy()
    assert features.shape == (3, 64)
    assert np.isfinite(features).all()
    assert np.abs(features[0] - features[1]).max() > 1e-4
