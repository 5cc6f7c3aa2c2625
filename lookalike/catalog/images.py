"""Bytes of unknown origin in, one checked canonical image out; everything downstream sees only these.

The same function serves ingest and query images, so that training and serving cannot differ here.
"""

import io
import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL
from PIL import ExifTags, Image, ImageFile
from PIL import features as pillow_features

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.originals import USUAL_LIMITS, ImageLimits, ImageRejected, accepted_format, check_num_bytes
from lookalike.catalog.product import Crop, check_crop

ANIMATED = "ANIMATED"
LOW_INFO = "LOW_INFO"

_RECIPE = 2  # raised whenever `canonicalise` comes to give other pixels or bytes for the same file
_JPEG_QUALITY = 95
_LOW_INFO_STD = 2.0
_HASH_SIDE_PX, _HASH_FREQUENCIES = 32, 8
_LEVELS_AND_SQUARES = np.stack([np.arange(256.0), np.arange(256.0) ** 2], axis=1)
# Row k: the k-th cosine of the DCT-II over 32 points, without its scale, which the median takes no notice of.
_COSINES = np.cos(np.pi / _HASH_SIDE_PX * np.outer(np.arange(_HASH_FREQUENCIES), np.arange(_HASH_SIDE_PX) + 0.5))
# Decoding a JPEG at 1/2, 1/4 or 1/8 scale is several times faster; with at least this much left to reduce,
# the Lanczos filter that follows hides the difference.
_DRAFT_MARGIN = 2.0
_WHITE, _GREY = (255, 255, 255), (160, 160, 160)
# A cut-out is pale when nearly all that shows of it is within these levels of white, as mugs, plates and shirts are.
_PALE_LEVELS, _PALE_SHARE, _PALE_SIDE_PX = 24, 0.9, 32
# What begins and ends a JPEG's scans. In entropy-coded data FF is followed by 00 or a restart marker (T.81, B.1.1.5).
_JPEG_MARKER = re.compile(rb"\xff([^\x00\xd0-\xd7\xff])")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# Inflating and unfiltering a pixel of a PNG costs about five JPEG scans of one (Pillow 10, libjpeg-turbo 3, x86-64).
_SCANS_OF_OTHER_FORMATS = 5
_WEBP_BYTES_PER_PIXEL = 12  # libwebp's two canvases, and Pillow's picture

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's parsers raise on damaged bytes; MemoryError is absent on purpose, it is no fault of the format.
_DAMAGE = (
    OSError,
    SyntaxError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    struct.error,
)


@dataclass(frozen=True)
class CanonicalImage:
    """An upright, opaque RGB image.

    jpeg: quality 95, without any metadata.   width, height: pixels.
    perceptual_hash: 64 bits; images of one picture differ in few of them. Means nothing for a LOW_INFO image.
    flags: ANIMATED (the first frame was taken), LOW_INFO (nearly one colour: no use for training).
    """

    jpeg: bytes
    width: int
    height: int
    perceptual_hash: int
    flags: tuple[str, ...] = ()


def recipe(longest_side_px: int) -> str:
    """The version of what makes a canonical image: our own steps, its size, and the libraries that decode and encode.

    Two canonical images of one recipe and one original are the same bytes.
    """
    libraries = [f"{name}-{pillow_features.version(name)}" for name in ("libjpeg_turbo", "webp")]  # the lossy ones
    return "/".join([str(_RECIPE), f"{longest_side_px}px", "rgb", f"pillow-{PIL.__version__}", *libraries])


def canonicalise(
    data: bytes, *, longest_side_px: int, crop: Crop | None = None, limits: ImageLimits = USUAL_LIMITS
) -> CanonicalImage:
    """Check and decode an image file, and encode it the one way that the catalogue stores.

    Turned upright by EXIF, cropped (fractions of the upright image), alpha flattened on white (and what is white itself
    on grey), 16-bit grey scaled by >> 8, reduced so that the longest side is at most longest_side_px (never enlarged).
    The same input gives the same bytes.

    Raises ImageRejected with the reason of the dead letter; ValueError when crop or size make no sense.
    """
    if longest_side_px < 1:
        raise ValueError(f"longest_side_px must be at least 1, got {longest_side_px}")
    if crop is not None:
        check_crop(crop)
    image = _open(data, limits)
    _check_pixels(*image.size, limits)
    _check_work(
        _work_px(image, data), limits
    )  # before the EXIF block is asked for: of a PNG, Pillow decodes all for it
    _check_dimensions(*_upright_size(image), crop, limits)
    with _damage_rejected("whole pixel data"):
        animated = _is_animated(image)
        rgb = _decode(image, longest_side_px, crop)
    rgb.thumbnail((longest_side_px, longest_side_px), Image.Resampling.LANCZOS)
    return _canonical(rgb, animated)


