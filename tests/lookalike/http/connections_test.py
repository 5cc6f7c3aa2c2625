"""Raw clients that hold on to connections: each ends in its time, and none keeps another from being answered."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.connections import ConnectionLimits, network_of
from lookalike.http.server import HttpServer

LEAVE = threading.Event()


def slow(_request: Request) -> PlainTextResponse:
    LEAVE.wait(10)
    return PlainTextResponse("late")


def who(request: Request) -> PlainTextResponse:
    assert request.client is not None
    return PlainTextResponse(request.client.host)


APP = Starlette(
    routes=[
        Route("/", lambda _request: PlainTextResponse("here")),
        Route("/slow", slow),
        Route("/who", who),
        Route("/large", lambda _request: PlainTextResponse("x" * 50_000_000)),
    ]
)


@contextmanager
def server_within(limits: ConnectionLimits) -> Iterator[HttpServer]:
    LEAVE.clear()
    with HttpServer(APP, host="127.0.0.1", port=0, limits=limits) as server:
        server.start()
        try:
            yield server
        finally:
            LEAVE.set()


Connect = Callable[..., socket.socket]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens a connection from an address of loopback, and sends something."""
    with ExitStack() as stack:

        def open_one(server: HttpServer, sent: bytes = b"", source: str = "127.0.0.1") -> socket.socket:
            one = socket.create_connection(("127.0.0.1", server.port), 10, source_address=(source, 0))
            stack.enter_context(one)
            one.sendall(sent)
            return one

        yield open_one


def is_closed(connection: socket.socket, within_s: float = 3) -> bool:
    """Whether the other side ends the connection in time, with all that it still sends thrown away."""
    connection.settimeout(within_s)
    try:
        while connection.recv(2**16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def ends_with(connection: socket.socket, expected: bytes) -> bool:
    """Whether what comes ends so at some time; headers and body may come one by one."""
    connection.settimeout(5)
    received = b""
    while not received.endswith(expected) and (more := connection.recv(4096)):
        received += more
    return received.endswith(expected)


def answers(server: HttpServer, source: str) -> str:
    with httpx.Client(transport=httpx.HTTPTransport(local_address=source)) as client:
        return client.get(server.url, timeout=5).text


def test_idle_connections_of_one_address_keep_nobody_out(connect: Connect) -> None:
    with server_within(ConnectionLimits(max_by_address=3, max_connections=10)) as server:
        idle = [connect(server) for _ in range(9)]
        assert answers(server, "127.0.0.2") == answers(server, "127.0.0.1") == "here"
        assert [is_closed(one, 0.3) for one in idle] == [True] * 7 + [False] * 2  # the oldest, and one for the answer


def test_idle_connections_of_many_addresses_make_room_for_who_asks(connect: Connect) -> None:
    with server_within(ConnectionLimits(max_by_address=3, max_connections=4)) as server:
        idle = [connect(server, source=f"127.0.0.{number}") for number in range(2, 10)]
        assert answers(server, "127.0.0.1") == "here"
        assert is_closed(idle[0])


def test_request_under_way_is_never_closed_for_a_new_connection(connect: Connect) -> None:
    with server_within(ConnectionLimits(max_by_address=2)) as server:
        asked = [connect(server, b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n") for _ in range(2)]
        time.sleep(0.2)
        late = connect(server)
        assert late.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert is_closed(late)
        assert answers(server, "127.0.0.2") == "here"
        LEAVE.set()
        for one in asked:
            assert one.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_proxy_may_have_any_number_and_is_believed_in_whom_it_asks_for(connect: Connect) -> None:
    with server_within(ConnectionLimits(max_by_address=1, proxies=["127.0.0.7"])) as server:
        idle = [connect(server, source="127.0.0.7") for _ in range(5)]
        request = b"GET /who HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 203.0.113.9\r\nconnection: close\r\n\r\n"
        assert ends_with(connect(server, request, "127.0.0.7"), b"203.0.113.9")
        assert ends_with(connect(server, request, "127.0.0.8"), b"127.0.0.8")  # anybody can say so
        assert not any(is_closed(one, 0.1) for one in idle)


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: "])
def test_slow_headers_end_the_connection(connect: Connect, sent: bytes) -> None:
    with server_within(ConnectionLimits(header_s=0.3)) as server:
        slow_one = connect(server, sent)
        for _ in range(3):  # what trickles in does not begin the time anew
            time.sleep(0.08)
            slow_one.sendall(b"x")
        assert is_closed(slow_one, 1)


def test_slow_headers_of_a_second_request_end_the_connection(connect: Connect) -> None:
    with server_within(ConnectionLimits(header_s=0.3)) as server:
        one = connect(server, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        assert ends_with(one, b"here")
        one.sendall(b"GET")
        assert is_closed(one, 1)


def test_time_of_headers_is_not_that_of_the_answer(connect: Connect) -> None:
    with server_within(ConnectionLimits(header_s=0.2)) as server:
        one = connect(server, b"GET /slow HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(0.5)
        LEAVE.set()
        assert ends_with(one, b"late")


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"])
def test_idle_connection_ends_in_its_time(connect: Connect, sent: bytes) -> None:
    with server_within(ConnectionLimits(idle_s=1)) as server:
        one = connect(server, sent)
        assert not is_closed(one, 0.5)
        assert is_closed(one, 2)


def test_client_that_does_not_read_is_let_go(connect: Connect) -> None:
    with server_within(ConnectionLimits(write_s=0.3, max_by_address=1)) as server:
        one = connect(server, b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n")
        time.sleep(1)
        assert is_closed(one)
        assert answers(server, "127.0.0.1") == "here"


def test_ipv6_addresses_of_one_network_are_one() -> None:
    assert network_of("2001:db8:1:2:3:4:5:6") == network_of("2001:db8:1:2::9") != network_of("2001:db8:1:3::9")
    assert network_of("::ffff:192.0.2.1") == network_of("192.0.2.1") != network_of("192.0.2.2")
    assert network_of("fe80::1%eth0") == network_of("fe80::2")
