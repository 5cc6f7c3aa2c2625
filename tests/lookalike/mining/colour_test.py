import numpy as np
import pytest
from PIL import Image

from lookalike.mining.colour import NUM_BINS, lab_histogram, rgb_to_lab


def patch(*colour: int) -> np.ndarray:
    return np.full((8, 8, 3), colour, np.uint8)


def any_image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_histogram_has_540_bins_that_sum_to_one() -> None:
    histogram = lab_histogram(any_image())
    assert NUM_BINS == 540
    assert histogram.shape == (540,)
    assert histogram.dtype == np.float32
    assert histogram.min() >= 0
    assert histogram.sum() == pytest.approx(1, abs=1e-5)


def test_each_channel_weighs_a_third() -> None:
    thirds = lab_histogram(any_image()).reshape(3, 180).sum(axis=1)
    np.testing.assert_allclose(thirds, 1 / 3, atol=1e-5)


def test_shuffling_the_pixels_changes_nothing() -> None:
    image = any_image()
    shuffled = np.random.default_rng(1).permutation(image.reshape(-1, 3)).reshape(image.shape)
    np.testing.assert_array_equal(lab_histogram(shuffled), lab_histogram(image))


def test_size_of_the_image_does_not_matter() -> None:
    image = any_image()
    np.testing.assert_allclose(lab_histogram(np.tile(image, (2, 3, 1))), lab_histogram(image), atol=1e-7)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("red", "maroon", "blue"),
    [
        ((255, 0, 0), (128, 0, 0), (0, 0, 255)),
        ((204, 36, 44), (112, 22, 40), (58, 104, 200)),
        ((220, 20, 60), (128, 0, 32), (30, 60, 180)),
    ],
)
def test_red_is_nearer_to_maroon_than_to_blue(red, maroon, blue, order: int) -> None:
    def apart(a, b) -> float:
        return float(np.linalg.norm(lab_histogram(patch(*a)) - lab_histogram(patch(*b)), order))

    assert apart(red, maroon) < apart(red, blue)


def test_a_slightly_darker_shade_is_the_nearest() -> None:
    red = lab_histogram(patch(200, 40, 40))
    others = [lab_histogram(patch(*colour)) for colour in ((190, 36, 36), (160, 30, 30), (200, 90, 40))]
    distances = [np.abs(red - other).sum() for other in others]
    assert np.argmin(distances) == 0


def test_pillow_images_of_any_mode_are_taken_as_rgb() -> None:
    image = any_image()
    np.testing.assert_array_equal(lab_histogram(Image.fromarray(image)), lab_histogram(image))
    grey = Image.fromarray(image[..., 0])
    np.testing.assert_array_equal(lab_histogram(grey), lab_histogram(np.repeat(image[..., :1], 3, axis=2)))


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [  # CIE L*a*b* under D65, as published for the sRGB primaries
        ((255, 255, 255), (100, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((128, 128, 128), (53.59, 0, 0)),
    ],
)
def test_conversion_gives_the_published_values(rgb, lab) -> None:
    np.testing.assert_allclose(rgb_to_lab(patch(*rgb))[0, 0], lab, atol=0.03)


NOT_RGB = (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8))


@pytest.mark.parametrize("image", NOT_RGB)
def test_anything_but_rgb_bytes_is_refused(image) -> None:
    with pytest.raises(ValueError, match=r"image must be \[height, width, 3\] uint8, got"):
        lab_histogram(image)
