from pathlib import Path

import pytest

from lookalike.configs import mounts
from lookalike.configs.mounts import mounted_path, output_directory


@pytest.mark.parametrize("path", ["/data/photos", "photos", "a:b/c"])
def test_a_plain_path_is_itself(path: str) -> None:
    assert mounted_path(path) == Path(path)


def test_a_bucket_lies_below_the_mount() -> None:
    assert mounted_path("gs://bucket/a/b") == Path("/gcs/bucket/a/b")
    assert mounted_path("gs://bucket") == Path("/gcs/bucket")


@pytest.mark.parametrize("uri", ["s3://bucket/a", "https://host/a", "file:///a", "gs://", "gs:///etc/passwd"])
def test_any_other_address_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match=f"expected a path or gs://bucket/…, got '{uri}'"):
        mounted_path(uri)


def test_an_output_directory_is_made_with_its_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mounts, "GCS_MOUNT", tmp_path)
    for _ in range(2):  # a directory that is there stays
        assert output_directory("gs://bucket/a/b") == tmp_path / "bucket/a/b"
    assert (tmp_path / "bucket/a/b").is_dir()
