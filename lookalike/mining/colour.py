"""The engineered colour channel: how much of each lightness and each hue an image holds, wherever it lies."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BINS_PER_CHANNEL = 180
NUM_BINS = 3 * BINS_PER_CHANNEL

# The box of CIE L*, a*, b* that holds every sRGB colour.
_LOWEST = np.array([0.0, -110.0, -110.0], np.float32)
_HIGHEST = np.array([100.0, 110.0, 110.0], np.float32)
# A pixel counts in its own bin and in those around it, in two shares: (share, standard deviation in L*a*b* units).
# The narrow one tells shades apart and forgives a cloud before the window; the wide one keeps the order of colours that
# differ: with hard bins of half a unit, red has no more in common with maroon than with blue.
_SPREADS = ((0.2, 5.0), (0.8, 50.0))

_D65_WHITE = np.array([0.95047, 1.0, 1.08883], np.float32)
_LINEAR_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    np.float32,
)


def lab_histogram(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the histograms of L*, a* and b*, stacked: [540] float32 that sum to 1.

    image: a Pillow image of any mode, or [height, width, 3] uint8 sRGB.
    """
    lab = rgb_to_lab(_pixels(image)).reshape(-1, 3)
    bins = ((lab - _LOWEST) / (_HIGHEST - _LOWEST) * BINS_PER_CHANNEL).astype(np.int64)
    bins = np.clip(bins, 0, BINS_PER_CHANNEL - 1) + np.arange(3) * BINS_PER_CHANNEL
    counts = np.bincount(bins.ravel(), minlength=NUM_BINS).reshape(3, BINS_PER_CHANNEL)
    spread = np.einsum("cb,cbt->ct", counts / counts.sum(), _spreading())
    return np.asarray(spread.ravel(), np.float32)


def rgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns CIE L*a*b* under D65, [..., 3] float32, of sRGB values [..., 3] uint8."""
    xyz = _linear_of_srgb()[rgb] @ _LINEAR_RGB_TO_XYZ.T / _D65_WHITE
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.asarray(np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1), np.float32)


def _pixels(image: Image.Image | NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"image must be [height, width, 3] uint8, got {list(pixels.shape)} {pixels.dtype}")
    return pixels


@lru_cache(maxsize=1)
def _linear_of_srgb() -> NDArray[np.float32]:
    level = np.arange(256) / 255
    linear = np.where(level <= 0.04045, level / 12.92, ((level + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear, np.float32)


@lru_cache(maxsize=1)
def _spreading() -> NDArray[np.float64]:
    """[channel, bin, bin]: what each bin receives of a pixel in another one; sums to 1 over the receivers."""
    bin_width = (_HIGHEST - _LOWEST)[:, None, None] / BINS_PER_CHANNEL
    apart = np.subtract.outer(np.arange(BINS_PER_CHANNEL), np.arange(BINS_PER_CHANNEL)) * bin_width
    spreading = np.zeros_like(apart, np.float64)
    for share, deviation in _SPREADS:
        kernel = np.exp(-0.5 * (apart / deviation) ** 2)
        spreading += share * kernel / kernel.sum(axis=2, keepdims=True)
    return spreading
