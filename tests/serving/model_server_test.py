"""The model server answers TF Serving's own clients: real stubs and real HTTP over loopback."""

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from lookalike.http.server import ListenAddressError, PortBusyError
from lookalike.release.manifest import write_manifest
from lookalike.release.store import ReleaseStore
from serving import model_server
from serving.saved_model_runtime import LoadedModel, ModelVersions, ServingError

AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
END = get_model_status_pb2.ModelVersionStatus.END


class Client:
    """What a user of tensorflow-serving-api writes."""

    def __init__(self, server: model_server.ModelServer):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.http = httpx.Client(base_url=server.rest_url, timeout=30)

    def predict(self, images: list[bytes], **spec: Any) -> predict_pb2.PredictResponse:
        return self.prediction.Predict(predict_request(images, **spec), timeout=30)

    def status(self) -> list[Any]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "encoder"
        return list(self.model.GetModelStatus(request, timeout=30).model_version_status)

    def close(self) -> None:
        self.http.close()
        self.channel.close()


def predict_request(
    images: list[bytes], *, name: str = "encoder", version: int | None = None, signature: str = ""
) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(images, tf.string))
    return request


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.fixture(scope="module")
def base_path(tmp_path_factory: pytest.TempPathFactory, encoder_dir: Path) -> Path:
    """<base>/3 is a link, as the release stores of 0.2.0 made it."""
    base = tmp_path_factory.mktemp("base")
    (base / "3").symlink_to(encoder_dir)
    (base / "not-a-version").mkdir()
    (base / "4").mkdir()  # nothing in it yet
    return base


@pytest.fixture(scope="module")
def client(base_path: Path) -> Iterator[Client]:
    with model_server.serve(base_path, "encoder", 0, 0, poll_interval_s=60) as server:
        client = Client(server)
        yield client
        client.close()


@pytest.fixture(scope="module")
def expected(encoder_dir: Path, jpegs: list[bytes]) -> np.ndarray:
    signature = tf.saved_model.load(str(encoder_dir)).signatures["serving_default"]
    return signature(image_bytes=tf.constant(jpegs))["embedding"].numpy()


def error_of(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value.code(), raised.value.details()


def test_predict_answers_what_the_saved_model_answers(client: Client, jpegs: list[bytes], expected: np.ndarray) -> None:
    response = client.predict(jpegs)
    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["embedding"]), expected)
    assert (response.model_spec.name, response.model_spec.version.value) == ("encoder", 3)
    assert response.model_spec.signature_name == "serving_default"


