"""Decoding in a worker process, so that an image which breaks the decoder costs that image and nothing else.

One worker decodes image after image; it is replaced only when it crashes, hangs or runs out of its memory.
Parent and worker talk over a socket: a length, a JSON header, then the bytes of the image. No pickle crosses.
"""

import fcntl
import importlib
import io
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from PIL import Image

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.images import CanonicalImage, ImageLimits, ImageRejected, canonicalise
from lookalike.catalog.product import Crop

_HEADER_LENGTH = struct.Struct(">I")
_DEFAULT_LIMITS = ImageLimits()
_START_TIMEOUT_S = 120.0
_EXIT_GRACE_S = 1.0


class GuardedDecoder:
    """images.canonicalise with the same arguments and exceptions, behind a process boundary.

    The worker starts with the first image. Not for sharing between threads: give each its own.

    decoder: dotted name of the function that decodes, called like images.canonicalise.
    """

    def __init__(
        self,
        *,
        longest_side_px: int,
        limits: ImageLimits = _DEFAULT_LIMITS,
        timeout_s: float = 10.0,
        max_memory_bytes: int = 1024**3,
        decoder: str = "lookalike.catalog.images.canonicalise",
    ) -> None:
        self._settings = _Settings(decoder, longest_side_px, limits, max_memory_bytes)
        self._timeout_s = timeout_s
        self._worker: _Worker | None = None

    def canonicalise(self, data: bytes, crop: Crop | None = None) -> CanonicalImage:
        """The canonical image of one file.

        Raises ImageRejected: as images.canonicalise does, or DECODER_CRASH, DECODER_TIMEOUT, DECODER_MEMORY.
        """
        worker = self._take_worker()
        try:
            header, jpeg = worker.ask({"crop": crop}, data, self._timeout_s)
            if header.get("reason") != Reason.DECODER_MEMORY:  # what is left of such a heap is not to be trusted
                self._worker = worker
        except TimeoutError:
            detail = f"decoding must end within {self._timeout_s:g} s"
            raise ImageRejected(Reason.DECODER_TIMEOUT, detail) from None
        except _ConnectionEndedError:
            raise ImageRejected(Reason.DECODER_CRASH, f"the decoder ended with {worker.kill()}") from None
        finally:
            if self._worker is None:
                worker.kill()
        return _parse_reply(header, jpeg)

    def _take_worker(self) -> "_Worker":
        """A live worker, no longer ours: only one whose exchange ended whole is kept for the next image."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.is_alive():
            return worker
        if worker is not None:
            worker.kill()
        return _Worker(self._settings)

    def close(self) -> None:
        """End the worker; the next image starts another."""
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def __enter__(self) -> "GuardedDecoder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class _Settings:
    decoder: str
    longest_side_px: int
    limits: ImageLimits
    max_memory_bytes: int

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "_Settings":
        facts = json.loads(text)
        facts["limits"]["formats"] = tuple(facts["limits"]["formats"])
        return cls(**{**facts, "limits": ImageLimits(**facts["limits"])})


class _ConnectionEndedError(Exception):
    """The other side of the socket is gone."""


class _Connection:
    """Messages over one end of a socket: a length, a JSON header of that length, then the payload."""

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._reader = end.makefile("rb")

    def send(self, header: dict[str, Any], payload: bytes = b"") -> None:
        encoded = json.dumps({**header, "num_bytes": len(payload)}).encode()
        try:
            self._socket.sendall(_HEADER_LENGTH.pack(len(encoded)) + encoded)
            self._socket.sendall(payload)
        except ConnectionError as error:
            raise _ConnectionEndedError from error

    def receive(self) -> tuple[dict[str, Any], bytes]:
        (length,) = _HEADER_LENGTH.unpack(self._read(_HEADER_LENGTH.size))
        header = json.loads(self._read(length))
        return header, self._read(header["num_bytes"])

    def _read(self, num_bytes: int) -> bytes:
        try:
            data = self._reader.read(num_bytes)
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
    """The parent's side of one worker process."""

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
        self._connection.set_timeout(_START_TIMEOUT_S)
        try:
            self._connection.receive()  # its first message says that imports and limits are done
        except (TimeoutError, _ConnectionEndedError) as error:
            raise RuntimeError(f"the decoder's worker must start, but it ended with {self.kill()}") from error

    def ask(self, header: dict[str, Any], data: bytes, timeout_s: float) -> tuple[dict[str, Any], bytes]:
        """Send one image and wait for the answer.

        Raises TimeoutError; _ConnectionEndedError when the worker is dead.
        """
        self._connection.set_timeout(timeout_s)
        self._connection.send(header, data)
        return self._connection.receive()

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
    _set_limits(settings.max_memory_bytes)
    with socket.socket(fileno=0) as end:
        connection = _Connection(end)
        connection.send({})
        with suppress(_ConnectionEndedError):
            while True:
                request, data = connection.receive()
                with _ended_with_parent(end):
                    header, jpeg = _answer(decode, settings, data, request["crop"])
                connection.send(header, jpeg)


def _load(dotted_name: str) -> Callable[..., CanonicalImage]:
    module, _, name = dotted_name.rpartition(".")
    decode: Callable[..., CanonicalImage] = getattr(importlib.import_module(module), name)
    return decode


def _warm_up() -> None:
    """Map the libraries that decoding loads on first use, while address space has no limit yet."""
    Image.init()
    encoded = io.BytesIO()
    Image.new("RGB", (32, 32)).save(encoded, "PNG")
    canonicalise(encoded.getvalue(), longest_side_px=32)


def _set_limits(max_memory_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (max_memory_bytes, max_memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected; a gigabyte of core file is not


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
    decode: Callable[..., CanonicalImage], settings: _Settings, data: bytes, crop: list[float] | None
) -> tuple[dict[str, Any], bytes]:
    """The reply to one request: facts and JPEG, or the reason of a rejection. Any other exception is a crash."""
    try:
        image = decode(
            data,
            longest_side_px=settings.longest_side_px,
            crop=None if crop is None else tuple(crop),
            limits=settings.limits,
        )
    except ImageRejected as rejected:
        return {"reason": rejected.reason.value, "detail": rejected.detail}, b""
    except MemoryError:
        detail = f"decoding must fit in {settings.max_memory_bytes} bytes of address space"
        return {"reason": Reason.DECODER_MEMORY.value, "detail": detail}, b""
    facts = asdict(image)
    return facts, facts.pop("jpeg")
