"""What strangers can cost the search service: a healthy client is timed beside each kind of hostile one.

The healthy client asks from 127.0.0.1, the hostile ones from 127.0.0.2, as two addresses would. A hostile client whose
connection ends waits a second, as it is told to, and comes again.
"""

import io
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from tests.bench.hostile_pictures import hostile_pictures

_HOST = "127.0.0.1"
_HOSTILE_ADDRESS = "127.0.0.2"
_PHASE_S = 8.0
_PAUSE_S = 0.05  # between two questions of the healthy client
_QUESTIONS_PER_LOOK = 5  # at its memory, which takes the kernel's time
_NUM_CONNECTIONS = 300
_NUM_SENDERS = 4  # of one hostile picture
_STALLED_BYTES = 500_000
_FORK = multiprocessing.get_context("fork")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
Row = tuple[str, str, float]
Nuisance = Callable[["Service", Event], None]


@dataclass(frozen=True)
class Service:
    """The running service: its process, and the port that everybody asks."""

    pid: int
    port: int

    def pids(self) -> list[int]:
        """Its process and those that it started."""
        return [self.pid, *(child.pid for child in psutil.Process(self.pid).children())]

    def memory_mb(self) -> float:
        """What all of it occupies, a shared page counted once."""
        return sum(_pss_kb(pid) for pid in self.pids()) / 1024

    def cpu_s(self) -> float:
        """What its processes have worked, and those of them that ended."""
        return sum(_cpu_ticks(pid) for pid in self.pids()) / _TICKS_PER_S


def _pss_kb(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1])
    return 0


def _cpu_ticks(pid: int) -> int:
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(value) for value in fields[11:15])  # utime, stime and those of ended children; see proc(5)
    return 0


@dataclass(frozen=True)
class Measured:
    """One phase: the healthy client's 99th percentile, and the most memory that the service had."""

    p99_ms: float
    memory_mb: float


def bench_hostile() -> Iterator[Row]:
    """The healthy client's p99 and the service's memory beside each hostile one, and what each picture costs alone."""
    pictures = dict(hostile_pictures())
    nuisances: dict[str, Nuisance] = {
        f"{_NUM_CONNECTIONS} idle connections": _connections(b""),
        f"{_NUM_CONNECTIONS} slow headers": _connections(b"POST /v1/search HTTP/1.1\r\nhost: x\r\nx-slow: "),
        f"{_NUM_CONNECTIONS} stalled bodies": _connections(_stalled_request()),
    }
    nuisances |= {f"{_NUM_SENDERS} × {name}": _senders(picture) for name, picture in pictures.items()}
    with _running_service() as service:
        _measure(service, _nothing)  # whatever is made on first use
        quiet = _measure(service, _nothing)
        yield "hostile", "  quiet p99, ms", quiet.p99_ms
        for name, nuisance in nuisances.items():
            beside = _measure(service, nuisance)
            yield "hostile", f"{name}: p99, times quiet", beside.p99_ms / quiet.p99_ms
            yield "hostile", "  memory above quiet, MB", beside.memory_mb - quiet.memory_mb
        for name, picture in pictures.items():
            status, cpu_s = _alone(service, picture)
            yield "hostile", f"  {name}, alone: CPU s (HTTP {status})", cpu_s


def _alone(service: Service, picture: bytes) -> tuple[int, float]:
    before = service.cpu_s()
    status = _client().post(_url(service), content=picture, headers={"content-type": "image/jpeg"}).status_code
    return status, service.cpu_s() - before


def _client(address: str = _HOST) -> httpx.Client:
    return httpx.Client(timeout=60, transport=httpx.HTTPTransport(local_address=address))


def _url(service: Service) -> str:
    return f"http://{_HOST}:{service.port}/v1/search"


def _measure(service: Service, nuisance: Nuisance) -> Measured:
    stop = _FORK.Event()
    hostile = _FORK.Process(target=nuisance, args=(service, stop))  # its work must not delay the healthy client's
    hostile.start()
    latencies, memory = [], []
    try:
        with _client() as http:
            time.sleep(1)  # until what is hostile is under way
            ends_at = time.monotonic() + _PHASE_S
            while time.monotonic() < ends_at:
                latencies += [_ask(http, service) for _ in range(_QUESTIONS_PER_LOOK)]
                memory.append(service.memory_mb())
    finally:
        stop.set()
        hostile.join()
    return Measured(1000 * float(np.percentile(latencies, 99)), max(memory))


def _ask(http: httpx.Client, service: Service) -> float:
    time.sleep(_PAUSE_S)
    started = time.perf_counter()
    answer = http.post(_url(service), content=_HEALTHY_PHOTO, headers={"content-type": "image/jpeg"})
    answer.raise_for_status()
    return time.perf_counter() - started


def _nothing(_service: Service, _stop: Event) -> None:
    pass


