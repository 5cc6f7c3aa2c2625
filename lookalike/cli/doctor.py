"""The command that looks for what is wrong."""

from dataclasses import asdict

import typer

from lookalike.cli.console import print_json, tell_rows
from lookalike.cli.options import ROOT, AsJson, Root

group = typer.Typer()


@group.command()
def doctor(root: Root = ROOT, as_json: AsJson = False) -> None:
    """Check this machine and every file of the workspace. Ends with 1 where something is wrong."""
    from lookalike.local.doctor import examine

    findings = examine(root)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [{"": "ok" if one.ok else "not ok", "what": one.what, "found": one.told} for one in findings]
        tell_rows(rows, as_json, title="Doctor")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
