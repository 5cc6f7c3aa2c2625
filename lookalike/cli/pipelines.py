"""The commands that run a pipeline, or compile it."""

import runpy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from lookalike.cli.console import (
    print_json,
    say,
    tell,
    tell_account,
    tell_next,
    tell_readiness,
    tell_rows,
    watched_nodes,
)
from lookalike.cli.options import (
    DATA_HELP,
    ROOT,
    AsJson,
    Overrides,
    Preset,
    Root,
    data_option,
    need_rooms,
    open_root,
    settings_of,
)
from lookalike.errors import EXIT_AWAITING_REVIEW, EXIT_REJECTED

group = typer.Typer()
SHOWN_CATEGORIES = 5  # the worst, and as many of the best


@group.command()
def demo(
    root: Root = Path("demo"),
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Draw a catalogue, train, let simulated raters judge, promote, serve and search: everything once."""
    need_rooms()
    from lookalike.local.demo import run_demo

    with watched_nodes() as on_node:
        told = run_demo(root, set_ or [], on_node)
    tell(told, as_json, title="What the demo did")
    if not as_json:
        say(f"report: {root / 'report.html'}")
        say(f"pictures: {root / 'neighbours.png'}")
        tell_next(["serve", "--root", root], ["run", "--data", "YOUR_PHOTOS", "--root", ROOT])


@group.command()
def run(
    data: Annotated[str, data_option(DATA_HELP)],
    config: Preset = "folder",
    set_: Overrides = None,
    root: Root = ROOT,
    by: Annotated[str, typer.Option("--by", help="Who starts the run; somebody else has to bless it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train on a catalogue and put the candidate before people. Ends with 75 while it awaits their decision."""
    need_rooms()
    from lookalike.catalog.account import accounted
    from lookalike.catalog.fingerprints import fingerprint
    from lookalike.catalog.sources import account_of_rows, open_source

    settings = settings_of(config, set_)
    # Before the half minute that TFX takes to import: what is wrong with the source is told at once.
    source = open_source(data, window_spans=settings.ingest.window_spans, settings=settings.ingest)
    day = fingerprint(source)
    from lookalike.local.runs import CandidateState, Request, candidate_state, train
    from lookalike.local.workspace import Workspace

    workspace = Workspace(root, settings)
    with watched_nodes() as on_node, accounted(lambda: account_of_rows(source)):
        training = train(workspace, settings, Request(data, day, by, config, set_ or []), on_node)
    state = candidate_state(workspace, training.candidate)
    told = {
        "candidate": training.candidate.candidate_id,
        "state": state,
        "round": training.candidate.round_id,
        "refusals": list(training.candidate.refusals),
        "submitted_by": training.candidate.submitted_by,
        "stands": list(training.candidate.stands),
        "evaluation": f"{training.candidate.evaluation_uri}/page.html",
        "worked": list(training.run.worked),
        "cached": list(training.run.cached),
    }
    if as_json:
        print_json(told | {name: getattr(training, name) for name in ("account", "readiness", "accuracy")})
    else:
        tell_account(training.account)
        tell_readiness(training.readiness)
        tell_rows(telling_slices(training.accuracy), as_json, title="Accuracy on held-out images")
        tell(told, as_json, title="Training")
    if state == CandidateState.AWAITING_REVIEW:
        tell_next(["review", "show", training.candidate.round_id, "--root", root], ["promote", "--root", root])
        raise typer.Exit(EXIT_AWAITING_REVIEW)
    if state in (CandidateState.REFUSED, CandidateState.REJECTED):
        raise typer.Exit(EXIT_REJECTED)


@group.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="Candidate id; the newest when left out.")] = "",
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Turn a blessed candidate into the release that serves. Ends with 75 while undecided, 76 when rejected."""
    need_rooms()
    workspace, settings = open_root(root)
    from lookalike.local.runs import find_candidate
    from lookalike.local.runs import promote as promote_candidate

    with watched_nodes() as on_node:
        promotion = promote_candidate(workspace, settings, find_candidate(workspace, candidate), on_node)
    release = promotion.release
    told = {
        "version": release.version,
        "directory": release.address,
        "decision": release.decision_id,
        "simulated": release.manifest.facts["simulated"],
        "worked": list(promotion.run.worked),
        "cached": list(promotion.run.cached),
    }
    tell(told, as_json, title="Release")


@group.command("compile")
def compile_(
    image: Annotated[str, typer.Option("--image", help="Container image with this code (kubeflow/Dockerfile).")],
    pipeline_root: Annotated[str, typer.Option("--pipeline-root", help="Where the cluster keeps things, gs://… .")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the two pipeline specs.")] = Path("compiled"),
    config: Preset = "production",
    set_: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Compile both pipelines for Kubeflow Pipelines / Vertex; needs a checkout, as building the image does."""
    need_rooms()
    # A script, not a package: another distribution owns the import name `kubeflow`.
    script = Path(__file__).parents[2] / "kubeflow" / "compile.py"
    if not script.exists():
        raise typer.BadParameter(f"it needs a checkout of Lookalike, found no {script}")
    compile_pipelines = runpy.run_path(str(script))["compile_pipelines"]
    paths = compile_pipelines(settings_of(config, set_), output_dir=output, image=image, root=pipeline_root)
    tell({path.stem: str(path) for path in paths}, as_json, title="Compiled")


def telling_slices(accuracy: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The rows of `components.accuracy` that people look at: all but the categories in between, counted in one row."""
    ranked = sorted((row for row in accuracy if _is_category(row)), key=lambda row: row["accuracy"])
    others = [row for row in accuracy if not _is_category(row)]
    left_out = len(ranked) - 2 * SHOWN_CATEGORIES
    if left_out <= 0:
        return [*others, *ranked]
    between = {"slice": f"… {left_out} categories between, all by --json", "images": None, "accuracy": None}
    return [*others, *ranked[:SHOWN_CATEGORIES], between, *ranked[-SHOWN_CATEGORIES:]]


def _is_category(row: Mapping[str, Any]) -> bool:
    return str(row["slice"]).startswith("category ")
