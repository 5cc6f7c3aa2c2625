"""What both of our HTTP services need: a uvicorn server with a handle, and addresses as people and URLs write them."""

import errno
import os
import signal
import socket
import threading
import time
from functools import partial
from typing import Any, Protocol

import uvicorn
from starlette.types import ASGIApp

from lookalike.errors import EXIT_USAGE, UserError
from lookalike.http.connections import BoundedConnection, ConnectionLimits

_DRAIN_TIMEOUT_S = 20
_START_TIMEOUT_S = 30.0
_DEFAULT_LIMITS = ConnectionLimits()


class PortBusyError(UserError, code="PORT_BUSY"):
    """Another process listens at the address already."""


class ListenAddressError(UserError, code="BAD_LISTEN_ADDRESS", exit_status=EXIT_USAGE):
    """The address is none that this process may listen at."""


class HttpServer:
    """An ASGI app served by uvicorn on a thread of its own; `stop` drains requests under way.

    What the limits call a proxy is believed when it says whose request it passes on (X-Forwarded-For).
    """

    def __init__(self, app: ASGIApp, *, host: str, port: int, limits: ConnectionLimits = _DEFAULT_LIMITS):
        """Binds at once, so that an address which cannot be had is known here; port 0 takes a free one.

        Raises PortBusyError, ListenAddressError.
        """
        self._socket = bind_socket(host, port)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{join_address(host, self.port)}"
        connection: Any = partial(BoundedConnection, limits=limits)
        config = uvicorn.Config(
            app,
            http=connection,
            log_level="warning",
            server_header=False,
            forwarded_allow_ips=list(limits.proxies),
            timeout_keep_alive=limits.idle_s,
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


def join_address(host: str, port: int) -> str:
    """host:port as URLs and gRPC write it: an IPv6 address is in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind_socket(host: str, port: int) -> socket.socket:
    """A TCP socket at the address, not listening yet; port 0 takes a free one.

    Raises PortBusyError, ListenAddressError.
    """
    if not host:  # which the system takes for every address that others reach this machine by
        raise _no_address_here(host)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise _why_not_bound(error, host, port) from error
    return listener


def _why_not_bound(error: OSError, host: str, port: int) -> UserError:
    address = join_address(host, port)
    if error.errno == errno.EADDRINUSE:
        return PortBusyError(
            f"{address} must be free to listen at, another process does: stop it, or give another port"
        )
    if error.errno == errno.EACCES:
        return ListenAddressError(
            f"port {port} must be one that this user may listen at, {address} is not: try 1024 or more"
        )
    return _no_address_here(host)


def _no_address_here(host: str) -> ListenAddressError:
    return ListenAddressError(f"the host must be an address of this machine, such as 127.0.0.1 or ::1, got {host!r}")
