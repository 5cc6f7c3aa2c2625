"""The command that looks for what is wrong."""

from dataclasses import asdict

import typer

from lookalike.cli.app import ROOT, AsJson, Root
from lookalike.cli.console import tell_rows

group = typer.Typer()


@group.command()
def doctor(root: Root = ROOT, as_json: AsJson = False) -> None:
    """Check this machine and the workspace."""
    from lookalike.local.doctor import examine

    rows = [asdict(finding) for finding in examine(root)]
    tell_rows(rows, as_json, title="Doctor")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)
