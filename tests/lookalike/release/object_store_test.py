"""The release store in an object store: what it does on a folder, and what a kill at any request leaves."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.release.cache import ReleaseCache
from lookalike.release.manifest import ReleaseError, verify
from lookalike.release.store import ReleaseStore
from lookalike.storage import lease
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def short_lease(monkeypatch):
    """A holder that was killed is waited for; here not for half a minute."""
    monkeypatch.setattr(lease, "LEASE_S", 0.2)
    monkeypatch.setattr(lease, "_POLL_S", 0.05)


def push(address, decision_id, build_release):
    return ReleaseStore(address).push(build_release, decision_id=decision_id, facts={"source": "test"})


def numbers(address, below):
    """Of whole and torn versions alike."""
    return sorted({int(file.name.split("/")[1]) for file in open_folder(address).files(below)})


def assert_whole(address):
    """What a reader sees at any moment: only complete releases, one of which serves, with an encoder for each shown."""
    store = ReleaseStore(address)
    for release in store.releases():
        release.verify()
    if (current := store.current()) is not None:
        current.verify()
    for version in numbers(address, "encoder"):
        if "saved_model.pb" in open_folder(address).children(f"encoder/{version}"):
            with fetched(f"{address}/encoder/{version}") as directory:
                verify(directory)


def assert_tidy(address):
    assert_whole(address)
    store = ReleaseStore(address)
    assert numbers(address, "releases") == [release.version for release in store.releases()]
    assert numbers(address, "encoder")[-1] == store.current().version
    assert store.ledger.history()[-1] == store.ledger.current()


def test_releases_are_pushed_once_rolled_back_and_pruned(s3_address, build_release):
    for number in (1, 2, 3):
        push(s3_address, f"yes-{number}", build_release)
    again = push(s3_address, "yes-3", build_release)
    store = ReleaseStore(s3_address)
    assert again == store.current()
    assert again.address == f"{s3_address}/releases/3"
    assert store.rollback().version == 2
    assert numbers(s3_address, "encoder") == [1, 2]
    assert store.rollback(3).version == 3
    assert_tidy(s3_address)
    assert store.prune(2) == [1]
    assert [release.version for release in store.releases()] == [2, 3]
    assert_tidy(s3_address)


def test_a_changed_file_is_found(s3_address, build_release):
    release = push(s3_address, "yes-1", build_release)
    open_folder(s3_address).replace(
        "releases/1/encoder/1/saved_model.pb",
        b"another",
        open_folder(s3_address).read_stamped("releases/1/encoder/1/saved_model.pb").stamp,
    )
    with pytest.raises(ReleaseError, match=r"saved_model\.pb has changed"):
        release.verify()


# Runs an action again and again, each time in a fresh store and killed at one request later, until it ends unharmed.
KILLER = """
import os, signal, sys
from pathlib import Path
from obstore.store import S3Store
from lookalike.release.store import ReleaseStore
from tests.lookalike.release.dying import dying
address, action = sys.argv[1], sys.argv[2]

def build(directory, version):
    (directory / "encoder" / str(version)).mkdir(parents=True)
    (directory / "encoder" / str(version) / "saved_model.pb").write_bytes(b"a model")

def push(root, decision_id):
    ReleaseStore(root).push(build, decision_id=decision_id, facts={})

def act(root, step):
    push(root, "yes-1")
    if action != "push":
        push(root, "yes-2")
    countdown = [step]
    for name in ("put", "delete", "copy"):
        setattr(S3Store, name, dying(getattr(S3Store, name), countdown))
    if action == "push":
        push(root, "yes-new")
    elif action == "rollback":
        ReleaseStore(root).rollback()
    else:
        ReleaseStore(root).prune(1)

step = 0
while True:
    step += 1
    child = os.fork()
    if child == 0:
        act(f"{address}/{step}", step)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
