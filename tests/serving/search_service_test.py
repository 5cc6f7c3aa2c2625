"""The search service over real HTTP: its answers equal an exact search, and nothing a client sends is a 5xx."""

import base64
import hashlib
import io
import json
import shutil
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from lookalike.catalog.images import canonicalise
from lookalike.encoder.embedder import EmbedderUnavailable, EncoderUrlError, InProcessEmbedder
from lookalike.http.server import HttpServer, PortBusyError
from lookalike.release.store import Release, ReleaseStore
from serving import model_server, search_service
from serving.admission import BusyError, Turns
from serving.searcher import CurrentRelease, LiveRelease, Searcher, load_release
from tests.bench.hostile_pictures import progressive_of_many_scans

PRODUCTS_IN_CATALOG = 8


@pytest.fixture(scope="module")
def client(store_root: Path) -> Iterator[httpx.Client]:
    with (
        search_service.serve(store_root, port=0, poll_interval_s=0.05) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        wait_until_ready(http)
        yield http


def wait_until_ready(http: httpx.Client, release: int = 1) -> None:
    wait_until(http, lambda health: health["release"] == release)


def wait_until(http: httpx.Client, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while not holds(health := http.get("/healthz").json()):
        assert time.monotonic() < deadline, health
        time.sleep(0.02)
    return health


@pytest.fixture(scope="module")
def photo(draw_product: Callable[[int, int], bytes]) -> bytes:
    return draw_product(2, 1)


@pytest.fixture(scope="module")
def manifest_sha256(store_root: Path) -> str:
    return hashlib.sha256((store_root / "releases" / "1" / "manifest.json").read_bytes()).hexdigest()


def post_form(client: httpx.Client, image: bytes, **fields: Any) -> httpx.Response:
    return client.post("/v1/search", files={"image": ("photo.png", image, "image/png")}, data=fields)


def test_answers_equal_exact_search(client: httpx.Client, store_root: Path, photo: bytes) -> None:
    release = ReleaseStore(store_root).current()
    assert release is not None
    jpeg = canonicalise(photo, longest_side_px=64).jpeg
    query = InProcessEmbedder(release.encoder_directory).embed([jpeg])[0]
    scores = np.load(release.directory / "embeddings.npy") @ query
    best_of_product = scores.reshape(PRODUCTS_IN_CATALOG, 3).max(axis=1)
    expected = np.argsort(-best_of_product)

    answer = post_form(client, photo, k=8).json()
    assert [hit["product_id"] for hit in answer["results"]] == [f"p{number}" for number in expected]
    np.testing.assert_allclose([hit["score"] for hit in answer["results"]], best_of_product[expected], atol=1e-5)
    assert [hit["rank"] for hit in answer["results"]] == list(range(1, 9))


def test_answer_tells_release_latency_and_product(client: httpx.Client, photo: bytes, manifest_sha256: str) -> None:
    answer = post_form(client, photo).json()
    assert (answer["release"], answer["manifest_sha256"]) == (1, manifest_sha256)
    assert list(answer["latency_ms"]) == ["decode", "embed", "search", "total"]
    assert answer["latency_ms"]["total"] >= answer["latency_ms"]["embed"] > 0
    first = answer["results"][0]
    assert first["thumbnail_url"] == f"/v1/thumbnails/1-{manifest_sha256[:12]}/7.jpg"
    told = {name: value for name, value in first.items() if name not in ("rank", "score", "thumbnail_url")}
    assert told == {
        "image_id": "p2/1.png",
        "product_id": "p2",
        "category": "Clothing > Tops > T-shirt",
        "other_categories": ["Sale"],
        "title": "Product 2",
        "brand": "Brand 2",
        "url": "https://shop.example/p2",
        "price": 20.0,
        "price_text": "20.00",
        "currency": "EUR",
        "availability": "in_stock",
        "gender": "women",
        "attributes": {"fit": "slim"},
    }
    assert first["score"] == pytest.approx(1, abs=1e-4)


def test_hostile_photo_is_refused_with_a_reason_and_a_healthy_one_answered(client: httpx.Client, photo: bytes) -> None:
    hostile = progressive_of_many_scans(3000, 3000, 400)
    with ThreadPoolExecutor(8) as senders:
        sent = [senders.submit(post_form, client, hostile) for _ in range(4)]
        assert post_form(client, photo).status_code == 200
    for answer in (future.result() for future in sent):
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "TOO_COSTLY")


def test_photo_that_is_slow_to_decode_is_answered_like_another(client: httpx.Client) -> None:
    stream = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((2400, 2400)).save(stream, "PNG")
    assert post_form(client, stream.getvalue(), k=2).json()["results"][0]["rank"] == 1


def test_who_comes_when_too_many_wait_is_told_to_come_again(
    client: httpx.Client, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise BusyError("the line is full")

    monkeypatch.setattr(Turns, "_take", full)
    answer = post_form(client, photo)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert answer.json()["error"]["code"] == "BUSY"


def test_health_answers_on_its_own_port_while_traffic_fills_the_other(store_root: Path) -> None:
    with search_service.serve(store_root, port=0, poll_interval_s=0.05) as server, ExitStack() as held:
        with httpx.Client(base_url=server.url) as http:
            wait_until_ready(http)
        for _ in range(100):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert httpx.get(f"{server.health_url}/healthz").json()["status"] == "ready"
        head = httpx.head(f"{server.health_url}/healthz")
        assert (head.status_code, head.content) == (200, b"")
        assert httpx.post(f"{server.health_url}/v1/search").status_code == 404


def test_three_ways_to_send_an_image_agree(client: httpx.Client, photo: bytes) -> None:
    parameters = {"k": 3, "category": "Clothing"}
    encoded = {"image": base64.b64encode(photo).decode(), **parameters}
    answers = [
        post_form(client, photo, **parameters),
        client.post("/v1/search", params=parameters, content=photo, headers={"content-type": "image/png"}),
        client.post("/v1/search", json=encoded),
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    results = [answer.json()["results"] for answer in answers]
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 3


def test_category_keeps_what_lies_below(client: httpx.Client, photo: bytes) -> None:
    categories = {
        "Shoes": {"Shoes > Boots"},
        "Clothing > Tops": {"Clothing > Tops > Shirt", "Clothing > Tops > T-shirt"},
    }
    for category, expected in categories.items():
        results = post_form(client, photo, k=200, category=category).json()["results"]
        assert {hit["category"] for hit in results} == expected


def test_rotated_photo_is_turned_upright(client: httpx.Client, photo: bytes) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    stream = io.BytesIO()
    sideways = Image.open(io.BytesIO(photo)).transpose(Image.Transpose.ROTATE_90)
    sideways.save(stream, "PNG", exif=exif)
    assert post_form(client, stream.getvalue()).json()["results"] == post_form(client, photo).json()["results"]


def refused(response: httpx.Response) -> tuple[int, str, str]:
    error = response.json()["error"]
    assert error["message"]
    return response.status_code, error["code"], error["field"]


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({"k": 0}, "BAD_PARAMETER", "k"),
        ({"k": 201}, "BAD_PARAMETER", "k"),
        ({"k": "many"}, "BAD_PARAMETER", "k"),
        ({"k": "1e400"}, "BAD_PARAMETER", "k"),
        ({"category": "x" * 501}, "BAD_PARAMETER", "category"),
        ({"category": "Hats"}, "UNKNOWN_CATEGORY", "category"),
        ({"category": "Sho\u0007es"}, "BAD_PARAMETER", "category"),
        ({"colour": "red"}, "BAD_PARAMETER", "colour"),
    ],
)
def test_bad_parameters_name_the_field(
    client: httpx.Client, photo: bytes, fields: dict[str, Any], code: str, field: str
) -> None:
    assert refused(post_form(client, photo, **fields)) == (422, code, field)
    encoded = {"image": base64.b64encode(photo).decode(), **fields}
    assert refused(client.post("/v1/search", json=encoded)) == (422, code, field)
    raw = client.post("/v1/search", params=fields, content=photo, headers={"content-type": "image/png"})
    assert refused(raw) == (422, code, field)


def png_header(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("1", (1, 1)).save(stream, "PNG")
    data = bytearray(stream.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


@pytest.mark.parametrize(
    ("image", "code"),
    [
        (b"", "EMPTY"),
        (b"<html>not a picture</html>", "NOT_IMAGE"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "NOT_IMAGE"),
        (png_header(30_000, 30_000), "TOO_LARGE"),
        (png_header(4, 4), "TOO_SMALL"),
        (png_header(4000, 20), "ASPECT"),
        (b"II*\0" + b"\0" * 60, "UNSUPPORTED_FORMAT"),
    ],
)
def test_unusable_images_have_a_reason(client: httpx.Client, image: bytes, code: str) -> None:
    assert refused(post_form(client, image)) == (422, code, "image")
    raw = client.post("/v1/search", content=image, headers={"content-type": "image/jpeg"})
    assert refused(raw) == (422, code, "image")


def test_truncated_photo_is_refused(client: httpx.Client, photo: bytes) -> None:
    assert refused(post_form(client, photo[: len(photo) // 2])) == (422, "TRUNCATED", "image")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", (400, "BAD_JSON", "body")),
        (b"{", (400, "BAD_JSON", "body")),
        (b"\xff", (400, "BAD_JSON", "body")),
        (b"[" * 100_000, (400, "BAD_JSON", "body")),
        (b"[]", (400, "BAD_JSON", "body")),
        (b"{}", (422, "MISSING", "image")),
        (b'{"image": 5}', (422, "MISSING", "image")),
        (b'{"image": "%%%"}', (422, "BAD_BASE64", "image")),
        (b'{"image": "\xc3\xa9"}', (422, "BAD_BASE64", "image")),
        (b'{"image": "", "k": NaN}', (422, "BAD_PARAMETER", "k")),
        (b'{"image": "", "k": [1]}', (422, "BAD_PARAMETER", "k")),
        (b'{"image": "", "category": null}', (422, "BAD_PARAMETER", "category")),
        (b'{"image": ""}', (422, "EMPTY", "image")),
    ],
)
def test_malformed_json_is_refused(client: httpx.Client, body: bytes, expected: tuple[int, str, str]) -> None:
    response = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert refused(response) == expected


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("text/plain", b"hello", 415),
        ("", b"hello", 415),
        ("multipart/form-data", b"hello", 400),
        ("multipart/form-data; boundary=x", b"hello", 400),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data; name=image\r\n\r\nhi\r\n--x--",
            422,
        ),
        ("multipart/form-data; boundary=x", b"--x--\r\n", 422),
    ],
)
def test_other_bodies_are_refused(client: httpx.Client, content_type: str, body: bytes, status: int) -> None:
    response = client.post("/v1/search", content=body, headers={"content-type": content_type})
    assert refused(response)[0] == status


def test_large_bodies_are_refused_before_they_are_decoded(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"x" * 2**20

    for content in (b"x" * (10 * 2**20 + 1), chunks()):
        response = client.post("/v1/search", content=content, headers={"content-type": "image/jpeg"})
        assert refused(response) == (413, "BODY_TOO_LARGE", "body")


def test_thumbnails_are_the_catalogues_pictures(client: httpx.Client, photo: bytes) -> None:
    url = post_form(client, photo).json()["results"][0]["thumbnail_url"]
    response = client.get(url)
    assert response.headers["content-type"] == "image/jpeg"
    assert "immutable" in response.headers["cache-control"]
    assert response.content == canonicalise(photo, longest_side_px=64).jpeg


@pytest.mark.parametrize(
    "path",
    [
        "/v1/thumbnails/{name}/24.jpg",
        "/v1/thumbnails/{name}/-1.jpg",
        "/v1/thumbnails/{name}/x.jpg",
        "/v1/thumbnails/{name}/..%2f..%2fCURRENT.jpg",
        "/v1/thumbnails/1/0.jpg",  # as 0.1.0 named it, when a rebuilt store gave other pictures the same address
        "/v1/thumbnails/1-000000000000/0.jpg",
        "/static/index.html",
        "/docs",
        "/openapi.json",
    ],
)
def test_what_is_not_there_is_not_found(client: httpx.Client, path: str, manifest_sha256: str) -> None:
    assert refused(client.get(path.format(name=f"1-{manifest_sha256[:12]}")))[0] == 404


def test_release_is_described(client: httpx.Client, manifest_sha256: str) -> None:
    description = client.get("/v1/release").json()
    names = ("release", "manifest_sha256", "num_images", "num_products", "longest_side_px", "embedding_dim")
    assert {name: description[name] for name in names} == {
        "release": 1,
        "manifest_sha256": manifest_sha256,
        "num_images": 24,
        "num_products": 8,
        "longest_side_px": 64,
        "embedding_dim": 16,
    }
    assert description["index"] == "exact"
    assert {"path": "Clothing > Tops", "num_images": 9} in description["categories"]


def test_healthz_is_ready_with_the_release(client: httpx.Client, manifest_sha256: str) -> None:
    response = client.get("/healthz")
    named = {"release": 1, "manifest_sha256": manifest_sha256}
    assert (response.status_code, response.json()) == (200, {"status": "ready", **named, "problem": None})


@pytest.mark.parametrize("path", ["/", "/search.css", "/search.js", "/icon.svg"])
def test_page_loads_nothing_from_elsewhere(client: httpx.Client, path: str) -> None:
    text = client.get(path).text.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "://" not in text
    assert "style=" not in text  # the policy would refuse it
    assert "innerHTML" not in text


@pytest.mark.parametrize("path", ["/", "/v1/release", "/v1/thumbnails/{name}/0.jpg", "/nowhere"])
def test_every_answer_has_strict_headers(client: httpx.Client, path: str, manifest_sha256: str) -> None:
    headers = client.get(path.format(name=f"1-{manifest_sha256[:12]}")).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; img-src 'self' blob:; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_nothing_to_serve_is_503(tmp_path: Path, photo: bytes) -> None:
    with search_service.serve(tmp_path, port=0) as server, httpx.Client(base_url=server.url) as http:
        assert refused(post_form(http, photo)) == (503, "NO_RELEASE", "release")
        assert http.get("/v1/release").status_code == 503
        health = http.get("/healthz")
        assert health.status_code == 503
        assert health.json()["status"] == "not ready"
        assert http.get("/").status_code == 200


def test_encoder_url_of_another_form_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(EncoderUrlError, match="must look like grpc://"):
        search_service.serve(tmp_path, port=0, encoder_url="http://127.0.0.1:8500")


def test_taken_port_is_told_with_its_address(client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(PortBusyError, match=f"127.0.0.1:{client.base_url.port} must be free to listen at"):
        search_service.serve(tmp_path, port=client.base_url.port)


def test_remote_encoder_answers_alike(client: httpx.Client, store_root: Path, photo: bytes) -> None:
    with model_server.serve(store_root / "encoder", "encoder", 0, 0) as encoder:
        url = f"grpc://127.0.0.1:{encoder.grpc_port}"
        with (
            search_service.serve(store_root, port=0, encoder_url=url) as server,
            httpx.Client(base_url=server.url) as http,
        ):
            wait_until_ready(http)
            assert post_form(http, photo).json()["results"] == post_form(client, photo).json()["results"]


class FailingEmbedder:
    def __init__(self, error: Exception):
        self._error = error

    def embed(self, jpegs: Any) -> np.ndarray:
        raise self._error


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Iterator[Callable[..., httpx.Client]]:
    started: list[tuple[HttpServer, httpx.Client]] = []

    def run_app(root: Path, load: Callable[[Release], LiveRelease]) -> httpx.Client:
        current = CurrentRelease(ReleaseStore(root), poll_interval_s=0.02, load=load)
        server = HttpServer(search_service.create_app(current), host="127.0.0.1", port=0)
        server.start()
        started.append((server, httpx.Client(base_url=server.url, timeout=30)))
        wait_until_ready(started[-1][1])
        return started[-1][1]

    yield run_app
    for server, http in started:
        http.close()
        server.stop()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EmbedderUnavailable("version 1: UNAVAILABLE"), (503, "ENCODER_UNAVAILABLE", "encoder")),
        (ValueError("secret detail"), (500, "INTERNAL", "server")),
    ],
)
def test_failing_encoder_is_told_apart(
    run: Callable[..., httpx.Client],
    store_root: Path,
    photo: bytes,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    expected: tuple[int, str, str],
) -> None:
    embedder = FailingEmbedder(error)
    http = run(store_root, lambda release: LiveRelease(release, Searcher.open(release), embedder, 64))
    response = post_form(http, photo)
    assert refused(response) == expected
    assert "secret" not in response.text


