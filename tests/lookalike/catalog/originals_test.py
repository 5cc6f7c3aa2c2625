import hashlib
import os
from pathlib import Path

import pytest

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.originals import ImageRejected, looks_like_an_image, read_original

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) * 8


def test_original_is_read_and_checked(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    assert read_original(str(path)) == JPEG
    assert read_original(str(path), sha256=hashlib.sha256(JPEG).hexdigest().upper()) == JPEG


def read_reason(path, **options):
    with pytest.raises(ImageRejected) as rejected:
        read_original(str(path), **options)
    return rejected.value.reason


def test_bytes_overwritten_mid_file_are_found_by_the_checksum(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG[:900] + bytes(40) + JPEG[940:])
    assert read_reason(path, sha256=hashlib.sha256(JPEG).hexdigest()) is Reason.CHECKSUM


def test_file_that_cannot_be_read_is_missing(tmp_path):
    assert read_reason(tmp_path / "none.jpg") is Reason.MISSING_FILE
    assert read_reason(tmp_path) is Reason.MISSING_FILE
    assert read_reason("/tmp/\0.jpg") is Reason.MISSING_FILE


def test_link_and_pipe_in_place_of_a_file_are_not_read(tmp_path):
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    (tmp_path / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert read_reason(tmp_path / "link.jpg") is Reason.MISSING_FILE
    assert read_reason(tmp_path / "pipe.jpg") is Reason.MISSING_FILE


def test_huge_file_is_refused_unread(tmp_path):
    path: Path = tmp_path / "huge.jpg"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a terabyte, sparse
    assert read_reason(path) is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("start", "is_image"),
    [
        (JPEG[:32], True),
        (b"BM" + bytes(30), True),
        (b"BMX, a maker of bicycles, writes", False),
        (b"\0\0\0\x1cftypavif" + bytes(20), False),
        (b"", False),
    ],
)
def test_an_image_is_known_by_its_first_bytes(start, is_image):
    assert looks_like_an_image(start) is is_image
