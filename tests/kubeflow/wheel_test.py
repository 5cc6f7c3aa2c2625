"""The wheel that workers install: everything of the rooms, nothing of what surrounds them; and its lock."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_SHIPPED = {"kubeflow", "tests"}


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """What git tracks, and what it would track."""
    # A checkout that belongs to another user (CI as root) is refused by git without safe.directory.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [path for path in listing.split("\0") if path and (ROOT / path).is_file()]


@pytest.fixture(scope="module")
def shipped(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files of a wheel built from a copy, without the wheel's own metadata."""
    copy, wheels = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheels")
    for path in tracked:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(wheels)], cwd=copy, check=True, capture_output=True)
    (wheel,) = wheels.glob("lookalike-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_wheel_holds_every_file_of_the_rooms_and_nothing_else(tracked: list[str], shipped: set[str]) -> None:
    folders_of_code = {PurePosixPath(path).parts[0] for path in tracked if path.endswith(".py") and "/" in path}
    assert folders_of_code > NOT_SHIPPED
    rooms = folders_of_code - NOT_SHIPPED
    expected = {path for path in tracked if PurePosixPath(path).parts[0] in rooms}
    expected |= {path for path in tracked if path.endswith(".py") and "/" not in path}
    assert shipped == expected


def test_lock_fits_the_dependencies() -> None:
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` tells where it lies
    if uv is None:
        pytest.skip("needs uv, which is neither on the path nor ran this")
    done = subprocess.run([uv, "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
