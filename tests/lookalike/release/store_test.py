import errno
import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

import pytest

from lookalike.release.manifest import ReleaseError, verify
from lookalike.release.store import ReleaseStore

ROOT = pathlib.Path(__file__).parents[3]

# The calls that change the disk, each a place to die at or to fail at.
STEPS = [
    (os, "fsync"),
    (pathlib.Path, "mkdir"),
    (pathlib.Path, "write_text"),
    (pathlib.Path, "write_bytes"),
    (os, "link"),
    (pathlib.Path, "replace"),
    (pathlib.Path, "rename"),
    (pathlib.Path, "unlink"),
    (shutil, "rmtree"),
]


@pytest.fixture(autouse=True)
def instant_disk(monkeypatch):
    """Flushing only matters when the machine loses power, which no test here can do."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def build(directory, version):
    (directory / "encoder" / str(version)).mkdir(parents=True)
    (directory / "encoder" / str(version) / "saved_model.pb").write_text(f"encoder {version}")
    (directory / "index").mkdir()
    (directory / "index" / "index.json").write_text("{}")


def push(root, decision_id):
    return ReleaseStore(root).push(build, decision_id=decision_id, facts={"source": "test"})


def never_built(directory, version):
    raise AssertionError("must not build again")


def unfinished_work(root):
    return [path.name for path in root.rglob(".staging-*")]


def assert_whole(root):
    """What a reader sees at any moment: only complete releases, one of which serves."""
    store = ReleaseStore(root)
    current = store.current()
    for release in store.releases():
        release.verify()
    if current is not None:
        current.verify()
        assert current.version in [release.version for release in store.releases()]
    for encoder in (root / "encoder").glob("*"):
        assert not encoder.is_symlink()
        verify(encoder)


def assert_tidy(root):
    assert_whole(root)
    assert unfinished_work(root) == []
    store = ReleaseStore(root)
    on_disk = sorted(int(path.name) for path in (root / "releases").iterdir())
    assert on_disk == [release.version for release in store.releases()]
    assert max(int(path.name) for path in (root / "encoder").iterdir()) == store.current().version
    lines = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
    assert lines[-1] == json.loads((root / "CURRENT").read_text())


def test_an_empty_store_has_no_current_release(tmp_path):
    store = ReleaseStore(tmp_path / "store")
    assert store.current() is None
    assert store.releases() == []
    assert not (tmp_path / "store").exists()


def test_a_push_is_current_and_whole(tmp_path):
    release = push(tmp_path / "store", "yes-1")
    assert release == ReleaseStore(tmp_path / "store").current()
    assert (release.version, release.decision_id) == (1, "yes-1")
    assert release.manifest.facts == {"source": "test", "decision_id": "yes-1", "version": 1}
    assert release.encoder_directory == tmp_path / "store" / "releases" / "1" / "encoder" / "1"
    assert sorted(release.manifest.files) == [
        "encoder/1/manifest.json",
        "encoder/1/saved_model.pb",
        "index/index.json",
    ]
    assert_tidy(tmp_path / "store")


def test_the_pointer_names_version_and_manifest(tmp_path):
    release = push(tmp_path, "yes-1")
    pointer = json.loads((tmp_path / "CURRENT").read_text())
    assert pointer["version"] == 1
    assert pointer["manifest_sha256"] == release.manifest.sha256


def test_a_tf_serving_sees_each_encoder_under_its_version(tmp_path):
    push(tmp_path, "yes-1")
    push(tmp_path, "yes-2")
    shutil.move(tmp_path / "encoder", tmp_path / "mounted alone")
    shutil.rmtree(tmp_path / "releases")
    for version in (1, 2):
        assert (tmp_path / "mounted alone" / str(version) / "saved_model.pb").read_text() == f"encoder {version}"


def test_an_encoder_costs_no_second_copy(tmp_path):
    release = push(tmp_path, "yes-1")
    assert (tmp_path / "encoder" / "1" / "saved_model.pb").samefile(release.encoder_directory / "saved_model.pb")


def test_a_store_can_be_moved(tmp_path):
    push(tmp_path / "here", "yes-1")
    shutil.move(tmp_path / "here", tmp_path / "there")
    assert_tidy(tmp_path / "there")


def test_the_same_decision_pushed_twice_gives_one_release(tmp_path):
    first = push(tmp_path, "yes-1")
    again = ReleaseStore(tmp_path).push(never_built, decision_id="yes-1", facts={})
    assert again == first
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 1


def test_an_old_decision_pushed_again_does_not_serve_again(tmp_path):
    push(tmp_path, "yes-1")
    push(tmp_path, "yes-2")
    assert push(tmp_path, "yes-1").version == 1
    assert ReleaseStore(tmp_path).current().version == 2


def test_a_damaged_release_is_not_taken_for_its_decision(tmp_path):
    release = push(tmp_path, "yes-1")
    (release.directory / "index" / "index.json").write_text("[]")
    with pytest.raises(ReleaseError, match=r"index\.json has changed"):
        push(tmp_path, "yes-1")


def test_versions_grow_even_when_the_newest_were_deleted_by_hand(tmp_path):
    for number in range(3):
        push(tmp_path, f"yes-{number}")
    ReleaseStore(tmp_path).rollback(1)
    shutil.rmtree(tmp_path / "releases" / "2")
    shutil.rmtree(tmp_path / "releases" / "3")
    assert push(tmp_path, "yes-new").version == 4


@pytest.mark.parametrize("error", [RuntimeError("no"), KeyboardInterrupt()])
def test_a_failed_build_leaves_nothing(tmp_path, error):
    push(tmp_path, "yes-1")

    def fail(directory, version):
        build(directory, version)
        raise error

    with pytest.raises(type(error)):
        ReleaseStore(tmp_path).push(fail, decision_id="yes-2", facts={})
    assert_tidy(tmp_path)
    assert ReleaseStore(tmp_path).current().version == 1
    assert push(tmp_path, "yes-2").version == 2


def test_a_build_without_its_encoder_is_refused(tmp_path):
    def forget(directory, version):
        (directory / "encoder" / "99").mkdir(parents=True)

    with pytest.raises(ReleaseError, match=r"a release must hold encoder/1/saved_model\.pb, not found"):
        ReleaseStore(tmp_path).push(forget, decision_id="yes-1", facts={})
    assert ReleaseStore(tmp_path).current() is None
    assert unfinished_work(tmp_path) == []


def test_a_build_that_plants_a_pickle_is_refused(tmp_path):
    def plant(directory, version):
        build(directory, version)
        (directory / "index" / "scann_docids.pkl").write_bytes(b"")

    with pytest.raises(ReleaseError, match=r"scann_docids\.pkl is a pickle"):
        ReleaseStore(tmp_path).push(plant, decision_id="yes-1", facts={})
    assert ReleaseStore(tmp_path).releases() == []


def test_a_push_needs_a_decision(tmp_path):
    with pytest.raises(ValueError, match="decision_id must name the decision"):
        push(tmp_path, "")


def test_rollback_goes_to_the_release_before_and_forward_again(tmp_path):
    for number in (1, 2, 3):
        push(tmp_path, f"yes-{number}")
    store = ReleaseStore(tmp_path)
    assert [store.rollback().version, store.current().version] == [2, 2]
    assert sorted(path.name for path in (tmp_path / "encoder").iterdir()) == ["1", "2"]
    assert store.rollback().version == 1
    assert_tidy(tmp_path)
    assert store.rollback(3).version == 3
    assert_tidy(tmp_path)
    assert [release.version for release in store.releases()] == [1, 2, 3]
    events = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(e["event"], e["version"], e["previous"]) for e in events] == [
        ("push", 1, None),
        ("push", 2, 1),
        ("push", 3, 2),
        ("rollback", 2, 3),
        ("rollback", 1, 2),
        ("rollback", 3, 1),
    ]


def test_a_push_after_a_rollback_takes_a_new_version(tmp_path):
    push(tmp_path, "yes-1")
    push(tmp_path, "yes-2")
    ReleaseStore(tmp_path).rollback()
    assert push(tmp_path, "yes-3").version == 3
    assert_tidy(tmp_path)


def test_rollback_to_what_is_not_there_is_refused(tmp_path):
    store = ReleaseStore(tmp_path)
    push(tmp_path, "yes-1")
    with pytest.raises(ReleaseError, match="rolling back needs a release older than the current one"):
        store.rollback()
    with pytest.raises(ReleaseError, match=r"version must be one of the releases in \S+: 1; got 7"):
        store.rollback(7)
    assert store.current().version == 1
    with pytest.raises(ReleaseError, match=r"nothing was promoted yet; `lookalike promote` makes the first release$"):
        ReleaseStore(tmp_path / "nowhere").rollback(1)


def test_rollback_to_a_damaged_release_is_refused(tmp_path):
    first = push(tmp_path, "yes-1")
    push(tmp_path, "yes-2")
    (first.directory / "index" / "index.json").unlink()
    with pytest.raises(ReleaseError, match=r"index\.json is in the manifest and missing"):
        ReleaseStore(tmp_path).rollback()
    assert ReleaseStore(tmp_path).current().version == 2
    assert unfinished_work(tmp_path) == []


def test_rollback_waits_for_a_push_that_is_running(tmp_path):
    push(tmp_path, "yes-1")
    building, may_finish, rolled_back = threading.Event(), threading.Event(), threading.Event()

    def slow(directory, version):
        build(directory, version)
        building.set()
        assert may_finish.wait(10)

    def roll_back():
        ReleaseStore(tmp_path).rollback()
        rolled_back.set()

    pushing = threading.Thread(
        target=ReleaseStore(tmp_path).push, args=(slow,), kwargs={"decision_id": "b", "facts": {}}
    )
    rolling = threading.Thread(target=roll_back)
    pushing.start()
    assert building.wait(10)
    rolling.start()
    assert not rolled_back.wait(0.1)
    assert ReleaseStore(tmp_path).current().version == 1
    may_finish.set()
    pushing.join(10)
    rolling.join(10)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(line["event"], line["version"]) for line in history] == [("push", 1), ("push", 2), ("rollback", 1)]


def test_prune_keeps_the_newest_and_the_current(tmp_path):
    for number in range(1, 6):
        push(tmp_path, f"yes-{number}")
    store = ReleaseStore(tmp_path)
    store.rollback(2)
    assert store.prune(2) == [1, 3]
    assert [release.version for release in store.releases()] == [2, 4, 5]
    assert_tidy(tmp_path)
    assert store.prune(2) == []
    with pytest.raises(ValueError, match="keep must be at least 1, got 0"):
        store.prune(0)


def test_a_changed_manifest_is_not_current(tmp_path):
    release = push(tmp_path, "yes-1")
    manifest = json.loads((release.directory / "manifest.json").read_text())
    manifest["facts"]["source"] = "forged"
    (release.directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ReleaseError, match="is not the one that CURRENT names"):
        ReleaseStore(tmp_path).current()
    with pytest.raises(ReleaseError, match="has changed since it was read"):
        release.verify()


def test_a_release_under_another_number_is_refused(tmp_path):
    push(tmp_path, "yes-1")
    push(tmp_path, "yes-2")
    shutil.rmtree(tmp_path / "releases" / "1")
    shutil.copytree(tmp_path / "releases" / "2", tmp_path / "releases" / "1")
    with pytest.raises(ReleaseError, match="must be of version 1"):
        ReleaseStore(tmp_path).rollback(1)


@pytest.mark.parametrize("name", ["CURRENT", "history.jsonl"])
@pytest.mark.parametrize("data", [b"", b"{", b"7\n", b'{"version": 1}\n', b"\n", b"\xff\xfe\x00", b"[" * 100_000])
def test_an_unreadable_pointer_is_named_in_one_line_without_its_bytes(tmp_path, name, data):
    push(tmp_path, "yes-1")
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ReleaseError, match=f"{name} must name a version and its manifest") as refused:
        ReleaseStore(tmp_path).releases()
    assert str(refused.value).isprintable()
    assert "xff" not in str(refused.value)


@pytest.mark.parametrize("data", [b"one\n", b"", b"\xff\xfe", b"7" * 5000])
def test_an_unreadable_version_number_is_named(tmp_path, data):
    push(tmp_path, "yes-1")
    (tmp_path / ".last_version").write_bytes(data)
    with pytest.raises(ReleaseError, match=r"\.last_version must hold the highest version ever released, got no num"):
        push(tmp_path, "yes-2")


def test_what_a_later_version_adds_to_the_pointers_is_passed_over(tmp_path):
    push(tmp_path, "yes-1")
    for name in ("CURRENT", "history.jsonl"):
        pointer = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps(pointer | {"pushed_from": "a later version"}) + "\n")
    assert ReleaseStore(tmp_path).current().version == 1
    assert push(tmp_path, "yes-2").version == 2
    assert_tidy(tmp_path)


def test_a_pointer_that_leads_outside_is_refused(tmp_path):
    push(tmp_path / "store", "yes-1")
    pointer = json.loads((tmp_path / "store" / "CURRENT").read_text())
    (tmp_path / "store" / "CURRENT").write_text(json.dumps({**pointer, "version": "../../elsewhere"}))
    with pytest.raises(ReleaseError, match="CURRENT must name a version"):
        ReleaseStore(tmp_path / "store").current()


def test_a_missing_current_release_is_named(tmp_path):
    release = push(tmp_path, "yes-1")
    shutil.rmtree(release.directory)
    with pytest.raises(ReleaseError, match=r"a release must hold manifest\.json, not found in .*releases/1"):
        ReleaseStore(tmp_path).current()
    assert push(tmp_path, "yes-2").version == 2


def fails(action):
    try:
        action()
    except OSError:
        return True
    return False


def test_a_release_that_is_a_link_is_refused(tmp_path):
    """What it leads to may change, or be gone in a container that has the store alone."""
    release = push(tmp_path / "store", "yes-1")
    elsewhere = release.directory.rename(tmp_path / "elsewhere")
    release.directory.symlink_to(elsewhere)
    for action in (ReleaseStore.current, ReleaseStore.releases):
        with pytest.raises(ReleaseError, match=r"releases/1 must be a folder of its own, got a link"):
            action(ReleaseStore(tmp_path / "store"))


def test_what_served_keeps_its_encoder_while_servers_change_over(tmp_path, monkeypatch):
    for number in (1, 2, 3):
        push(tmp_path, f"yes-{number}")
    seen = []

    def look(seconds):
        encoders = sorted(path.name for path in (tmp_path / "encoder").iterdir())
        seen.append((seconds, ReleaseStore(tmp_path).current().version, encoders))

    monkeypatch.setattr(time, "sleep", look)
    ReleaseStore(tmp_path).rollback(1, drain_s=30)
    assert seen == [(30, 1, ["1", "3"])]
    assert_tidy(tmp_path)


def test_a_rollback_killed_while_it_waits_is_finished_by_the_next_writer(tmp_path, monkeypatch):
    for number in (1, 2):
        push(tmp_path, f"yes-{number}")

    def kill(seconds):
        raise SystemExit

    monkeypatch.setattr(time, "sleep", kill)
    with pytest.raises(SystemExit):
        ReleaseStore(tmp_path).rollback(drain_s=30)
    assert sorted(path.name for path in (tmp_path / "encoder").iterdir()) == ["1", "2"]
    ReleaseStore(tmp_path).prune(5)
    assert_tidy(tmp_path)


def test_a_store_with_links_to_its_encoders_goes_on(tmp_path):
    """As 0.2.0 and before left it: encoder/<version> is a link, and the encoder has no manifest of its own."""
    for number in (1, 2):
        push(tmp_path, f"yes-{number}")
        shutil.rmtree(tmp_path / "encoder" / str(number))
        (tmp_path / "encoder" / str(number)).symlink_to(f"../releases/{number}/encoder/{number}")
    store = ReleaseStore(tmp_path)
    store.rollback()
    assert [path.name for path in (tmp_path / "encoder").iterdir()] == ["1"]
    store.rollback(2)
    push(tmp_path, "yes-3")
    assert (tmp_path / "encoder" / "1").is_symlink()
    assert [release.version for release in store.releases()] == [1, 2, 3]
    assert store.prune(1) == [1, 2]
    assert_tidy(tmp_path)


def failing(function, countdown):
    def call(*args, **kwargs):
        countdown[0] -= 1
        if countdown[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return function(*args, **kwargs)

    return call


def test_a_full_disk_at_any_step_of_a_push_leaves_the_old_release_serving(tmp_path):
    """Every write fails once. Who is told of an error has the old release, save for what follows the flip itself."""
    outcomes = []
    for step in range(1, 200):
        root = tmp_path / str(step)
        push(root, "yes-1")
        countdown = [step]
        with pytest.MonkeyPatch.context() as patch:
            for owner, name in STEPS[:7]:
                patch.setattr(owner, name, failing(getattr(owner, name), countdown))
            failed = fails(lambda root=root: push(root, "yes-2"))
        if countdown[0] > 0:
            break
        assert_whole(root)
        assert unfinished_work(root) == []
        outcomes.append((failed, ReleaseStore(root).current().version))
        assert push(root, "yes-2").decision_id == "yes-2"
        assert_tidy(root)
    assert outcomes.count((True, 1)) > 20
    assert outcomes.count((False, 1)) == 0
    assert outcomes.count((True, 2)) <= 1


LIMITED = """
import pathlib, resource, sys
from lookalike.release.store import ReleaseStore
def build(directory, version):
    (directory / "encoder" / str(version)).mkdir(parents=True)
    (directory / "large.bin").write_bytes(bytes(100_000))
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
ReleaseStore(pathlib.Path(sys.argv[1])).push(build, decision_id="yes-2", facts={})
"""


def test_a_file_that_does_not_fit_leaves_the_old_release_serving(tmp_path):
    push(tmp_path, "yes-1")
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert_tidy(tmp_path)
    assert ReleaseStore(tmp_path).current().version == 1


# Runs an action again and again, each time in a fresh store and killed one step later, until it ends unharmed.
# Forking from a small process keeps this fast.
KILLER = """
import importlib.util, os, pathlib, shutil, signal, sys
from lookalike.release.store import ReleaseStore
from tests.lookalike.release.dying import dying
spec = importlib.util.spec_from_file_location("store_test", sys.argv[1])
store_test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(store_test)
template, target, action = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4]

