"""TF Serving's gRPC API: PredictionService and ModelService over the embedded runtime."""

import functools
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from lookalike.http.body_limit import MAX_BODY_BYTES
from serving.saved_model_runtime import (
    DEFAULT_SIGNATURE,
    LoadedModel,
    ModelVersions,
    ServingError,
    VersionStatus,
    array_from_proto,
    invalid,
)

_METADATA_FIELD = "signature_def"
_MAX_CONCURRENT_RPCS = 64

Handler = Callable[[Any, Any, grpc.ServicerContext], Any]


def create_grpc_server(models: ModelVersions, *, num_threads: int) -> grpc.Server:
    """A server without a port yet. Larger messages and too many calls at once answer RESOURCE_EXHAUSTED."""
    server = grpc.server(
        futures.ThreadPoolExecutor(num_threads, thread_name_prefix="grpc"),
        options=[("grpc.max_receive_message_length", MAX_BODY_BYTES), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=_MAX_CONCURRENT_RPCS,
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(PredictionServicer(models), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelServicer(models), server)
    return server


def _with_status(handler: Callable[[Any, Any], Any]) -> Handler:
    """Turns a ServingError into the call's status."""

    @functools.wraps(handler)
    def answer(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return handler(self, request)
        except ServingError as error:
            return context.abort(error.code, str(error))

    return answer


def _not_offered(method: str, instead: str) -> Handler:
    def answer(_self: Any, _request: Any) -> Any:
        raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not offered here: {instead}")

    return _with_status(answer)


class PredictionServicer:
    """tensorflow.serving.PredictionService, every method of it."""

    def __init__(self, models: ModelVersions):
        self._models = models

    @_with_status
    def Predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:  # noqa: N802
        """Runs a signature on the given tensors."""
        model = _find_model(self._models, request)
        signature_name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = {name: array_from_proto(name, proto) for name, proto in request.inputs.items()}
        outputs = model.predict(inputs, signature_name=signature_name, output_filter=request.output_filter)
        spec = model_spec(self._models.name, model.version, signature_name)
        protos = {name: tf.make_tensor_proto(array) for name, array in outputs.items()}
        return predict_pb2.PredictResponse(model_spec=spec, outputs=protos)

    @_with_status
    def GetModelMetadata(  # noqa: N802
        self, request: get_model_metadata_pb2.GetModelMetadataRequest
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a model; `signature_def` is the only metadata field there is."""
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != _METADATA_FIELD:
                raise invalid(f"Metadata field {field} is not supported")
        model = _find_model(self._models, request)
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=model_spec(self._models.name, model.version)
        )
        response.metadata[_METADATA_FIELD].Pack(signature_def_map(model))
        return response

    Classify = _not_offered("Classify", "call Predict with signature_name 'classify'")
    Regress = _not_offered("Regress", "call Predict")
    MultiInference = _not_offered("MultiInference", "call Predict once per signature")


class ModelServicer:
    """tensorflow.serving.ModelService, every method of it."""

    def __init__(self, models: ModelVersions):
        self._models = models

    @_with_status
    def GetModelStatus(  # noqa: N802
        self, request: get_model_status_pb2.GetModelStatusRequest
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """Where each version stands, newest first."""
        version = _check_model_spec(self._models, request)
        return status_response(self._models.statuses(version))

    HandleReloadConfigRequest = _not_offered(
        "HandleReloadConfigRequest", "new versions below the base path are loaded by themselves"
    )


def model_spec(name: str, version: int, signature_name: str = "") -> model_pb2.ModelSpec:
    """Names the version that answered."""
    spec = model_pb2.ModelSpec(name=name, signature_name=signature_name)
    spec.version.value = version
    return spec


def signature_def_map(model: LoadedModel) -> get_model_metadata_pb2.SignatureDefMap:
    """The signatures of one version as the message TF Serving answers with."""
    return get_model_metadata_pb2.SignatureDefMap(signature_def=model.signature_defs)


def status_response(statuses: list[VersionStatus]) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of versions as the message TF Serving answers with."""
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        entry = response.model_version_status.add(version=status.version, state=status.state.value)
        entry.status.error_code = (grpc.StatusCode.UNKNOWN if status.problem else grpc.StatusCode.OK).value[0]
        entry.status.error_message = status.problem
    return response


def _find_model(models: ModelVersions, request: Any) -> LoadedModel:
    return models.get(_check_model_spec(models, request))


def _check_model_spec(models: ModelVersions, request: Any) -> int | None:
    """The version asked for. Raises ServingError unless the request names our model."""
    if not request.HasField("model_spec"):
        raise invalid("Missing ModelSpec")
    spec = request.model_spec
    if spec.name != models.name:
        text = f"Servable not found for request: Latest({spec.name})"
        raise ServingError(grpc.StatusCode.NOT_FOUND, text)
    choice = spec.WhichOneof("version_choice")
    if choice == "version_label":
        raise invalid(f"Unrecognized servable version label: {spec.version_label}")
    return int(spec.version.value) if choice == "version" else None
