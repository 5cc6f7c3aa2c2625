import errno
import os

import pytest

from lookalike.errors import SystemRefusedError, in_words, kind_of


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "/a/b: permission denied; give this user the right to it, or choose another place"),
        (errno.EROFS, "/a/b: read-only file system; make it writable, or choose another place"),
        (errno.ENOSPC, "/a/b: no space left on device; free some space, or choose another place"),
        (errno.EISDIR, "/a/b: is a directory"),
    ],
)
def test_what_the_system_refuses_is_told_in_words(number: int, told: str) -> None:
    error = OSError(number, os.strerror(number), "/a/b")
    assert str(SystemRefusedError.of(error)) == told


def test_an_error_without_a_path_or_a_number_keeps_its_words() -> None:
    assert in_words(OSError(errno.ECONNREFUSED, "Connection refused")) == "connection refused"
    assert in_words(TimeoutError("the service must be ready within 60 s")) == "the service must be ready within 60 s"


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "nothing"), (True, "true or false"), (1.5, "a number"), ("", "text"), ([], "a list"), ({}, "an object")],
)
def test_json_values_are_told_in_words(value: object, words: str) -> None:
    assert kind_of(value) == words
