"""What the commands share: the options that several of them take, the workspace at a root, how failures are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from lookalike.cli.console import console
from lookalike.errors import EXIT_FAILED, UserError

if TYPE_CHECKING:
    from lookalike.configs.settings import Settings
    from lookalike.local.workspace import Workspace

Root = Annotated[Path, typer.Option("--root", help="The workspace: everything is kept below it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ROOT = Path("workspace")


@contextmanager
def failures_told() -> Iterator[None]:
    """What a user can mend ends with one line and its exit code; anything else is a defect and keeps its traceback."""
    try:
        yield
    except (UserError, OSError) as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_status if isinstance(error, UserError) else EXIT_FAILED) from error


def settings_of(config: str, overrides: list[str] | None) -> "Settings":
    """The named settings with the overrides of `--set`."""
    from lookalike.configs.settings import load_settings

    return load_settings(config, overrides or [])


def remember(root: Path, config: str, overrides: list[str] | None, settings: "Settings") -> "Workspace":
    """The workspace at a root, which from now on is known by these settings."""
    from lookalike.local.workspace import Workspace

    workspace = Workspace(root, settings)
    workspace.remember(config, overrides or [])
    return workspace


def open_root(root: Path) -> "tuple[Workspace, Settings]":
    """The workspace that a run made at a root, with its settings."""
    from lookalike.local.workspace import open_workspace

    return open_workspace(root)
