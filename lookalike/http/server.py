"""What both of our HTTP services need: a bound on request bodies and a uvicorn server with a handle."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 10 * 2**20
_DISCARDED_BODIES = 4  # times the limit
_BODY_TIMEOUT_S = 30.0
_DRAIN_TIMEOUT_S = 20
_MAX_CONNECTIONS = 256
_START_TIMEOUT_S = 30.0


class _BodyTooLargeError(Exception):
    pass


class BodyLimit:
    """ASGI middleware that reads the whole body before the app runs: 413 over the limit, 408 when it is too slow.

    Nothing is decoded, and no worker thread is held, for a body that is refused. `error_document(code, text)` is
    the JSON of a refusal, in the app's own shape.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        error_document: Callable[[str, str], Any],
        max_bytes: int = MAX_BODY_BYTES,
        timeout_s: float = _BODY_TIMEOUT_S,
    ):
        self._app = app
        self._error_document = error_document
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            with anyio.fail_after(self._timeout_s):
                body = await self._read(receive)
        except _BodyTooLargeError:
            text = f"the request body must be at most {self._max_bytes} bytes, got more"
            await self._refuse(send, 413, "BODY_TOO_LARGE", text)
        except TimeoutError:
            text = f"the request body must arrive within {self._timeout_s:g} s, it did not"
            await self._refuse(send, 408, "BODY_TIMEOUT", text)
        else:
            if body is not None:
                await self._app(scope, _Replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body, or None when the client went away before it was complete.

        What is over the limit is read and thrown away, up to a point: closing a connection with unread data would
        reset it, and the client would often never see the refusal.
        """
        body, num_bytes, more = bytearray(), 0, True
        while more and num_bytes <= _DISCARDED_BODIES * self._max_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            num_bytes += len(chunk)
            if num_bytes <= self._max_bytes:
                body += chunk
            more = message.get("more_body", False)
        if num_bytes > self._max_bytes:
            raise _BodyTooLargeError
        return bytes(body)

    async def _refuse(self, send: Send, status: int, code: str, text: str) -> None:
        body = json.dumps(self._error_document(code, text)).encode()
        # A rest of the body may be unread, so the connection cannot carry another request.
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Replay:
    """An ASGI `receive` that gives a body already read, then whatever the connection says next."""

    def __init__(self, body: bytes, receive: Receive):
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class HttpServer:
    """An ASGI app served by uvicorn on a thread of its own; `stop` drains requests under way."""

    def __init__(self, app: ASGIApp, *, host: str, port: int):
        """Binds at once, so that a taken port is an OSError here; port 0 takes a free one."""
        self._socket = _listening_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{host}:{self.port}"
        config = uvicorn.Config(
            app,
            log_level="warning",
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_DRAIN_TIMEOUT_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name=f"http-{self.port}", daemon=True)

    def start(self) -> None:
        """Returns once requests are accepted. Raises RuntimeError when the app cannot start."""
        self._thread.start()
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError(f"the service at {self.url} must start, it did not: see the log")
            time.sleep(0.01)

    def stop(self) -> None:
        """Refuses new connections at once and returns when the requests under way are answered."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> "HttpServer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])


class Stoppable(Protocol):
    """A running server."""

    def stop(self) -> None:
        """Refuses new requests at once and returns when those under way are answered."""


def serve_until_signal(server: Stoppable) -> None:
    """Blocks until SIGINT or SIGTERM, then stops the server. Only the main thread may call it."""
    # A handler may interrupt any line, so it takes no lock: it writes to a pipe, and the read below wakes up.
    wake, signalled = os.pipe()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os.write(signalled, b"x"))
    os.read(wake, 1)
    server.stop()


def _listening_socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