def test_predict_takes_version_and_signature(client: Client, jpegs: list[bytes]) -> None:
    response = client.predict(jpegs, version=3, signature="classify")
    probabilities = tf.make_ndarray(response.outputs["probabilities"])
    assert probabilities.shape == (3, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


def test_output_filter_selects_outputs(client: Client) -> None:
    request = predict_pb2.PredictRequest(output_filter=["sum"])
    request.model_spec.name = "encoder"
    request.model_spec.signature_name = "add"
    request.inputs["left"].CopyFrom(tf.make_tensor_proto([[1.0, 2.0]]))
    request.inputs["right"].CopyFrom(tf.make_tensor_proto([[10.0, 20.0]]))
    response = client.prediction.Predict(request, timeout=30)
    assert list(response.outputs) == ["sum"]
    assert tf.make_ndarray(response.outputs["sum"]).tolist() == [[11.0, 22.0]]
    request.output_filter[:] = ["product"]
    code, text = error_of(lambda: client.prediction.Predict(request, timeout=30))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "output tensor alias not found in signature: product" in text
    request.output_filter[:] = ["sum", "sum"]
    assert "duplicate output tensor alias: sum" in error_of(lambda: client.prediction.Predict(request, timeout=30))[1]


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        ({"name": "resnet"}, grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(resnet)"),
        ({"version": 9}, grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(encoder, 9)"),
        (
            {"signature": "embed"},
            grpc.StatusCode.FAILED_PRECONDITION,
            'Serving signature name: "embed" not found in signature def',
        ),
    ],
)
def test_unknown_names_have_tf_servings_status(
    client: Client, jpegs: list[bytes], spec: dict[str, Any], code: grpc.StatusCode, text: str
) -> None:
    assert error_of(lambda: client.predict(jpegs, **spec)) == (code, text)


def test_version_labels_are_unrecognized(client: Client, jpegs: list[bytes]) -> None:
    request = predict_request(jpegs)
    request.model_spec.version_label = "stable"
    code, text = error_of(lambda: client.prediction.Predict(request, timeout=30))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: stable")


def test_missing_model_spec_is_invalid(client: Client) -> None:
    code, text = error_of(lambda: client.prediction.Predict(predict_pb2.PredictRequest(), timeout=30))
    assert (code, text) == (grpc.StatusCode.INVALID_ARGUMENT, "Missing ModelSpec")


def tensor(shape: list[int], **fields: Any) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(**fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({}, "Missing but required: {image_bytes}"),
        ({"image": tf.make_tensor_proto([b"x"])}, "Sent extra: {image}. Missing but required: {image_bytes}"),
        ({"image_bytes": tf.make_tensor_proto([1.0])}, "input image_bytes must be of type string, got float32"),
        ({"image_bytes": tf.make_tensor_proto([[b"x"]])}, "input image_bytes must have the shape (None,), got (1, 1)"),
        ({"image_bytes": tf.make_tensor_proto([b"not a picture"])}, "Unknown image file format"),
        ({"image_bytes": tensor([10**12], dtype=types_pb2.DT_STRING, string_val=[b"x"])}, "must be at most"),
        ({"image_bytes": tensor([2**40, 2**40], dtype=types_pb2.DT_FLOAT, float_val=[1])}, "must be at most"),
        ({"image_bytes": tensor([-5], dtype=types_pb2.DT_STRING, string_val=[b"x"])}, "must have a complete shape"),
        ({"image_bytes": tensor([3], dtype=types_pb2.DT_STRING, string_val=[b"x"] * 4)}, "well-formed tensor"),
        ({"image_bytes": tensor([3], dtype=types_pb2.DT_FLOAT, tensor_content=b"x")}, "well-formed tensor"),
        ({"image_bytes": tensor([1], dtype=999)}, "well-formed tensor"),
    ],
)
def test_unfit_inputs_are_invalid_arguments(client: Client, inputs: dict[str, Any], text: str) -> None:
    request = predict_pb2.PredictRequest(inputs=inputs)
    request.model_spec.name = "encoder"
    code, details = error_of(lambda: client.prediction.Predict(request, timeout=30))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in details


def test_too_large_message_is_resource_exhausted(client: Client) -> None:
    code, _ = error_of(lambda: client.predict([b"x" * (10 * 2**20 + 1)]))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_metadata_tells_the_signatures(client: Client) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "encoder"
    response = client.prediction.GetModelMetadata(request, timeout=30)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(signatures)
    assert set(signatures.signature_def) == {"serving_default", "classify", "add"}
    embedding = signatures.signature_def["serving_default"].outputs["embedding"]
    assert [dim.size for dim in embedding.tensor_shape.dim] == [-1, 16]
    assert response.model_spec.version.value == 3


@pytest.mark.parametrize("fields", [[], ["graph"]])
def test_metadata_has_one_field(client: Client, fields: list[str]) -> None:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "encoder"
    code, _ = error_of(lambda: client.prediction.GetModelMetadata(request, timeout=30))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_status_lists_available_versions(client: Client) -> None:
    assert [(status.version, status.state) for status in client.status()] == [(3, AVAILABLE)]


def test_status_of_unknown_version_or_model_is_not_found(client: Client) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "encoder"
    request.model_spec.version.value = 8
    code, text = error_of(lambda: client.model.GetModelStatus(request, timeout=30))
    assert (code, text) == (grpc.StatusCode.NOT_FOUND, "Could not find version 8 of model encoder")
    request.model_spec.name = "resnet"
    assert error_of(lambda: client.model.GetModelStatus(request, timeout=30))[0] is grpc.StatusCode.NOT_FOUND


