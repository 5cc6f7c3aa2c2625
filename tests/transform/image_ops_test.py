import io
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from transform.image_ops import decode_and_resize


def decoded(encoded: bytes) -> np.ndarray:
    """[height, width, 3] float64 in 0..255, by Pillow."""
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"), np.float64)


def shrink(line: np.ndarray, size: int) -> np.ndarray:
    """Resamples the first axis, one output after another, with a triangle as wide as an output pixel to each side."""
    scale = len(line) / size
    width = max(1.0, scale)
    rows = []
    for place in range(size):
        centre = (place + 0.5) * scale
        weights = [max(0.0, 1 - abs(index + 0.5 - centre) / width) for index in range(len(line))]
        total = math.fsum(weights)
        rows.append(sum(weight / total * value for weight, value in zip(weights, line, strict=True)))
    return np.array(rows)


def naive_resize(pixels: np.ndarray, size: int) -> np.ndarray:
    by_rows = shrink(pixels, size)
    return shrink(by_rows.transpose(1, 0, 2), size).transpose(1, 0, 2)


def resize(encoded: list[bytes], size_px: int = 32) -> np.ndarray:
    return decode_and_resize(tf.constant(encoded, tf.string), size_px).numpy()


@pytest.fixture
def photo(jpeg) -> bytes:
    """Smooth colours and an edge, 90 × 60."""
    y, x = np.mgrid[:60, :90]
    pixels = np.stack([x * 2, y * 4, 255 - x - y], axis=2).astype(np.uint8)
    pixels[20:40, 30:50] = (250, 10, 60)
    return jpeg(pixels)


def test_one_colour_stays_that_colour(jpeg) -> None:
    grey = jpeg(np.full((40, 24), 77, np.uint8))
    np.testing.assert_allclose(resize([grey]), np.full((1, 32, 32, 3), 77 / 255), rtol=1e-6)


def test_an_image_of_the_right_size_is_only_decoded(jpeg, rng_pixels) -> None:
    encoded = jpeg(rng_pixels)
    np.testing.assert_allclose(resize([encoded])[0] * 255, decoded(encoded), atol=1e-3)


def test_halving_weighs_four_neighbours_as_counted_by_hand(jpeg) -> None:
    # Grey stripes of 8 px survive JPEG. Beside an edge, 1 + 3 of 8 parts come from the near side's two pixels …
    stripes = np.repeat(np.array([40, 200] * 4, np.uint8), 8)  # 64 px
    row = resize([jpeg(np.tile(stripes, (64, 1)), quality=100)])[0, 16, :, 0] * 255
    np.testing.assert_allclose(row[:3], 40, atol=1.01)
    # … and 1/8 of the weight from beyond it: 40 + 160 / 8 = 60, then 200 - 20 = 180.
    np.testing.assert_allclose(row[3:5], [60, 180], atol=1.51)
    np.testing.assert_allclose(row[5:7], 200, atol=1.01)


@pytest.mark.parametrize("size_px", [32, 45, 100])
def test_pixels_equal_a_naive_resize(size_px: int, photo: bytes) -> None:
    expected = naive_resize(decoded(photo), size_px)
    np.testing.assert_allclose(resize([photo], size_px)[0] * 255, expected, atol=0.51)


def test_values_lie_on_the_grid_of_bytes_between_0_and_1(photo: bytes) -> None:
    pixels = resize([photo])
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0.0
    assert pixels.max() <= 1.0
    as_bytes = np.rint(pixels * 255).astype(np.uint8)
    np.testing.assert_array_equal(pixels, tf.image.convert_image_dtype(as_bytes, tf.float32))


def test_the_same_eagerly_and_inside_a_dataset(photo: bytes, jpeg, rng_pixels) -> None:
    encoded = [photo, jpeg(rng_pixels), photo]
    dataset = tf.data.Dataset.from_tensor_slices(encoded).batch(2).map(lambda batch: decode_and_resize(batch, 32))
    np.testing.assert_array_equal(np.concatenate(list(dataset.as_numpy_iterator())), resize(encoded))


def test_images_of_a_batch_do_not_touch_each_other(photo: bytes, jpeg, rng_pixels) -> None:
    noise = jpeg(rng_pixels)
    both = resize([photo, noise])
    np.testing.assert_array_equal(both[0], resize([photo])[0])
    np.testing.assert_array_equal(both[1], resize([noise])[0])


def test_grey_images_become_colour_images(jpeg, rng_pixels) -> None:
    pixels = resize([jpeg(rng_pixels[..., 0])])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 1])
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_an_empty_batch_gives_no_pixels_of_the_same_shape() -> None:
    graph = tf.function(lambda encoded: decode_and_resize(encoded, 32), [tf.TensorSpec([None], tf.string)])
    assert graph(tf.constant([], tf.string)).shape == (0, 32, 32, 3)


def test_bytes_that_are_no_image_are_an_error() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        resize([b"no image"])


@pytest.fixture
def rng_pixels() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (32, 32, 3), dtype=np.uint8)
