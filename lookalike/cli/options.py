"""What the commands share: the options that several of them take, and the workspace at a root."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lookalike.configs.settings import Settings
    from lookalike.local.workspace import Workspace
    from lookalike.release.store import ReleaseStore

Root = Annotated[Path, typer.Option("--root", help="The workspace: everything is kept below it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
Preset = Annotated[str, typer.Option("--config", help="A preset: demo, folder or production.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")]
ROOT = Path("workspace")
DATA_HELP = (
    "Class folders; or a table (CSV, TSV, JSON Lines, JSON, Parquet, .xlsx, XML) that names images, or its folder; "
    "or span=YYYY-MM-DD folders of either. docs/data.md has the columns and limits."
)


def data_option(help_: str) -> Any:
    """The option that names photos, with what it says of them."""
    return typer.Option("--data", help=help_, callback=_named)


def need_rooms() -> None:
    """To be called before anything of the pipeline's rooms is imported."""
    from lookalike.rooms import check_rooms

    check_rooms()


def settings_of(config: str, overrides: list[str] | None) -> "Settings":
    """The named settings with the overrides of `--set`."""
    from lookalike.configs.settings import load_settings

    return load_settings(config, overrides or [])


def open_root(root: Path) -> "tuple[Workspace, Settings]":
    """The workspace that a run made at a root, with its settings."""
    from lookalike.local.workspace import open_workspace

    return open_workspace(root)


def open_store(root: Path) -> "ReleaseStore":
    """The releases at a root, which need no settings."""
    from lookalike.local.workspace import open_releases

    return open_releases(root)


def _named(source: str) -> str:
    if not source.strip():  # which a path takes for the folder that the command was called in
        raise typer.BadParameter("must name a folder or a manifest, got nothing")
    return source
