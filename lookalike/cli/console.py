"""What the command shows: tables for people, JSON for programs, and the node that is at work."""

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lookalike.errors import UserError

# Beside the answer, which alone goes to standard output.
console = Console(stderr=True)


@contextmanager
def watched_nodes() -> Iterator[Callable[[str], None]]:
    """A spinner with the node that is at work, and a line for each that is done."""
    from absl import logging as absl_logging

    absl_logging.set_verbosity(absl_logging.FATAL)  # TFX tells every step, and what fails is raised as well
    for noisy in ("apache_beam", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    started = time.monotonic()
    with console.status("starting") as status:

        def on_node(node: str) -> None:
            console.print(f"[dim]{time.monotonic() - started:6.0f} s[/]  {node}", highlight=False)
            status.update(node)

        yield on_node


def logs_to_console() -> None:
    """Sends what is logged as a warning or worse to where messages go."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def tell_error(error: UserError, as_json: bool) -> None:
    """Prints one line for people, and for programs one document on standard output, as every answer is."""
    message = " ".join(str(error).split())
    console.print(f"[bold red]error:[/] {escape(message)} {escape(f'[{error.code}]')}", highlight=False, soft_wrap=True)
    if as_json:
        print_json({"error": {"code": error.code, "message": message}})


def tell(told: dict[str, Any], as_json: bool, title: str) -> None:
    """Prints names and values."""
    if as_json:
        return print_json(told)
    table = Table(title=title, show_header=False, title_justify="left")
    for name, value in told.items():
        table.add_row(name.replace("_", " "), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    Console().print(table)


def tell_rows(rows: list[dict[str, Any]], as_json: bool, title: str) -> None:
    """Prints rows that all have the same names."""
    if as_json:
        return print_json(rows)
    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ["nothing here yet"]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


def metrics_table(rows: dict[str, dict[str, Any]]) -> Table:
    """Retrieval metrics, as `retrieval.metrics.evaluate_retrieval` gives them, of each who."""
    from lookalike.retrieval.metrics import METRICS

    short = {"recall": "R", "precision": "P", "map": "mAP", "hierarchical_precision": "hP"}
    names = (metric.split("_at_") for metric in METRICS)
    table = Table("", "by", "queries", *(f"{short[name]}@{k}" for name, k in names))
    for who, metrics in rows.items():
        for level in ("product", "category"):
            tracks = {track: values for track, values in metrics[level].items() if track != "by_category"}
            for track, values in tracks.items():
                # A track of all the queries is the overall one under another name.
                if values["num_queries"] and (track == "overall" or values != tracks["overall"]):
                    figures = ("–" if values[metric] is None else f"{values[metric]:.3f}" for metric in METRICS)
                    named = level if track == "overall" else f"{level}, {track}"
                    table.add_row(who, named, str(values["num_queries"]), *figures)
    return table


def plain(value: Any) -> Any:
    """Dates and paths as text, for JSON and tables."""
    return json.loads(json.dumps(value, default=str))


def print_json(value: Any) -> None:
    """Prints one document."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
