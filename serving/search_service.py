"""The search service: a photo in, similar products out; JSON for programs and a page for people."""

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from lookalike.catalog.images import CanonicalImage
from lookalike.catalog.originals import ImageRejected
from lookalike.catalog.product import parse_availability, to_answer
from lookalike.catalog.taxonomy import parse_category
from lookalike.encoder.embedder import EmbedderUnavailable, parse_encoder_url
from lookalike.errors import kind_of
from lookalike.http.body_limit import BodyLimit
from lookalike.http.connections import ConnectionLimits
from lookalike.http.headers import SecurityHeaders
from lookalike.http.server import HttpServer
from lookalike.release.cache import DEFAULT_CACHE
from lookalike.release.store import ReleaseStore
from serving.admission import BusyError, Turns
from serving.loose_base64 import decode_base64
from serving.photo_decoder import NUM_QUICK, PhotoDecoder
from serving.searcher import CurrentRelease, Hit, LiveRelease, NoReleaseError, load_release
from serving.subtrees import UnknownCategoryError

_STATIC = Path(__file__).parent / "static"
_PAGE_FILES = {"/": "index.html", "/search.css": "search.css", "/search.js": "search.js", "/icon.svg": "icon.svg"}
_MAX_K = 200
Answer = TypeVar("Answer")


class RequestError(Exception):
    """A request that is refused: HTTP status, reason code, the field that is wrong and what was expected of it."""

    def __init__(self, status: int, code: str, field: str, message: str):
        super().__init__(message)
        self.status = status
        self.document = _error_document(code, message, field)


def _error_document(code: str, message: str, field: str = "body") -> dict[str, Any]:
    return {"error": {"code": code, "field": field, "message": message}}


class SearchParameters(BaseModel):
    """What a search can be told beside the image."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=_MAX_K)
    category: str = Field("", max_length=500)
    availability: str = Field("", max_length=100)

    @field_validator("category")
    @classmethod
    def _is_a_path(cls, category: str) -> str:
        parse_category(category)
        return category

    @field_validator("availability")
    @classmethod
    def _as_the_record_writes_it(cls, availability: str) -> str:
        return parse_availability(availability)


@dataclass(frozen=True)
class SearchRequest:
    """One parsed request; the image is still as it was sent."""

    image: bytes
    parameters: SearchParameters


async def parse_search_request(request: Request) -> SearchRequest:
    """Reads a multipart form, a raw image body or JSON with a base64 image.

    Parameters are form fields, the query string or JSON members respectively. Raises RequestError.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "multipart/form-data":
        return await _parse_form(request)
    if content_type == "application/json":
        return _parse_json(await request.body())
    if content_type.startswith("image/"):
        return SearchRequest(await request.body(), _parse_parameters(dict(request.query_params)))
    expected = "multipart/form-data, application/json or image/*"
    raise RequestError(415, "UNSUPPORTED_MEDIA_TYPE", "content-type", f"must be {expected}, got {content_type!r}")


async def _parse_form(request: Request) -> SearchRequest:
    async with request.form(max_files=1, max_fields=8) as form:
        fields = dict(form.multi_items())
        upload = fields.pop("image", None)
        if not isinstance(upload, UploadFile):
            raise RequestError(422, "MISSING", "image", "must be an uploaded file in the form field 'image'")
        return SearchRequest(await upload.read(), _parse_parameters(fields))


def _parse_json(body: bytes) -> SearchRequest:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "BAD_JSON", "body", f"must be JSON: {error}") from error
    if not isinstance(document, dict):
        raise RequestError(400, "BAD_JSON", "body", f"must be a JSON object, got {kind_of(document)}")
    encoded = document.pop("image", None)
    if not isinstance(encoded, str):
        raise RequestError(422, "MISSING", "image", "must be a base64 string")
    try:
        image = decode_base64(encoded)
    except ValueError as error:
        raise RequestError(422, "BAD_BASE64", "image", f"must be base64: {error}") from error
    return SearchRequest(image, _parse_parameters(document))


def _parse_parameters(values: Mapping[str, Any]) -> SearchParameters:
    try:
        return SearchParameters.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise RequestError(422, "BAD_PARAMETER", field, f"{first['msg']}, got {str(first['input'])[:100]!r}") from error


