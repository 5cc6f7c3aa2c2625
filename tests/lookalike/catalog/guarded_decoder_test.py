import io
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.guarded_decoder import Budget, GuardedDecoder
from lookalike.catalog.images import canonicalise
from lookalike.catalog.originals import ImageLimits, ImageRejected

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
    if fault == b"work":
        ends = time.process_time() + 0.2
        while time.process_time() < ends:
            pass
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
        with GuardedDecoder(budget=Budget(wall_s=1.5), decoder="faulty_decoder.decode") as decoder:
            yield decoder


def test_result_equals_decoding_in_process(jpeg):
    crop = (0.1, 0.2, 0.5, 0.7)
    with GuardedDecoder() as decoder:
        assert decoder.canonicalise(jpeg, longest_side_px=48) == canonicalise(jpeg, longest_side_px=48)
        assert decoder.canonicalise(jpeg, longest_side_px=48, crop=crop) == canonicalise(
            jpeg, longest_side_px=48, crop=crop
        )


def test_rejections_equal_those_in_process(jpeg):
    limits = ImageLimits(formats=("JPEG",), max_bytes=100_000)
    with GuardedDecoder(limits=limits) as decoder:
        for data in (b"", b"<html>", jpeg[:-2], b"GIF89a" + bytes(20), jpeg + bytes(100_000)):
            with pytest.raises(ImageRejected) as there:
                canonicalise(data, longest_side_px=48, limits=limits)
            with pytest.raises(ImageRejected) as here:
                decoder.canonicalise(data, longest_side_px=48)
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
    good = faulty.canonicalise(b"        " + jpeg, longest_side_px=48)
    with pytest.raises(ImageRejected, match=words) as rejected:
        faulty.canonicalise(fault.ljust(8) + jpeg, longest_side_px=48)
    assert rejected.value.reason is reason
    assert faulty.canonicalise(b"        " + jpeg, longest_side_px=48) == good


def test_output_of_the_decoder_cannot_be_taken_for_an_answer(faulty, jpeg):
    assert faulty.canonicalise(b"print   " + jpeg, longest_side_px=48).width == 48


def worker_pids():
    return {child.pid for child in psutil.Process().children()}


def only_worker(before):
    [pid] = worker_pids() - before
    return pid


def test_one_worker_serves_many_images(jpeg):
    before = worker_pids()
    with GuardedDecoder() as decoder:
        decoder.canonicalise(jpeg, longest_side_px=48)
        first = only_worker(before)
        for _ in range(5):
            decoder.canonicalise(jpeg, longest_side_px=48)
            with pytest.raises(ImageRejected):
                decoder.canonicalise(b"", longest_side_px=48)
        assert only_worker(before) == first


def test_worker_killed_between_images_costs_no_image(jpeg):
    before = worker_pids()
    with GuardedDecoder() as decoder:
        decoder.canonicalise(jpeg, longest_side_px=48)
        first = only_worker(before)
        os.kill(first, signal.SIGKILL)
        while is_running(first):
            time.sleep(0.01)
        assert decoder.canonicalise(jpeg, longest_side_px=48).width == 48


def test_closed_decoder_leaves_no_worker(jpeg):
    before = worker_pids()
    with GuardedDecoder(num_workers=2) as decoder:
        decoder.canonicalise(jpeg, longest_side_px=48)
        assert len(worker_pids() - before) == 2
    assert worker_pids() == before


@pytest.fixture
def faulty_module(tmp_path, monkeypatch):
    (tmp_path / "faulty_decoder.py").write_text(FAULTY_DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "faulty_decoder.decode"


def test_picture_that_takes_too_much_cpu_is_ended_by_its_cpu_and_not_by_the_clock(faulty_module, jpeg):
    with GuardedDecoder(budget=Budget(cpu_s=0.2, wall_s=60), decoder=faulty_module) as decoder:
        with pytest.raises(ImageRejected, match=r"at most 0\.2 s of CPU") as rejected:
            decoder.canonicalise(b"hold    " + jpeg, longest_side_px=48)
        assert rejected.value.reason is Reason.DECODER_TIMEOUT
        assert decoder.canonicalise(b"        " + jpeg, longest_side_px=48).width == 48


def test_cpu_is_counted_for_each_picture_alone(faulty_module, jpeg):
    with GuardedDecoder(budget=Budget(cpu_s=0.5, wall_s=60), decoder=faulty_module) as decoder:
        for _ in range(4):  # 0.8 s in all
            assert decoder.canonicalise(b"work    " + jpeg, longest_side_px=48).width == 48


def test_picture_of_one_thread_does_not_wait_for_that_of_another(faulty_module, jpeg):
    budget, before = Budget(wall_s=20), worker_pids()
    with (
        GuardedDecoder(num_workers=2, budget=budget, decoder=faulty_module) as decoder,
        ThreadPoolExecutor() as threads,
    ):
        warm_up = [threads.submit(decoder.canonicalise, b"work    " + jpeg, longest_side_px=48) for _ in range(2)]
        wait(warm_up)  # now both workers have started, and the kill below meets one at its picture
        hanging = threads.submit(decoder.canonicalise, b"hang    " + jpeg, longest_side_px=48)
        for _ in range(3):
            assert decoder.canonicalise(b"        " + jpeg, longest_side_px=48).width == 48
        assert not hanging.done()
        for pid in worker_pids() - before:
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(ImageRejected, match="SIGKILL"):
            hanging.result()


def test_each_thread_gets_the_answer_to_its_own_picture():
    sides = range(20, 60)
    pictures = [encode(Image.new("RGB", (side, 40)), "PNG") for side in sides]
    with GuardedDecoder(num_workers=2) as decoder, ThreadPoolExecutor(8) as threads:
        widths = threads.map(lambda data: decoder.canonicalise(data, longest_side_px=99).width, pictures)
        assert list(widths) == list(sides)


def test_interrupted_exchange_never_answers_the_next_image(faulty, jpeg):
    def interrupt(signum, frame):
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    faulty.canonicalise(b"        " + jpeg, longest_side_px=48)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    with pytest.raises(KeyboardInterrupt):
        faulty.canonicalise(b"hang    " + jpeg, longest_side_px=48)
    signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ImageRejected) as rejected:
        faulty.canonicalise(b"        <html>", longest_side_px=48)
    assert rejected.value.reason is Reason.NOT_IMAGE


def test_decoder_that_cannot_start_stops_the_run(jpeg):
    with (
        GuardedDecoder(decoder="no_such_module.decode") as decoder,
        pytest.raises(RuntimeError, match="must start, but it ended with exit status 1"),
    ):
        decoder.canonicalise(jpeg, longest_side_px=48)


def test_largest_accepted_photo_fits_in_the_memory_limit():
    largest = encode(Image.new("RGB", (8000, 5000)), "PNG", compress_level=1)
    with GuardedDecoder() as decoder:
        assert decoder.canonicalise(largest, longest_side_px=48).width == 48


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PARENT = """
import sys
import psutil
from lookalike.catalog.guarded_decoder import Budget, GuardedDecoder
from lookalike.catalog.originals import ImageRejected
from lookalike.catalog.guarded_decoder import Budget
decoder = GuardedDecoder(budget=Budget(cpu_s=100, wall_s=100), decoder="faulty_decoder.decode")
try:
    decoder.canonicalise(b"", longest_side_px=48)
except ImageRejected:
    pass
[worker] = psutil.Process().children()
print(worker.pid, flush=True)
decoder.canonicalise(sys.argv[1].encode().ljust(8), longest_side_px=48) if sys.argv[1] != "idle" else input()
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