def test_swaps_under_load_never_mix_releases(
    run: Callable[..., httpx.Client], tmp_path: Path, push_release: Callable[..., Release], photo: bytes
) -> None:
    """Every release has an encoder of its own, so a query embedded by another would not find itself with score 1."""
    push_release(tmp_path, decision_id="1", seed=1, prefix="first")
    http = run(tmp_path, load_release)
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=http.base_url, timeout=30) as own:
            while not stop.is_set():
                answers.append(post_form(own, photo, k=1))

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    store = ReleaseStore(tmp_path)
    push_release(tmp_path, decision_id="2", seed=2, prefix="second")
    wait_until_ready(http, 2)
    for version in (1, 2, 1, 2):
        store.rollback(version)
        wait_until_ready(http, version)
    stop.set()
    for asker in askers:
        asker.join()

    assert {answer.status_code for answer in answers} == {200}
    found = {(answer.json()["release"], answer.json()["results"][0]["image_id"]) for answer in answers}
    assert found == {(1, "first2/1.png"), (2, "second2/1.png")}
    assert min(answer.json()["results"][0]["score"] for answer in answers) > 0.9999


def test_store_restored_under_the_service_is_served_and_one_that_is_gone_is_told(
    run: Callable[..., httpx.Client], tmp_path: Path, push_release: Callable[..., Release], photo: bytes
) -> None:
    root, other = tmp_path / "served", tmp_path / "other"
    push_release(root, decision_id="1", seed=1, prefix="first")
    restored = push_release(other, decision_id="2", seed=2, prefix="second")
    http = run(root, load_release)
    before = post_form(http, photo, k=1).json()
    assert before["results"][0]["image_id"] == "first2/1.png"

    shutil.rmtree(root)
    shutil.copytree(other, root, symlinks=True)
    wait_until(http, lambda health: health["manifest_sha256"] == restored.manifest.sha256)
    after = post_form(http, photo, k=1).json()
    assert (after["release"], after["results"][0]["image_id"]) == (1, "second2/1.png")
    assert after["results"][0]["score"] > 0.9999
    urls = [answer["results"][0]["thumbnail_url"] for answer in (before, after)]
    assert urls[0] != urls[1]
    assert [http.get(url).status_code for url in urls] == [200, 200]

    shutil.rmtree(root)
    health = wait_until(http, lambda health: health["problem"])
    assert f"{root} must name the release that serves" in health["problem"]
    assert (health["status"], health["release"]) == ("ready", 1)
    assert post_form(http, photo, k=1).json()["results"] == after["results"]


