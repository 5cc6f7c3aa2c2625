import errno
import os
from urllib.error import URLError

import pytest

from lookalike.errors import SystemRefusedError, in_words, kind_of


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.EACCES, "/a/b: permission denied; give this user the right to it, or choose another place"),
        (errno.EROFS, "/a/b: read-only file system; make it writable, or choose another place"),
        (errno.ENOSPC, "/a/b: no space left on device; free some space, or choose another place"),
        (errno.EISDIR, "/a/b: is a directory; move it away, or name a file"),
        (errno.ENOTDIR, "/a/b: not a directory; move it away, or name a folder"),
        (errno.ENAMETOOLONG, "/a/b: file name too long; choose a shorter name"),
        (errno.ELOOP, "/a/b: too many levels of symbolic links"),
    ],
)
def test_what_the_system_refuses_is_told_in_words(number: int, told: str) -> None:
    error = OSError(number, os.strerror(number), "/a/b")
    assert str(SystemRefusedError.of(error)) == told


def test_an_error_without_a_path_or_a_number_keeps_its_words() -> None:
    assert in_words(OSError(errno.ECONNREFUSED, "Connection refused")) == "connection refused"
    assert in_words(TimeoutError("the service must be ready within 60 s")) == "the service must be ready within 60 s"


def test_an_address_that_refuses_is_told_without_what_wrapped_it() -> None:
    refused = URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"))
    assert in_words(refused) == "connection refused"
    told = "connection refused; start what should listen there, or name another address"
    assert str(SystemRefusedError.of(refused)) == told
    assert str(SystemRefusedError.of(URLError(TimeoutError("timed out")))) == "timed out"


@pytest.mark.parametrize(
    ("value", "words"),
    [(None, "nothing"), (True, "true or false"), (1.5, "a number"), ("", "text"), ([], "a list"), ({}, "an object")],
)
def test_json_values_are_told_in_words(value: object, words: str) -> None:
    assert kind_of(value) == words
