import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lookalike.configs.settings import TrainingSettings
from trainer.augmentation import augment

STILL = TrainingSettings(max_rotation_degrees=0, max_zoom=0, max_shear=0, colour_jitter=0, erase_fraction=0)
LIVELY = TrainingSettings()


@pytest.fixture
def pixels(rng) -> np.ndarray:
    return rng.integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)


def changed(pixels: np.ndarray, settings: TrainingSettings, seed=(1, 2)) -> np.ndarray:
    return augment(tf.constant(pixels), tf.constant(seed, tf.int64), settings).numpy()


@pytest.mark.parametrize("settings", [STILL, LIVELY])
def test_pictures_keep_their_shape_and_range(settings: TrainingSettings, pixels) -> None:
    result = changed(pixels, settings)
    assert result.shape == pixels.shape
    assert result.dtype == np.float32
    assert result.min() >= 0.0
    assert result.max() <= 1.0


def test_same_seed_gives_the_same_pictures(pixels) -> None:
    np.testing.assert_array_equal(changed(pixels, LIVELY), changed(pixels, LIVELY))


@pytest.mark.parametrize("seed", [(1, 3), (2, 2)])
def test_another_seed_gives_other_pictures(seed, pixels) -> None:
    assert not np.allclose(changed(pixels, LIVELY), changed(pixels, LIVELY, seed), atol=0.01)


def test_the_same_inside_a_parallel_dataset(pixels) -> None:
    seeds = np.array([(1, step) for step in range(6)])
    dataset = tf.data.Dataset.from_tensor_slices(seeds).map(
        lambda seed: augment(tf.constant(pixels), seed, LIVELY), num_parallel_calls=2
    )
    for seed, found in zip(seeds, dataset.as_numpy_iterator(), strict=True):
        np.testing.assert_allclose(found, changed(pixels, LIVELY, seed), atol=1e-5)


def test_images_of_a_batch_are_changed_in_different_ways(rng) -> None:
    one = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    results = changed(np.stack([one] * 16), LIVELY)
    distances = np.abs(results[:, None] - results[None]).mean(axis=(2, 3, 4))
    assert (distances[~np.eye(16, dtype=bool)] > 0.01).all()


def test_without_settings_each_picture_is_itself_or_its_mirror_image(pixels) -> None:
    """Mirroring has no setting: a product seen from the other side is the same product."""
    expected = pixels / 255.0
    is_itself = [np.allclose(new, old, atol=1e-5) for new, old in zip(changed(pixels, STILL), expected, strict=True)]
    is_mirrored = [
        np.allclose(new, old[:, ::-1], atol=1e-5) for new, old in zip(changed(pixels, STILL), expected, strict=True)
    ]
    assert all(one != other for one, other in zip(is_itself, is_mirrored, strict=True))
    assert 2 <= sum(is_mirrored) <= 14  # of 16; fewer or more has a probability of 5e-4


def test_top_stays_above_bottom() -> None:
    sky_and_ground = np.zeros((64, 32, 32, 3), np.uint8)
    sky_and_ground[:, :16] = 255
    results = changed(sky_and_ground, dataclasses.replace(LIVELY, colour_jitter=0, erase_fraction=0))
    assert (results[:, :8].mean(axis=(1, 2, 3)) > 0.9).all()
    assert (results[:, -8:].mean(axis=(1, 2, 3)) < 0.1).all()


def brightness(settings: TrainingSettings, pixels: np.ndarray) -> np.ndarray:
    return changed(pixels, settings).mean(axis=(1, 2, 3))


def test_zoom_stays_between_what_was_asked_and_half_of_it_outwards() -> None:
    # A white square of 16 px on black: its share of the picture is (16 / 32)² / scale².
    pixels = np.zeros((256, 32, 32, 3), np.uint8)
    pixels[:, 8:24, 8:24] = 255
    scale = 0.5 / np.sqrt(brightness(dataclasses.replace(STILL, max_zoom=0.2), pixels))
    assert scale.min() == pytest.approx(0.8, abs=0.03)
    assert scale.max() == pytest.approx(1.1, abs=0.03)


def test_rotation_stays_within_what_was_asked() -> None:
    # A vertical line through the centre: its slope tells the angle.
    pixels = np.zeros((128, 33, 33, 3), np.uint8)
    pixels[:, :, 16] = 255
    results = changed(pixels, dataclasses.replace(STILL, max_rotation_degrees=20))[..., 0]
    columns = np.arange(33)
    top, bottom = ((results[:, row] * columns).sum(1) / results[:, row].sum(1) for row in (6, 26))
    degrees = np.rad2deg(np.arctan((top - bottom) / 20))
    assert np.abs(degrees).max() == pytest.approx(20, abs=1.5)
    assert degrees.min() < -10
    assert degrees.max() > 10


def test_an_erased_square_is_grey_and_hits_half_of_the_pictures() -> None:
    black = np.zeros((256, 32, 32, 3), np.uint8)
    results = changed(black, dataclasses.replace(STILL, erase_fraction=0.25))
    sizes = (results == 0.5).all(axis=3).sum(axis=(1, 2))
    assert set(sizes) == {0, 64}  # 8 × 8 px
    assert (sizes > 0).sum() == pytest.approx(128, abs=32)  # 4 standard deviations of a fair coin
    assert set(np.unique(results)) == {0.0, 0.5}


def test_relighting_stays_within_what_was_asked() -> None:
    grey = np.full((256, 32, 32, 3), 128, np.uint8)
    results = changed(grey, dataclasses.replace(STILL, colour_jitter=0.3))
    per_channel = results.mean(axis=(1, 2)) / (128 / 255)
    # Brightness within ± 0.3, each channel by another ± 0.1: 0.63 … 1.43.
    assert 0.63 - 1e-5 <= per_channel.min() < 0.75
    assert 1.25 < per_channel.max() <= 1.43 + 1e-5
