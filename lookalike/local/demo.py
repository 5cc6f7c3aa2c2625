"""The demo: a drawn catalogue from nothing to a searchable release, by the very functions that a shop uses."""

import base64
import json
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from components.tf_examples import read_images
from lookalike.catalog.fingerprints import fingerprint
from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.sources import open_source
from lookalike.configs.settings import Settings, load_settings
from lookalike.drawing.catalog import draw_catalog
from lookalike.http.loopback import read_own_service
from lookalike.local.demo_report import Answer, write_contact_sheet, write_report
from lookalike.local.runs import CandidateState, OnNode, Request, Training, candidate_state, promote, train
from lookalike.local.workspace import Workspace
from lookalike.quality.evaluation import Queries, evaluate_baseline, evaluate_release
from lookalike.release.store import Release
from lookalike.retrieval.headline import headline
from lookalike.retrieval.metrics import latency_percentiles_ms
from lookalike.review.decisions import DecisionRejected, Verdict, decide, load_or_create_signing_key
from lookalike.review.simulated_raters import judge_round
from serving.search_service import serve

CONFIG = "demo"
NUM_RATERS = 6
ERROR_RATE = 0.1
SIMULATED_ANALYST = "simulated analyst"
SHOWN_PRODUCTS = 6
WARM_UP_S = 60.0


def run_demo(root: Path, overrides: Sequence[str], on_node: OnNode) -> dict[str, Any]:
    """Runs everything once; a second time only what changed.

    root: of the workspace.
    overrides: of the demo's settings.
    on_node: called with each step that starts.

    Returns what was done, name by name.
    Raises SettingsError: an override that cannot be.
    Raises DecisionRejected: the candidate failed offline.
    Raises DecisionRefused: the simulated judgements do not carry a blessing.
    """
    settings = load_settings(CONFIG, overrides)
    workspace = Workspace(root, settings)
    on_node("draw the catalogue")
    manifest = str(_draw(workspace, settings))
    day = fingerprint(open_source(manifest, window_spans=settings.ingest.window_spans))
    training = train(workspace, settings, Request(manifest, day, "", CONFIG, overrides), on_node)
    on_node("simulated review")
    _review(workspace, settings, training)
    promotion = promote(workspace, settings, training.candidate_uri, on_node)
    on_node("evaluate, serve and search")
    with TemporaryFile() as pictures:
        held_out = read_images(f"{training.candidate.examples_uri}/Split-test")
        wild = ImageFile(pictures, (image for image in held_out if image.domain == "wild"))
        queries = Queries(wild, num_unusable=0)
        metrics = {
            "release": evaluate_release(promotion.release, queries),
            "colour histogram": evaluate_baseline(promotion.release, queries),
        }
        answers = _search(workspace, wild, settings.demo.num_searches)
    told = _summary(promotion.release, metrics, answers) | {
        "worked": list(training.run.worked + promotion.run.worked),
        "cached": list(training.run.cached + promotion.run.cached),
    }
    write_contact_sheet(workspace.root / "neighbours.png", answers)
    write_report(
        workspace.root / "report.html",
        told,
        metrics,
        training.accuracy,
        answers,
        training.candidate.evaluation_uri,
    )
    return told


def _draw(workspace: Workspace, settings: Settings) -> Path:
    demo = settings.demo
    directory = workspace.root / f"catalogue-{demo.num_products}-{demo.seed}"
    manifest = directory / "manifest.jsonl"
    # The manifest is written last: where there is one, the catalogue is whole.
    return manifest if manifest.exists() else draw_catalog(directory, num_products=demo.num_products, seed=demo.seed)


def _review(workspace: Workspace, settings: Settings, training: Training) -> None:
    candidate = training.candidate
    if candidate.round_id is None:
        raise DecisionRejected(
            f"candidate {candidate.candidate_id} was refused offline: {'; '.join(candidate.refusals)}"
        )
    if candidate_state(workspace, candidate) != CandidateState.AWAITING_REVIEW:
        return
    with workspace.review_session() as session:
        judge_round(session, candidate.round_id, num_raters=NUM_RATERS, error_rate=ERROR_RATE, seed=settings.demo.seed)
        decide(
            session,
            candidate.round_id,
            Verdict.BLESS,
            decided_by=SIMULATED_ANALYST,
            reason="the simulated judgements reach the floor",
            signing_key=load_or_create_signing_key(workspace.signing_key),
            simulated=True,
            valid_days=settings.review.expiry_days,
        )


def _search(workspace: Workspace, wild: ImageFile, num_searches: int) -> list[Answer]:
    """Asks the service itself, over HTTP."""
    step = max(1, len(wild) // num_searches)
    with serve(workspace.releases.address, port=0) as server:
        _wait_until_ready(server.url)
        return [_ask(server.url, wild[row]) for row in range(0, len(wild), step)[:num_searches]]


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + WARM_UP_S
    while True:
        try:
            read_own_service(f"{url}/healthz")
        except urllib.error.HTTPError as error:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the service must be ready within {WARM_UP_S:.0f} s: {error.read()!r}") from error
            time.sleep(0.1)
        else:
            return


def _ask(url: str, image: CatalogImage) -> Answer:
    body = {"image": base64.b64encode(image.jpeg).decode(), "k": SHOWN_PRODUCTS}
    request = urllib.request.Request(  # noqa: S310 - the service that this process started
        f"{url}/v1/search", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    start = time.perf_counter()
    hits = json.loads(read_own_service(request))["results"]
    latency_s = time.perf_counter() - start
    return Answer(image, hits, [read_own_service(url + hit["thumbnail_url"]) for hit in hits], latency_s)


def _summary(release: Release, metrics: dict[str, Any], answers: Sequence[Answer]) -> dict[str, Any]:
    tracks = {who: headline(measured) for who, measured in metrics.items()}
    stored = json.loads((release.directory / "metrics.json").read_text())
    return {
        "release": release.version,
        "decision": release.decision_id + (", simulated" if release.manifest.facts["simulated"] else ""),
        "catalogue_images": stored["index"]["num_items"],
        "index": f"{stored['index']['kind']}, recall@10 {stored['index']['recall_at_10']:.3f}",
        "held_out_wild_photos": tracks["release"].values["num_queries"],
        "recall_at_1_by_product": round(tracks["release"].recall_at_1, 3),
        "recall_at_1_of_colour_histograms": round(tracks["colour histogram"].recall_at_1, 3),
        "recall_at_10_by_product": round(tracks["release"].values["recall_at_10"], 3),
        "search_p50_ms": round(latency_percentiles_ms([answer.latency_s for answer in answers])["p50_ms"], 1),
    }
