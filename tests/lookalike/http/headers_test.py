import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lookalike.http.headers import SECURITY_HEADERS, SecurityHeaders


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_every_answer_carries_the_headers_an_error_too(path: str) -> None:
    app = SecurityHeaders(Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))]))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        answer = await client.get(path)
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
