"""Both embedders give what the SavedModel gives, and the remote one asks for its release's version only."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from lookalike.encoder.embedder import (
    EmbedderUnavailable,
    EncoderUrlError,
    GrpcEmbedder,
    InProcessEmbedder,
    open_embedder,
    parse_encoder_url,
)
from serving import model_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, encoder_dir: Path) -> Iterator[model_server.ModelServer]:
    base_path = tmp_path_factory.mktemp("base")
    (base_path / "7").symlink_to(encoder_dir)
    with model_server.serve(base_path, "encoder", 0, 0, poll_interval_s=60) as running:
        yield running


def test_remote_and_in_process_embeddings_are_equal_and_normalised(
    server: model_server.ModelServer, encoder_dir: Path, jpegs: list[bytes]
) -> None:
    local = InProcessEmbedder(encoder_dir).embed(jpegs)
    remote = GrpcEmbedder(f"grpc://127.0.0.1:{server.grpc_port}", 7).embed(jpegs)
    assert local.dtype == np.float32
    assert local.shape == (3, 16)
    np.testing.assert_allclose(np.linalg.norm(local, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(local, remote)


def test_release_chooses_directory_or_version(
    server: model_server.ModelServer, encoder_dir: Path, jpegs: list[bytes]
) -> None:
    release: Any = SimpleNamespace(version=7, encoder_directory=encoder_dir)
    local = open_embedder(None, release.encoder_directory, release.version).embed(jpegs)
    remote = open_embedder(
        f"grpc://127.0.0.1:{server.grpc_port}/encoder", release.encoder_directory, release.version
    ).embed(jpegs)
    np.testing.assert_array_equal(local, remote)


def test_version_the_server_lacks_is_unavailable(server: model_server.ModelServer, jpegs: list[bytes]) -> None:
    with pytest.raises(EmbedderUnavailable, match=r"encoder version 8: NOT_FOUND: .*Specific\(encoder, 8\)"):
        GrpcEmbedder(f"grpc://127.0.0.1:{server.grpc_port}", 8).embed(jpegs)


def test_server_that_is_away_is_unavailable(jpegs: list[bytes]) -> None:
    with pytest.raises(EmbedderUnavailable, match="encoder version 1: UNAVAILABLE"):
        GrpcEmbedder("grpc://127.0.0.1:1", 1).embed(jpegs)


def test_refused_image_is_a_value_error(server: model_server.ModelServer) -> None:
    with pytest.raises(ValueError, match="must accept canonical images"):
        GrpcEmbedder(f"grpc://127.0.0.1:{server.grpc_port}", 7).embed([b"not a picture"])


class Answering(prediction_service_pb2_grpc.PredictionServiceServicer):
    """A server that gives a prepared answer."""

    def __init__(self, embedding: Any):
        self._embedding = embedding

    def Predict(self, request: Any, context: Any) -> predict_pb2.PredictResponse:  # noqa: N802
        response = predict_pb2.PredictResponse()
        response.outputs["embedding"].CopyFrom(tf.make_tensor_proto(self._embedding, tf.float32))
        return response


@pytest.fixture
def serve_answer() -> Iterator[Callable[[Any], str]]:
    servers = []

    def serve(embedding: Any) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(1))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Answering(embedding), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return f"grpc://127.0.0.1:{port}"

    yield serve
    for server in servers:
        server.stop(None).wait()


@pytest.mark.parametrize(
    ("embedding", "text"),
    [
        ([[1.0, 0.0]], r"must answer \[3, dim\], got \[1, 2\]"),
        ([1.0, 0.0, 0.0], r"must answer \[3, dim\], got \[3\]"),
        ([[1.0], [np.nan], [0.0]], "finite numbers"),
    ],
)
def test_answers_of_another_form_are_refused(
    serve_answer: Callable[[Any], str], jpegs: list[bytes], embedding: Any, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        GrpcEmbedder(serve_answer(embedding), 1).embed(jpegs)


@pytest.mark.parametrize(
    "url",
    [
        "http://host:8500",
        "grpc://host",
        "grpc://:8500",
        "grpc://host:99999",
        "grpc://host:0",
        "grpc://host:port",
        "grpc://[::1:8500",
        "host:8500",
        "",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(EncoderUrlError) as caught:
        parse_encoder_url(url)
    assert str(caught.value) == (
        f"an encoder url must look like grpc://host:8500 or grpc://host:8500/model, got '{url}': give its gRPC port"
    )
    assert caught.value.exit_status == 2


def test_url_may_name_the_model() -> None:
    assert parse_encoder_url("grpc://host:8500") == ("host:8500", "encoder")
    assert parse_encoder_url("grpc://host:8500/resnet") == ("host:8500", "resnet")
    assert parse_encoder_url("grpc://[::1]:8500") == ("[::1]:8500", "encoder")


def test_encoder_on_this_machine_is_asked_without_the_proxy(
    server: model_server.ModelServer, jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for host in ("127.0.0.1", "localhost"):
        assert len(GrpcEmbedder(f"grpc://{host}:{server.grpc_port}", 7).embed(jpegs)) == 3


def test_encoder_elsewhere_is_asked_through_the_proxy(jpegs: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("grpc_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        asker = threading.Thread(target=_ask_and_fail, args=("grpc://encoder.invalid:8500", jpegs))
        asker.start()
        connection, _ = proxy.accept()
        with connection:
            assert connection.recv(4096).startswith(b"CONNECT encoder.invalid:8500 HTTP/1.1\r\n")
        asker.join()


def _ask_and_fail(url: str, jpegs: list[bytes]) -> None:
    with pytest.raises(EmbedderUnavailable):
        GrpcEmbedder(url, 1).embed(jpegs)