def test_methods_not_offered_say_what_to_call(client: Client) -> None:
    calls = {
        "Classify": lambda: client.prediction.Classify(classification_pb2.ClassificationRequest()),
        "Regress": lambda: client.prediction.Regress(regression_pb2.RegressionRequest()),
        "MultiInference": lambda: client.prediction.MultiInference(inference_pb2.MultiInferenceRequest()),
        "HandleReloadConfigRequest": lambda: client.model.HandleReloadConfigRequest(
            model_management_pb2.ReloadConfigRequest()
        ),
    }
    for method, call in calls.items():
        code, text = error_of(call)
        assert code is grpc.StatusCode.UNIMPLEMENTED
        assert text.startswith(f"{method} is not offered here")


def test_rest_row_format(client: Client, jpegs: list[bytes], expected: np.ndarray) -> None:
    for instances in ([b64(jpeg) for jpeg in jpegs], [{"image_bytes": b64(jpeg)} for jpeg in jpegs]):
        response = client.http.post("/v1/models/encoder:predict", json={"instances": instances})
        assert response.status_code == 200
        np.testing.assert_array_equal(np.array(response.json()["predictions"], np.float32), expected)


def test_rest_column_format(client: Client, jpegs: list[bytes], expected: np.ndarray) -> None:
    for inputs in ([b64(jpeg) for jpeg in jpegs], {"image_bytes": [b64(jpeg) for jpeg in jpegs]}):
        response = client.http.post("/v1/models/encoder/versions/3:predict", json={"inputs": inputs})
        assert response.status_code == 200
        np.testing.assert_array_equal(np.array(response.json()["outputs"], np.float32), expected)


def test_rest_names_several_inputs_and_outputs(client: Client) -> None:
    row = {
        "signature_name": "add",
        "instances": [{"left": [1, 2], "right": [3, 4.5]}, {"left": [5, 6], "right": [0, 0]}],
    }
    rows = client.http.post("/v1/models/encoder:predict", json=row).json()["predictions"]
    assert rows == [
        {"name_bytes": b64(b"1.0"), "sum": [4.0, 6.5]},
        {"name_bytes": b64(b"5.0"), "sum": [5.0, 6.0]},
    ]
    column = {"signature_name": "add", "inputs": {"left": [[1, 2]], "right": [[3, 4.5]]}}
    outputs = client.http.post("/v1/models/encoder:predict", json=column).json()["outputs"]
    assert outputs == {"name_bytes": [b64(b"1.0")], "sum": [[4.0, 6.5]]}


