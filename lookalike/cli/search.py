"""The commands about releases: serve them, search and measure them, go back to an earlier one."""

import shlex
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer
from rich.markup import escape

from lookalike.cli.console import metrics_rows, print_json, say, tell, tell_rows
from lookalike.cli.options import DATA_HELP, ROOT, AsJson, Root, data_option, need_rooms, open_root, open_store
from lookalike.errors import UserError

group = typer.Typer()


def _address(store: str) -> str:
    from lookalike.storage.address import is_remote

    try:
        is_remote(store)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    return store


Store = Annotated[
    str,
    typer.Option(
        help="Address of another release store, such as s3://bucket/releases; the root's when left out.",
        callback=_address,
    ),
]
Cache = Annotated[
    Path | None, typer.Option(help="Directory for releases of an object store; ~/.cache/lookalike when left out.")
]


@group.command()
def serve(
    *,
    root: Root = ROOT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the search service.")] = 8080,
    health_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of /healthz alone, for probes.")] = 8081,
    proxy: Annotated[
        list[str] | None,
        typer.Option(help="Address of a reverse proxy: not bounded in connections, believed in whom it asks for."),
    ] = None,
    encoder: Annotated[str, typer.Option(help="grpc://host:port of a TF Serving; in process when left out.")] = "",
    store: Store = "",
    cache: Cache = None,
) -> None:
    """Serve search on the current release, and on those that follow, until Ctrl-C."""
    need_rooms()
    from lookalike.http.server import serve_until_signal
    from lookalike.release.cache import DEFAULT_CACHE
    from serving.search_service import serve as start

    server = start(
        store or open_store(root).address,
        host=host,
        port=port,
        health_port=health_port,
        proxies=proxy or (),
        encoder_url=encoder or None,
        cache_directory=cache or DEFAULT_CACHE,
    )
    say(escape(f"Search page and API: {server.url}   health: {server.health_url}/healthz   (Ctrl-C stops it)"))
    serve_until_signal(server)


@group.command("serve-model")
def serve_model(
    root: Root = ROOT,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the gRPC API.")] = 8500,
    rest_port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the REST API.")] = 8501,
    store: Store = "",
    cache: Cache = None,
) -> None:
    """Serve the encoder by TF Serving's gRPC and REST API, as a stock tensorflow/serving would."""
    need_rooms()
    from lookalike.http.server import serve_until_signal
    from lookalike.release.cache import DEFAULT_CACHE
    from serving.model_server import serve as start

    encoders = f"{store or open_store(root).address}/encoder"
    cache_directory = cache or DEFAULT_CACHE
    server = start(encoders, "encoder", grpc_port, rest_port, host=host, cache_directory=cache_directory)
    say(escape(f"gRPC {server.grpc_address}, REST {server.rest_url}   (Ctrl-C stops it)"))
    serve_until_signal(server)


@group.command()
def search(
    image: Annotated[Path, typer.Argument(help="A photo.", exists=True, dir_okay=False)],
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many products.")] = 10,
    category: Annotated[str, typer.Option(help="Only this category and those below it.")] = "",
    availability: Annotated[str, typer.Option(help="Only products of this availability, such as in_stock.")] = "",
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Show the products that look like a photo."""
    need_rooms()
    from lookalike.catalog.guarded_decoder import GuardedDecoder
    from serving.search_service import SearchParameters, Stopwatch, search_release
    from serving.searcher import load_release

    try:
        parameters = SearchParameters(k=k, category=category, availability=availability)
    except ValueError as error:
        raise typer.BadParameter(f"--category must be a path such as 'Clothing > Tops', got {category!r}") from error
    live, watch = load_release(_release(root)), Stopwatch()
    with GuardedDecoder() as decoder:
        canonical = decoder.canonicalise(image.read_bytes(), longest_side_px=live.longest_side_px)
    watch.lap("decode")
    found = search_release(live, canonical, parameters, watch)
    if as_json:
        return print_json(found)
    shown = ("rank", "score", "product_id", "category", "title")
    tell_rows([{name: hit[name] for name in shown} for hit in found["results"]], as_json, f"Release {found['release']}")


@group.command()
def evaluate(
    data: Annotated[str, data_option(f"Labelled photos. {DATA_HELP}")],
    root: Root = ROOT,
    baselines: Annotated[bool, typer.Option("--baselines", help="Also an untrained network and colour alone.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure labelled photos against the gallery of the current release."""
    need_rooms()
    from lookalike.quality.baselines import colour_embeddings
    from lookalike.quality.evaluation import evaluate_baseline, evaluate_release, read_queries

    release = _release(root)
    _, settings = open_root(root)
    with TemporaryFile() as pictures:
        queries = read_queries(data, settings.ingest, int(release.manifest.facts["longest_side_px"]), pictures)
        rows = {f"release {release.version}": evaluate_release(release, queries)}
        if baselines:
            from trainer.untrained import untrained_encoder

            untrained = untrained_encoder(settings.model, settings.training.seed)
            rows["untrained network"] = evaluate_baseline(release, queries, untrained)
            rows["colour histogram"] = evaluate_baseline(release, queries, colour_embeddings)
    if as_json:
        return print_json({"num_queries": len(queries.rows), "num_unusable": queries.num_unusable, "metrics": rows})
    tell_rows(metrics_rows(rows), as_json, title=f"{len(queries.rows)} labelled photos")
    if queries.num_unusable:
        say(f"{queries.num_unusable} images could not be used")


@group.command()
def releases(root: Root = ROOT, as_json: AsJson = False) -> None:
    """List the releases, the one that serves marked."""
    store = open_store(root)
    current = store.current()
    rows = [
        {
            "version": release.version,
            "serving": current is not None and release.version == current.version,
            "candidate": release.manifest.facts.get("candidate_id"),
            "decision": release.decision_id,
            "simulated": release.manifest.facts.get("simulated"),
        }
        for release in store.releases()
    ]
    tell_rows(rows, as_json, title="Releases")


@group.command()
def rollback(
    to: Annotated[int | None, typer.Option("--to", help="Version; the one before when left out.")] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Take later encoders away at once: requests under way may fail.")
    ] = False,
    root: Root = ROOT,
    as_json: AsJson = False,
) -> None:
    """Let an earlier release serve again."""
    store = open_store(root)
    drain_s = 0 if no_wait else _drain_s(root)
    if drain_s:
        say(f"Rolling back; servers have {drain_s:g} s to change over (release.drain_s), --no-wait leaves them none.")
    release = store.rollback(to, drain_s=drain_s)
    tell({"version": release.version, "directory": release.address}, as_json, title="Serving now")


def _drain_s(root: Path) -> float:
    """As the root's settings say; a rollback does not fail for want of them."""
    from lookalike.configs.settings import ReleaseSettings

    try:
        return open_root(root)[1].release.drain_s
    except UserError:
        return ReleaseSettings().drain_s


def _release(root: Path) -> Any:
    from lookalike.release.manifest import ReleaseError

    release = open_store(root).current()
    if release is None:
        promote = f"lookalike promote --root {shlex.quote(str(root))}"
        raise ReleaseError(f"expected a release in {root}, nothing was promoted yet; `{promote}` makes one")
    return release
