"""Decoding in a worker process, so that an image which breaks the decoder costs that image and nothing else.

A worker decodes image after image; it is replaced only when it crashes, hangs or runs out of its budget.
Parent and worker talk over a socket: a length, a JSON header, then the bytes of the image. No pickle crosses.
"""

import fcntl
import importlib
import io
import json
import os
import queue
import resource
import signal
import socket
import struct
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.images import CanonicalImage, canonicalise
from lookalike.catalog.originals import USUAL_LIMITS, ImageLimits, ImageRejected
from lookalike.catalog.product import Crop

_HEADER_LENGTH = struct.Struct(">I")
_BUFFER_BYTES = 64 * 1024  # most thumbnails come in one piece
_START_TIMEOUT_S = 120.0
_EXIT_GRACE_S = 1.0
_OUT_OF_CPU = "signal SIGPROF"


@dataclass(frozen=True)
class Budget:
    """What one picture may cost before its worker is ended.

    cpu_s: seconds of CPU.   wall_s: seconds until the answer; longer than cpu_s, for a busy machine.
    niceness: how far a worker stands back for others that want the processor; see nice(2).
    """

    cpu_s: float = 5.0
    wall_s: float = 15.0
    niceness: int = 0


_DEFAULT_BUDGET = Budget()


class GuardedDecoder:
    """images.canonicalise with the same arguments and exceptions, behind a process boundary.

    Any number of threads may share it; each waits for one of the workers. They start with the first picture, or when
    the block that it manages begins.

    decoder: dotted name of the function that decodes, called like images.canonicalise.
    """

    def __init__(
        self,
        *,
        num_workers: int = 1,
        limits: ImageLimits = USUAL_LIMITS,
        budget: Budget = _DEFAULT_BUDGET,
        decoder: str = "lookalike.catalog.images.canonicalise",
    ) -> None:
        self._settings = _Settings(decoder, limits, budget)
        self._workers: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._num_workers = num_workers
        for _ in range(num_workers):
            self._workers.put(None)

    def canonicalise(self, data: bytes, *, longest_side_px: int, crop: Crop | None = None) -> CanonicalImage:
        """The canonical image of one file.

        Raises ImageRejected: as images.canonicalise does, or DECODER_CRASH, DECODER_TIMEOUT, DECODER_MEMORY.
        """
        with self._borrowed_worker() as worker:
            try:
                header, jpeg = worker.ask({"crop": crop, "longest_side_px": longest_side_px}, data)
            except TimeoutError:
                detail = f"decoding must end within {self._settings.budget.wall_s:g} s"
                raise ImageRejected(Reason.DECODER_TIMEOUT, detail) from None
            except _ConnectionEndedError:
                raise self._why_ended(worker.kill()) from None
        return _parse_reply(header, jpeg)

    def _why_ended(self, status: str) -> ImageRejected:
        if status == _OUT_OF_CPU:
            detail = f"decoding must take at most {self._settings.budget.cpu_s:g} s of CPU"
            return ImageRejected(Reason.DECODER_TIMEOUT, detail)
        return ImageRejected(Reason.DECODER_CRASH, f"the decoder ended with {status}")

    @contextmanager
    def _borrowed_worker(self) -> Iterator["_Worker"]:
        """A worker that nobody else has; one whose exchange did not end whole is replaced before the next picture."""
        worker = self._workers.get()
        try:
            if worker is None or not worker.is_alive():
                worker = self._replaced(worker)
            yield worker
        finally:
            self._workers.put(worker if worker is None or worker.is_sound else self._replaced(worker))

    def _replaced(self, worker: "_Worker | None") -> "_Worker":
        """A new worker, which makes itself ready while others are asked."""
        if worker is not None:
            worker.kill()
        return _Worker(self._settings)

    def close(self) -> None:
        """End the workers, after what they are asked now; the next image starts others."""
        for _ in range(self._num_workers):
            worker = self._workers.get()
            if worker is not None:
                worker.kill()
        for _ in range(self._num_workers):
            self._workers.put(None)

    def __enter__(self) -> "GuardedDecoder":
        for _ in range(self._num_workers):
            self._workers.put(self._replaced(self._workers.get()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Settings:
    decoder: str
    limits: ImageLimits
    budget: Budget

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "_Settings":
        facts = json.loads(text)
        facts["limits"]["formats"] = tuple(facts["limits"]["formats"])
        return cls(facts["decoder"], ImageLimits(**facts["limits"]), Budget(**facts["budget"]))


class _ConnectionEndedError(Exception):
    """The other side of the socket is gone."""


class _Connection:
    """Messages over one end of a socket: a length, a JSON header of that length, then the payload."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._reader = end.makefile("rb", _BUFFER_BYTES)

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        encoded = json.dumps({**header, "num_bytes": len(payload)}).encode()
        try:
            # At once, for a message in two parts would wake the other side twice.
            self._socket.sendall(_HEADER_LENGTH.pack(len(encoded)) + encoded + payload)
        except ConnectionError as error:
            raise _ConnectionEndedError from error

    def receive(self) -> tuple[dict[str, Any], bytes]:
        (length,) = _HEADER_LENGTH.unpack(self._read(_HEADER_LENGTH.size))
        header = json.loads(self._read(length))
        return header, self._read(header["num_bytes"])

    def _read(self, num_bytes: int) -> bytes:
        try:
            data: bytes = self._reader.read(num_bytes)
        except ConnectionError as error:
            raise _ConnectionEndedError from error
        if len(data) < num_bytes:
            raise _ConnectionEndedError
        return data

    def set_timeout(self, timeout_s: float) -> None:
        self._socket.settimeout(timeout_s)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


class _Worker:
    """The parent's side of one worker process.

    is_sound: whether it may be asked again.
    """

    def __init__(self, settings: _Settings) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from {__name__} import work; work()", settings.to_json()],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                env=_worker_environment(),
            )
        self._connection = _Connection(ours)
        self._wall_s = settings.budget.wall_s
        self._is_ready = False
        self.is_sound = True

    def ask(self, header: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        """Send one image and wait for the answer.

        Raises TimeoutError; _ConnectionEndedError when the worker is dead; RuntimeError when it cannot start.
        """
        self.is_sound = False
        self._await_ready()
        self._connection.set_timeout(self._wall_s)
        self._connection.send(header, data)
        answer, payload = self._connection.receive()
        self.is_sound = (
            answer.get("reason") != Reason.DECODER_MEMORY
        )  # what is left of such a heap is not to be trusted
        return answer, payload

    def _await_ready(self) -> None:
        """Waits for its first message, which says that imports and limits are done."""
        if self._is_ready:
            return
        self._connection.set_timeout(_START_TIMEOUT_S)
        try:
            self._connection.receive()
        except (TimeoutError, _ConnectionEndedError) as error:
            raise RuntimeError(f"the decoder's worker must start, but it ended with {self.kill()}") from error
        self._is_ready = True

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> str:
        """End the process if it still runs; returns how it ended, in words."""
        self._connection.close()
        try:
            status = self._process.wait(_EXIT_GRACE_S)  # a crashed one closed its socket just before it exits
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _worker_environment() -> dict[str, str]:
    # Each idle BLAS thread reserves address space, which the worker's limit counts.
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    search_path = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return {**os.environ, **one_thread, "PYTHONPATH": search_path}


def _parse_reply(header: dict[str, Any], jpeg: bytes) -> CanonicalImage:
    if "reason" in header:
        raise ImageRejected(Reason(header["reason"]), header["detail"])
    return CanonicalImage(jpeg, header["width"], header["height"], header["perceptual_hash"], tuple(header["flags"]))


def work() -> None:
    """The worker's side: decode what comes over the socket on standard input, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes the socket
    settings = _Settings.from_json(sys.argv[1])
    decode = _load(settings.decoder)
    _warm_up()
    _set_limits(settings)
    with socket.socket(fileno=0) as end:
        connection = _Connection(end)
        with suppress(_ConnectionEndedError):
            connection.send({})
            while True:
                request, data = connection.receive()
                with _ended_with_parent(end), _cpu_bounded(settings.budget.cpu_s):
                    header, jpeg = _answer(decode, settings, data, request)
                connection.send(header, jpeg)


def _load(dotted_name: str) -> Callable[..., CanonicalImage]:
    module, _, name = dotted_name.rpartition(".")
    decode: Callable[..., CanonicalImage] = getattr(importlib.import_module(module), name)
    return decode


def _warm_up() -> None:
    """Map the libraries that decoding loads on first use, while address space has no limit yet."""
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # ImageLimits bounds the pixels
    Image.init()
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32)).save(encoded, "PNG")
    canonicalise(encoded.getvalue(), longest_side_px=32)