os.fsync = lambda descriptor: None
ReleaseStore(template).current()  # what is made on first use, once for all children

def act(root, step):
    countdown = [step]
    for owner, name in store_test.STEPS:
        setattr(owner, name, dying(getattr(owner, name), countdown))
    if action == "push":
        store_test.push(root, "yes-new")
    elif action == "rollback":
        ReleaseStore(root).rollback()
    else:
        ReleaseStore(root).prune(1)

for step in range(1, 500):
    root = target / str(step)
    shutil.copytree(template, root, symlinks=True)
    child = os.fork()
    if child == 0:
        act(root, step)
        os._exit(0)
    if os.waitpid(child, 0)[1] != signal.SIGKILL:
        break
"""


def killed_at_every_step(template, target, action):
    """Stores as an action left them that was killed at its first step, its second, … and last one not killed."""
    command = [sys.executable, "-c", KILLER, __file__, template, target, action]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return sorted(target.iterdir(), key=lambda path: int(path.name))


def test_a_push_killed_at_any_step_is_finished_by_pushing_again(tmp_path):
    push(tmp_path / "template", "yes-1")
    stores = killed_at_every_step(tmp_path / "template", tmp_path / "killed", "push")
    assert len(stores) > 50
    for root in stores:
        assert_whole(root)
        assert ReleaseStore(root).current().decision_id in ("yes-1", "yes-new")
        release = push(root, "yes-new")
        assert ReleaseStore(root).current() == release
        assert [r.decision_id for r in ReleaseStore(root).releases()] == ["yes-1", "yes-new"]
        assert_tidy(root)


def test_a_push_killed_at_any_step_is_cleared_by_another_push(tmp_path):
    push(tmp_path / "template", "yes-1")
    for root in killed_at_every_step(tmp_path / "template", tmp_path / "killed", "push"):
        before = ReleaseStore(root).current()
        seen = [int(path.name) for path in root.glob("encoder/*")]
        release = push(root, "yes-other")
        assert release.version > max(seen)
        expected = ["yes-1", "yes-other"] if before.version == 1 else ["yes-1", "yes-new", "yes-other"]
        assert [r.decision_id for r in ReleaseStore(root).releases()] == expected
        assert_tidy(root)


def test_a_first_push_killed_at_any_step_leaves_an_empty_or_a_whole_store(tmp_path):
    (tmp_path / "template").mkdir()
    for root in killed_at_every_step(tmp_path / "template", tmp_path / "killed", "push"):
        assert_whole(root)
        push(root, "yes-new")
        assert_tidy(root)


def test_a_rollback_killed_at_any_step_is_done_or_not(tmp_path):
    push(tmp_path / "template", "yes-1")
    push(tmp_path / "template", "yes-2")
    stores = killed_at_every_step(tmp_path / "template", tmp_path / "killed", "rollback")
    assert len(stores) > 10
    for root in stores:
        assert_whole(root)
        assert ReleaseStore(root).current().version in (1, 2)
        push(root, "yes-3")
        assert [release.version for release in ReleaseStore(root).releases()] == [1, 2, 3]
        assert_tidy(root)


def test_a_prune_killed_at_any_step_shows_no_half_release(tmp_path):
    for number in (1, 2, 3):
        push(tmp_path / "template", f"yes-{number}")
    for root in killed_at_every_step(tmp_path / "template", tmp_path / "killed", "prune"):
        assert_whole(root)
        ReleaseStore(root).prune(1)
        assert [release.version for release in ReleaseStore(root).releases()] == [3]
        assert_tidy(root)


CONCURRENT = """
import importlib.util, pathlib, sys
spec = importlib.util.spec_from_file_location("store_test", sys.argv[1])
store_test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(store_test)
for number in range(5):
    store_test.push(pathlib.Path(sys.argv[2]), f"{sys.argv[3]}-{number}")
"""


def test_concurrent_pushes_give_each_its_own_version(tmp_path):
    processes = [
        subprocess.Popen([sys.executable, "-c", CONCURRENT, __file__, tmp_path / "store", name], cwd=ROOT)
        for name in ("a", "b", "c")
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    releases = ReleaseStore(tmp_path / "store").releases()
    assert [release.version for release in releases] == list(range(1, 16))
    assert {release.decision_id for release in releases} == {f"{name}-{n}" for name in "abc" for n in range(5)}
    assert_tidy(tmp_path / "store")