def _open(data: bytes, limits: ImageLimits) -> ImageFile.ImageFile:
    """The header of an image of an accepted format."""
    if not data:
        raise ImageRejected(Reason.EMPTY, "expected an image, got 0 bytes")
    check_num_bytes(len(data), limits.max_bytes)
    image_format = accepted_format(data, limits.formats)
    if image_format == "WEBP":  # libwebp reserves two canvases while opening, 2 GiB for the largest lie
        _check_webp(*_webp_size(data), limits)
    with _damage_rejected(f"a whole {image_format} header"):
        return Image.open(io.BytesIO(data), formats=(image_format,))


@contextmanager
def _damage_rejected(expected: str) -> Iterator[None]:
    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRejected(Reason.TOO_LARGE, str(error)) from error
    except _DAMAGE as error:
        raise ImageRejected(Reason.TRUNCATED, f"expected {expected}: {error}") from error


def _check_webp(width: int, height: int, limits: ImageLimits) -> None:
    _check_pixels(width, height, limits)
    _check_work(width * height * _SCANS_OF_OTHER_FORMATS, limits)
    needed = width * height * _WEBP_BYTES_PER_PIXEL
    if needed > limits.max_memory_bytes:  # libwebp fails alike when memory is short and when a file is damaged
        raise ImageRejected(
            Reason.DECODER_MEMORY, f"decoding must fit in {limits.max_memory_bytes} bytes, got {needed}"
        )


