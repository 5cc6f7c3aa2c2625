import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.images import ImageLimits, ImageRejected, canonicalise

FAULTY_DECODER = """
import os, signal, sys, time
from lookalike.catalog.images import canonicalise

def decode(data, **options):
    fault, data = data[:8].rstrip(), data[8:]
    if fault == b"crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault == b"raise":
        raise RuntimeError("a bug in the decoder")
    if fault == b"hang":
        time.sleep(60)
    if fault == b"hold":  # hangs in C code that keeps the interpreter lock
        sum(range(10**12))
    if fault == b"alloc":
        bytearray(2 * 1024**3)
    if fault == b"print":
        print("noise on standard output", flush=True)
    if fault == b"exit":
        os._exit(0)
    return canonicalise(data, **options)
"""


def encode(image, image_format, **options):
    encoded = io.BytesIO()
    image.save(encoded, image_format, **options)
    return encoded.getvalue()


@pytest.fixture(scope="module")
def jpeg():
    return encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)), "JPEG")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder")
    (folder / "faulty_decoder.py").write_text(FAULTY_DECODER)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        with GuardedDecoder(longest_side_px=48, timeout_s=1.5, decoder="faulty_decoder.decode") as decoder:
            yield decoder


def test_result_equals_decoding_in_process(jpeg):
    crop = (0.1, 0.2, 0.5, 0.7)
    with GuardedDecoder(longest_side_px=48) as decoder:
        assert decoder.canonicalise(jpeg) == canonicalise(jpeg, longest_side_px=48)
        assert decoder.canonicalise(jpeg, crop) == canonicalise(jpeg, longest_side_px=48, crop=crop)


def test_rejections_equal_those_in_process(jpeg):
    limits = ImageLimits(formats=("JPEG",), max_bytes=100_000)
    with GuardedDecoder(longest_side_px=48, limits=limits) as decoder:
        for data in (b"", b"<html>", jpeg[:-2], b"GIF89a" + bytes(20), jpeg + bytes(100_000)):
            with pytest.raises(ImageRejected) as there:
                canonicalise(data, longest_side_px=48, limits=limits)
            with pytest.raises(ImageRejected) as here:
                decoder.canonicalise(data)
            assert (here.value.reason, here.value.detail) == (there.value.reason, there.value.detail)


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        (b"crash", Reason.DECODER_CRASH, "SIGSEGV"),
        (b"raise", Reason.DECODER_CRASH, "exit status 1"),
        (b"exit", Reason.DECODER_CRASH, "exit status 0"),
        (b"hang", Reason.DECODER_TIMEOUT, "1.5 s"),
        (b"hold", Reason.DECODER_TIMEOUT, "1.5 s"),
        (b"alloc", Reason.DECODER_MEMORY, "1073741824 bytes"),
    ],
)
def test_faulty_decoder_costs_one_image(faulty, jpeg, fault, reason, words):
    good = faulty.canonicalise(b"        " + jpeg)
    with pytest.raises(ImageRejected, match=words) as rejected:
        faulty.canonicalise(fault.ljust(8) + jpeg)
    assert rejected.value.reason is reason
    assert faulty.canonicalise(b"        " + jpeg) == good


def test_output_of_the_decoder_cannot_be_taken_for_an_answer(faulty, jpeg):
    assert faulty.canonicalise(b"print   " + jpeg).width == 48


def worker_pid(decoder):
    return decoder._worker._process.pid


def test_one_worker_serves_many_images(jpeg):
    with GuardedDecoder(longest_side_px=48) as decoder:
        decoder.canonicalise(jpeg)
        first = worker_pid(decoder)
        for _ in range(5):
            decoder.canonicalise(jpeg)
            with pytest.raises(ImageRejected):
                decoder.canonicalise(b"")
        assert worker_pid(decoder) == first


def test_worker_killed_between_images_costs_no_image(jpeg):
    with GuardedDecoder(longest_side_px=48) as decoder:
        decoder.canonicalise(jpeg)
        os.kill(worker_pid(decoder), signal.SIGKILL)
        decoder._worker._process.wait()
        assert decoder.canonicalise(jpeg).width == 48


def test_interrupted_exchange_never_answers_the_next_image(faulty, jpeg):
    def interrupt(signum, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    faulty.canonicalise(b"        " + jpeg)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        faulty.canonicalise(b"hang    " + jpeg)
    signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ImageRejected) as rejected:
        faulty.canonicalise(b"        <html>")
    assert rejected.value.reason is Reason.NOT_IMAGE


def test_decoder_that_cannot_start_stops_the_run(jpeg):
    decoder = GuardedDecoder(longest_side_px=48, decoder="no_such_module.decode")
    with pytest.raises(RuntimeError, match="must start, but it ended with exit status 1"):
        decoder.canonicalise(jpeg)


def test_largest_accepted_photo_fits_in_the_memory_limit():
    largest = encode(Image.new("RGB", (8000, 5000)), "PNG", compress_level=1)
    with GuardedDecoder(longest_side_px=48) as decoder:
        assert decoder.canonicalise(largest).width == 48


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PARENT = """
import sys
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.images import ImageRejected
decoder = GuardedDecoder(longest_side_px=48, timeout_s=100, decoder="faulty_decoder.decode")
try:
    decoder.canonicalise(b"")
except ImageRejected:
    pass
print(decoder._worker._process.pid, flush=True)
decoder.canonicalise(sys.argv[1].encode().ljust(8)) if sys.argv[1] != "idle" else input()
"""


@pytest.mark.parametrize("state", ["idle", "hang", "hold"])
def test_worker_does_not_outlive_a_killed_parent(tmp_path, state):
    (tmp_path / "faulty_decoder.py").write_text(FAULTY_DECODER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    with parent:
        worker = int(parent.stdout.readline())
        time.sleep(0.2)  # let it reach the decoder
        assert is_running(worker)
        parent.kill()
    deadline = time.monotonic() + 5
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(worker)
