import hashlib

import pytest

from components import canonical_shards
from components.canonical_shards import CanonicalShards, read_picture


def sha256(jpeg):
    return hashlib.sha256(jpeg).hexdigest()


def test_each_picture_is_kept_once_and_read_back(tmp_path):
    shards = CanonicalShards(str(tmp_path))
    pictures = [b"one", b"another", b"one", b"third"]
    places = [shards.add(picture, sha256(picture)) for picture in pictures]
    shards.close()
    assert [read_picture(str(tmp_path), place) for place in places] == pictures
    assert places[0] == places[2]
    [shard] = tmp_path.iterdir()
    assert shard.stat().st_size == len(b"oneanotherthird")


def test_a_shard_is_bounded_and_can_be_read_once_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(canonical_shards, "SHARD_BYTES", 10)
    shards = CanonicalShards(str(tmp_path))
    places = [shards.add(picture, sha256(picture)) for picture in (b"x" * 6, b"y" * 6, b"z")]
    assert places[0].shard == places[1].shard != places[2].shard
    assert read_picture(str(tmp_path), places[1]) == b"y" * 6
    with pytest.raises(FileNotFoundError):
        read_picture(str(tmp_path), places[2])
    shards.close()
    assert read_picture(str(tmp_path), places[2]) == b"z"


def test_two_workers_never_write_to_one_file(tmp_path):
    one, other = CanonicalShards(str(tmp_path)), CanonicalShards(str(tmp_path))
    places = [writer.add(b"same", sha256(b"same")) for writer in (one, other)]
    one.close()
    other.close()
    assert places[0].shard != places[1].shard
    assert {read_picture(str(tmp_path), place) for place in places} == {b"same"}


def test_pictures_of_an_object_store(s3_address):
    shards = CanonicalShards(s3_address)
    place = shards.add(b"picture", sha256(b"picture"))
    shards.add(b"next", sha256(b"next"))
    shards.close()
    assert read_picture(s3_address, place) == b"picture"