def test_rest_status_and_metadata(client: Client) -> None:
    for path in ("/v1/models/encoder", "/v1/models/encoder/versions/3"):
        assert client.http.get(path).json() == {
            "model_version_status": [
                {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
            ]
        }
    metadata = client.http.get("/v1/models/encoder/metadata").json()
    assert metadata["model_spec"] == {"name": "encoder", "version": "3", "signature_name": ""}
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image_bytes"]["dtype"] == "DT_STRING"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/models/resnet", 404),
        ("GET", "/v1/models/encoder/versions/9", 404),
        ("GET", "/v1/models/encoder/versions/latest", 400),
        ("GET", "/v1/models/encoder/versions/99999999999999999999", 400),
        ("GET", "/v1/models/resnet/metadata", 404),
        ("GET", "/v1/models", 400),
        ("PUT", "/v1/models/encoder", 400),
        ("POST", "/v1/models/encoder:explain", 400),
        ("POST", "/v1/models/encoder:classify", 501),
        ("POST", "/v1/models/resnet:predict", 404),
        ("POST", "/v1/models/encoder/versions/9:predict", 404),
        ("GET", "/", 404),
    ],
)
def test_rest_errors_are_one_text(client: Client, method: str, path: str, status: int) -> None:
    response = client.http.request(method, path, json={"instances": [1]} if method == "POST" else None)
    assert response.status_code == status
    assert list(response.json()) == ["error"]
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", "JSON Parse error"),
        ("{", "JSON Parse error"),
        (b"\xff\xfe\xfa", "JSON Parse error"),
        ("[" * 100_000, "JSON Parse error"),
        ("[]", "must be an object"),
        ("{}", "exactly one of the keys"),
        ('{"inputs": [], "instances": []}', "exactly one of the keys"),
        ('{"instances": []}', "at least one value"),
        ('{"instances": 5}', "at least one value"),
        ('{"signature_name": 1, "instances": ["x"]}', "must be a string value"),
        ('{"signature_name": "embed", "instances": ["x"]}', '"embed" not found in signature def'),
        ('{"instances": [1]}', "a number is not of expected type: string"),
        ('{"instances": [NaN]}', "a number is not of expected type: string"),
        ('{"instances": [{"b64": "%%%"}]}', "bytes must be given as"),
        ('{"instances": [{"b64": 5}]}', "bytes must be given as"),
        ('{"instances": [{"image": "x"}]}', "exactly the keys image_bytes"),
        ('{"instances": [{"image_bytes": "x"}, "y"]}', "element 1 of 'instances'"),
        ('{"instances": [["x"]]}', "must have the shape (None,)"),
        ('{"instances": [["x"], "y"]}', "must be a dense tensor"),
        ('{"inputs": {"image": "x"}}', "Missing named input: image_bytes"),
        ('{"inputs": "x"}', "must have the shape (None,)"),
        ('{"inputs": ' + "[" * 40 + "]" * 40 + "}", "at most 32 dimensions"),
        ('{"signature_name": "add", "inputs": [[1, 2]]}', "an object with the keys left,right"),
        (
            '{"signature_name": "add", "inputs": {"left": [[1, true]], "right": [[1, 2]]}}',
            "true or false is not of expected",
        ),
        ('{"signature_name": "add", "inputs": {"left": [[1, 1e300]], "right": [[1, 2]]}}', "loss of precision"),
        ('{"instances": ["not a picture"]}', "Unknown image file format"),
    ],
)
def test_rest_refuses_malformed_bodies(client: Client, body: str | bytes, text: str) -> None:
    response = client.http.post("/v1/models/encoder:predict", content=body)
    assert response.status_code == 400
    assert text in response.json()["error"]


