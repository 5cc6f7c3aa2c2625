"""Large buffers go back to the system as soon as they are freed."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
_MIB = 1024 * 1024


@contextmanager
def returned_at_once() -> Iterator[None]:
    """While the block lasts, a buffer of 1 MiB or more has pages of its own, which no longer count once it is freed.

    glibc would raise that size to the one of any buffer that is freed, up to 32 MiB (mallopt(3)): the buffers of a Beam
    job then lie among small objects, and stay when they are freed. Afterwards the size is the largest that glibc would
    have come to: training frees large buffers at every step, and is slower where each is new.

    Nothing happens where the C library has no such setting.
    """
    _set_thresholds(own_pages_bytes=_MIB, trim_bytes=8 * _MIB)
    try:
        yield
    finally:
        _set_thresholds(own_pages_bytes=32 * _MIB, trim_bytes=64 * _MIB)


def _set_thresholds(*, own_pages_bytes: int, trim_bytes: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, own_pages_bytes)
        mallopt(_M_TRIM_THRESHOLD, trim_bytes)
