import subprocess
import sys
import threading
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from lookalike.storage import lease
from lookalike.storage.folder import ChangedError
from lookalike.storage.lease import LEASE_S, Lease, locked
from lookalike.storage.objects import ObjectFolder

ROOT = Path(__file__).resolve().parents[3]


def test_one_at_a_time_holds_the_lock(folder, monkeypatch):
    monkeypatch.setattr(lease, "_POLL_S", 0.01)
    inside, most = [], []

    def work():
        for _ in range(3):
            with locked(folder, "writer"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 12


def test_a_block_that_fails_frees_the_lock(folder):
    with pytest.raises(ZeroDivisionError), locked(folder, "writer"):
        raise ZeroDivisionError
    with locked(folder, "writer"):
        pass


def test_a_lock_is_free_the_moment_its_holder_is_killed(tmp_path):
    holder = (
        "import sys, time; from lookalike.storage.address import open_folder; "
        "from lookalike.storage.lease import locked\n"
        "with locked(open_folder(sys.argv[1]), 'writer'): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", holder, tmp_path]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        process.kill()
        process.wait()
    with locked(lease.LocalFolder(str(tmp_path)), "writer"):
        pass


@pytest.fixture
def objects():
    return ObjectFolder("memory://bucket", MemoryStore(), "")


def test_a_lease_that_is_renewed_is_not_taken_over(objects):
    holder, other = Lease(objects, "writer"), Lease(objects, "writer")
    assert holder.try_take(0.0)
    for now_s in (0.0, 0.9 * LEASE_S, 1.8 * LEASE_S, 2.7 * LEASE_S):
        assert not other.try_take(now_s)
        assert holder.renew()


def test_a_lease_is_taken_over_once_its_holder_has_been_silent_long_enough(objects):
    dead, other, third = (Lease(objects, "writer") for _ in range(3))
    assert dead.try_take(0.0)
    assert not other.try_take(100.0)  # each waits by its own clock, from when it first looked
    assert not third.try_take(100.0)
    assert not other.try_take(100.0 + 0.99 * LEASE_S)
    assert other.try_take(100.0 + LEASE_S)
    assert not third.try_take(100.0 + LEASE_S)
    assert not dead.renew()
    assert not dead.free()
    assert other.renew()


def test_a_lease_that_was_given_up_is_free_at_once(objects):
    holder, other = Lease(objects, "writer"), Lease(objects, "writer")
    assert holder.try_take(0.0)
    assert holder.free()
    assert other.try_take(0.0)


def test_who_lost_its_lease_is_told_at_the_end(objects):
    def freeze():
        other = Lease(objects, "writer")
        with locked(objects, "writer"):
            assert not other.try_take(0.0)
            assert other.try_take(LEASE_S)

    with pytest.raises(ChangedError, match="taken over"):
        freeze()