def _connections(said: bytes) -> Nuisance:
    """Many connections that say something and then nothing more."""

    def hold(service: Service, stop: Event) -> None:
        threads = [threading.Thread(target=_hold_one, args=(service, stop, said)) for _ in range(_NUM_CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return hold


def _hold_one(service: Service, stop: threading.Event, said: bytes) -> None:
    while not stop.is_set():
        with suppress(OSError), socket.create_connection((_HOST, service.port), 5, (_HOSTILE_ADDRESS, 0)) as connection:
            connection.sendall(said)
            _await_end(connection, stop)
        stop.wait(random.uniform(0.5, 1.5))  # else all would come at once


def _await_end(connection: socket.socket, stop: Event) -> None:
    """Until the service closes it, or the phase is over."""
    connection.settimeout(0.5)
    while not stop.is_set():
        with suppress(TimeoutError):
            if not connection.recv(65536):
                return


def _stalled_request() -> bytes:
    head = "POST /v1/search HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\ncontent-length: 9000000\r\n\r\n"
    return head.encode() + bytes(_STALLED_BYTES)


def _senders(picture: bytes) -> Nuisance:
    """Some clients that send one picture again and again."""

    def send(service: Service, stop: Event) -> None:
        threads = [threading.Thread(target=_send, args=(service, stop, picture)) for _ in range(_NUM_SENDERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return send


def _send(service: Service, stop: threading.Event, picture: bytes) -> None:
    with _client(_HOSTILE_ADDRESS) as http:
        while not stop.is_set():
            with suppress(httpx.HTTPError):
                answer = http.post(_url(service), content=picture, headers={"content-type": "image/jpeg"})
                if answer.status_code == 503:
                    stop.wait(1)


def _photo() -> bytes:
    """A photo such as a phone sends after its owner cropped it: 1,000 × 800 px, with some texture."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).resize(
        (1000, 800), Image.Resampling.BICUBIC
    )
    stream = io.BytesIO()
    coarse.save(stream, "JPEG", quality=85)
    return stream.getvalue()


_HEALTHY_PHOTO = _photo()


@contextmanager
def _running_service() -> Iterator[Service]:
    """`lookalike serve`'s server in a process of its own, on a small release with a real network."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", __name__, directory]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield Service(process.pid, int(process.stdout.readline()))
        finally:
            process.communicate()  # closes its standard input, which ends it


def _serve(root: Path) -> None:
    from serving.search_service import serve

    _push_release(root)
    with serve(root, port=0) as server:
        while httpx.get(f"{server.health_url}/healthz").status_code != 200:
            time.sleep(0.1)
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        sys.stdin.read()


def _push_release(root: Path) -> None:
    """Drawn products embedded by the network of the settings `folder`, whose weights are as they begin."""
    from lookalike.release.store import ReleaseStore

    ReleaseStore(root).push(_build_release, decision_id="bench", facts={"longest_side_px": 256})


def _build_release(directory: Path, version: int) -> None:
    import tensorflow as tf

    from lookalike.catalog.images import canonicalise
    from lookalike.catalog.product import CatalogImage
    from lookalike.configs import load_settings
    from lookalike.drawing.catalog import draw_catalog
    from lookalike.encoder.embedder import InProcessEmbedder, embed_all
    from lookalike.release import contents
    from lookalike.retrieval import scann_index
    from trainer.models.embedding import build_model
    from transform.image_ops import decode_and_resize

    settings = load_settings("folder").model
    encoder = tf.Module()
    encoder.model = build_model(settings, 12)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def embed(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "embedding": encoder.model(decode_and_resize(image_bytes, settings.image_size_px), training=False)[
                "embedding"
            ]
        }

    encoder.embed = embed
    encoder_directory = directory / "encoder" / str(version)
    tf.saved_model.save(encoder, str(encoder_directory), signatures={"serving_default": embed})
    with tempfile.TemporaryDirectory() as drawn:
        draw_catalog(Path(drawn), num_products=20, seed=1, image_size_px=256)
        photos = [path.read_bytes() for path in sorted(Path(drawn).rglob("*.jpg"))]
    jpegs = [canonicalise(photo, longest_side_px=256).jpeg for photo in photos]
    embeddings = embed_all(InProcessEmbedder(encoder_directory).embed, jpegs)
    images = [CatalogImage(f"{number}.jpg", jpeg=jpeg) for number, jpeg in enumerate(jpegs)]
    scann_index.build(embeddings, scann_index.choose_spec(len(images)), directory / contents.INDEX_DIRECTORY)
    contents.write_embeddings(directory / contents.EMBEDDINGS_FILE, embeddings)
    contents.write_canary(directory / contents.CANARY_FILE, embeddings[:100], embeddings)
    contents.write_catalog(directory / contents.CATALOG_FILE, images)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
