import io
import struct
import zlib
from contextlib import suppress

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageStat

from lookalike.catalog import images
from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.images import ANIMATED, LOW_INFO, canonicalise
from lookalike.catalog.originals import ImageLimits, ImageRejected

SIDE = 64


def photo(width=96, height=64):
    """Smooth waves with an edge: something a codec and a resampling filter work on as on a photo."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = [128 + 80 * np.sin(x / 9 + phase) * np.cos(y / 13) + 40 * (x > width / 2) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def encode(image, image_format, **options):
    encoded = io.BytesIO()
    image.save(encoded, image_format, **options)
    return encoded.getvalue()


JPEG = encode(photo(), "JPEG")


def png_header(width, height):
    """A PNG that states a size and ends where its pixels should begin."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\1IDAT"


def lying_jpeg(width, height):
    start = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:start] + struct.pack(">HH", height, width) + JPEG[start + 4 :]


def lying_webp(width, height):
    body = (
        b"VP8X"
        + struct.pack("<I", 10)
        + bytes(4)
        + struct.pack("<I", width - 1)[:3]
        + struct.pack("<I", height - 1)[:3]
    )
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def lying_lossless_webp(width, height):
    data = bytearray(encode(photo(), "WEBP", lossless=True))
    data[21:25] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


def lying_lossy_webp(width, height):
    data = bytearray(encode(photo(), "WEBP"))
    data[26:30] = struct.pack("<HH", width, height)
    return bytes(data)


def pixels(image):
    """The decoded canonical JPEG, [height, width, 3] int."""
    return np.asarray(Image.open(io.BytesIO(image.jpeg))).astype(int)


def reason_of(data, **options):
    with pytest.raises(ImageRejected) as rejected:
        canonicalise(data, **{"longest_side_px": SIDE, **options})
    assert rejected.value.detail
    return rejected.value.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"<!DOCTYPE html><html><body>404</body></html>", Reason.NOT_IMAGE),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', Reason.NOT_IMAGE),
        (b"\x7fELF" + bytes(100), Reason.NOT_IMAGE),
        (JPEG[: len(JPEG) // 2], Reason.TRUNCATED),
        (JPEG[:-2], Reason.TRUNCATED),
        (JPEG[:-1], Reason.TRUNCATED),
        (JPEG[:20], Reason.TRUNCATED),
        (encode(photo(), "PNG")[:2000], Reason.TRUNCATED),
        (encode(photo(), "WEBP")[:-3], Reason.TRUNCATED),
        (encode(photo(), "GIF")[:1500], Reason.TRUNCATED),
        (encode(photo(), "BMP")[:-1], Reason.TRUNCATED),
        (encode(photo(), "TIFF"), Reason.UNSUPPORTED_FORMAT),
        (b"\0\0\0\x1cftypavif" + bytes(60), Reason.UNSUPPORTED_FORMAT),
        (encode(photo(), "ICO"), Reason.UNSUPPORTED_FORMAT),
        (lying_jpeg(65_000, 65_000), Reason.TOO_LARGE),
        (lying_jpeg(10_000, 10_000), Reason.TOO_LARGE),
        (lying_jpeg(12_001, 700), Reason.TOO_LARGE),
        (png_header(12_000, 12_000), Reason.TOO_LARGE),
        (png_header(30_000, 30_000), Reason.TOO_LARGE),
        (lying_webp(16_383, 16_383), Reason.TOO_LARGE),
        (lying_lossless_webp(16_383, 16_383), Reason.TOO_LARGE),
        (lying_lossy_webp(16_383, 16_383), Reason.TOO_LARGE),
        (encode(photo(15, 40), "PNG"), Reason.TOO_SMALL),
        (encode(Image.new("RGB", (1, 1)), "PNG"), Reason.TOO_SMALL),
        (encode(photo(16 * 21, 16), "PNG"), Reason.ASPECT),
        (encode(photo(16, 16 * 21), "PNG"), Reason.ASPECT),
    ],
)
def test_unusable_file_is_rejected_with_its_reason(data, reason):
    assert reason_of(data) is reason