class Stopwatch:
    """Milliseconds of each step, in the order they were taken."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.latency_ms: dict[str, float] = {}

    def lap(self, step: str) -> None:
        """Ends a step, which began when the one before it ended."""
        now = time.perf_counter()
        self.latency_ms[step] = round(1000 * (now - self._last), 2)
        self._last = now

    def total(self) -> dict[str, float]:
        """The steps, and their sum as `total`."""
        return {**self.latency_ms, "total": round(1000 * (self._last - self._started), 2)}


def search_release(
    live: LiveRelease, image: CanonicalImage, parameters: SearchParameters, watch: Stopwatch
) -> dict[str, Any]:
    """Answers one request with one release, for an image that was decoded at the release's size.

    Raises UnknownCategoryError, EmbedderUnavailable.
    """
    embedding = live.embedder.embed([image.jpeg])[0]
    watch.lap("embed")
    hits = live.searcher.search(embedding, parameters.k, parameters.category, parameters.availability)
    watch.lap("search")
    results = [_describe(rank, hit, live.name) for rank, hit in enumerate(hits, start=1)]
    return {**_identify(live), "latency_ms": watch.total(), "results": results}


class SearchDesk:
    """Takes requests in turn, so that none waits for what another client sent, and all hold a bounded memory.

    decoder: its workers are to be started before the first request.
    """

    def __init__(self, current: CurrentRelease) -> None:
        self.decoder = PhotoDecoder()
        self._current = current
        # Decoding and embedding fill a core each: more at once would only take longer, all of them.
        self._work = Turns(capacity=NUM_QUICK, max_waiting=128, max_waiting_by_client=32, max_wait_s=5)
        self._slow = Turns(capacity=1, max_waiting=8, max_waiting_by_client=4, max_wait_s=15)
        self._threads = anyio.CapacityLimiter(NUM_QUICK + 1)

    async def search(self, request: SearchRequest, client: str) -> dict[str, Any]:
        """Answers one request with the release that serves.

        Raises BusyError, NoReleaseError, ImageRejected, and what `search_release` does.
        """
        live, watch = self._current.get(), Stopwatch()
        async with self._work.turn(client):
            image = await self._run(self.decoder.canonicalise_if_quick, request.image, live.longest_side_px)
            if image is not None:
                return await self._answer(live, image, request, watch)
        async with self._slow.turn(client):
            image = await self._run(self.decoder.canonicalise_slowly, request.image, live.longest_side_px)
        async with self._work.turn(client):
            return await self._answer(live, image, request, watch)

    async def _answer(
        self, live: LiveRelease, image: CanonicalImage, request: SearchRequest, watch: Stopwatch
    ) -> dict[str, Any]:
        watch.lap("decode")
        return await self._run(search_release, live, image, request.parameters, watch)

    async def _run(self, work: Callable[..., Answer], *arguments: object) -> Answer:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)


def _identify(live: LiveRelease) -> dict[str, Any]:
    """How every answer says which release it is about."""
    return {"release": live.release.version, "manifest_sha256": live.release.manifest.sha256}


def _describe(rank: int, hit: Hit, release_name: str) -> dict[str, Any]:
    thumbnail_url = f"/v1/thumbnails/{release_name}/{hit.row}.jpg"
    return {"rank": rank, "score": round(hit.score, 6), **to_answer(hit.image), "thumbnail_url": thumbnail_url}


def describe_release(live: LiveRelease) -> dict[str, Any]:
    """What is being searched, for programs and for the page's category filter."""
    searcher = live.searcher
    categories = [{"path": path, "num_images": size} for path, size in searcher.category_sizes().items()]
    return {
        **_identify(live),
        "num_images": len(searcher.catalog),
        "num_products": searcher.num_products,
        "longest_side_px": live.longest_side_px,
        "embedding_dim": searcher.dim,
        "index": searcher.index.spec.kind,
        "categories": categories,
    }


def create_app(current: CurrentRelease) -> FastAPI:
    """The service over a release that may change under it; the app starts and stops following the store."""
    desk = SearchDesk(current)

    @asynccontextmanager
    async def follow(_app: FastAPI) -> AsyncIterator[None]:
        current.start()
        with desk.decoder:
            yield
        await run_in_threadpool(current.stop)

    app = FastAPI(title="Lookalike search", openapi_url=None, lifespan=follow)
    app.add_middleware(BodyLimit, error_document=_error_document)
    app.add_middleware(SecurityHeaders)
    _add_error_handlers(app)
    _add_api(app, current, desk)
    _add_page(app)
    return app


def _add_api(app: FastAPI, current: CurrentRelease, desk: SearchDesk) -> None:
    @app.post("/v1/search")
    async def search(http: Request, request: Annotated[SearchRequest, Depends(parse_search_request)]) -> JSONResponse:
        return JSONResponse(await desk.search(request, client=http.client.host if http.client else ""))

    @app.get("/v1/release")
    def release() -> JSONResponse:
        return JSONResponse(describe_release(current.get()))

    @app.get("/v1/thumbnails/{release_name}/{row}.jpg")
    def thumbnail(release_name: str, row: int) -> Response:
        catalog = current.catalog(release_name)
        if catalog is None or not 0 <= row < len(catalog):
            raise HTTPException(404)
        # A release never changes, and its name holds the hash of all that is in it.
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        return Response(catalog.thumbnail(row), media_type="image/jpeg", headers=headers)

    _add_health(app, current)


