"""The `lookalike` command: parse, build settings, call one function. Heavy imports wait for who needs them."""

import os
import re
import sys
import warnings
from importlib.metadata import version
from typing import Annotated

import typer

from lookalike.cli import check, doctor, pipelines, review, search
from lookalike.cli.console import logs_to_console, tell_error
from lookalike.errors import EXIT_USAGE, SystemRefusedError, UserError

app = typer.Typer(invoke_without_command=True, pretty_exceptions_enable=False)
for group in (check, pipelines, search, doctor):
    app.add_typer(group.group)
app.add_typer(review.group, name="review")


_WORDS = {
    r"Input should be a valid integer\b.*": "must be a whole number",
    r"Input should be a valid number\b.*": "must be a number",
    r"Input should be greater than or equal to": "must be at least",
    r"Input should be less than or equal to": "must be at most",
}


class WrongUsageError(UserError, code="WRONG_USAGE", exit_status=EXIT_USAGE):
    """A command line that is not one of ours."""


def main() -> None:
    """The entry point: sets the environment that TensorFlow reads when it is imported."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TFX 1.16 needs Keras 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised; the rest is about absent GPUs
    warnings.filterwarnings("ignore", category=FutureWarning)  # Google's clients, of every Python 3.10
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logs_to_console()
    sys.exit(_exit_status())


def _exit_status() -> int:
    """Runs the command; what a user can mend ends with one line, anything else is a defect and keeps its traceback."""
    told: UserError
    try:
        return int(app(standalone_mode=False) or 0)
    except UserError as error:
        told = error
    except typer.TyperException as error:
        told = WrongUsageError(f"{_in_our_words(error.format_message())}; `--help` lists what is expected")
    except OSError as error:
        told = SystemRefusedError.of(error)
    # From the words themselves: a command line that cannot be parsed is told to programs as well.
    tell_error(told, as_json="--json" in sys.argv)
    return told.exit_status


def _in_our_words(message: str) -> str:
    """What the parser complains about, without the words of the library that reads its numbers."""
    for theirs, ours in _WORDS.items():
        message = re.sub(theirs, ours, message)
    return message.rstrip(".")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lookalike {version('lookalike')}")
        raise typer.Exit


@app.callback()
def lookalike(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Daily-retrained visual search for product catalogues."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
