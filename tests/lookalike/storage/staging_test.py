import pytest

from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched, fetched_file, published


def tree(address):
    folder = open_folder(address)
    return {file.name: folder.read(file.name) for file in folder.files()}


def publish(address, files):
    with published(address) as directory:
        for name, data in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes(data)
    return directory


def test_what_is_published_is_fetched_again(address):
    files = {"a/b": b"1" * 3_000_000, "c": b"", "é 1": b"2"}
    publish(f"{address}/artifact/5", files)
    assert tree(f"{address}/artifact/5") == files
    with fetched(f"{address}/artifact/5") as directory:
        assert {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()} == set(files)
        assert (directory / "a" / "b").read_bytes() == files["a/b"]
    with fetched(f"{address}/artifact/5/a") as directory:
        assert [path.name for path in directory.iterdir()] == ["b"]


def test_one_file_is_fetched_under_its_own_name(address):
    publish(f"{address}/artifact", {"a/b.tfrecord": b"1" * 3_000_000, "a/c": b"2"})
    with fetched_file(open_folder(address), "artifact/a/b.tfrecord") as path:
        assert path.name == "b.tfrecord"
        assert path.read_bytes() == b"1" * 3_000_000
    assert path.exists() == (not address.startswith("s3://"))


def test_a_local_folder_is_used_as_it_is(tmp_path):
    for address in (str(tmp_path / "new" / "folder"), (tmp_path / "other").as_uri()):
        assert publish(address, {"a": b"1"}) == (tmp_path / address.removeprefix("file://"))
        with fetched(address) as directory:
            (directory / "b").write_bytes(b"2")
        assert tree(address) == {"a": b"1", "b": b"2"}


def test_a_remote_folder_leaves_nothing_on_this_machine(s3_address):
    written = publish(f"{s3_address}/artifact", {"a": b"1"})
    with fetched(f"{s3_address}/artifact") as read:
        (read / "a").write_bytes(b"only here")
    assert written.name == read.name == "artifact"
    assert not written.parent.exists()
    assert not read.parent.exists()
    assert tree(f"{s3_address}/artifact") == {"a": b"1"}


def test_a_block_that_fails_publishes_nothing_to_an_object_store(s3_address):
    publish(f"{s3_address}/artifact", {"a": b"before"})

    def fail():
        with published(f"{s3_address}/artifact") as directory:
            (directory / "a").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert tree(f"{s3_address}/artifact") == {"a": b"before"}


def test_an_attempt_that_comes_again_takes_the_place_of_the_one_before(s3_address):
    publish(f"{s3_address}/artifact", {"a": b"1", "b": b"1"})
    publish(f"{s3_address}/artifact-2", {"c": b"1"})
    publish(f"{s3_address}/artifact", {"a": b"2"})
    assert tree(s3_address) == {"artifact/a": b"2", "artifact-2/c": b"1"}


def test_an_empty_folder_is_nothing_in_an_object_store(s3_address):
    publish(f"{s3_address}/artifact", {})
    with fetched(f"{s3_address}/artifact") as directory:
        assert list(directory.iterdir()) == []
