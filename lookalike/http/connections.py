"""Connections that cannot crowd out others: a bound on them, by address too, and times for what each must do."""

import asyncio
import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how long each may take.

    max_connections: of all addresses; with their files they stay below the usual limit of 1024 open files.
    max_by_address: of one IPv4 address or one IPv6 network of 64 bits; a browser opens 6.
    proxies: addresses of reverse proxies, which the bound by address leaves out.
    header_s: from the first byte of a request to the end of its headers.
    idle_s: until the first byte of the next request. Above the 60 s for which nginx keeps a connection to a server in
      its pool (keepalive_timeout of ngx_http_upstream_module): who closes first must be the one that sends next.
    write_s: for a client to take what fills the buffer of its connection.
    """

    max_connections: int = 512
    max_by_address: int = 64
    proxies: Collection[str] = ()
    header_s: float = 10.0
    idle_s: int = 75
    write_s: float = 30.0


class BoundedConnection(H11Protocol):
    """uvicorn's connection, within limits. Where there are too many, the one that has waited longest is closed.

    A connection waits while no request of it is being answered, its headers incomplete or not begun. A new connection
    is refused only where all others are being answered.
    """

    def __init__(self, *arguments: Any, limits: ConnectionLimits, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._limits = limits
        self._waits_since = self.loop.time()
        self._headers_due: asyncio.TimerHandle | None = None
        self._write_due: asyncio.TimerHandle | None = None
        self._is_refused = False

    @property
    def network(self) -> str:
        """What counts as one address; '' for one that is not bounded."""
        return "" if self.client is None or self.client[0] in self._limits.proxies else network_of(self.client[0])

    @property
    def is_waiting(self) -> bool:
        """Whether nobody is owed an answer."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes its place among the others, or is refused."""
        super().connection_made(transport)
        if self._has_room():
            self.timeout_keep_alive_task = self.loop.call_later(self._limits.idle_s, transport.abort)
        else:
            self._is_refused = True
            transport.write(_FULL)
            transport.close()

    def _has_room(self) -> bool:
        network = self.network
        mine = [one for one in self._others() if one.network == network] if network else []
        if len(mine) >= self._limits.max_by_address:
            return _close_longest_waiting(mine)
        others = list(self._others())
        return len(others) < self._limits.max_connections or _close_longest_waiting(others)

    def _others(self) -> Iterator["BoundedConnection"]:
        return (
            one
            for one in self.connections
            if isinstance(one, BoundedConnection) and one is not self and not one.transport.is_closing()
        )

    def data_received(self, data: bytes) -> None:
        """Bytes of a request have come."""
        if self._is_refused:
            return
        if self.is_waiting and self._headers_due is None:
            self._headers_due = self.loop.call_later(self._limits.header_s, self.transport.abort)
        super().data_received(data)
        if not self.is_waiting:
            self._cancel_headers_due()

    def on_response_complete(self) -> None:
        """The next request may come; one that came already is begun."""
        self._waits_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not keep up with what it asked for."""
        super().pause_writing()
        self._write_due = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self._cancel_write_due()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is due any more."""
        self._cancel_headers_due()
        self._cancel_write_due()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def _cancel_headers_due(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _cancel_write_due(self) -> None:
        if self._write_due is not None:
            self._write_due.cancel()
            self._write_due = None


def network_of(address: str) -> str:
    """What one client can easily have of addresses: an IPv4 address, or an IPv6 network of 64 bits (RFC 6177)."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False))


def _close_longest_waiting(connections: Collection[BoundedConnection]) -> bool:
    """Makes room for one; False where all are being answered."""
    waiting = [one for one in connections if one.is_waiting]
    if not waiting:
        return False
    min(waiting, key=lambda one: one._waits_since).transport.abort()
    return True