def _webp_size(data: bytes) -> tuple[int, int]:
    """Canvas width and height from the first chunk (RFC 9649, section 2); (1, 1) where there is none to read."""
    kind, chunk = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return 1 + int.from_bytes(chunk[4:7], "little"), 1 + int.from_bytes(chunk[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(chunk[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(chunk[6:8], "little") & 0x3FFF, int.from_bytes(chunk[8:10], "little") & 0x3FFF
    return 1, 1


def _upright_size(image: Image.Image) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1…8; an unreadable EXIF block says nothing, and is no reason to lose the picture."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except _DAMAGE:
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _check_dimensions(width: int, height: int, crop: Crop | None, limits: ImageLimits) -> None:
    if crop is not None:
        width, height = round(width * crop[2]), round(height * crop[3])
    shortest, longest = sorted((width, height))
    if shortest < limits.min_side_px:
        raise ImageRejected(Reason.TOO_SMALL, f"a side must be at least {limits.min_side_px} px, got {width}×{height}")
    if longest > limits.max_aspect * shortest:
        raise ImageRejected(
            Reason.ASPECT, f"sides must differ at most {limits.max_aspect:g} times, got {width}×{height}"
        )


def _check_pixels(width: int, height: int, limits: ImageLimits) -> None:
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels:
        raise ImageRejected(
            Reason.TOO_LARGE,
            f"an image must have at most {limits.max_pixels} pixels and sides of at most {limits.max_side_px} px, "
            f"got {width}×{height}",
        )


def _check_work(work_px: int, limits: ImageLimits) -> None:
    if work_px > limits.max_work_px:
        raise ImageRejected(
            Reason.TOO_COSTLY,
            f"decoding must take at most {limits.max_work_px} pixels, each scan counted, got {work_px}: save it in "
            "fewer scans, or smaller",
        )


def _work_px(image: ImageFile.ImageFile, data: bytes) -> int:
    """What decoding costs, in pixels of one JPEG scan: each scan of a progressive one goes over the whole picture."""
    if image.format not in ("JPEG", "MPO"):
        return image.width * image.height * _SCANS_OF_OTHER_FORMATS
    return image.width * image.height * _count_scans(data)


def _count_scans(jpeg: bytes) -> int:
    """The scans of the first picture in a JPEG file; what is appended to it (depth, video) is never decoded."""
    num_scans, position = 0, 2
    while found := _JPEG_MARKER.search(jpeg, position):
        marker = found[1][0]
        if marker == _END_OF_IMAGE:
            break
        num_scans += marker == _START_OF_SCAN
        position = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
    return num_scans


def _is_animated(image: ImageFile.ImageFile) -> bool:
    # A phone's JPEG may carry a second picture (MPO: depth, gain map) and is a still photo all the same.
    return image.format != "MPO" and bool(getattr(image, "is_animated", False))


def _decode(image: ImageFile.ImageFile, longest_side_px: int, crop: Crop | None) -> Image.Image:
    """Upright, cropped, opaque RGB pixels, at least as large as wanted where the original is."""
    _draft(image, longest_side_px, crop)
    image.load()
    upright: Image.Image = image
    if (orientation := _orientation(image)) != 1:
        upright = image.transpose(_UPRIGHT[orientation])
    if crop is not None:
        upright = upright.crop(_crop_box_px(upright.size, crop))
    return _to_rgb(upright)


def _draft(image: ImageFile.ImageFile, longest_side_px: int, crop: Crop | None) -> None:
    """Let a JPEG decode at a fraction of its size, but never near the size that is wanted."""
    used = min(crop[2:]) if crop is not None else 1.0
    scale = _DRAFT_MARGIN * longest_side_px / (used * max(image.size))
    if scale < 1:
        image.draft(None, (math.ceil(image.width * scale), math.ceil(image.height * scale)))


def _crop_box_px(size: tuple[int, int], crop: Crop) -> tuple[int, int, int, int]:
    (width, height), (x, y, crop_width, crop_height) = size, crop
    left, upper = min(round(x * width), width - 1), min(round(y * height), height - 1)
    right = min(max(round((x + crop_width) * width), left + 1), width)
    lower = min(max(round((y + crop_height) * height), upper + 1), height)
    return left, upper, right, lower


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # convert('RGB') would clip: 99.6 % of a 16-bit ramp turns white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # converting to the same mode would copy
    rgba = image if image.mode == "RGBA" else image.convert("RGBA")
    flattened = Image.new("RGB", image.size, _GREY if _is_pale(rgba) else _WHITE)
    flattened.paste(rgba, mask=rgba.getchannel("A"))
    return flattened


def _is_pale(rgba: Image.Image) -> bool:
    """Whether a white background would swallow what is cut out."""
    small = np.asarray(rgba.resize((_PALE_SIDE_PX, _PALE_SIDE_PX), Image.Resampling.BOX), np.float64)
    shows = small[..., 3]
    pale = small[..., :3].min(axis=-1) >= _WHITE[0] - _PALE_LEVELS
    return bool((shows * pale).sum() > _PALE_SHARE * shows.sum()) and bool((shows < _WHITE[0]).any())


def _canonical(rgb: Image.Image, animated: bool) -> CanonicalImage:
    rgb.info = {}  # a JPEG comment would be written out again from here
    encoded = io.BytesIO()
    # No chroma subsampling: at these sizes it would blur the fine coloured patterns that tell products apart.
    rgb.save(encoded, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    grey = _grey_thumbnail(rgb)
    # Grey mixes the channels and a thumbnail their pixels, so that neither varies more than what it is made of, but for
    # the little that Lanczos overshoots and rounding adds: most pictures need no second look.
    low_info = bool(grey.std() < 2 * _LOW_INFO_STD) and _largest_stddev(rgb) < _LOW_INFO_STD
    return CanonicalImage(
        jpeg=encoded.getvalue(),
        width=rgb.width,
        height=rgb.height,
        perceptual_hash=_perceptual_hash(grey),
        flags=(ANIMATED,) * animated + (LOW_INFO,) * low_info,
    )


def _largest_stddev(rgb: Image.Image) -> float:
    """Of the three channels, from their histograms: several times faster than from the pixels."""
    counts = np.array(rgb.histogram(), np.float64).reshape(3, 256)
    means, means_of_squares = (counts @ _LEVELS_AND_SQUARES / (rgb.width * rgb.height)).T
    return math.sqrt(max(*(means_of_squares - means**2), 0.0))  # rounding can make it negative


def _grey_thumbnail(rgb: Image.Image) -> npt.NDArray[np.float64]:
    """32 × 32, in 0…255."""
    small = rgb.convert("L").resize((_HASH_SIDE_PX, _HASH_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float64)


def _perceptual_hash(grey: npt.NDArray[np.float64]) -> int:
    """64 bits: which of the 8 × 8 lowest frequencies of the grey thumbnail lie above their median.

    (pHash: Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", 3.2.1; the bits are those
    of ImageHash's phash, whose import of SciPy would take each decoder a second to start.)
    """
    # Rounded, for else the noise of rounding decides about the frequencies that a plain picture lacks.
    low = (_COSINES @ grey @ _COSINES.T).round(6)
    ascending = np.sort(low, axis=None)
    median = (ascending[31] + ascending[32]) / 2
    return int.from_bytes(np.packbits(low > median).tobytes(), "big")