def _set_limits(settings: _Settings) -> None:
    os.nice(settings.budget.niceness)
    address_space = _address_space_bytes() + settings.limits.max_memory_bytes
    resource.setrlimit(resource.RLIMIT_AS, (address_space, address_space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected; a gigabyte of core file is not


def _address_space_bytes() -> int:
    num_pages, _, _ = Path("/proc/self/statm").read_text().partition(" ")
    return int(num_pages) * resource.getpagesize()


@contextmanager
def _cpu_bounded(cpu_s: float) -> Iterator[None]:
    """Let the kernel end this process, even inside C code, after so much CPU. RLIMIT_CPU would count all pictures."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)  # the default action of SIGPROF is to terminate
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def _ended_with_parent(end: socket.socket) -> Iterator[None]:
    """Let the kernel end this process, even inside C code that hangs, when the parent's end closes.

    Between images the parent's end is read, which notices by itself. PR_SET_PDEATHSIG would not do: it
    fires when the *thread* that started the worker ends, and Beam's threads come and go.
    """
    flags = fcntl.fcntl(end, fcntl.F_GETFL)
    fcntl.fcntl(end, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(end, fcntl.F_SETFL, flags | os.O_ASYNC)  # the default action of SIGIO is to terminate
    try:
        yield
    finally:
        fcntl.fcntl(end, fcntl.F_SETFL, flags)


def _answer(
    decode: Callable[..., CanonicalImage], settings: _Settings, data: bytes, request: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    """The reply to one request: facts and JPEG, or the reason of a rejection. Any other exception is a crash."""
    crop = request["crop"]
    try:
        image = decode(
            data,
            longest_side_px=request["longest_side_px"],
            crop=None if crop is None else tuple(crop),
            limits=settings.limits,
        )
    except ImageRejected as rejected:
        return {"reason": rejected.reason.value, "detail": rejected.detail}, b""
    except MemoryError:
        detail = f"decoding must fit in {settings.limits.max_memory_bytes} bytes"
        return {"reason": Reason.DECODER_MEMORY.value, "detail": detail}, b""
    facts = dict(vars(image))
    return facts, facts.pop("jpeg")
