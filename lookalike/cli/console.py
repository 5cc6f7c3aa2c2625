"""What the command shows: answers on standard output; beside them what goes on, what failed and what comes next."""

import json
import logging
import shlex
import shutil
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from lookalike.errors import UserError

# Beside the answer, which alone goes to standard output.
console = Console(stderr=True, emoji=False)

_NOTHING = "–"
_JOINERS = "\u200c\u200d"


def say(text: str) -> None:
    """Prints a message, however long, in one line."""
    console.print(_printable(text), highlight=False, soft_wrap=True)


def tell_error(error: UserError, as_json: bool) -> None:
    """Prints one line for people, and for programs one document on standard output, as every answer is.

    The rooms know us as `lookalike`; here the commands they tell are spelt as this one was called.
    """
    message = " ".join(str(error).split()).replace("`lookalike ", f"`{shlex.join(_program())} ")
    say(f"[bold red]error:[/] {escape(message)} {escape(f'[{error.code}]')}")
    if error.account and not as_json:
        tell_account(error.account)
    if as_json:
        account = {"account": error.account} if error.account else {}
        print_json({"error": {"code": error.code, "message": message, **account}})


def tell_account(document: Mapping[str, Any]) -> None:
    """Prints what became of a source's images: one line, and one for each reason and note where there are any."""
    from lookalike.catalog.account import Account

    account = Account.from_document(document)
    say(escape(account.in_a_line()))
    for line in account.details_in_lines():
        say(escape(f"  {line}"))


def tell_readiness(document: Mapping[str, Any]) -> None:
    """Prints whether a catalogue can be learnt from and measured: a word, and a line for each finding."""
    say(f"readiness: {document['state']}")
    for finding in (*document["stops"], *document["warnings"]):
        say(escape(f"  {finding}"))


def tell_next(*commands: Sequence[object]) -> None:
    """Prints the commands that come next, each so that it can be pasted."""
    for number, words in enumerate(commands):
        say(f"{'then' if number else 'next'}: {escape(shlex.join([*_program(), *map(str, words)]))}")


def tell(told: Mapping[str, Any], as_json: bool, title: str) -> None:
    """Prints names and values, a line each."""
    if as_json:
        return print_json(told)
    _print_lines(title, [f"{name}: {in_words(value)}" for name, value in _flat(told)])


def tell_rows(rows: Sequence[Mapping[str, Any]], as_json: bool, title: str) -> None:
    """Prints short rows that all have the same names, in columns; a line is as long as it is, and never cut."""
    if as_json:
        return print_json(rows)
    if not rows:
        return _print_lines(f"{title}: none yet", [])
    names = [name.replace("_", " ") for name in rows[0]]
    cells = [names, *([_printable(in_words(value)) for value in row.values()] for row in rows)]
    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    _print_lines(title, ["  ".join(map(set_cell_size, line, widths)).rstrip() for line in cells])


