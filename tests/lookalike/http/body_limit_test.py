"""Bodies are bounded in size and pace before an app sees them; how long a whole one takes is its own affair."""

import select
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.body_limit import Arrival, BodyBudget, BodyLimit, Pace
from lookalike.http.server import HttpServer

PACE = Pace(pause_s=0.5, min_bytes_per_s=40, window_s=0.6)


@pytest.fixture(scope="module")
def seen() -> list[bytes]:
    """The bodies that reached the app."""
    return []


@pytest.fixture(scope="module")
def server(seen: list[bytes]) -> Iterator[HttpServer]:
    async def read(request: Request) -> PlainTextResponse:
        seen.append(await request.body())
        return PlainTextResponse("read")

    app = Starlette(routes=[Route("/", read, methods=["POST"])])
    app.add_middleware(BodyLimit, error_document=lambda code, _text: code, max_bytes=100, pace=PACE)
    with HttpServer(app, host="127.0.0.1", port=0) as running:
        running.start()
        yield running


def test_body_of_the_limit_reaches_the_app(server: HttpServer, seen: list[bytes]) -> None:
    assert httpx.post(server.url, content=b"a" * 100).text == "read"
    assert httpx.post(server.url, content=iter([b"b" * 60, b"c" * 40])).text == "read"
    assert seen[-2:] == [b"a" * 100, b"b" * 60 + b"c" * 40]


@pytest.mark.parametrize("content", [b"a" * 101, [b"b" * 60, b"c" * 41]])
def test_longer_body_never_reaches_the_app(server: HttpServer, seen: list[bytes], content: Any) -> None:
    before = len(seen)
    response = httpx.post(server.url, content=content if isinstance(content, bytes) else iter(content))
    assert (response.status_code, response.json()) == (413, "BODY_TOO_LARGE")
    assert len(seen) == before


def raw_request(server: HttpServer, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        while received := connection.recv(4096):
            answer += received
        return answer


def trickle(server: HttpServer, piece: bytes, every_s: float, num_pieces: int) -> bytes:
    """The answer to a request whose body comes a piece at a time, until it is whole or the service has spoken."""
    head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(piece) * num_pieces}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        for _ in range(num_pieces):
            if select.select([connection], [], [], every_s)[0]:
                break
            connection.sendall(piece)
        return received(connection)


def received(connection: socket.socket) -> bytes:
    """All that comes until the service closes the connection."""
    answer = b""
    while data := connection.recv(4096):
        answer += data
    return answer


def test_body_that_pauses_is_refused_by_a_status_that_no_browser_repeats(server: HttpServer, seen: list[bytes]) -> None:
    before = len(seen)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly this")
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in answer
    assert b"BODY_TIMEOUT" in answer
    assert len(seen) == before


def test_body_that_trickles_is_refused(server: HttpServer, seen: list[bytes]) -> None:
    before = len(seen)
    answer = trickle(server, b"x", every_s=0.04, num_pieces=90)  # 25 bytes/s at most
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(seen) == before


def test_body_that_keeps_coming_may_take_longer_than_any_bound(server: HttpServer, seen: list[bytes]) -> None:
    started = time.monotonic()
    assert trickle(server, b"x" * 5, every_s=0.04, num_pieces=20).endswith(b"read")  # 125 bytes/s
    assert time.monotonic() - started > PACE.window_s
    assert seen[-1] == b"x" * 100


@pytest.mark.parametrize(
    ("pieces", "deadline"),
    [
        ([], 10),  # it has not begun
        ([(4, 1)], 14),  # and pauses
        ([(4, 1), (9, 0)], 14),  # nothing is no byte
        ([(4, 50), (13, 49), (22, 1)], 32),  # 100 bytes: enough for the window
        ([(9, 1), (18, 1), (27, 1)], 30),  # the window ends first, with 3 bytes
        ([(9, 50), (18, 50), (27, 1), (36, 1), (45, 1)], 55),  # a second window has begun at 36
        ([(9, 50), (18, 50), (27, 1), (36, 1), (45, 1), (54, 1), (63, 1)], 66),  # and ends at 66, with 4 bytes
    ],
)
def test_deadline_follows_pauses_and_windows(pieces: list[tuple[float, int]], deadline: float) -> None:
    arrival = Arrival(Pace(pause_s=10, min_bytes_per_s=100 / 30, window_s=30), now=0)
    for now, num_bytes in pieces:
        arrival.note(num_bytes, now)
    assert arrival.deadline() == deadline


def test_client_that_leaves_early_reaches_nothing(server: HttpServer, seen: list[bytes]) -> None:
    before = len(seen)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly this")
    assert httpx.post(server.url, content=b"next").text == "read"
    assert seen[before:] == [b"next"]


def test_bodies_are_bounded_together_and_by_client() -> None:
    budget = BodyBudget(max_bytes=100, max_bytes_by_client=60)
    assert budget.take("a", 60)
    assert not budget.take("a", 1)
    assert budget.take("b", 40)
    assert not budget.take("c", 1)
    budget.give_back("a", 60)
    assert budget.take("c", 60)


def test_body_counts_until_its_request_is_answered() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold(_request: Request) -> PlainTextResponse:
        entered.set()
        leave.wait(10)
        return PlainTextResponse("held")

    app = Starlette(routes=[Route("/", hold, methods=["POST"])])
    app.add_middleware(BodyLimit, error_document=lambda code, _text: code, budget=BodyBudget(100, 100))
    with HttpServer(app, host="127.0.0.1", port=0) as server, ThreadPoolExecutor() as threads:
        server.start()
        first = threads.submit(httpx.post, server.url, content=b"a" * 80)
        entered.wait(10)
        refused = httpx.post(server.url, content=b"b" * 30)
        assert (refused.status_code, refused.json(), refused.headers["retry-after"]) == (503, "BUSY", "1")
        leave.set()
        assert first.result().text == "held"
        assert httpx.post(server.url, content=b"c" * 90).text == "held"


def test_body_that_cannot_come_whole_is_refused_before_it_comes() -> None:
    budget = BodyBudget(max_bytes=100, max_bytes_by_client=100)
    budget.take("somebody else", 60)
    app = Starlette()
    app.add_middleware(BodyLimit, error_document=lambda code, _text: code, budget=budget)
    with HttpServer(app, host="127.0.0.1", port=0) as server:
        server.start()
        answer = raw_request(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert answer.endswith(b'"BUSY"')