print(step - 1)
"""


def killed_at_every_request(address, action):
    """Stores as an action left them that was killed at its first request, its second, … and last one."""
    command = [sys.executable, "-c", KILLER, address, action]
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=300, capture_output=True, text=True)
    return [f"{address}/{step}" for step in range(1, int(done.stdout) + 1)]


@pytest.mark.slow  # half a minute; in a folder the same store is killed at every step in seconds
def test_a_push_killed_at_any_request_is_finished_by_pushing_again(s3_address, build_release):
    stores = killed_at_every_request(s3_address, "push")
    assert len(stores) > 15
    for address in stores:
        assert_whole(address)
        assert ReleaseStore(address).current().decision_id in ("yes-1", "yes-new")
        release = push(address, "yes-new", build_release)
        assert ReleaseStore(address).current() == release
        assert [one.decision_id for one in ReleaseStore(address).releases()] == ["yes-1", "yes-new"]
        assert_tidy(address)


@pytest.mark.slow  # as a push that is killed, of which less is left to see
def test_a_rollback_killed_at_any_request_is_done_or_not(s3_address, build_release):
    stores = killed_at_every_request(s3_address, "rollback")
    assert len(stores) > 5
    for address in stores:
        assert_whole(address)
        assert ReleaseStore(address).current().version in (1, 2)
        push(address, "yes-3", build_release)
        assert [release.version for release in ReleaseStore(address).releases()] == [1, 2, 3]
        assert_tidy(address)


@pytest.mark.slow  # as a push that is killed, of which less is left to see
def test_a_prune_killed_at_any_request_shows_no_half_release(s3_address):
    for address in killed_at_every_request(s3_address, "prune"):
        assert_whole(address)
        ReleaseStore(address).prune(1)
        assert [release.version for release in ReleaseStore(address).releases()] == [2]
        assert_tidy(address)


def test_a_writer_that_lost_its_lease_changes_nothing(s3_address, build_release):
    """It was frozen while it built; another one has pushed meanwhile."""
    push(s3_address, "yes-1", build_release)

    def freeze(directory, version):
        build_release(directory, version)
        folder = open_folder(s3_address)
        folder.replace(".lock", b'{"holder": ""}', folder.read_stamped(".lock").stamp)
        push(s3_address, "yes-other", build_release)

    with pytest.raises(OSError, match=r"changed since it was read|published already|taken over"):
        ReleaseStore(s3_address).push(freeze, decision_id="yes-late", facts={})
    assert [release.decision_id for release in ReleaseStore(s3_address).releases()] == ["yes-1", "yes-other"]
    assert_tidy(s3_address)


def test_a_release_is_fetched_once_and_checked(s3_address, build_release, tmp_path):
    release = push(s3_address, "yes-1", build_release)
    cache = ReleaseCache(tmp_path / "cache")
    local = cache.verified(release)
    assert local.encoder_directory.joinpath("saved_model.pb").read_bytes() == b"a model"
    assert (local.version, local.manifest) == (release.version, release.manifest)
    open_folder(s3_address).remove("releases")
    assert cache.verified(release) == local


def test_a_damaged_copy_is_fetched_again(s3_address, build_release, tmp_path):
    release = push(s3_address, "yes-1", build_release)
    cache = ReleaseCache(tmp_path / "cache")
    damaged = cache.verified(release).encoder_directory / "saved_model.pb"
    damaged.write_bytes(b"something else")
    cache.verified(release).verify()
    assert damaged.read_bytes() == b"a model"


def test_the_cache_keeps_what_was_used_last(s3_address, build_release, tmp_path):
    cache = ReleaseCache(tmp_path / "cache", max_releases=2)
    first, second, third = (push(s3_address, f"yes-{number}", build_release) for number in range(3))
    for release in (first, second, first, third):
        cache.verified(release)
    kept = {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert kept == {first.manifest.sha256, third.manifest.sha256}


def test_a_fetch_that_fails_shows_nothing(s3_address, build_release, tmp_path, monkeypatch):
    release = push(s3_address, "yes-1", build_release)
    cache = ReleaseCache(tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", lambda source, target: target.write(b"half"))
        with pytest.raises(ReleaseError, match=r"has changed|manifest"):
            cache.verified(release)
    assert cache.verified(release).encoder_directory.joinpath("saved_model.pb").read_bytes() == b"a model"


def test_a_local_release_stays_where_it_is(tmp_path, build_release):
    release = push(tmp_path / "store", "yes-1", build_release)
    assert ReleaseCache(tmp_path / "cache").verified(release) == release
    assert not (tmp_path / "cache").exists()
