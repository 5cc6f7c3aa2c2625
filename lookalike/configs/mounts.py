"""Where an address of object storage lies in the file system."""

from pathlib import Path

# Vertex mounts every bucket there (Cloud Storage FUSE); with other engines, mount yours alike.
GCS_MOUNT = Path("/gcs")


def mounted_path(uri: str) -> Path:
    """The path of a plain path or a gs:// address.

    Raises ValueError: for an address of any other scheme, or without a bucket.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return Path(uri)
    if scheme != "gs" or not rest.strip("/") or rest.startswith("/"):
        raise ValueError(f"expected a path or gs://bucket/…, got {uri!r}")
    return GCS_MOUNT / rest


def output_directory(uri: str) -> Path:
    """The path of a plain path or a gs:// address, made to be a directory."""
    directory = mounted_path(uri)
    directory.mkdir(parents=True, exist_ok=True)
    return directory
