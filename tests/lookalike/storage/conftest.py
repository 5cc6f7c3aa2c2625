import pytest
from obstore.store import MemoryStore

from lookalike.storage.address import open_folder
from lookalike.storage.objects import ObjectFolder


@pytest.fixture(params=["local", "s3"])
def address(request, tmp_path):
    """Of an empty folder that other processes see too."""
    return str(tmp_path / "folder") if request.param == "local" else request.getfixturevalue("s3_address")


@pytest.fixture(params=["local", "memory", "s3"])
def folder(request, tmp_path):
    """An empty folder: of this machine, of obstore's memory, of a real S3 server."""
    if request.param == "local":
        return open_folder(str(tmp_path / "folder"))
    if request.param == "memory":
        return ObjectFolder("memory://bucket/prefix", MemoryStore(), "prefix")
    return open_folder(request.getfixturevalue("s3_address"))
