"""Calls to a service that this process has started itself: never through a proxy, whatever the environment says."""

import urllib.request

_TIMEOUT_S = 30.0


def read_own_service(request: str | urllib.request.Request) -> bytes:
    """The body of the answer. Raises urllib.error.HTTPError for a status of 400 or more, OSError."""
    # urllib's own opener obeys http_proxy, and few who set it think of excepting 127.0.0.1 in no_proxy.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=_TIMEOUT_S) as response:
        content: bytes = response.read()
        return content