def metrics_rows(measured: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Retrieval metrics, as `retrieval.metrics.evaluate_retrieval` gives them, of each who: a row a level and track."""
    from lookalike.retrieval.metrics import METRICS

    short = {"recall": "R", "precision": "P", "map": "mAP", "hierarchical_precision": "hP"}
    names = {f"{short[name]}@{k}": f"{name}_at_{k}" for name, k in (metric.split("_at_") for metric in METRICS)}
    rows = []
    for who, metrics in measured.items():
        for level in ("product", "category"):
            tracks = {track: values for track, values in metrics[level].items() if track != "by_category"}
            for track, values in tracks.items():
                # A track of all the queries is the overall one under another name.
                if values["num_queries"] and (track == "overall" or values != tracks["overall"]):
                    named = level if track == "overall" else f"{level}, {track}"
                    figures = {name: _figure(values[metric]) for name, metric in names.items()}
                    rows.append({"of": who, "by": named, "queries": values["num_queries"]} | figures)
    return rows


def in_words(value: Any) -> str:
    """A value as people read it; documents within it are parted by semicolons."""
    if isinstance(value, Mapping):
        return _listed(f"{name} {in_words(inner)}" for name, inner in _flat(value))
    if isinstance(value, list | tuple):
        return _listed(map(in_words, value), "; " if any(isinstance(one, Mapping) for one in value) else ", ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str("" if value is None else value) or _NOTHING


def _listed(words: Iterable[str], between: str = ", ") -> str:
    return between.join(words) or _NOTHING


def plain(value: Any) -> Any:
    """Dates and paths as text, for JSON and tables."""
    return json.loads(json.dumps(value, default=str))


def print_json(value: Any) -> None:
    """Prints one document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def logs_to_console() -> None:
    """Shows what is logged as a warning or worse; by the console, which keeps it out of a live line."""
    handler = _Shown(lambda record: say(escape(f"{record.levelname.lower()}: {record.getMessage()} [{record.name}]")))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


@contextmanager
def watched_nodes() -> Iterator[Callable[[str], None]]:
    """Shows a pipeline at work; gives what is to be called with each node that starts.

    A line for each node that starts. While it trains: on a terminal a bar in one live line, elsewhere a line an epoch.
    """
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.FATAL)  # TFX tells every step, and what fails is raised as well
    for noisy in ("apache_beam", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    started = time.monotonic()

    def tell_progress(text: str) -> None:
        say(f"[dim]{time.monotonic() - started:6.0f} s[/]  {escape(text)}")

    with (_live_line if console.is_interactive else _lines)(tell_progress) as on_node:
        yield on_node


@contextmanager
def _lines(tell_progress: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    with _training_shown(lambda record: tell_progress(record.getMessage()), logging.INFO):
        yield tell_progress


@contextmanager
def _live_line(tell_progress: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(12), TextColumn("{task.fields[told]}")
    with Progress(*columns, console=console, transient=True, refresh_per_second=4) as bar:

        def on_node(node: str) -> None:
            for done in bar.task_ids:
                bar.remove_task(done)
            bar.add_task(node, total=None, told="")
            tell_progress(node)

        def on_training(record: logging.LogRecord) -> None:
            values: Any = record.args
            told = escape(record.getMessage())
            bar.update(bar.task_ids[0], completed=values["step"], total=values["steps"], told=told)

        bar.add_task("starting", total=None, told="")
        with _training_shown(on_training, logging.DEBUG):
            yield on_node


@contextmanager
def _training_shown(show: Callable[[logging.LogRecord], None], level: int) -> Iterator[None]:
    """Listens to the trainer, which knows nothing of a console: it logs steps at DEBUG and epochs at INFO."""
    log = logging.getLogger("trainer.progress")
    handler, before = _Shown(show), (log.level, log.propagate)
    log.addHandler(handler)
    log.setLevel(level)
    log.propagate = False
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(before[0])
        log.propagate = before[1]


class _Shown(logging.Handler):
    """Hands records on to a function."""

    def __init__(self, show: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        """Called by the logger."""
        self._show(record)


def _print_lines(title: str, lines: Sequence[str]) -> None:
    answer = Console(emoji=False)
    answer.print(_printable(title), style="bold", markup=False, highlight=False, soft_wrap=True)
    for line in lines:
        answer.print(_printable(line), markup=False, highlight=False, soft_wrap=True)


def _printable(text: str) -> str:
    """Text that stays in its line and moves no cursor, whoever wrote it: what a terminal would obey is spelt out."""
    return "".join(one if _is_shown(one) else one.encode("unicode_escape").decode() for one in text)


def _is_shown(character: str) -> bool:
    """Spaces of every script are, and what joins letters and emoji."""
    return character.isprintable() or unicodedata.category(character) == "Zs" or character in _JOINERS


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _flat(told: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of a document inside with its name before theirs."""
    for name, value in told.items():
        readable = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield from ((f"{readable}, {inner}", found) for inner, found in _flat(value))
        else:
            yield readable, value


def _program() -> list[str]:
    """How this command was called, so that it can be called again from the same place."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [_typed(Path(sys.executable)), "-m", "lookalike"]
    return [_typed(called)]


def _typed(program: Path) -> str:
    if program.absolute().is_relative_to(Path.cwd()):
        return str(program.absolute().relative_to(Path.cwd()))
    return program.name if shutil.which(program.name) == str(program) else str(program)
