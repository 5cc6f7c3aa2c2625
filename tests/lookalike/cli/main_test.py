"""The command line as its user meets it, without the pipelines behind it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("tensorflow", "tfx", "apache_beam", "numpy", "sqlalchemy", "fastapi")


def lookalike(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lookalike", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from lookalike.cli import main
try: main.app(["--help"])
finally: print(sorted(set(sys.modules) & set(sys.argv[1:])))
"""
    done = subprocess.run([sys.executable, "-c", code, *HEAVY], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_manual_is_there() -> None:
    told = lookalike("--help").stdout
    for command in [
        "demo",
        "run",
        "review",
        "promote",
        "serve",
        "search",
        "evaluate",
        "releases",
        "rollback",
        "compile",
        "doctor",
    ]:
        assert command in told
    told = lookalike("review", "--help").stdout
    for command in ["list", "show", "judge", "simulate", "bless", "reject"]:
        assert command in told


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--data", "x", "--config", "nonsense"],
        ["run", "--data", "x", "--set", "training.epochs=-1"],
        ["run", "--data", "x", "--set", "review.non_inferiority_margin=1"],
        ["run"],
        ["nonsense"],
    ],
)
def test_wrong_usage_ends_with_2_and_one_line_of_why(arguments: list[str], tmp_path: Path) -> None:
    done = lookalike(*arguments, *(["--root", str(tmp_path)] if "--data" in arguments else []))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_command_without_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    done = lookalike("releases", "--root", str(tmp_path))
    assert done.returncode == 2
    assert "lookalike run" in done.stderr


def test_a_setting_that_is_gone_does_not_stop_what_reads_releases_alone(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "workspace.json").write_text('{"config": "folder", "overrides": ["training.gone=1"]}')
    listed = lookalike("releases", "--json", "--root", str(tmp_path))
    assert (listed.returncode, listed.stdout) == (0, "[]\n")
    rounds = lookalike("review", "list", "--root", str(tmp_path))
    assert rounds.returncode == 2
    assert "workspace.json: training has the keys" in rounds.stderr


def test_a_source_that_is_not_there_ends_with_65(tmp_path: Path) -> None:
    done = lookalike("run", "--data", str(tmp_path / "nowhere"), "--root", str(tmp_path / "root"))
    assert done.returncode == 65
    assert "nowhere" in done.stderr