def test_file_over_the_size_limit_is_refused_before_decoding():
    assert reason_of(JPEG, limits=ImageLimits(max_bytes=len(JPEG) - 1)) is Reason.TOO_LARGE
    canonicalise(JPEG, longest_side_px=SIDE, limits=ImageLimits(max_bytes=len(JPEG)))


def test_accept_list_is_a_setting():
    assert reason_of(JPEG, limits=ImageLimits(formats=("PNG",))) is Reason.UNSUPPORTED_FORMAT


def test_limits_are_inclusive():
    canonicalise(encode(photo(16 * 20, 16), "PNG"), longest_side_px=SIDE)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_accepted_formats_become_an_rgb_jpeg(image_format):
    image = canonicalise(encode(photo(), image_format), longest_side_px=96)
    decoded = Image.open(io.BytesIO(image.jpeg))
    assert (decoded.format, decoded.mode, decoded.size) == ("JPEG", "RGB", (96, 64))
    assert (image.width, image.height, image.flags) == (96, 64, ())
    assert np.abs(pixels(image) - np.asarray(photo()).astype(int)).mean() < 6


@pytest.mark.parametrize("longest_side_px", [1000, 96, 50, 7])
def test_image_is_reduced_to_the_longest_side_and_never_enlarged(longest_side_px):
    image = canonicalise(JPEG, longest_side_px=longest_side_px)
    longest = min(longest_side_px, 96)
    assert (image.width, image.height) == (longest, pytest.approx(longest * 64 / 96, abs=0.51))


def test_same_input_gives_the_same_bytes():
    assert canonicalise(JPEG, longest_side_px=SIDE) == canonicalise(JPEG, longest_side_px=SIDE)


@pytest.mark.parametrize("longest_side_px", [0, -1])
def test_impossible_size_is_refused(longest_side_px):
    with pytest.raises(ValueError, match="longest_side_px"):
        canonicalise(JPEG, longest_side_px=longest_side_px)


def test_cmyk_is_converted():
    image = canonicalise(encode(photo().convert("CMYK"), "JPEG", quality=95), longest_side_px=96)
    assert np.abs(pixels(image) - np.asarray(photo()).astype(int)).mean() < 4


def test_sixteen_bit_ramp_keeps_its_range():
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (64, 1))
    grey = pixels(canonicalise(encode(Image.fromarray(ramp), "PNG"), longest_side_px=256))
    assert np.abs(grey[32, :, 0] - (ramp[0] >> 8)).max() <= 3


def test_transparency_is_flattened_on_white():
    half = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    half.paste((0, 0, 200, 255), (32, 0, 64, 64))
    flat = pixels(canonicalise(encode(half, "PNG"), longest_side_px=64))
    assert np.abs(flat[32, 8] - [255, 255, 255]).max() <= 2
    assert np.abs(flat[32, 56] - [0, 0, 200]).max() <= 2


def test_half_transparent_black_becomes_grey():
    veil = encode(Image.new("RGBA", (64, 64), (0, 0, 0, 128)), "PNG")
    assert np.abs(pixels(canonicalise(veil, longest_side_px=64)) - 127).max() <= 2


@pytest.mark.parametrize("mode", ["P", "L", "LA", "1"])
def test_transparent_or_indexed_modes_decode_to_what_they_show(mode):
    shown = photo().convert("L").convert(mode)
    flat = pixels(canonicalise(encode(shown, "PNG"), longest_side_px=96))
    assert np.abs(flat - np.asarray(shown.convert("RGB")).astype(int)).mean() < 8