def create_health_app(current: CurrentRelease) -> FastAPI:
    """What an orchestrator asks, for a port that no traffic can fill."""
    app = FastAPI(title="Lookalike health", openapi_url=None)
    _add_error_handlers(app)
    _add_health(app, current)
    return app


def _add_health(app: FastAPI, current: CurrentRelease) -> None:
    # Not on a worker thread, so that it answers while all of them are busy.
    @app.api_route("/healthz", methods=["GET", "HEAD"])
    async def healthz() -> JSONResponse:
        try:
            live = current.get()
        except NoReleaseError as error:
            nothing = {"release": None, "manifest_sha256": None}
            return JSONResponse({"status": "not ready", **nothing, "problem": str(error)}, 503)
        return JSONResponse({"status": "ready", **_identify(live), "problem": current.problem or None})


def _add_page(app: FastAPI) -> None:
    for path, file in _PAGE_FILES.items():
        app.add_api_route(path, _sender_of(_STATIC / file), methods=["GET"])


def _sender_of(path: Path) -> Callable[[], FileResponse]:
    def send() -> FileResponse:
        # Asked for again after an update of the service, and only answered in full when the file has changed.
        return FileResponse(path, headers={"Cache-Control": "no-cache"})

    return send


def _add_error_handlers(app: FastAPI) -> None:
    answers: dict[type[Exception], Callable[[Any], tuple[int, dict[str, Any]]]] = {
        RequestError: lambda error: (error.status, error.document),
        ImageRejected: lambda error: (422, _error_document(error.reason.value, error.detail, "image")),
        UnknownCategoryError: lambda error: (422, _error_document("UNKNOWN_CATEGORY", str(error), "category")),
        NoReleaseError: lambda error: (503, _error_document("NO_RELEASE", str(error), "release")),
        BusyError: lambda error: (503, _error_document("BUSY", str(error), "service")),
        EmbedderUnavailable: lambda error: (503, _error_document("ENCODER_UNAVAILABLE", str(error), "encoder")),
        RequestValidationError: lambda _error: (404, _error_document("NOT_FOUND", "no such resource", "path")),
        HTTPException: lambda error: (
            error.status_code,
            _error_document(f"HTTP_{error.status_code}", str(error.detail), "request"),
        ),
        # Logged by the server with its trace; the text may hold what is none of the client's business.
        Exception: lambda _error: (500, _error_document("INTERNAL", "the service failed, its log says why", "server")),
    }
    for kind, answer in answers.items():
        app.add_exception_handler(kind, partial(_answer_error, answer))


async def _answer_error(
    answer: Callable[[Any], tuple[int, dict[str, Any]]], _request: Request, error: Exception
) -> JSONResponse:
    status, document = answer(error)
    return JSONResponse(document, status, {"Retry-After": "1"} if status == 503 else None)


class SearchServer:
    """The running service: the port that everybody asks, and one for health alone, on a thread of its own."""

    def __init__(self, traffic: HttpServer, health: HttpServer) -> None:
        self._traffic = traffic
        self._health = health
        self.url, self.port, self.health_url = traffic.url, traffic.port, health.url

    def start(self) -> None:
        """Returns once requests are accepted."""
        self._health.start()
        self._traffic.start()

    def stop(self) -> None:
        """Refuses new requests at once and returns when those under way are answered; health answers until then."""
        self._traffic.stop()
        self._health.stop()

    def __enter__(self) -> "SearchServer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()


def serve(
    store: Path | str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    health_port: int = 0,
    proxies: Sequence[str] = (),
    encoder_url: str | None = None,
    cache_directory: Path = DEFAULT_CACHE,
    poll_interval_s: float = 2.0,
) -> SearchServer:
    """Starts the service on a store's current release, and on those that follow, until `stop`.

    port, health_port: 0 takes a free one; the handle tells which.
    proxies: addresses of reverse proxies; see http.connections.
    encoder_url: grpc://host:port of a TF Serving; None runs the encoder in this process.
    cache_directory: where releases of an object store are fetched to.

    Returns once connections are accepted; /healthz answers 200 when the first release is warm.
    Raises PortBusyError, ListenAddressError; EncoderUrlError for an encoder_url of another form.
    """
    if encoder_url is not None:
        parse_encoder_url(encoder_url)
    load = partial(load_release, encoder_url=encoder_url, cache_directory=cache_directory)
    current = CurrentRelease(ReleaseStore(store), poll_interval_s=poll_interval_s, load=load)
    server = SearchServer(
        HttpServer(create_app(current), host=host, port=port, limits=ConnectionLimits(proxies=proxies)),
        HttpServer(create_health_app(current), host=host, port=health_port),
    )
    server.start()
    return server
