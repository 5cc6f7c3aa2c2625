"""Bodies are bounded in size and time before an app sees them, and a signal drops no request under way."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.server import BodyLimit, HttpServer

_DRAINED = """
import sys, time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from lookalike.http.server import HttpServer, serve_until_signal

def slow(request):
    print("entered", flush=True)
    time.sleep(1)
    return PlainTextResponse("answered")

server = HttpServer(Starlette(routes=[Route("/", slow)]), host="127.0.0.1", port=0)
server.start()
print(server.port, flush=True)
serve_until_signal(server)
"""


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
    app.add_middleware(BodyLimit, error_document=lambda code, _text: code, max_bytes=100, timeout_s=0.3)
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


def test_body_that_stalls_is_timed_out(server: HttpServer, seen: list[bytes]) -> None:
    before = len(seen)
    answer = raw_request(server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly this")
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"BODY_TIMEOUT" in answer
    assert len(seen) == before


def test_client_that_leaves_early_reaches_nothing(server: HttpServer, seen: list[bytes]) -> None:
    before = len(seen)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nonly this")
    assert httpx.post(server.url, content=b"next").text == "read"
    assert seen[before:] == [b"next"]


def test_signal_answers_what_is_under_way_and_refuses_the_rest(tmp_path: Path) -> None:
    script = tmp_path / "drained.py"
    script.write_text(_DRAINED)
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": root}
    )
    assert process.stdout is not None
    with process:
        port = int(process.stdout.readline())
        answers: list[str] = []
        asker = threading.Thread(target=lambda: answers.append(httpx.get(f"http://127.0.0.1:{port}", timeout=20).text))
        asker.start()
        assert process.stdout.readline() == "entered\n"
        process.send_signal(signal.SIGTERM)
        refused_after = time.monotonic()
        while accepts(port):
            assert time.monotonic() < refused_after + 0.9, "connections must be refused before the slow answer"
            time.sleep(0.02)
        asker.join()
        assert process.wait(20) == 0
    assert answers == ["answered"]


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