def test_palette_transparency_is_flattened_on_white():
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([200, 0, 0, 0, 200, 0])
    palette.paste(1, (0, 32, 64, 64))
    flat = pixels(canonicalise(encode(palette, "GIF", transparency=0), longest_side_px=64))
    assert np.abs(flat[8, 32] - [255, 255, 255]).max() <= 2
    assert np.abs(flat[56, 32] - [0, 200, 0]).max() <= 2


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "PNG"])
def test_animation_gives_its_first_frame_and_a_flag(image_format):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    data = encode(frames[0], image_format, save_all=True, append_images=frames[1:])
    image = canonicalise(data, longest_side_px=64)
    assert ANIMATED in image.flags
    assert np.abs(pixels(image)[32, 32] - [255, 0, 0]).max() <= 3


def test_phone_photo_with_a_second_picture_is_a_still():
    data = encode(photo(), "MPO", save_all=True, append_images=[photo(32, 32)])
    image = canonicalise(data, longest_side_px=96)
    assert (image.width, image.height, image.flags) == (96, 64, ())


def rotated_phone_photo(orientation):
    """Red on the left, blue on the right, as the sensor saw it."""
    stored = Image.new("RGB", (96, 64), "red")
    stored.paste((0, 0, 255), (48, 0, 96, 64))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "SECRET MAKER"
    return encode(stored, "JPEG", exif=exif.tobytes(), comment=b"SECRET COMMENT", icc_profile=b"SECRET PROFILE")