def test_rest_refuses_large_bodies_before_parsing(client: Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(11):
            yield b"[" * 2**20

    for content in (b"[" * (10 * 2**20 + 1), chunks()):
        response = client.http.post("/v1/models/encoder:predict", content=content)
        assert response.status_code == 413
        assert "at most 10485760 bytes" in response.json()["error"]


def test_new_versions_are_served_and_old_ones_let_go(
    tmp_path: Path, export_encoder: Callable[[Path, int], None], encoder_dir: Path, jpegs: list[bytes]
) -> None:
    with model_server.serve(tmp_path, "encoder", 0, 0, max_versions=2, poll_interval_s=0.05) as server:
        client = Client(server)
        assert error_of(lambda: client.predict(jpegs))[1] == "Servable not found for request: Latest(encoder)"
        assert error_of(client.status)[1] == "Could not find any versions of model encoder"
        (tmp_path / "1").symlink_to(encoder_dir)
        wait_for(lambda: client.status(), lambda found: found[0].state == AVAILABLE)
        first = tf.make_ndarray(client.predict(jpegs).outputs["embedding"])

        export_encoder(tmp_path / ".staging", 2)
        (tmp_path / ".staging").rename(tmp_path / "2")
        wait_for(client.status, lambda found: found[0].version == 2 and found[0].state == AVAILABLE)
        response = client.predict(jpegs)
        assert response.model_spec.version.value == 2
        assert not np.allclose(tf.make_ndarray(response.outputs["embedding"]), first)
        old = client.predict(jpegs, version=1)
        np.testing.assert_array_equal(tf.make_ndarray(old.outputs["embedding"]), first)

        (tmp_path / "3").symlink_to(encoder_dir)
        wait_for(client.status, lambda found: found[-1].version == 1 and found[-1].state == END)
        assert [(status.version, status.state) for status in client.status()] == [
            (3, AVAILABLE),
            (2, AVAILABLE),
            (1, END),
        ]
        client.close()


def wait_for(ask: Callable[[], Any], accept: Callable[[Any], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if accept(ask()):
                return
        except grpc.RpcError:
            pass
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_version_whose_files_are_not_as_its_manifest_says_is_not_served(
    tmp_path: Path, encoder_dir: Path, jpegs: list[bytes], expected: np.ndarray
) -> None:
    """One flipped bit of the weights, which TensorFlow itself would serve."""
    for version in ("1", "2"):
        shutil.copytree(encoder_dir, tmp_path / version)
        write_manifest(tmp_path / version, {})
    weights = tmp_path / "2" / "variables" / "variables.data-00000-of-00001"
    damaged = bytearray(weights.read_bytes())
    damaged[100] ^= 0x40
    weights.write_bytes(damaged)
    models = ModelVersions("encoder", tmp_path)
    models.refresh()
    inputs = {"image_bytes": np.array(jpegs, dtype=object)}
    assert models.get().version == 1
    np.testing.assert_allclose(
        models.get().predict(inputs, signature_name="serving_default")["embedding"], expected, atol=1e-6
    )
    assert "variables.data-00000-of-00001 has changed" in models.statuses(2)[0].problem


def test_encoders_of_an_object_store_are_followed(
    tmp_path: Path, s3_address: str, encoder_dir: Path, jpegs: list[bytes]
) -> None:
    def build(directory: Path, version: int) -> None:
        shutil.copytree(encoder_dir, directory / "encoder" / str(version))

    store = ReleaseStore(s3_address)
    store.push(build, decision_id="1", facts={})
    with model_server.serve(
        f"{s3_address}/encoder", "encoder", 0, 0, poll_interval_s=0.1, cache_directory=tmp_path
    ) as server:
        client = Client(server)
        assert [status.version for status in client.status()] == [1]
        for number in (2, 3):
            store.push(build, decision_id=str(number), facts={})
        wait_for(lambda: client.predict(jpegs).model_spec.version.value, lambda version: version == 3)
        fetched = "encoders/*/*/saved_model.pb"
        wait_for(lambda: {path.parent.name for path in tmp_path.glob(fetched)}, lambda kept: kept == {"2", "3"})
        store.rollback(1)
        wait_for(lambda: client.predict(jpegs).model_spec.version.value, lambda version: version == 1)
        client.close()


def test_damaged_version_never_displaces_a_good_one(tmp_path: Path, encoder_dir: Path) -> None:
    (tmp_path / "1").symlink_to(encoder_dir)
    shutil.copytree(encoder_dir, tmp_path / "2")
    (tmp_path / "2" / "variables" / "variables.data-00000-of-00001").unlink()
    models = ModelVersions("encoder", tmp_path, max_versions=1)
    for _ in range(5):
        models.refresh()
    assert models.get().version == 1
    broken = models.statuses(2)[0]
    assert broken.attempts == 3  # and no more
    assert broken.problem
    shutil.rmtree(tmp_path / "2")
    models.refresh()
    (tmp_path / "2").symlink_to(encoder_dir)
    models.refresh()
    assert models.get().version == 2


def test_version_whose_files_are_replaced_is_loaded_anew(
    tmp_path: Path, export_encoder: Callable[[Path, int], None], encoder_dir: Path, jpegs: list[bytes]
) -> None:
    """As when a release store is rebuilt, or restored from a backup, under a running server."""
    other = tmp_path / "other"
    export_encoder(other, 2)
    base = tmp_path / "base"
    base.mkdir()
    (base / "1").symlink_to(encoder_dir)
    models = ModelVersions("encoder", base)
    models.refresh()
    first = models.get()
    models.refresh()
    assert models.get() is first

    replace_link(base / "1", other)
    models.refresh()
    replaced = models.get()
    assert replaced.version == 1
    embeddings = [
        model.predict({"image_bytes": np.array(jpegs, object)}, signature_name="serving_default")["embedding"]
        for model in (LoadedModel(1, other), replaced, first)
    ]
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    assert not np.allclose(embeddings[1], embeddings[2])


def test_replacement_that_does_not_load_leaves_the_old_model(tmp_path: Path, encoder_dir: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"\x00 not a model")
    base = tmp_path / "base"
    base.mkdir()
    (base / "1").symlink_to(encoder_dir)
    models = ModelVersions("encoder", base)
    models.refresh()
    first = models.get()
    replace_link(base / "1", broken)
    for _ in range(5):
        models.refresh()
    assert models.get() is first
    assert models.statuses(1)[0].problem
    assert models.statuses(1)[0].attempts == 3
    replace_link(base / "1", encoder_dir)
    models.refresh()
    assert not models.statuses(1)[0].problem


def replace_link(link: Path, target: Path) -> None:
    link.unlink()
    link.symlink_to(target)


def test_status_tells_why_a_version_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"\x00 not a model")
    with model_server.serve(tmp_path, "encoder", 0, 0, poll_interval_s=60) as server:
        client = Client(server)
        (status,) = client.status()
        assert status.state == END
        assert status.status.error_message
        client.close()


def test_recorded_warm_up_requests_are_answered_before_the_version_serves(
    tmp_path: Path, encoder_dir: Path, jpegs: list[bytes]
) -> None:
    write_warm_up(tmp_path / "good", encoder_dir, [predict_request(jpegs, signature="classify")])
    LoadedModel(1, tmp_path / "good").warm_up()
    write_warm_up(tmp_path / "bad", encoder_dir, [predict_request([b"not a picture"])])
    with pytest.raises(ServingError, match="Unknown image file format"):
        LoadedModel(1, tmp_path / "bad").warm_up()


def test_too_many_warm_up_records_are_refused(tmp_path: Path, encoder_dir: Path) -> None:
    write_warm_up(tmp_path / "model", encoder_dir, [predict_request([b"x"])] * 1001)
    with pytest.raises(ValueError, match="at most 1000 records"):
        LoadedModel(1, tmp_path / "model").warm_up()


def write_warm_up(directory: Path, encoder_dir: Path, requests: list[predict_pb2.PredictRequest]) -> None:
    shutil.copytree(encoder_dir, directory)
    (directory / "assets.extra").mkdir()
    with tf.io.TFRecordWriter(str(directory / "assets.extra" / "tf_serving_warmup_requests")) as writer:
        for request in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            writer.write(log.SerializeToString())


@pytest.mark.parametrize("taken", ["grpc_port", "rest_port"])
def test_taken_port_is_told_with_its_address(client: Client, base_path: Path, taken: str) -> None:
    port = client.http.base_url.port
    with pytest.raises(PortBusyError, match=f"127.0.0.1:{port} must be free to listen at"):
        model_server.serve(base_path, "encoder", **{"grpc_port": 0, "rest_port": 0, taken: port})


def test_host_that_is_not_this_machine_is_told(base_path: Path) -> None:
    with pytest.raises(ListenAddressError, match="must be an address of this machine"):
        model_server.serve(base_path, "encoder", 0, 0, host="203.0.113.7")


def test_server_on_an_ipv6_address_answers_at_what_it_names(base_path: Path, jpegs: list[bytes]) -> None:
    with model_server.serve(base_path, "encoder", 0, 0, host="::1") as server:
        assert server.grpc_address == f"[::1]:{server.grpc_port}"
        assert httpx.get(f"{server.rest_url}/v1/models/encoder").status_code == 200
        with grpc.insecure_channel(server.grpc_address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answer = stub.Predict(predict_request(jpegs), timeout=30)
        assert answer.model_spec.version.value == 3
