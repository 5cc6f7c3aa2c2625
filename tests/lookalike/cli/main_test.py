"""The command line as its user meets it, without the pipelines behind it."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("tensorflow", "tfx", "apache_beam", "numpy", "sqlalchemy", "fastapi")


def lookalike(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lookalike", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def program() -> str:
    """How `lookalike` above calls it, as it is typed where it was called."""
    python = Path(sys.executable)
    return f"{python.relative_to(ROOT) if python.is_relative_to(ROOT) else python} -m lookalike"


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
        "check",
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
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")


def test_a_command_without_a_workspace_says_how_to_make_one(tmp_path: Path) -> None:
    root = tmp_path / "my shop"
    done = lookalike("releases", "--root", str(root))
    assert done.returncode == 2
    start = f"{program()} run --data FOLDER --root '{root}'"
    told = f"expected a workspace at {root}, found no releases; start with `{start}`"
    assert done.stderr == f"error: {told} [NO_WORKSPACE]\n"
    assert done.stdout == ""


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


@pytest.mark.parametrize(
    ("arguments", "status", "code", "words"),
    [
        (["releases"], 2, "NO_WORKSPACE", "found no releases"),
        (["run", "--data", "nowhere"], 65, "BAD_DATA", "nowhere"),
        (["run", "--data", ""], 2, "WRONG_USAGE", "'--data': must name a folder or a manifest, got nothing; `--help`"),
        (["evaluate", "--data", " "], 2, "WRONG_USAGE", "'--data': must name a folder or a manifest, got nothing"),
        (["rollback", "--to", "one"], 2, "WRONG_USAGE", "'--to': must be a whole number; `--help`"),
        (["review", "simulate", "1", "--error-rate", "x"], 2, "WRONG_USAGE", "'--error-rate': must be a number; `--h"),
        (["review", "simulate", "1", "--raters", "0"], 2, "WRONG_USAGE", "'--raters': must be at least 1; `--help`"),
        (["search", __file__, "-k", "201"], 2, "WRONG_USAGE", "'-k': must be at most 200; `--help`"),
    ],
)
def test_an_error_is_one_json_document_with_a_code_for_programs(
    arguments: list[str], status: int, code: str, words: str, tmp_path: Path
) -> None:
    done = lookalike(*arguments, "--json", "--root", str(tmp_path / "root"))
    assert done.returncode == status
    error = json.loads(done.stdout)["error"]
    assert error["code"] == code
    assert words in error["message"]
    assert f"{error['message']} [{code}]" in done.stderr, "people are told as well"


def test_what_the_system_refuses_is_told_by_path_and_way_out(tmp_path: Path) -> None:
    (tmp_path / "workspace.json").mkdir()
    done = lookalike("review", "list", "--root", str(tmp_path))
    assert done.returncode == 1
    told = f"{tmp_path / 'workspace.json'}: is a directory; move it away, or name a file"
    assert done.stderr == f"error: {told} [SYSTEM_REFUSED]\n"


def test_where_nothing_was_promoted_it_says_how(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    done = lookalike("search", __file__, "--root", str(tmp_path))
    assert done.returncode == 1
    told = f"nothing was promoted yet; `{program()} promote --root {tmp_path}` makes one"
    assert done.stderr == f"error: expected a release in {tmp_path}, {told} [RELEASE_REFUSED]\n"


def test_version_is_told() -> None:
    assert lookalike("--version").stdout == f"lookalike {version('lookalike')}\n"


def test_alone_it_shows_its_commands() -> None:
    done = lookalike()
    assert done.returncode == 0
    assert "promote" in done.stdout


def test_a_shell_completes_commands() -> None:
    code = "import sys; sys.argv = ['lookalike']; from lookalike.cli.main import main; main()"
    asked = {"_LOOKALIKE_COMPLETE": "complete_bash", "COMP_WORDS": "lookalike re", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | asked, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["releases", "review"]


@pytest.mark.parametrize("command", ["serve", "serve-model"])
def test_a_store_at_no_address_is_wrong_usage(command: str) -> None:
    done = lookalike(command, "--store", "ftp://host/releases")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Invalid value for '--store': an address must be a path, file:///…, or one of")
    assert done.stderr.count("\n") == 1
