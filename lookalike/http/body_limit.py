"""A bound on request bodies: how long they may be, how slowly they may come, and how much of them is held at once."""

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 10 * 2**20
_DISCARDED_BODIES = 4  # times the limit


@dataclass(frozen=True)
class Pace:
    """The slowest body that is waited for: its bytes pause less than pause_s, and keep up a rate over every window_s.

    The time that a whole body takes is not bounded: a large photo on a slow uplink is no fault.
    """

    pause_s: float = 10.0
    min_bytes_per_s: float = 2048.0
    window_s: float = 60.0


class Arrival:
    """How one body comes, held against a pace. Times are seconds of any clock that only goes forward."""

    def __init__(self, pace: Pace, now: float):
        self._pace = pace
        self._last_byte_at = self._window_began_at = now
        self._window_bytes = 0

    def note(self, num_bytes: int, now: float) -> None:
        """Counts bytes that have come."""
        if now >= self._window_began_at + self._pace.window_s:
            self._window_began_at, self._window_bytes = now, 0
        self._window_bytes += num_bytes
        if num_bytes:
            self._last_byte_at = now

    def deadline(self) -> float:
        """When the body is too slow, should nothing more have come by then."""
        pause_ends_at = self._last_byte_at + self._pace.pause_s
        if self._window_bytes >= self._pace.min_bytes_per_s * self._pace.window_s:
            return pause_ends_at
        return min(pause_ends_at, self._window_began_at + self._pace.window_s)


class _BodyTooLargeError(Exception):
    pass


class _NoRoomError(Exception):
    pass


class BodyBudget:
    """How many bytes of bodies are held at once, of all clients and of one. For one event loop."""

    def __init__(self, max_bytes: int = 96 * 2**20, max_bytes_by_client: int = 24 * 2**20) -> None:
        self._max_bytes = max_bytes
        self._max_bytes_by_client = max_bytes_by_client
        self._held: Counter[str] = Counter()

    def has_room(self, client: str, num_bytes: int) -> bool:
        """Whether so many bytes more may be held now."""
        num_held = self._held.total() + num_bytes
        return num_held <= self._max_bytes and self._held[client] + num_bytes <= self._max_bytes_by_client

    def take(self, client: str, num_bytes: int) -> bool:
        """Whether so many bytes more may be held; then they count until they are given back."""
        if not self.has_room(client, num_bytes):
            return False
        self._held[client] += num_bytes
        return True

    def give_back(self, client: str, num_bytes: int) -> None:
        """Ends what `take` began."""
        self._held[client] -= num_bytes
        if not self._held[client]:
            del self._held[client]


@dataclass
class _Share:
    """What one body holds of a budget."""

    budget: BodyBudget
    client: str
    num_bytes: int = 0

    def grow(self, num_bytes: int) -> None:
        if not self.budget.take(self.client, num_bytes):
            raise _NoRoomError
        self.num_bytes += num_bytes

    def check_room(self, num_announced: int) -> None:
        """A body that cannot come whole is refused before it comes; others may still take its room meanwhile."""
        if not self.budget.has_room(self.client, num_announced):
            raise _NoRoomError

    def end(self) -> None:
        self.budget.give_back(self.client, self.num_bytes)


class BodyLimit:
    """ASGI middleware that reads the whole body before the app runs: 413 over the limit, 400 when it comes too slowly.

    503 when more bodies are held than the budget allows; a body counts until its request is answered. Nothing is
    decoded, and no worker thread is held, for a body that is refused. `error_document(code, text)` is the JSON of a
    refusal, in the app's own shape.

    Too slow is a plain 400, which a browser hands to the page. After a 408 it sends the whole body again, unasked, and
    so it does when a connection that it has used before ends without an answer: Chromium three times, either way.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        error_document: Callable[[str, str], Any],
        max_bytes: int = MAX_BODY_BYTES,
        pace: Pace = Pace(),
        budget: BodyBudget | None = None,
    ):
        self._app = app
        self._error_document = error_document
        self._max_bytes = max_bytes
        self._pace = pace
        self._budget = budget or BodyBudget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        share = _Share(self._budget, (scope.get("client") or ("", 0))[0])
        try:
            await self._answer(share, scope, receive, send)
        finally:
            share.end()

    async def _answer(self, share: _Share, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            share.check_room(min(_announced_bytes(scope), self._max_bytes))
            body = await self._read(receive, share)
        except _NoRoomError:
            await self._refuse(send, 503, "BUSY", "too much is being sent at once: send it again later")
        except _BodyTooLargeError:
            text = f"the request body must be at most {self._max_bytes} bytes, got more"
            await self._refuse(send, 413, "BODY_TOO_LARGE", text)
        except TimeoutError:
            await self._refuse(send, 400, "BODY_TIMEOUT", self._too_slow())
        else:
            if body is not None:
                await self._app(scope, _Replay(body, receive), send)

    async def _read(self, receive: Receive, share: _Share) -> bytes | None:
        """The body, or None when the client went away before it was complete.

        What is over the limit is read and thrown away, up to a point: closing a connection with unread data would
        reset it, and the client would often never see the refusal.

        Raises TimeoutError when it falls behind the pace, _NoRoomError when too much is held already.
        """
        body, num_bytes, more = bytearray(), 0, True
        arrival = Arrival(self._pace, time.monotonic())
        while more and num_bytes <= _DISCARDED_BODIES * self._max_bytes:
            with anyio.fail_after(arrival.deadline() - time.monotonic()):
                message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            arrival.note(len(chunk), time.monotonic())
            num_bytes += len(chunk)
            if num_bytes <= self._max_bytes:
                share.grow(len(chunk))
                body += chunk
            more = message.get("more_body", False)
        if num_bytes > self._max_bytes:
            raise _BodyTooLargeError
        return bytes(body)

    def _too_slow(self) -> str:
        pace = self._pace
        return (
            f"the request body must not pause for {pace.pause_s:g} s, and must bring {pace.min_bytes_per_s:g} bytes/s "
            f"over {pace.window_s:g} s, it did not"
        )

    async def _refuse(self, send: Send, status: int, code: str, text: str) -> None:
        body = json.dumps(self._error_document(code, text)).encode()
        # A rest of the body may be unread, so the connection cannot carry another request.
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        headers += [(b"content-length", str(len(body)).encode())]
        headers += [(b"retry-after", b"1")] if status == 503 else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _announced_bytes(scope: Scope) -> int:
    """What the headers say of the body; 0 where they say nothing. The server holds a client to it."""
    return next((int(value) for name, value in scope["headers"] if name == b"content-length"), 0)


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
