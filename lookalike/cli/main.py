"""The `lookalike` command: parse, build settings, call one function. Heavy imports wait for who needs them."""

import logging
import os
import runpy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lookalike.cli.console import console, metrics_table, plain, print_json, tell, tell_rows, watched_nodes
from lookalike.errors import EXIT_AWAITING_REVIEW, EXIT_FAILED, EXIT_REJECTED, UserError

if TYPE_CHECKING:
    from lookalike.configs.settings import Settings
    from lookalike.local.workspace import Workspace
    from lookalike.release.store import ReleaseStore

app = typer.Typer(
    help="Daily-retrained visual search for product catalogues.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
review_app = typer.Typer(help="Judge candidates and decide on them.", no_args_is_help=True)
app.add_typer(review_app, name="review")

Root = Annotated[Path, typer.Option("--root", help="The workspace: everything is kept below it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
ROOT = Path("workspace")


def main() -> None:
    """The entry point: sets the environment that TensorFlow reads when it is imported."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # TFX 1.16 needs Keras 2
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what matters is raised; the rest is about absent GPUs
    warnings.filterwarnings("ignore", category=FutureWarning)  # Google's clients, of every Python 3.10
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    app()


@app.command()
def demo(
    root: Root = Path("demo"),
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw a catalogue, train, let simulated raters judge, promote, serve and search: everything once."""
    with _failures_told():
        from lookalike.local.demo import run_demo

        with watched_nodes() as on_node:
            told = run_demo(root, set_ or [], on_node)
    tell(told, as_json, title="What the demo did")
    if not as_json:
        console.print(f"Report: {root / 'report.html'}   pictures: {root / 'neighbours.png'}")
        console.print(f"Go on:  lookalike serve --root {root}        and open the page it names")
        console.print("        lookalike run --data YOUR_PHOTOS --root ./workspace")


@app.command()
def run(
    data: Annotated[str, typer.Option("--data", help="Folder of class folders, or a CSV/JSONL/Parquet manifest.")],
    config: Annotated[str, typer.Option("--config", help="A preset: demo, folder or production.")] = "folder",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    root: Root = ROOT,
    by: Annotated[str, typer.Option("--by", help="Who starts the run; somebody else has to bless it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Train on a catalogue and put the candidate before people. Ends with 75 while it awaits their decision."""
    with _failures_told():
        from lookalike.catalog.sources import fingerprint, open_source

        settings = _settings(config, set_)
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


@app.command()
def promote(
    candidate: Annotated[str, typer.Argument(help="Candidate id; the newest when left out.")] = "",
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Turn a blessed candidate into the release that serves. Ends with 75 while undecided, 76 when rejected."""
    with _failures_told():
        workspace, settings = _open(root)
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


@app.command()
def serve(
    root: Root = ROOT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the search service.")] = 8080,
    encoder: Annotated[str, typer.Option(help="grpc://host:port of a TF Serving; in process when left out.")] = "",
) -> None:
    """Serve search on the current release, and on those that follow, until Ctrl-C."""
    with _failures_told():
        from lookalike.http.server import serve_until_signal
        from serving.search_service import serve as start

        server = start(_store(root).root, host=host, port=port, encoder_url=encoder or None)
        console.print(f"Search page and API: {server.url}   (Ctrl-C stops it)", soft_wrap=True, markup=False)
        serve_until_signal(server)


@app.command("serve-model")
def serve_model(
    root: Root = ROOT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC API.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the REST API.")] = 8501,
) -> None:
    """Serve the encoder by TF Serving's gRPC and REST API, as a stock tensorflow/serving would."""
    with _failures_told():
        from lookalike.http.server import serve_until_signal
        from serving.model_server import serve as start

        server = start(_store(root).root / "encoder", "encoder", grpc_port, rest_port, host=host)
        console.print(
            f"gRPC {server.grpc_address}, REST {server.rest_url}   (Ctrl-C stops it)", soft_wrap=True, markup=False
        )
        serve_until_signal(server)


@app.command()
def search(
    image: Annotated[Path, typer.Argument(help="A photo.", exists=True, dir_okay=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many products.")] = 10,
    category: Annotated[str, typer.Option(help="Only this category and those below it.")] = "",
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Show the products that look like a photo."""
    with _failures_told():
        from serving.search_service import SearchParameters, SearchRequest, search_release
        from serving.searcher import load_release

        release = _release(root)
        request = SearchRequest(image.read_bytes(), SearchParameters(k=k, category=category))
        found = search_release(load_release(release), request)
    if as_json:
        return print_json(found)
    table = Table("rank", "score", "product", "category", "title", title=f"Release {found['release']}")
    for hit in found["results"]:
        table.add_row(str(hit["rank"]), f"{hit['score']:.3f}", hit["product_id"], hit["category"], hit["title"])
    Console().print(table)


@app.command()
def evaluate(
    data: Annotated[str, typer.Option("--data", help="Labelled photos: folder of class folders, or a manifest.")],
    root: Root = ROOT,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also an untrained network and colour alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure labelled photos against the gallery of the current release."""
    with _failures_told():
        from lookalike.quality.baselines import colour_embeddings
        from lookalike.quality.evaluation import evaluate_baseline, evaluate_release, read_queries

        _, settings = _open(root)
        release = _release(root)
        queries = read_queries(data, int(release.manifest.facts["longest_side_px"]))
        rows = {f"release {release.version}": evaluate_release(release, queries)}
        if baselines:
            from trainer.untrained import untrained_encoder

            untrained = untrained_encoder(settings.model, settings.training.seed)
            rows["untrained network"] = evaluate_baseline(release, queries, untrained)
            rows["colour histogram"] = evaluate_baseline(release, queries, colour_embeddings)
    if as_json:
        return print_json({"num_queries": len(queries.rows), "num_unusable": queries.num_unusable, "metrics": rows})
    Console().print(metrics_table(rows))
    if queries.num_unusable:
        console.print(f"{queries.num_unusable} images could not be used")


@app.command()
def releases(root: Root = ROOT, as_json: AsJson = False) -> None:
    """List the releases, the one that serves marked."""
    with _failures_told():
        store = _store(root)
        current = store.current()
        rows = [
            {
                "version": release.version,
                "serving": current is not None and release.version == current.version,
                "candidate": release.manifest.facts["candidate_id"],
                "decision": release.decision_id,
                "simulated": release.manifest.facts["simulated"],
            }
            for release in store.releases()
        ]
    tell_rows(rows, as_json, title="Releases")


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option("--to", help="Version; the one before when left out.")] = None,
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Let an earlier release serve again."""
    with _failures_told():
        release = _store(root).rollback(to)
    tell({"version": release.version, "directory": str(release.directory)}, as_json, title="Serving now")


@app.command("compile")
def compile_(
    image: Annotated[str, typer.Option("--image", help="Container image with this code (kubeflow/Dockerfile).")],
    pipeline_root: Annotated[str, typer.Option("--pipeline-root", help="Where the cluster keeps things, gs://… .")],
    output: Annotated[Path, typer.Option("--output", help="Folder for the two pipeline specs.")] = Path("compiled"),
    config: Annotated[str, typer.Option("--config", help="A preset: demo, folder or production.")] = "production",
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value, repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compile both pipelines for Kubeflow Pipelines / Vertex; needs a checkout, as building the image does."""
    with _failures_told():
        # A script, not a package: another distribution owns the import name `kubeflow`.
        script = Path(__file__).parents[2] / "kubeflow" / "compile.py"
        compile_pipelines = runpy.run_path(str(script))["compile_pipelines"]
        paths = compile_pipelines(_settings(config, set_), output_dir=output, image=image, root=pipeline_root)
    tell({path.stem: str(path) for path in paths}, as_json, title="Compiled")


@app.command()
def doctor(root: Root = ROOT, as_json: AsJson = False) -> None:
    """Check this machine and the workspace."""
    from lookalike.local.doctor import examine

    rows = [asdict(finding) for finding in examine(root)]
    tell_rows(rows, as_json, title="Doctor")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


@review_app.command("list")
def review_list(root: Root = ROOT, as_json: AsJson = False) -> None:
    """List the review rounds, newest first."""
    with _failures_told():
        from lookalike.review.overview import list_rounds

        workspace, _ = _open(root)
        with workspace.review_session() as session:
            rows = [plain(asdict(summary)) for summary in list_rounds(session)]
    if as_json:
        return print_json(rows)
    shown = ("round_id", "candidate_id", "kind", "state", "verdict", "simulated", "judgements", "open_votes")
    tell_rows([{name: row[name] for name in shown} for row in rows], as_json, title="Review rounds")


@review_app.command("show")
def review_show(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Show a round: its candidate, what is still to judge, and the outcome once it is known."""
    with _failures_told():
        from lookalike.review.overview import describe_round
        from lookalike.review.rounds import pending_tasks

        workspace, _ = _open(root)
        with workspace.review_session() as session:
            details = describe_round(session, round_id)
            pending = [_task(task) for task in pending_tasks(session, round_id)]
    told = plain(asdict(details)) | {"pending_tasks": pending}
    if as_json:
        return print_json(told)
    tell(told["summary"] | told["candidate"] | told["outcome"], as_json, title=f"Round {round_id}")
    tell_rows(pending, as_json, title="To judge")


@review_app.command("judge")
def review_judge(
    task_id: Annotated[int, typer.Argument(help="From `review show`.")],
    answer: Annotated[str, typer.Argument(help="1…5 (left … right better), 0…8 (how many fit), or cant_judge.")],
    rater: Annotated[str, typer.Option("--rater", help="Who judges.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Record one judgement; saying the same again changes nothing."""
    with _failures_told():
        from lookalike.review.rounds import CANT_JUDGE, record_judgement

        workspace, _ = _open(root)
        with workspace.review_session() as session:
            try:
                judgement = record_judgement(
                    session,
                    task_id,
                    rater=rater,
                    answer=CANT_JUDGE if answer == CANT_JUDGE else int(answer),
                    idempotency_key=f"{rater}:{task_id}",
                )
            except ValueError as error:
                raise typer.BadParameter(str(error)) from error
    tell(plain(asdict(judgement)), as_json, title="Recorded")


@review_app.command("simulate")
def review_simulate(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    raters: Annotated[int, typer.Option(min=1, help="How many simulated raters.")] = 6,
    error_rate: Annotated[float, typer.Option(min=0, max=1, help="How often they err.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of their errors.")] = 0,
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Let simulated raters judge a round. It is marked as simulated from then on, and so is its decision."""
    with _failures_told():
        from lookalike.review.simulated_raters import judge_round

        workspace, _ = _open(root)
        with workspace.review_session() as session:
            recorded = judge_round(session, round_id, num_raters=raters, error_rate=error_rate, seed=seed)
    tell({"round": round_id, "simulated_judgements": recorded}, as_json, title="Simulated")


@review_app.command("bless")
def review_bless(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    by: Annotated[str, typer.Option("--by", help="Who decides; not who started the run.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Sign the blessing of a candidate whose judgements carry it."""
    _decide(root, round_id, "bless", by, reason, as_json)


@review_app.command("reject")
def review_reject(
    round_id: Annotated[int, typer.Argument(help="From `review list`.")],
    by: Annotated[str, typer.Option("--by", help="Who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Sign the rejection of a candidate."""
    _decide(root, round_id, "reject", by, reason, as_json)


def _task(task: Any) -> dict[str, Any]:
    """Where a rater finds the pictures, and what may be answered."""
    return {
        "task": task.task_id,
        "kind": task.kind,
        "query": str(task.query_image),
        "grids": [[str(path) for path in grid] for grid in task.grids],
        "answers": f"{task.valid_answers[0]}…{task.valid_answers[-1]}",
    }


def _decide(root: Path, round_id: int, verdict: Any, by: str, reason: str, as_json: bool) -> None:
    with _failures_told():
        from lookalike.review.decisions import decide, load_or_create_signing_key

        workspace, settings = _open(root)
        with workspace.review_session() as session:
            decision = decide(
                session,
                round_id,
                verdict,
                decided_by=by,
                reason=reason,
                signing_key=load_or_create_signing_key(workspace.signing_key),
                valid_days=settings.review.expiry_days,
            )
    tell(plain(asdict(decision)), as_json, title="Decision")


@contextmanager
def _failures_told() -> Iterator[None]:
    """What a user can mend ends with one line and its exit code; anything else is a defect and keeps its traceback."""
    try:
        yield
    except (UserError, OSError) as error:
        console.print(f"[bold red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_status if isinstance(error, UserError) else EXIT_FAILED) from error


def _settings(config: str, overrides: list[str] | None) -> "Settings":
    from lookalike.configs.settings import load_settings

    return load_settings(config, overrides or [])


def _open(root: Path) -> "tuple[Workspace, Settings]":
    from lookalike.local.workspace import open_workspace

    return open_workspace(root)


def _store(root: Path) -> "ReleaseStore":
    from lookalike.local.workspace import open_releases

    return open_releases(root)


def _release(root: Path) -> Any:
    from lookalike.release.manifest import ReleaseError

    release = _store(root).current()
    if release is None:
        raise ReleaseError(f"expected a release in {root}, nothing was promoted yet")
    return release
