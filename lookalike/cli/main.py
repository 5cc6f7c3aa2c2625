"""The `lookalike` command: parse, build settings, call one function. Heavy imports wait for who needs them."""

import logging
import os
import warnings

import typer

from lookalike.cli import doctor, pipelines, review, search

app = typer.Typer(
    help="Daily-retrained visual search for product catalogues.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (pipelines, search, doctor):
    app.add_typer(group.group)
app.add_typer(review.group, name="review")


def main() -> None:
    """The entry point: sets the environment that TensorFlow reads when it is imported."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TFX 1.16 needs Keras 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised; the rest is about absent GPUs
    warnings.filterwarnings("ignore", category=FutureWarning)  # Google's clients, of every Python 3.10
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()
