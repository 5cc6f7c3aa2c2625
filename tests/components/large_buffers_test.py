import subprocess
import sys

import pytest

from components.large_buffers import returned_at_once

# Keeps a small object above each large one; prints how many MiB stay when the large ones are freed.
SCRIPT = """
import contextlib, resource, sys
from components.large_buffers import returned_at_once

def resident_mib():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

bytearray(30 * 2**20)  # freed at once: from now on glibc has buffers of this size share a heap
with returned_at_once() if sys.argv[1] == "inside" else contextlib.nullcontext():
    before = resident_mib()
    small = []
    for _ in range(4):
        large = []
        for _ in range(16):
            large.append(bytearray(2 * 2**20))
            small.append(bytearray(64 * 2**10))
        large.clear()
    print(resident_mib() - before)
"""


def mib_that_stay(where):
    command = [sys.executable, "-c", SCRIPT, where]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_freed_buffers_count_no_longer_while_the_block_lasts():
    assert mib_that_stay("inside") < 10 < 30 < mib_that_stay("outside")


def test_a_block_that_fails_ends_as_it_fails():
    def fail():
        with returned_at_once():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
