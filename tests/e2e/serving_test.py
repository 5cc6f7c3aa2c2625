"""The release is served: the search service in process and over TF Serving's protocol, asked by its own clients."""

import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving(command: str, shop: Any, *arguments: str, ready: str) -> Iterator[str]:
    """Starts a command that serves, hands out what it said when it was ready, and stops it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lookalike", command, "--root", str(shop.root), *arguments],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    try:
        yield next(line for line in process.stderr if ready in line)
    finally:
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        process.stderr.close()
        assert process.wait(timeout=60) == 0


@pytest.fixture(scope="module")
def model_server(story: Any) -> Iterator[tuple[str, str]]:
    """The gRPC address and the REST address of the encoder's server."""
    with serving("serve-model", story.shop, "--grpc-port", "0", "--rest-port", "0", ready="gRPC") as told:
        address, rest = re.match(r"gRPC (\S+), REST (\S+)", told).groups()
        yield address, rest


@pytest.fixture
def photo(catalog: Path) -> bytes:
    """A photo of the catalogue, as ingest would have made it canonical."""
    from lookalike.catalog.images import canonicalise

    taken = catalog.parent / "images" / "dress-0004" / "wild-0.jpg"
    return canonicalise(taken.read_bytes(), longest_side_px=64).jpeg


def own_embedding(story: Any, photo: bytes) -> np.ndarray:
    from lookalike.encoder.embedder import InProcessEmbedder
    from lookalike.release.store import ReleaseStore

    return InProcessEmbedder(ReleaseStore(story.shop.root / "releases").current().encoder_directory).embed([photo])[0]


def test_predict_over_grpc_gives_the_embedding(model_server: tuple[str, str], story: Any, photo: bytes) -> None:
    with grpc.insecure_channel(model_server[0]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "encoder"
        request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto([photo]))
        answer = stub.Predict(request, timeout=30)
    assert answer.model_spec.version.value == 1
    found = tf.make_ndarray(answer.outputs["embedding"])[0]
    np.testing.assert_allclose(found, own_embedding(story, photo), atol=1e-6)


def test_metadata_and_status_over_grpc(model_server: tuple[str, str]) -> None:
    with grpc.insecure_channel(model_server[0]) as channel:
        asked = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        asked.model_spec.name = "encoder"
        metadata = prediction_service_pb2_grpc.PredictionServiceStub(channel).GetModelMetadata(asked, timeout=30)
        status_request = get_model_status_pb2.GetModelStatusRequest()
        status_request.model_spec.name = "encoder"
        status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(status_request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    metadata.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", "classify", "transform_features"} <= set(signatures.signature_def)
    [version] = status.model_version_status
    assert (version.version, version.state) == (1, get_model_status_pb2.ModelVersionStatus.AVAILABLE)


def test_predict_over_rest_gives_the_embedding(model_server: tuple[str, str], story: Any, photo: bytes) -> None:
    body = {"instances": [{"image_bytes": {"b64": base64.b64encode(photo).decode()}}]}
    answer = _post(f"{model_server[1]}/v1/models/encoder:predict", json.dumps(body).encode(), "application/json")
    [found] = answer["predictions"]
    np.testing.assert_allclose(found, own_embedding(story, photo), atol=1e-6)


def test_the_search_service_answers_alike_with_either_encoder(
    model_server: tuple[str, str], story: Any, photo: bytes
) -> None:
    answers = []
    for encoder in ("", f"grpc://{model_server[0]}"):
        with serving("serve", story.shop, "--port", "0", "--encoder", encoder, ready="http://") as told:
            url = re.search(r"http://\S+", told).group()
            _wait_until_ready(url)
            answers.append(_post(f"{url}/v1/search?k=5", photo, "image/jpeg"))
            with urllib.request.urlopen(f"{url}/") as page:
                assert b"<html" in page.read()
    in_process, over_grpc = answers
    assert [hit["product_id"] for hit in in_process["results"]] == [hit["product_id"] for hit in over_grpc["results"]]
    assert in_process["release"] == over_grpc["release"] == 1


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with releases; serving needs nothing else of it, and no place of its own."""
    directory = tmp_path_factory.mktemp("released")
    with tarfile.open(ROOT / "tests" / "e2e" / "workspaces" / "0.1.0.tar.xz") as archive:
        archive.extractall(directory)
    return directory / "lookalike-0.1.0-workspace"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["serve-model", "--grpc-port", "{busy}"], 1, "127.0.0.1:{busy} must be free to listen at"),
        (["serve", "--encoder", "http://127.0.0.1:{busy}"], 2, "must look like grpc://host:8500"),
    ],
)
def test_what_cannot_be_served_ends_with_one_line(released: Path, arguments: list[str], status: int, told: str) -> None:
    # The tests let TensorFlow say more than the command does.
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        busy = other.getsockname()[1]
        command = [argument.format(busy=busy) for argument in arguments]
        done = subprocess.run(
            [sys.executable, "-m", "lookalike", *command, "--root", str(released)],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    [line] = done.stderr.splitlines()
    assert told.format(busy=busy) in line
    assert (done.returncode, done.stdout) == (status, "")


def _wait_until_ready(url: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/healthz").close()
        except urllib.error.HTTPError:
            time.sleep(0.2)
        else:
            return
    pytest.fail("the service did not become ready within a minute")


def _post(url: str, body: bytes, content_type: str) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": content_type})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)