def test_requests_under_way_are_answered_when_the_service_stops(store_root: Path, photo: bytes) -> None:
    entered, leave = threading.Event(), threading.Event()

    class SlowEmbedder:
        def __init__(self, release: Release):
            self._embedder = InProcessEmbedder(release.encoder_directory)

        def embed(self, jpegs: Any) -> np.ndarray:
            entered.set()
            assert leave.wait(20)
            return self._embedder.embed(jpegs)

    current = CurrentRelease(
        ReleaseStore(store_root),
        load=lambda release: LiveRelease(release, Searcher.open(release), SlowEmbedder(release), 64),
    )
    server = HttpServer(search_service.create_app(current), host="127.0.0.1", port=0)
    server.start()
    with httpx.Client(base_url=server.url, timeout=30) as http:
        wait_until_ready(http)
    answers: list[httpx.Response] = []
    asker = threading.Thread(
        target=lambda: answers.append(
            httpx.post(f"{server.url}/v1/search", content=photo, headers={"content-type": "image/png"}, timeout=30)
        )
    )
    asker.start()
    assert entered.wait(20)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    wait_until_refused(server.port)
    leave.set()
    asker.join()
    stopper.join()
    assert [answer.status_code for answer in answers] == [200]


def wait_until_refused(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_nested_json_stays_json(client: httpx.Client, photo: bytes) -> None:
    nested: Any = base64.b64encode(photo).decode()
    for _ in range(50):
        nested = [nested]
    response = client.post("/v1/search", content=json.dumps({"image": nested}))
    assert response.status_code == 415
    response = client.post("/v1/search", json={"image": nested})
    assert refused(response) == (422, "MISSING", "image")


def test_a_browsers_data_url_is_an_image(client: httpx.Client, photo: bytes) -> None:
    url = "data:image/jpeg;base64," + base64.b64encode(photo).decode()
    asked = [client.post("/v1/search", json={"image": image, "k": 1}) for image in (url, url.partition(",")[2])]
    assert [answer.status_code for answer in asked] == [200, 200]
    assert asked[0].json()["results"] == asked[1].json()["results"]


def test_rollback_by_two_versions_under_load_fails_no_request(
    tmp_path: Path, push_release: Callable[..., Release], photo: bytes
) -> None:
    """The encoder is asked of a model server, which keeps two versions, as search servers change over one by one."""
    for number in (1, 2, 3):
        push_release(tmp_path, decision_id=str(number), seed=number, prefix=f"of{number}-")
    statuses: list[int] = []
    stop = threading.Event()

    def ask(url: str) -> None:
        with httpx.Client(base_url=url, timeout=30) as own:
            while not stop.is_set():
                statuses.append(post_form(own, photo, k=1).status_code)

    with (
        model_server.serve(tmp_path / "encoder", "encoder", 0, 0, poll_interval_s=0.1) as encoder,
        ExitStack() as stack,
    ):
        url = f"grpc://127.0.0.1:{encoder.grpc_port}"
        servers = [
            stack.enter_context(search_service.serve(tmp_path, port=0, encoder_url=url, poll_interval_s=interval_s))
            for interval_s in (0.1, 0.7)
        ]
        clients = [stack.enter_context(httpx.Client(base_url=server.url, timeout=30)) for server in servers]
        for http in clients:
            wait_until_ready(http, 3)
        with ThreadPoolExecutor() as threads:
            askers = [threads.submit(ask, server.url) for server in servers]
            ReleaseStore(tmp_path).rollback(1, drain_s=4)
            for http in clients:
                wait_until_ready(http, 1)
            time.sleep(0.5)
            stop.set()
            for asker in askers:
                asker.result()
    assert set(statuses) == {200}
    assert len(statuses) > 10
    assert [path.name for path in (tmp_path / "encoder").iterdir()] == ["1"]


def test_release_of_an_object_store_answers_alike(
    client: httpx.Client, tmp_path: Path, push_release: Callable[..., Release], s3_address: str, photo: bytes
) -> None:
    push_release(s3_address)
    with (
        search_service.serve(s3_address, port=0, cache_directory=tmp_path) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        wait_until_ready(http)
        found, expected = (post_form(one, photo).json()["results"] for one in (http, client))
    assert [hit["image_id"] for hit in found] == [hit["image_id"] for hit in expected]
