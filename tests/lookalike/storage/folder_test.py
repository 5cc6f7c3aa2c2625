"""What every folder promises, whatever it is made of."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike.storage.address import open_folder
from lookalike.storage.folder import ChangedError, File, OutsideError
from lookalike.storage.local import sweep


def write(folder, name, data):
    with folder.writing(name) as path:
        path.write_bytes(data)


def tree(folder, below=""):
    return {file.name: folder.read(file.name) for file in folder.files(below)}


def built(directory, files):
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def test_what_is_written_is_read_whole_and_bit_by_bit(folder):
    write(folder, "a/b.bin", b"0123456789")
    assert folder.read("a/b.bin") == b"0123456789"
    with folder.open("a/b.bin") as file:
        assert file.read(3) == b"012"
        file.seek(-2, 2)
        assert file.read() == b"89"


def test_an_empty_file_is_a_file(folder):
    write(folder, "empty", b"")
    assert folder.read("empty") == folder.read("empty", max_bytes=5) == b""
    assert list(folder.files()) == [File("empty", 0)]


def test_reading_stops_one_byte_after_what_a_caller_takes(folder):
    write(folder, "file", b"0123456789")
    assert folder.read("file", max_bytes=3) == b"0123"
    assert folder.read("file", max_bytes=9) == folder.read("file", max_bytes=10) == b"0123456789"


def test_reading_from_an_offset_on(folder):
    write(folder, "file", b"0123456789")
    assert folder.read("file", offset=7) == b"789"
    assert folder.read("file", offset=2, max_bytes=3) == b"2345"
    assert folder.read("file", offset=8, max_bytes=9) == b"89"


@pytest.mark.parametrize("read", ["read", "open", "read_stamped"])
def test_what_is_not_there_is_not_found_and_named(folder, read):
    with pytest.raises(FileNotFoundError, match="not/here") as raised:
        getattr(folder, read)("not/here")
    assert raised.value.filename.startswith(folder.address)


def test_a_large_file_comes_back_as_it_was(folder):
    data = bytes(range(256)) * 50_000  # more than a part of an upload in parts
    write(folder, "large", data)
    assert folder.read("large") == data
    with folder.open("large") as file:
        assert file.read() == data


def test_files_are_listed_sorted_however_deep(folder):
    for name in ("b", "a/z/1", "a-b", "a/é 1#?%.jpg", "a.b", ".hidden/x", "span=2026-11-20/1.jpg"):
        write(folder, name, b"12")
    names = [".hidden/x", "a-b", "a.b", "a/z/1", "a/é 1#?%.jpg", "b", "span=2026-11-20/1.jpg"]
    assert list(folder.files()) == [File(name, 2) for name in names]
    assert [file.name for file in folder.files("a")] == ["a/z/1", "a/é 1#?%.jpg"]
    assert list(folder.files("b")) == list(folder.files("not/here")) == []


def test_children_are_one_level_and_folders_end_with_a_slash(folder):
    for name in ("a/b/c", "a/d", "a-b", "e"):
        write(folder, name, b"")
    assert folder.children() == ["a-b", "a/", "e"]
    assert folder.children("a") == ["b/", "d"]
    assert folder.children("a/d") == folder.children("not/here") == []


def test_a_name_may_be_written_in_a_longer_way(folder):
    write(folder, "a//./b", b"1")
    assert tree(folder) == {"a/b": b"1"}
    assert folder.read("./a/b") == b"1"
    assert list(folder.files("./a/")) == [File("a/b", 1)]


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a/.."])
def test_no_name_leads_out(folder, name, tmp_path):
    write(folder, "a/b", b"1")
    for touch in (folder.read, folder.open, folder.children, folder.read_stamped, folder.remove):
        with pytest.raises(OutsideError):
            touch(name)
    with pytest.raises(OutsideError):
        list(folder.files(name))
    with pytest.raises(OutsideError), folder.writing(name):
        pass
    with pytest.raises(OutsideError):
        folder.replace(name, b"", None)
    with pytest.raises(OutsideError):
        folder.publish(built(tmp_path / "built", {"last": b""}), name, last="last")
    with pytest.raises(OutsideError):
        folder.duplicate("a", name, last="b")


@pytest.mark.parametrize("name", ["", "."])
def test_the_folder_itself_is_no_name_to_write_or_remove(folder, name):
    with pytest.raises(OutsideError):
        folder.remove(name)
    with pytest.raises(OutsideError), folder.writing(name):
        pass


def test_a_name_with_nul_is_refused_as_a_file_is(folder):
    with pytest.raises(OSError, match="NUL"):
        folder.read("a\0b")


def test_what_is_being_written_is_not_seen(folder):
    write(folder, "a/file", b"old")
    with folder.writing("a/file") as path:
        path.write_bytes(b"new")
        assert tree(folder) == {"a/file": b"old"}
        assert folder.children() == ["a/"]
    assert tree(folder) == {"a/file": b"new"}


def test_a_block_that_fails_publishes_nothing_and_leaves_nothing(folder):
    def fail():
        with folder.writing("file") as path:
            path.write_bytes(b"half")
            raise ZeroDivisionError(path)

    with pytest.raises(ZeroDivisionError) as raised:
        fail()
    assert tree(folder) == {}
    assert not raised.value.args[0].exists()


def test_two_attempts_never_write_into_each_others_file(folder):
    with folder.writing("file.npy") as first:
        first.write_bytes(b"first")
        with folder.writing("file.npy") as second:
            second.write_bytes(b"second")
        assert folder.read("file.npy") == b"second"
    assert folder.read("file.npy") == b"first"
    assert first.suffix == second.suffix == ".npy"


def test_replacing_takes_what_was_read_and_nothing_else(folder):
    first = folder.replace("POINTER", b"1", None)
    assert folder.read_stamped("POINTER") == (b"1", first)
    second = folder.replace("POINTER", b"2", first)
    with pytest.raises(ChangedError, match="POINTER"):
        folder.replace("POINTER", b"3", first)
    with pytest.raises(ChangedError, match="POINTER"):
        folder.replace("POINTER", b"3", None)
    with pytest.raises(ChangedError):
        folder.replace("absent", b"3", second)
    assert folder.read_stamped("POINTER") == (b"2", second)
    assert tree(folder) == {"POINTER": b"2"}


@pytest.mark.parametrize("is_new", [True, False])
def test_of_many_who_replace_at_once_exactly_one_wins(folder, is_new):
    for round_ in range(3):
        name = f"pointer-{round_}"
        stamp = None if is_new else folder.replace(name, b"before", None)

        def attempt(data, name=name, stamp=stamp):
            try:
                folder.replace(name, data, stamp)
            except ChangedError:
                return None
            return data

        with ThreadPoolExecutor(8) as threads:
            won = [data for data in threads.map(attempt, [b"%d" % i for i in range(8)]) if data]
        assert [folder.read(name)] == won


def test_a_published_tree_is_whole(folder, tmp_path):
    files = {"manifest.json": b"{}", "a/1": b"1", "z": b"z"}
    folder.publish(built(tmp_path / "built", files), "releases/1", last="manifest.json")
    assert tree(folder, "releases/1") == {f"releases/1/{name}": data for name, data in files.items()}
    assert folder.children("releases") == ["1/"]


def test_what_is_published_stays_as_it_is(folder, tmp_path):
    folder.publish(built(tmp_path / "first", {"last": b"1"}), "tree", last="last")
    with pytest.raises(FileExistsError):
        folder.publish(built(tmp_path / "second", {"last": b"2", "other": b""}), "tree", last="last")
    with pytest.raises(FileExistsError):
        folder.duplicate("tree", "tree", last="last")
    assert tree(folder) == {"tree/last": b"1"}


def test_a_tree_without_its_last_file_is_not_published(folder, tmp_path):
    write(folder, "old/1", b"")
    with pytest.raises(FileNotFoundError):
        folder.publish(built(tmp_path / "built", {"a": b""}), "tree", last="manifest.json")
    with pytest.raises(FileNotFoundError):
        folder.duplicate("old", "new", last="manifest.json")
    assert tree(folder) == {"old/1": b""}


def test_a_duplicate_outlives_what_it_was_made_of(folder):
    write(folder, "old/1/a", b"a")
    write(folder, "old/1/sub/last", b"last")
    folder.duplicate("old/1", "new/1", last="sub/last")
    folder.remove("old")
    assert tree(folder) == {"new/1/a": b"a", "new/1/sub/last": b"last"}


def test_removing_takes_a_file_or_a_tree_and_not_its_neighbours(folder):
    for name in ("a/1", "a/b/2", "a-b", "ab/1"):
        write(folder, name, b"")
    folder.remove("a", first="b/2")
    folder.remove("a-b")
    folder.remove("not/here")
    folder.remove("ab/1/below a file")
    assert tree(folder) == {"ab/1": b""}


def test_a_folder_may_be_sent_to_a_worker(address):
    folder = open_folder(address)
    write(folder, "a", b"1")
    assert pickle.loads(pickle.dumps(folder)).read("a") == b"1"
    assert b"secret" not in pickle.dumps(folder)


def test_sweeping_takes_nothing_that_is_published(folder, tmp_path):
    write(folder, "a/1", b"1")
    folder.publish(built(tmp_path / "built", {"last": b"2"}), "tree", last="last")
    sweep(folder)
    assert tree(folder) == {"a/1": b"1", "tree/last": b"2"}
