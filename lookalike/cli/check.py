"""The command that says what a run would make of a source."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from lookalike.cli.console import print_json, say, tell_account, tell_readiness, tell_rows
from lookalike.cli.options import DATA_HELP, AsJson, Overrides, Preset, data_option, settings_of
from lookalike.errors import EXIT_BAD_DATA

if TYPE_CHECKING:
    from lookalike.catalog.check import Checked

group = typer.Typer()
SHOWN_CLASSES = 20


@group.command()
def check(
    data: Annotated[str, data_option(DATA_HELP)],
    config: Preset = "folder",
    set_: Overrides = None,
    every: Annotated[bool, typer.Option("--all", help="Open every image, however long that takes.")] = False,
    page: Annotated[Path | None, typer.Option("--page", help="Write a page with pictures to this HTML file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a run would keep, set aside and split, and why; trains nothing. Ends with 65 where a run would stop."""
    from lookalike.catalog.check import SAMPLE_S, check_source
    from lookalike.catalog.sources import kept_in

    ingest = settings_of(config, set_).ingest
    with TemporaryDirectory() as carried:
        checked = check_source(data, ingest, kept_in(carried), sample_s=float("inf") if every else SAMPLE_S)
    if page:
        from lookalike.local.check_page import render_page

        page.write_text(render_page(data, checked))
    if as_json:
        print_json(checked.to_document())
    else:
        _tell(checked)
        say(f"page: {page}" if page else "pictures: --page FILE.html writes them")
    if not checked.is_ready:
        raise typer.Exit(EXIT_BAD_DATA)


def _tell(checked: "Checked") -> None:
    tell_account(checked.account.to_document())
    num_unopened = checked.account.read - len(checked.letters) - checked.num_opened
    if num_unopened > 0:
        say(
            f"of {num_unopened:,} images the first bytes alone were read, so that copies among them are not known; "
            "--all opens all"
        )
    rows = class_rows(checked)
    tell_rows(rows[:SHOWN_CLASSES], as_json=False, title="Products of each category, by split")
    if len(rows) > SHOWN_CLASSES:
        say(f"… and {len(rows) - SHOWN_CLASSES:,} more categories, all by --json")
    tell_readiness(checked.readiness.to_document())
    if checked.refusal:
        say(f"[bold red]a run would stop:[/] {escape(checked.refusal)}")


def class_rows(checked: "Checked") -> list[dict[str, Any]]:
    """A row for each category, the smallest first, and one for all."""
    classes = checked.readiness.classes.items()
    smallest_first = sorted(classes, key=lambda one: (sum(one[1].values()), one[0]))
    return [{"category": "all", **checked.readiness.products}] + [
        {"category": category, **{split: products.get(split, 0) for split in checked.readiness.products}}
        for category, products in smallest_first
    ]
