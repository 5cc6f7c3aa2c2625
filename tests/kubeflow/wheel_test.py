"""The wheel that workers install: everything of the rooms, nothing of what surrounds them, beside others; its lock."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

import pytest

from components.source_digest import source_digest

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
def installed(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel built from a copy installs."""
    copy, wheels, site_packages = (tmp_path_factory.mktemp(name) for name in ("copy", "wheels", "site-packages"))
    for path in tracked:
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, copy / path)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(wheels)], cwd=copy, check=True, capture_output=True)
    (wheel,) = wheels.glob("lookalike-*.whl")
    shutil.unpack_archive(wheel, site_packages, "zip")
    return site_packages


RunBeside = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_beside(installed: Path, tmp_path: Path) -> RunBeside:
    """Runs the installed command where other packages, named so, come first on PYTHONPATH."""
    (tmp_path / "root" / "releases").mkdir(parents=True)
    (tmp_path / "root" / "workspace.json").write_text('{"config": "demo", "overrides": []}')

    def run(names: Sequence[str], *arguments: str) -> subprocess.CompletedProcess[str]:
        for name in names:
            (tmp_path / "others" / name).mkdir(parents=True)
            (tmp_path / "others" / name / "__init__.py").write_text("raise RuntimeError('another one')")
        # The environment's own packages come after PYTHONPATH, so that the installed command is the wheel's.
        environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'others'}{os.pathsep}{installed}"}
        command = [sys.executable, "-m", "lookalike", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize("command", [["releases"], ["review", "list"], ["doctor"]])
def test_foreign_packages_of_names_that_were_ours_do_not_matter(run_beside: RunBeside, command: list[str]) -> None:
    done = run_beside(
        ["configs", "local", "release", "review", "catalog", "storage", "http_server"], *command, "--root", "root"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_that_needs_no_room_answers_beside_a_foreign_one(run_beside: RunBeside) -> None:
    done = run_beside(["components", "serving"], "releases", "--root", "root")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Releases: none yet\n", "")


@pytest.mark.parametrize(
    ("room", "command"),
    [
        ("components", ["run", "--data", "x"]),
        ("trainer", ["demo"]),
        ("transform", ["promote"]),
        ("serving", ["serve"]),
        ("serving", ["serve-model"]),
        ("components", ["search", __file__]),
        ("pipeline", ["evaluate", "--data", "x"]),
    ],
)
def test_a_foreign_room_is_one_line_with_both_places(
    run_beside: RunBeside, installed: Path, tmp_path: Path, room: str, command: list[str]
) -> None:
    done = run_beside([room], *command, "--root", "root")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: expected the package `{room}` of Lookalike in {installed}, but Python finds "
        f"{tmp_path / 'others' / room} first; take {tmp_path / 'others'} off PYTHONPATH, or rename what lies there "
        "[FOREIGN_PACKAGE]\n"
    )


def test_compiling_without_a_checkout_says_that_it_needs_one(run_beside: RunBeside, installed: Path) -> None:
    done = run_beside([], "compile", "--image", "x", "--pipeline-root", "/x")
    assert done.returncode == 2
    script = installed / "kubeflow" / "compile.py"
    assert f"it needs a checkout of Lookalike, found no {script}" in done.stderr


def test_wheel_holds_every_file_of_the_rooms_and_nothing_else(tracked: list[str], installed: Path) -> None:
    folders_of_code = {PurePosixPath(path).parts[0] for path in tracked if path.endswith(".py") and "/" in path}
    assert folders_of_code > NOT_SHIPPED
    rooms = folders_of_code - NOT_SHIPPED
    expected = {path for path in tracked if PurePosixPath(path).parts[0] in rooms}
    expected |= {path for path in tracked if path.endswith(".py") and "/" not in path}
    files = {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    assert {str(path) for path in files if not path.parts[0].endswith(".dist-info")} == expected


def test_installed_code_has_the_digest_that_it_has_in_the_repository(installed: Path) -> None:
    module = "components.index_builder"
    ask = f"from components.source_digest import source_digest; print(source_digest({module!r}))"
    command = [sys.executable, "-B", "-c", ask]
    told = subprocess.run(command, cwd=installed, check=True, capture_output=True, text=True).stdout
    assert told.strip() == source_digest(module)


def test_lock_fits_the_dependencies() -> None:
    uv = os.environ.get("UV") or shutil.which("uv")  # `uv run` tells where it lies
    if uv is None:
        pytest.skip("needs uv, which is neither on the path nor ran this")
    done = subprocess.run([uv, "lock", "--check", "--offline"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
