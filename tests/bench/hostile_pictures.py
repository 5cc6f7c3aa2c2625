"""Pictures that are small to send and dear to decode, drawn in memory."""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image


def _encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, image_format, **options)
    return encoded.getvalue()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def progressive_of_many_scans(width: int, height: int, num_scans: int) -> bytes:
    """A progressive JPEG whose last refinement scan comes again and again, each a few bytes of 'no more blocks'."""
    jpeg = _encode(Image.new("RGB", (width, height), (90, 120, 40)), "JPEG", progressive=True)
    last_scan = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    tables = jpeg[: jpeg.rindex(b"\xff\xda")]
    return tables + last_scan * num_scans + jpeg[-2:]


def png_bomb(width: int, height: int, mode: str = "RGB") -> bytes:
    """A PNG of one colour: some kilobytes that are hundreds of megabytes of pixels."""
    channels, colour_type = {"L": (1, 0), "RGB": (3, 2), "RGBA": (4, 6)}[mode]
    compressor = zlib.compressobj(9)
    row = bytes(1 + width * channels)
    data = b"".join(compressor.compress(row) for _ in range(height)) + compressor.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def png_with_bomb_in_its_text(num_bytes: int = 2**29, num_chunks: int = 8) -> bytes:
    """A tiny PNG with compressed comments that inflate to gigabytes."""
    compressor = zlib.compressobj(9)
    zeros = bytes(2**20)
    text = b"".join(compressor.compress(zeros) for _ in range(num_bytes // len(zeros))) + compressor.flush()
    whole = _encode(Image.new("RGB", (64, 64)), "PNG")
    chunks = b"".join(_chunk(b"zTXt", b"c%d\0\0" % number + text) for number in range(num_chunks))
    return whole[:33] + chunks + whole[33:]


def gif_of_many_frames(side: int = 2000, num_frames: int = 2000) -> bytes:
    """A GIF that says the same large frame again and again."""
    one = _encode(Image.new("P", (side, side)), "GIF")
    frame = one[one.index(b"\x2c", 13 + 3 * 2) : -1]
    return one[:-1] + frame * num_frames + b";"


def webp_bomb(side: int) -> bytes:
    """A lossless WebP of one colour."""
    return _encode(Image.new("RGB", (side, side)), "WEBP", lossless=True, method=0, quality=0)


def cmyk_jpeg_noise(side: int) -> bytes:
    """A JPEG of four channels at full resolution in ten scans, all of them noise."""
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 4), dtype=np.uint8)
    return _encode(Image.fromarray(noise, "CMYK"), "JPEG", quality=30, progressive=True)


def hostile_pictures() -> Iterator[tuple[str, bytes]]:
    """All kinds, by name; each is below the 10 MiB that a request may have."""
    yield "many scans, large", progressive_of_many_scans(6000, 6000, 400)
    yield "many scans, small", progressive_of_many_scans(800, 800, 20_000)
    yield "png of 40 megapixels", png_bomb(8000, 5000, "RGBA")
    yield "png that is too large", png_bomb(12_000, 12_000, "L")
    yield "png with a bomb in its text", png_with_bomb_in_its_text()
    yield "gif of many frames", gif_of_many_frames()
    yield "webp of 36 megapixels", webp_bomb(6000)
    yield "cmyk in ten scans", cmyk_jpeg_noise(2900)
