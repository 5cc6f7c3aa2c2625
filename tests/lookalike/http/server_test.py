"""A signal drops no request under way."""

import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx

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
