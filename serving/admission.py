"""Who may work next: a bounded line of requests in which the clients take turns."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio


class BusyError(Exception):
    """There is more to do than can be done in time: try again later."""


class Turns:
    """At most `capacity` requests work at once; the others wait in line, and the line takes one of each client in turn.

    So a flood from one address waits for itself, and a visitor waits for one request of each other client at most.
    For one event loop.

    max_waiting: requests in line, of all clients and of one.   max_wait_s: what one waits at most.
    """

    def __init__(self, *, capacity: int, max_waiting: int, max_waiting_by_client: int, max_wait_s: float) -> None:
        self._num_free = capacity
        self._max_waiting = max_waiting
        self._max_waiting_by_client = max_waiting_by_client
        self._max_wait_s = max_wait_s
        self._lines: dict[str, deque[anyio.Event]] = {}  # in the order in which the clients come next

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Waits for a turn and holds it. Raises BusyError where the line is full, or does not move."""
        await self._take(client)
        try:
            yield
        finally:
            self._pass_on()

    async def _take(self, client: str) -> None:
        if self._num_free:
            self._num_free -= 1
            return
        called = self._join(client)
        try:
            with anyio.fail_after(self._max_wait_s):
                await called.wait()
        except BaseException as error:
            self._leave(client, called)
            if isinstance(error, TimeoutError):
                raise BusyError(f"the line moves too slowly: no turn within {self._max_wait_s:g} s") from error
            raise

    def _join(self, client: str) -> anyio.Event:
        own = len(self._lines.get(client, ()))
        if sum(map(len, self._lines.values())) >= self._max_waiting or own >= self._max_waiting_by_client:
            raise BusyError(f"the line is full: {self._max_waiting_by_client} requests of one client may wait")
        called = anyio.Event()
        self._lines.setdefault(client, deque()).append(called)
        return called

    def _leave(self, client: str, called: anyio.Event) -> None:
        if called.is_set():  # called in the moment it gave up
            self._pass_on()
            return
        self._lines[client].remove(called)
        if not self._lines[client]:
            del self._lines[client]

    def _pass_on(self) -> None:
        if not self._lines:
            self._num_free += 1
            return
        client = next(iter(self._lines))
        line = self._lines.pop(client)
        line.popleft().set()
        if line:
            self._lines[client] = line  # at the end
