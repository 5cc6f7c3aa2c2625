"""What only an object store has to fear: credentials, refusals, a store that does not answer."""

import pytest
from obstore.store import MemoryStore, S3Store

from lookalike.storage.address import open_folder
from lookalike.storage.folder import File
from lookalike.storage.objects import ObjectFolder


def test_wrong_credentials_are_a_refusal_that_names_the_address(s3_address, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    folder = open_folder(s3_address)
    with pytest.raises(PermissionError, match="credentials") as raised:
        folder.read("file")
    assert raised.value.filename == f"{s3_address}/file"
    assert "wrong-secret" not in str(raised.value)
    with pytest.raises(PermissionError), folder.writing("file") as path:
        path.write_bytes(b"")


def test_a_store_that_does_not_answer_is_an_error_of_the_system():
    never = {"max_retries": 0}
    store = S3Store("bucket", endpoint="http://127.0.0.1:1", client_options={"allow_http": True}, retry_config=never)
    folder = ObjectFolder("s3://bucket/prefix", store, "prefix")
    with pytest.raises(OSError, match="sending request") as raised:
        folder.read("file")
    assert raised.value.filename == "s3://bucket/prefix/file"
    assert "\n" not in str(raised.value)


def test_plain_http_is_spoken_only_where_the_endpoint_says_so(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    assert open_folder("s3://bucket").store.client_options["allow_http"] in (False, "false")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    assert open_folder("s3://bucket").store.client_options["allow_http"] in (True, "true")


def test_a_name_that_a_store_cannot_hold_is_an_error_of_the_system():
    folder = ObjectFolder("memory://bucket", MemoryStore(), "")
    with pytest.raises(OSError, match="path"):
        folder.read("a\nb")


def test_what_a_console_shows_as_an_empty_folder_is_no_file():
    store = MemoryStore()
    for key in ("prefix/", "prefix/a/", "prefix/a/1"):
        store.put(key, b"")
    folder = ObjectFolder("memory://bucket/prefix", store, "prefix")
    assert [file.name for file in folder.files("a")] == ["a/1"]
    assert folder.children("a") == ["1"]


def test_a_bucket_without_a_prefix_is_a_folder():
    folder = ObjectFolder("memory://bucket", MemoryStore(), "")
    with folder.writing("a/b") as path:
        path.write_bytes(b"1")
    assert list(folder.files()) == [File("a/b", 1)]
    assert folder.children() == ["a/"]
    assert folder.children("a") == ["b"]


def test_what_a_killed_publish_left_is_removed_by_the_next(tmp_path):
    folder = ObjectFolder("memory://bucket", MemoryStore(), "")
    for name in ("tree/1", "tree/left"):
        with folder.writing(name) as path:
            path.write_bytes(b"old")
    for name in ("1", "last"):
        (tmp_path / name).write_bytes(b"new")
    folder.publish(tmp_path, "tree", last="last")
    assert {file.name: folder.read(file.name) for file in folder.files()} == {"tree/1": b"new", "tree/last": b"new"}


def test_of_two_who_publish_at_once_one_is_told_that_it_lost(tmp_path):
    folder = ObjectFolder("memory://bucket", MemoryStore(), "")
    (tmp_path / "last").write_bytes(b"mine")

    class Overtaken(ObjectFolder):
        def _make_room(self, name, last):
            super()._make_room(name, last)
            with folder.writing(f"{name}/{last}") as path:
                path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError, match="tree/last"):
        Overtaken("memory://bucket", folder.store, "").publish(tmp_path, "tree", last="last")
    assert folder.read("tree/last") == b"theirs"
