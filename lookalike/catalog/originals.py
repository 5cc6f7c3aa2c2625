"""The file of an image, as far as it is known without decoding it: its bytes, how many, and of which format."""

import hashlib
import os
import re
import stat
from dataclasses import dataclass

from lookalike.catalog.dead_letters import Reason
from lookalike.errors import EXIT_BAD_DATA, UserError, in_words
from lookalike.storage.address import is_remote, open_folder

_SIGNATURE_BYTES = 32
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "WEBP": rb"RIFF....WEBP",
    "GIF": rb"GIF8[79]a",
    "BMP": rb"BM",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF or HEIF": rb"....ftyp",
    "JPEG 2000": rb"\0\0\0\x0cjP  ",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
    "PSD": rb"8BPS",
    "ICO": rb"\x00\x00\x01\x00",
}


@dataclass(frozen=True)
class ImageLimits:
    """What is decoded at all; checked on the header, before any pixel is.

    max_work_px: pixels really decoded, in those of one JPEG scan (`images.py` counts them). The largest photo in 15
      scans fits.
    max_memory_bytes: what decoding may take. The default holds the largest WebP, of which libwebp keeps two canvases.
    """

    max_bytes: int = 25 * 1024 * 1024
    max_pixels: int = 40_000_000
    max_work_px: int = 600_000_000
    max_memory_bytes: int = 1024**3
    max_side_px: int = 12_000
    min_side_px: int = 16
    max_aspect: float = 20.0
    formats: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


USUAL_LIMITS = ImageLimits()


class ImageRejected(UserError, code="IMAGE_REJECTED", exit_status=EXIT_BAD_DATA):  # noqa: N818 - an outcome
    """The image cannot be used; `reason` is its code, `detail` what was expected and what came."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason.value}: {self.detail}"


def read_original(uri: str, *, sha256: str = "") -> bytes:
    """The bytes of an image file, checked against the digest that its manifest states (hex; '' = none).

    Raises ImageRejected: MISSING_FILE, TOO_LARGE (without reading it), CHECKSUM.
    """
    try:
        data = _read(uri, USUAL_LIMITS.max_bytes)
    except OSError as error:
        raise ImageRejected(Reason.MISSING_FILE, in_words(error)) from error
    except ValueError as error:
        raise ImageRejected(Reason.MISSING_FILE, "the path must hold no NUL") from error
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256.lower():
        raise ImageRejected(Reason.CHECKSUM, f"the manifest states sha256 {sha256}, the file has {found}")
    return data


def _read(uri: str, max_bytes: int) -> bytes:
    if not is_remote(uri):
        return _read_regular_file(uri, max_bytes)
    parent, _, name = uri.rpartition("/")
    data = open_folder(parent).read(name, max_bytes=max_bytes)
    if len(data) > max_bytes:
        raise ImageRejected(Reason.TOO_LARGE, f"a file must be at most {max_bytes} bytes, got more")
    return data


def _read_regular_file(path: str, max_bytes: int) -> bytes:
    # The source resolved every link already, so one that is here now came later. A FIFO would block for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - pathlib opens no descriptors
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise OSError(f"an image must be a regular file, got {path}")
        check_num_bytes(facts.st_size, max_bytes)
        return file.read(max_bytes + 1)


def check_num_bytes(num_bytes: int, max_bytes: int) -> None:
    """Raises ImageRejected: TOO_LARGE."""
    if num_bytes > max_bytes:
        raise ImageRejected(Reason.TOO_LARGE, f"a file must be at most {max_bytes} bytes, got {num_bytes}")


def accepted_format(data: bytes, formats: tuple[str, ...]) -> str:
    """The format that the first bytes of a file are of, as Pillow calls it.

    Raises ImageRejected: NOT_IMAGE, UNSUPPORTED_FORMAT.
    """
    found, expected = _format_of(data), f"expected {', '.join(formats)}"
    if not found:
        raise ImageRejected(Reason.NOT_IMAGE, f"{expected}, got a file that begins with the bytes {data[:8].hex(' ')}")
    if found not in formats:
        raise ImageRejected(Reason.UNSUPPORTED_FORMAT, f"{expected}, got {found}")
    return found


def _format_of(data: bytes) -> str:
    """'' for what is no image that anybody knows."""
    return next((name for name, sign in _SIGNATURES.items() if re.match(sign, data, re.DOTALL)), "")


def check_first_bytes(uri: str) -> None:
    """What can be told of an image file without reading it: that it is there, not empty, and of an accepted format.

    Raises ImageRejected.
    """
    try:
        start = _read_start(uri)
    except OSError as error:
        raise ImageRejected(Reason.MISSING_FILE, in_words(error)) from error
    if not start:
        raise ImageRejected(Reason.EMPTY, "expected an image, got 0 bytes")
    accepted_format(start, USUAL_LIMITS.formats)


def _read_start(uri: str) -> bytes:
    parent, _, name = uri.rpartition("/")
    return open_folder(parent or "/").read(name, max_bytes=_SIGNATURE_BYTES)


def looks_like_an_image(data: bytes) -> bool:
    """Whether the first 32 bytes are those of an image of an accepted format, whatever the file is called."""
    found = _format_of(data)
    # Text may begin with BM: in a bitmap, four reserved bytes are 0.
    return found in USUAL_LIMITS.formats and (found != "BMP" or data[6:10] == bytes(4))
