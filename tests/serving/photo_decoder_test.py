import io
import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from PIL import Image

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.images import canonicalise
from lookalike.catalog.originals import ImageRejected
from serving.photo_decoder import PhotoDecoder
from tests.bench.hostile_pictures import hostile_pictures, progressive_of_many_scans


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, image_format, **options)
    return encoded.getvalue()


@pytest.fixture(scope="module")
def decoder() -> Iterator[PhotoDecoder]:
    with PhotoDecoder() as running:
        yield running


@pytest.fixture(scope="module")
def photo() -> bytes:
    return encode(Image.radial_gradient("L").convert("RGB"), "JPEG")


@pytest.mark.parametrize(
    ("size", "image_format", "options", "is_quick"),
    [
        ((4000, 3000), "JPEG", {}, True),
        ((4000, 3000), "JPEG", {"progressive": True}, False),
        ((1200, 1200), "JPEG", {"progressive": True}, True),  # 10 scans
        ((1500, 1500), "PNG", {}, True),
        ((2500, 2500), "PNG", {}, False),
        ((2500, 2500), "WEBP", {}, False),
    ],
)
def test_what_is_quick_goes_by_what_is_really_decoded(
    decoder: PhotoDecoder, size: tuple[int, int], image_format: str, options: dict[str, bool], is_quick: bool
) -> None:
    data = encode(Image.new("RGB", size, (200, 10, 10)), image_format, **options)
    found = decoder.canonicalise_if_quick(data, 64)
    assert (found is not None) is is_quick
    assert (found or decoder.canonicalise_slowly(data, 64)) == canonicalise(data, longest_side_px=64)


EXPECTED = {
    "many scans, large": Reason.TOO_COSTLY,
    "many scans, small": Reason.TOO_COSTLY,
    "png of 40 megapixels": Reason.DECODER_MEMORY,
    "png that is too large": Reason.TOO_LARGE,
    "png with a bomb in its text": Reason.TRUNCATED,
    "gif of many frames": None,  # its first frame is a picture like another
    "webp of 36 megapixels": Reason.DECODER_MEMORY,
    "cmyk in ten scans": None,
}


@pytest.mark.parametrize(("kind", "data"), [pytest.param(*one, id=one[0]) for one in hostile_pictures()])
def test_hostile_picture_ends_with_a_reason_and_the_next_photo_is_answered(
    decoder: PhotoDecoder, photo: bytes, kind: str, data: bytes
) -> None:
    assert reason_of(decoder, data) is EXPECTED[kind]
    assert decoder.canonicalise_if_quick(photo, 64) == canonicalise(photo, longest_side_px=64)


def reason_of(decoder: PhotoDecoder, data: bytes) -> Reason | None:
    try:
        _ = decoder.canonicalise_if_quick(data, 64) or decoder.canonicalise_slowly(data, 64)
    except ImageRejected as rejected:
        return rejected.reason
    return None


def test_scans_of_the_thumbnail_and_of_what_is_appended_are_not_counted(decoder: PhotoDecoder, photo: bytes) -> None:
    many = progressive_of_many_scans(256, 256, 1000)
    with_thumbnail = photo[:2] + b"\xff\xe1" + (len(b"Exif" + many) + 2).to_bytes(2, "big") + b"Exif" + many + photo[2:]
    assert len(many) < 2**16 - 6
    for data in (photo + b"\xff\xda" * 100_000, with_thumbnail):
        assert decoder.canonicalise_if_quick(data, 64) == canonicalise(photo, longest_side_px=64)


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def test_killed_workers_cost_the_pictures_that_they_held(photo: bytes) -> None:
    before = children()
    with PhotoDecoder() as decoder:
        decoder.canonicalise_if_quick(photo, 64)
        killed = children() - before
        assert killed
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert decoder.canonicalise_if_quick(photo, 64) == canonicalise(photo, longest_side_px=64)
        assert decoder.canonicalise_slowly(photo, 64) == canonicalise(photo, longest_side_px=64)
