"""One writer at a time: a lock of the file system, or on an object store a lease that its holder keeps renewing."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lookalike.storage.folder import ChangedError, Folder
from lookalike.storage.local import LocalFolder, flocked

LEASE_S = 30.0
"""After so long without renewal a holder counts as dead."""

_POLL_S = 1.0
_RENEWALS = 3  # in LEASE_S: two may fail

log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Folder, name: str) -> Iterator[None]:
    """Holds the lock `name` of a folder, waiting for it. No two holders at a time, in any process or on any machine.

    POSIX: freed at the moment the holder dies. Object store: taken over LEASE_S after the holder's last renewal. One
    that was frozen for longer may wake up beside its successor, so what it writes must be conditional (`replace`).

    Raises ChangedError: at the end, if the lease was lost meanwhile.
    """
    if isinstance(folder, LocalFolder):
        root = Path(folder.address)
        root.mkdir(parents=True, exist_ok=True)
        with flocked(root / name):
            yield
    else:
        with _leased(folder, name):
            yield


@dataclass
class Lease:
    """A small file that says who holds it; every write of it differs from all before, so that a stamp tells them apart.

    No clock of two machines is compared, nor the store's Last-Modified, which comes in whole seconds and says nothing
    without the store's present time: who waits sees by its own clock that the file has not changed for LEASE_S.
    """

    folder: Folder
    name: str
    holder: str = field(default_factory=lambda: uuid.uuid4().hex)
    _writes: int = 0
    _stamp: str | None = None
    _seen_s: float = 0.0

    def try_take(self, now_s: float) -> bool:
        """Takes the lease if it is free or its holder has not renewed it since LEASE_S by our clock."""
        stamp, is_free = self._look()
        if stamp != self._stamp:
            self._stamp, self._seen_s = stamp, now_s
        return (is_free or now_s - self._seen_s >= LEASE_S) and self._write(self.holder)

    def renew(self) -> bool:
        """Whether the lease is still ours; True for LEASE_S from now."""
        return self._write(self.holder)

    def free(self) -> bool:
        """Gives it up at once. Returns whether it was still ours."""
        return self._write("")

    def _look(self) -> tuple[str | None, bool]:
        try:
            found = self.folder.read_stamped(self.name)
        except FileNotFoundError:
            return None, True
        return found.stamp, not json.loads(found.data)["holder"]

    def _write(self, holder: str) -> bool:
        self._writes += 1
        text = json.dumps({"holder": holder, "writer": self.holder, "write": self._writes})
        try:
            self._stamp = self.folder.replace(self.name, text.encode(), self._stamp)
        except ChangedError:
            return False
        return True


@contextmanager
def _leased(folder: Folder, name: str) -> Iterator[None]:
    lease = Lease(folder, name)
    while not lease.try_take(time.monotonic()):
        time.sleep(_POLL_S)
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(lease, done), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        kept = lease.free()
    if not kept:
        raise ChangedError(f"the lease {name} in {folder.address} was taken over while it was held")


def _keep(lease: Lease, done: threading.Event) -> None:
    while not done.wait(LEASE_S / _RENEWALS):
        try:
            if not lease.renew():
                return
        except OSError as error:  # the store does not answer: until the lease is over, another try may do
            log.warning("could not renew the lease %s: %s", lease.name, error)
