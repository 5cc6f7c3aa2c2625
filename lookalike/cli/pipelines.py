"""The commands that run a pipeline, or compile it."""

import runpy
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.app import ROOT, AsJson, Root, open_root, settings_of
from lookalike.cli.console import console, print_json, tell, tell_rows, watched_nodes
from lookalike.errors import EXIT_AWAITING_REVIEW, EXIT_REJECTED

group = typer.Typer()


@group.command()
def demo(
    root: Root = Path("demo"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a catalogue, train, let simulated raters judge, promote, serve and search: everything once."""
    from lookalike.local.demo import run_demo

    with watched_nodes() as on_node:
        told = run_demo(root, set_ or [], on_node)
    tell(told, as_json, title="What the demo did")
    if not as_json:
        console.print(f"Report: {root / 'report.html'}   pictures: {root / 'neighbours.png'}")
        console.print(f"Go on:  lookalike serve --root {root}        and open the page it names")
        console.print("        lookalike run --data YOUR_PHOTOS --root ./workspace")


@group.command()
def run(
    data: Annotated[str, typer.Option("--data", help="Folder of class folders, or a CSV/JSONL/Parquet manifest.")],
    config: Annotated[str, typer.Option("--config", help="A preset: demo, folder or production.")] = "folder",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    root: Root = ROOT,
    by: Annotated[str, typer.Option("--by", help="Who starts the run; somebody else has to bless it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train on a catalogue and put the candidate before people. Ends with 75 while it awaits their decision."""
    from lookalike.catalog.sources import fingerprint, open_source

    settings = settings_of(config, set_)
    # Before the half minute that TFX takes to import: what is wrong with the source is told at once.
    day = fingerprint(open_source(data, window_spans=settings.ingest.window_spans))
    from lookalike.local.runs import Request, candidate_state, train
    from lookalike.local.workspace import Workspace

    workspace = Workspace(root, settings)
    with watched_nodes() as on_node:
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
        print_json(told | {"accuracy": training.accuracy})
    else:
        tell_rows(training.accuracy, as_json, title="Accuracy on held-out images")
        tell(told, as_json, title="Training")
    if state == "awaiting review":
        console.print(
            f"Next: lookalike review show {training.candidate.round_id} --root {root}, then lookalike promote"
        )
        raise typer.Exit(EXIT_AWAITING_REVIEW)
    if state in ("refused", "rejected"):
        raise typer.Exit(EXIT_REJECTED)


@group.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="Candidate id; the newest when left out.")] = "",
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Turn a blessed candidate into the release that serves. Ends with 75 while undecided, 76 when rejected."""
    workspace, settings = open_root(root)
    from lookalike.local.runs import find_candidate
    from lookalike.local.runs import promote as promote_candidate

    with watched_nodes() as on_node:
        promotion = promote_candidate(workspace, settings, find_candidate(workspace, candidate), on_node)
    release = promotion.release
    told = {
        "version": release.version,
        "directory": str(release.directory),
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
    config: Annotated[str, typer.Option("--config", help="A preset: demo, folder or production.")] = "production",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compile both pipelines for Kubeflow Pipelines / Vertex; needs a checkout, as building the image does."""
    # A script, not a package: another distribution owns the import name `kubeflow`.
    script = Path(__file__).parents[2] / "kubeflow" / "compile.py"
    compile_pipelines = runpy.run_path(str(script))["compile_pipelines"]
    paths = compile_pipelines(settings_of(config, set_), output_dir=output, image=image, root=pipeline_root)
    tell({path.stem: str(path) for path in paths}, as_json, title="Compiled")