@pytest.mark.parametrize(
    ("orientation", "red_point"),
    [
        (1, (10, 32)),
        (2, (86, 32)),
        (3, (86, 32)),
        (4, (10, 32)),
        (5, (32, 10)),
        (6, (32, 10)),
        (7, (32, 86)),
        (8, (32, 86)),
    ],
)
def test_photo_is_turned_upright(orientation, red_point):
    image = canonicalise(rotated_phone_photo(orientation), longest_side_px=96)
    assert (image.width, image.height) == ((64, 96) if orientation >= 5 else (96, 64))
    x, y = red_point
    assert np.abs(pixels(image)[y, x] - [254, 0, 0]).max() <= 3


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_unreadable_exif_does_not_lose_the_photo():
    broken = encode(photo(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xee" * 30)
    assert canonicalise(broken, longest_side_px=96).width == 96


def segment_markers(jpeg):
    """Marker bytes of all segments up to the start of the scan."""
    position, markers = 2, []
    while jpeg[position + 1] != 0xDA:
        markers.append(jpeg[position + 1])
        position += 2 + struct.unpack(">H", jpeg[position + 2 : position + 4])[0]
    return markers


def test_canonical_image_carries_no_metadata_and_no_tail():
    script = b"<script>alert(1)</script>"
    image = canonicalise(rotated_phone_photo(6) + script, longest_side_px=96)
    assert b"SECRET" not in image.jpeg
    assert b"script" not in image.jpeg
    # JFIF, quantisation, frame, Huffman tables: no APP1…15 (EXIF, ICC, XMP) and no comment.
    assert set(segment_markers(image.jpeg)) == {0xE0, 0xDB, 0xC0, 0xC4}


def test_crop_is_taken_from_the_upright_image():
    # Orientation 6 shows the red half on top; the crop takes the lower, blue half.
    image = canonicalise(rotated_phone_photo(6), longest_side_px=96, crop=(0.0, 0.5, 1.0, 0.5))
    assert (image.width, image.height) == (64, 48)
    assert pixels(image)[2:, :, 2].min() > 250  # the first rows share a JPEG block with the red half


def test_crop_that_leaves_too_little_is_refused():
    assert reason_of(JPEG, crop=(0.0, 0.0, 0.1, 0.5)) is Reason.TOO_SMALL


def test_crop_outside_the_image_is_refused():
    with pytest.raises(ValueError, match="crop must be"):
        canonicalise(JPEG, longest_side_px=SIDE, crop=(0.5, 0.5, 0.6, 0.5))


def test_nearly_one_colour_is_flagged():
    assert canonicalise(encode(Image.new("RGB", (64, 64), (255, 0, 0)), "PNG"), longest_side_px=64).flags == (LOW_INFO,)
    assert canonicalise(JPEG, longest_side_px=64).flags == ()


@pytest.mark.parametrize("spread", [0, 1, 3, 60])
def test_what_is_nearly_one_colour_goes_by_the_standard_deviation_of_a_channel(spread):
    noise = np.random.default_rng(spread).normal(128, spread, (40, 50, 3)).clip(0, 255).astype(np.uint8)
    rgb = Image.fromarray(noise)
    assert images._largest_stddev(rgb) == pytest.approx(max(ImageStat.Stat(rgb).stddev), abs=1e-6)


@pytest.mark.parametrize("contrast", [1.0, 1.9, 2.1, 3.0, 3.9, 4.1, 8.0])
@pytest.mark.parametrize("channels", [(1, 1, 1), (1, 0, 0), (0, 0, 1), (1, -0.51, 0)])  # the last one is even in grey
@pytest.mark.parametrize("stripes", [1, 2, 16])
def test_whether_there_is_nothing_to_see_is_decided_as_by_a_look_at_all_pixels(contrast, channels, stripes):
    bars = np.where(np.arange(64) * stripes // 32 % 2, contrast, -contrast)
    rgb = Image.fromarray((128 + np.ones((48, 1, 1)) * np.multiply.outer(bars, channels)).round().astype(np.uint8))
    found = images._canonical(rgb, animated=False).flags
    assert found == (LOW_INFO,) * (max(ImageStat.Stat(rgb).stddev) < 2.0)


@pytest.mark.parametrize("crop", [None, (0.25, 0.25, 0.5, 0.5)])
def test_large_jpeg_decoded_at_reduced_scale_looks_the_same(crop):
    large = photo(1536, 1024)
    fast = pixels(canonicalise(encode(large, "JPEG", quality=95), longest_side_px=96, crop=crop))
    exact = pixels(canonicalise(encode(large, "PNG"), longest_side_px=96, crop=crop))  # PNG has no reduced scale
    assert fast.shape == exact.shape
    assert 10 * np.log10(255**2 / ((fast - exact) ** 2).mean()) > 38  # dB


@pytest.mark.parametrize("seed", range(20))
def test_perceptual_hash_is_that_of_imagehash(seed):
    mosaic = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 7, 3)).astype(np.uint8))
    rgb = mosaic.resize((90 + seed, 70), Image.Resampling.BICUBIC)
    assert images._perceptual_hash(images._grey_thumbnail(rgb)) == int(str(imagehash.phash(rgb)), 16)


def test_perceptual_hash_survives_recompression_and_resizing_but_not_another_picture():
    original = canonicalise(encode(photo(300, 200), "PNG"), longest_side_px=128).perceptual_hash
    again = canonicalise(
        encode(photo(300, 200).resize((240, 160)), "JPEG", quality=60), longest_side_px=128
    ).perceptual_hash
    other = canonicalise(encode(photo(300, 200).rotate(90), "PNG"), longest_side_px=128).perceptual_hash
    assert 0 <= original < 1 << 64
    assert (original ^ again).bit_count() <= 3 < (original ^ other).bit_count()


SEEDS = [encode(photo(), fmt) for fmt in ("JPEG", "PNG", "WEBP", "GIF", "BMP")] + [rotated_phone_photo(6)]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # Pillow tells of corrupt EXIF and the like
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=6)), max_size=6),
    st.integers(0, 4000),
)
def test_damaged_files_are_decoded_or_rejected_and_nothing_else(data, patches, length):
    damaged = bytearray(data)
    for position, patch in patches:
        damaged[position : position + len(patch)] = patch
    with suppress(ImageRejected):
        image = canonicalise(bytes(damaged[: max(length, 200)]), longest_side_px=SIDE)
        assert max(image.width, image.height) <= SIDE
