import io
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lookalike.cli import console
from lookalike.errors import UserError

TRAINING = logging.getLogger("trainer.progress")
LONG = "/srv/:bag:/" + "a-folder-with-a-long-name/" * 8 + "page.html"


def step(number: int, level: int = logging.DEBUG) -> None:
    """What trainer/progress.py logs after a step of 4."""
    TRAINING.log(level, "epoch 1/2: loss %(loss).3f", {"step": number, "steps": 4, "loss": 1.25})


def test_a_document_is_a_line_a_value_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"round_id": 3, "simulated": False, "verdict": None, "refusals": [], "worked": ["Trainer", "OpenReview"]}
    console.tell(told | {"metrics": {"recall_at_1": 0.69566}, "page": LONG}, as_json=False, title="Round 3")
    assert capsys.readouterr().out.splitlines() == [
        "Round 3",
        "round id: 3",
        "simulated: no",
        "verdict: –",
        "refusals: –",
        "worked: Trainer, OpenReview",
        "metrics, recall at 1: 0.6957",
        f"page: {LONG}",
    ]


def test_rows_are_columns_as_wide_as_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"what": "[鞋]", "ok": True, "found": LONG}, {"what": "hats", "ok": None, "found": 2}]
    console.tell_rows(rows, as_json=False, title="Found")
    assert capsys.readouterr().out.splitlines() == [
        "Found",
        "what  ok   found",
        f"[鞋]  yes  {LONG}",
        "hats  –    2",
    ]


def test_documents_within_a_value_are_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"found": [{"is_new": True, "title": None}, {"at": {"x": 1}}], "none": [{}], "sizes": [1, 2]}
    console.tell(told, as_json=False, title="Search")
    assert capsys.readouterr().out.splitlines() == [
        "Search",
        "found: is new yes, title –; at, x 1",
        "none: –",
        "sizes: 1, 2",
    ]


HOSTILE = "a\x1b[2J\nred\x9b31m\u202e bag\u2028\ud800"
SPELT = "a\\x1b[2J\\nred\\x9b31m\\u202e bag\\u2028\\ud800"


def test_what_a_terminal_would_obey_is_spelt_out(capsys: pytest.CaptureFixture[str]) -> None:
    console.tell_rows([{"title": HOSTILE, "k": 1}, {"title": "b", "k": 2}], as_json=False, title=HOSTILE)
    console.tell({"title": HOSTILE}, as_json=False, title="Task")
    console.tell_error(UserError(f"no such file: {HOSTILE}".replace("\n", "")), as_json=False)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        SPELT,
        f"title{' ' * (len(SPELT) - 5)}  k",
        f"{SPELT}  1",
        f"b{' ' * (len(SPELT) - 1)}  2",
        "Task",
        f"title: {SPELT}",
    ]
    told = SPELT.replace("\\n", "").replace("\\u2028", " ")
    assert shown.err == f"error: no such file: {told} [FAILED]\n"


def test_letters_and_spaces_of_every_script_are_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    title = "\u0646\u0645\u06cc\u200c\u062e \u978b\u3000\u00a0👩\u200d🦰"
    console.tell({"title": title}, as_json=False, title="Task")
    assert capsys.readouterr().out == f"Task\ntitle: {title}\n"


def test_no_rows_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    console.tell_rows([], as_json=False, title="Releases")
    assert capsys.readouterr().out == "Releases: none yet\n"


@pytest.mark.parametrize(
    ("called", "program"),
    [
        ("shop/.venv/bin/lookalike", "shop/.venv/bin/lookalike"),
        ("shop/lookalike/__main__.py", "shop/my\\ python -m lookalike"),
    ],
)
def test_the_next_step_can_be_pasted(
    called: str, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / called)])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "shop/my python"))
    console.tell_next(["review", "show", 1, "--root", Path("my shop")], ["promote", "--root", Path("my shop")])
    program = program.replace("shop/my\\ python", "'shop/my python'")
    assert capsys.readouterr().err.splitlines() == [
        f"next: {program} review show 1 --root 'my shop'",
        f"then: {program} promote --root 'my shop'",
    ]


def test_without_a_terminal_nodes_and_epochs_are_plain_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with console.watched_nodes() as on_node:
        on_node("Trainer")
        step(1)
        step(2, logging.INFO)
    assert capsys.readouterr().err.splitlines() == ["     0 s  Trainer", "     0 s  epoch 1/2: loss 1.250"]


def test_a_terminal_has_one_live_line_with_the_node_and_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=screen, force_terminal=True, color_system=None, width=80))
    with console.watched_nodes() as on_node:
        on_node("Trainer")
        step(1)
        screen.truncate(0)
        step(2, logging.INFO)
        monkeypatch.undo()
    last_line = screen.getvalue().split("\r")[-1]
    assert "\x1b[?25h" in screen.getvalue(), "the cursor is shown again"
    assert "Trainer" in screen.getvalue()
    assert "epoch 1/2: loss 1.250" in screen.getvalue()
    assert "\n" not in last_line


def test_the_trainers_log_is_left_as_it_was() -> None:
    before = (TRAINING.level, TRAINING.propagate, list(TRAINING.handlers))
    with pytest.raises(ZeroDivisionError), console.watched_nodes():
        _ = 1 / 0
    assert (TRAINING.level, TRAINING.propagate, list(TRAINING.handlers)) == before
