"""A writer killed at any of its calls leaves nothing to be seen, or all of it; and nobody's way is barred."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lookalike.storage.address import open_folder
from lookalike.storage.local import STAGING_PREFIX, LocalFolder, sweep

WORKER = Path(__file__).with_name("killed_worker.py")
ROOT = Path(__file__).resolve().parents[3]
OLD = {"a/file": b"old", "old/a": b"a", "old/last": b"last", "old/sub/b": b"b"}  # as the worker fills a folder


def killed_at_every_call(action, address, scratch):
    """Folders as an action left them that was killed at its first call, its second, …, and the last one not killed."""
    command = [sys.executable, WORKER, action, address, scratch]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True, text=True)
    num_kills = int(done.stdout)
    assert num_kills >= 2
    return [open_folder(f"{address}/{step}") for step in range(1, num_kills + 2)]


def tree(folder):
    return {file.name: folder.read(file.name) for file in folder.files()}


def assert_tidy_after_sweeping(folder):
    sweep(folder)
    if isinstance(folder, LocalFolder):
        assert not list(Path(folder.address).rglob(f"{STAGING_PREFIX}*"))


@pytest.mark.parametrize("action", ["writing", "replace"])
def test_a_file_is_the_old_or_the_new_one(action, address, tmp_path):
    seen = []
    for folder in killed_at_every_call(action, address, tmp_path):
        seen.append(tree(folder).pop("a/file"))
        assert tree(folder) == OLD | {"a/file": seen[-1]}
        assert_tidy_after_sweeping(folder)
        folder.replace("a/file", b"newer", folder.read_stamped("a/file").stamp)
    assert set(seen) == {b"old", b"new"}
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("action", ["publish", "duplicate"])
def test_a_tree_is_not_there_or_whole(action, address, tmp_path):
    whole = {"new/a": b"a", "new/last": b"last", "new/sub/b": b"b"}
    seen = []
    for folder in killed_at_every_call(action, address, tmp_path):
        found = tree(folder)
        seen.append("new/last" in found)
        if seen[-1] or isinstance(folder, LocalFolder):
            assert found == OLD | (whole if seen[-1] else {})
        assert_tidy_after_sweeping(folder)
        if not seen[-1]:
            folder.duplicate("old", "new", last="last")
        assert tree(folder) == OLD | whole
    assert seen == sorted(seen)
    assert set(seen) == {False, True}


def test_a_removed_tree_is_whole_or_without_its_first_file(address, tmp_path):
    rest = {"a/file": b"old"}
    for folder in killed_at_every_call("remove", address, tmp_path):
        found = tree(folder)
        if "old/last" in found:
            assert found == OLD
        elif isinstance(folder, LocalFolder):
            assert found == rest
        assert_tidy_after_sweeping(folder)
        folder.remove("old", first="last")
        assert tree(folder) == rest
