"""What only a folder of this machine has to fear: links, devices, FIFOs, other disks."""

import os
import tempfile
from pathlib import Path

import pytest

from lookalike.storage.folder import OutsideError
from lookalike.storage.local import STAGING_PREFIX, LocalFolder, sweep


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def folder(root):
    return LocalFolder(str(root))


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    return tmp_path / "outside" / "secret"


def test_a_link_that_stays_inside_is_read(folder, root):
    (root / "real").mkdir()
    (root / "real" / "file").write_bytes(b"123")
    (root / "link").symlink_to("real/file")
    (root / "directory").symlink_to("real")
    assert folder.read("link") == folder.read("directory/file") == b"123"
    assert [tuple(file) for file in folder.files("real")] == [("real/file", 3)]


def test_a_link_that_leads_out_is_listed_and_not_read(folder, root, secret):
    (root / "link").symlink_to(secret)
    (root / "directory").symlink_to(secret.parent)
    assert [file.name for file in folder.files()] == ["directory", "link"]
    for name in ("link", "directory/secret"):
        with pytest.raises(OutsideError, match=name):
            folder.read(name)


def test_nothing_is_written_or_removed_through_a_link_that_leads_out(folder, root, secret):
    (root / "directory").symlink_to(secret.parent)
    with pytest.raises(OutsideError), folder.writing("directory/new/file"):
        pass
    with pytest.raises(OutsideError):
        folder.remove("directory/secret")
    with pytest.raises(OutsideError):
        folder.duplicate("directory", "copy", last="secret")
    assert list(secret.parent.iterdir()) == [secret]
    folder.remove("directory")  # the link itself may go
    assert secret.exists()
    assert not list(root.iterdir())


def test_a_link_is_replaced_and_what_it_points_at_stays(folder, root, secret):
    (root / "link").symlink_to(secret)
    with folder.writing("link") as path:
        path.write_text("new")
    assert folder.read("link") == b"new"
    assert secret.read_text() == "secret"


def test_a_link_to_nowhere_or_in_a_circle_is_an_error_of_the_system(folder, root):
    (root / "nowhere").symlink_to("gone")
    (root / "circle").symlink_to("circle")
    assert [file.name for file in folder.files()] == ["circle", "nowhere"]
    with pytest.raises(FileNotFoundError):
        folder.read("nowhere")
    with pytest.raises(OSError, match="circle"):
        folder.read("circle")


def test_a_fifo_a_device_and_a_folder_are_refused_at_once(folder, root):
    os.mkfifo(root / "fifo")
    (root / "directory").mkdir()
    for name in ("fifo", "directory"):
        with pytest.raises(OSError, match="expected a regular file"):
            folder.read(name)
    with pytest.raises(OSError, match="expected a regular file"):
        LocalFolder("/dev").read("zero", max_bytes=1)


def test_a_link_that_comes_after_the_check_is_not_followed(folder, root, secret, monkeypatch):
    (root / "file").write_text("harmless")
    checked = folder._existing("file")
    (root / "file").unlink()
    (root / "file").symlink_to(secret)
    monkeypatch.setattr(LocalFolder, "_existing", lambda *_: checked)
    with pytest.raises(OSError, match="symbolic links"):
        folder.read("file")


def test_a_root_that_is_a_link_is_a_folder(root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    with LocalFolder(str(tmp_path / "link")).writing("a/b") as path:
        path.write_bytes(b"1")
    assert (root / "a" / "b").read_bytes() == b"1"


def test_what_a_kill_left_is_not_seen_and_swept(folder, root):
    (root / f"{STAGING_PREFIX}file.npy").write_bytes(b"half")
    (root / f"{STAGING_PREFIX}tree").mkdir()
    (root / f"{STAGING_PREFIX}tree" / "file").write_bytes(b"half")
    assert list(folder.files()) == folder.children() == []
    sweep(folder)
    assert not list(root.iterdir())


def test_a_writer_whose_file_was_swept_publishes_nothing(folder):
    def write_late():
        with folder.writing("file") as path:
            path.write_bytes(b"late")
            sweep(folder)

    with pytest.raises(FileNotFoundError):
        write_late()
    assert folder.children() == []


def test_sweeping_where_nothing_is_does_nothing(tmp_path):
    sweep(LocalFolder(str(tmp_path / "not here")))
    assert not list(tmp_path.iterdir())


def test_a_duplicate_costs_no_bytes_where_links_are_allowed(folder, root):
    with folder.writing("old/file") as path:
        path.write_bytes(b"1")
    folder.duplicate("old", "new", last="file")
    assert (root / "old" / "file").stat().st_ino == (root / "new" / "file").stat().st_ino


def test_where_links_are_refused_a_duplicate_is_a_copy(folder, root, monkeypatch):
    def refuse(*_):
        raise PermissionError

    with folder.writing("old/file") as path:
        path.write_bytes(b"1")
    monkeypatch.setattr(os, "link", refuse)
    folder.duplicate("old", "new", last="file")
    assert (root / "new" / "file").read_bytes() == b"1"
    assert (root / "old" / "file").stat().st_ino != (root / "new" / "file").stat().st_ino


@pytest.mark.skipif(not os.path.ismount("/dev/shm"), reason="needs a second file system")
def test_a_tree_of_another_disk_is_copied_and_published_at_once(
    folder,
    root,
):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other_disk:
        built = Path(other_disk, "built")
        built.mkdir()
        (built / "last").write_bytes(b"1")
        folder.publish(built, "tree", last="last")
    assert folder.read("tree/last") == b"1"
    assert [path.name for path in root.iterdir()] == ["tree"]
