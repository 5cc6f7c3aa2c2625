"""An address that cannot be had is told in one line, and a signal drops no request under way."""

import errno
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.server import HttpServer, ListenAddressError, PortBusyError, join_address

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


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "127.0.0.1:80"), ("localhost", "localhost:80"), ("::1", "[::1]:80"), ("::", "[::]:80")],
)
def test_only_an_ipv6_address_is_put_in_brackets(host: str, address: str) -> None:
    assert join_address(host, 80) == address


def test_service_on_an_ipv6_address_answers_at_its_url() -> None:
    app = Starlette(routes=[Route("/", lambda _request: PlainTextResponse("here"))])
    with HttpServer(app, host="::1", port=0) as server:
        server.start()
        assert server.url == f"http://[::1]:{server.port}"
        assert httpx.get(server.url).text == "here"


def test_busy_port_is_told_with_its_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortBusyError) as caught:
            HttpServer(Starlette(), host="127.0.0.1", port=port)
    assert str(caught.value) == (
        f"127.0.0.1:{port} must be free to listen at, another process does: stop it, or give another port"
    )
    assert (caught.value.code, caught.value.exit_status) == ("PORT_BUSY", 1)


@pytest.mark.parametrize("host", ["203.0.113.7", "2001:db8::7", "[::1]", "no such host", ""])
def test_host_that_is_not_this_machine_is_wrong_usage(host: str) -> None:
    with pytest.raises(ListenAddressError) as caught:
        HttpServer(Starlette(), host=host, port=0)
    expected = "the host must be an address of this machine, such as 127.0.0.1 or ::1, got "
    assert str(caught.value) == f"{expected}'{host}'"
    assert caught.value.exit_status == 2


def test_port_that_needs_rights_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(_socket: socket.socket, _address: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", bind)
    with pytest.raises(ListenAddressError) as caught:
        HttpServer(Starlette(), host="::1", port=80)
    assert str(caught.value) == ("port 80 must be one that this user may listen at, [::1]:80 is not: try 1024 or more")


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
