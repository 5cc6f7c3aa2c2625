import pytest

from lookalike.storage.address import is_remote, open_folder
from lookalike.storage.local import LocalFolder
from lookalike.storage.objects import ObjectFolder


@pytest.mark.parametrize("address", ["/a/b", "file:///a/b"])
def test_a_path_is_a_folder_of_this_machine(address):
    assert open_folder(address) == LocalFolder("/a/b")
    assert not is_remote(address)


def test_a_relative_path_stays_relative():
    assert open_folder("a/b") == LocalFolder("a/b")


@pytest.mark.parametrize("address", ["s3://bucket/a/b", "gs://bucket/a/b/", "az://container/a/b"])
def test_an_object_store_is_known_by_its_scheme(address, monkeypatch):
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    folder = open_folder(address)
    assert isinstance(folder, ObjectFolder)
    assert folder.address == address.rstrip("/")
    assert folder.prefix == "a/b"
    assert is_remote(address)


@pytest.mark.parametrize("address", ["ftp://host/a", "s3://", "s3:///a", "://a"])
def test_what_is_neither_is_refused(address):
    with pytest.raises(ValueError, match="an address must be a path"):
        open_folder(address)
