"""A service of our own process is asked directly, whatever proxy the environment names."""

import urllib.error

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.loopback import read_own_service
from lookalike.http.server import HttpServer

DEAD_PROXY = "http://127.0.0.1:9"


def test_a_proxy_is_not_asked_for_our_own_service(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, DEAD_PROXY)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("here", 503 if request.url.path == "/away" else 200)

    app = Starlette(routes=[Route("/", answer), Route("/away", answer)])
    with HttpServer(app, host="127.0.0.1", port=0) as server:
        server.start()
        assert read_own_service(server.url) == b"here"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            read_own_service(f"{server.url}/away")
