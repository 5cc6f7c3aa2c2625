"""TF Serving's REST API (status, metadata, predict in row and column format) over the embedded runtime."""

import base64
import binascii
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import grpc
import numpy as np
import tensorflow as tf
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse
from google.protobuf import json_format
from starlette.exceptions import HTTPException

from lookalike.errors import kind_of
from lookalike.http.body_limit import BodyLimit
from serving.predict_grpc import model_spec, signature_def_map, status_response
from serving.saved_model_runtime import (
    DEFAULT_SIGNATURE,
    Array,
    LoadedModel,
    ModelVersions,
    ServingError,
    invalid,
)

_HTTP_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
}
_MAX_RANK = 32  # numpy's
# What protobuf 5 calls it, and what those before it do.
_UNSET_FIELDS_TOO: dict[str, Any] = {
    name: True
    for name in ("always_print_fields_with_no_presence", "including_default_value_fields")
    if name in inspect.signature(json_format.MessageToDict).parameters
}


async def _read_body(request: Request) -> bytes:
    return await request.body()


Body = Annotated[bytes, Depends(_read_body)]


def create_rest_app(models: ModelVersions) -> FastAPI:
    """The REST API as an ASGI app. Every error is {"error": "text"} with TF Serving's status."""
    app = FastAPI(title="Model server", openapi_url=None)
    app.add_middleware(BodyLimit, error_document=lambda _code, text: {"error": text})
    app.add_exception_handler(ServingError, _answer_serving_error)
    app.add_exception_handler(HTTPException, _answer_malformed)
    for prefix in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
        _add_routes(app, prefix, models)
    return app


def _add_routes(app: FastAPI, prefix: str, models: ModelVersions) -> None:
    @app.get(prefix)
    def status(name: str, version: str | None = None) -> dict[str, Any]:
        _check_name(models, name)
        return _to_json(status_response(models.statuses(_parse_version(version))))

    @app.get(prefix + "/metadata")
    def metadata(name: str, version: str | None = None) -> dict[str, Any]:
        model = _find_model(models, name, version)
        signatures = _to_json(signature_def_map(model))
        return {
            "model_spec": _to_json(model_spec(name, model.version)),
            "metadata": {"signature_def": signatures},
        }

    @app.post(prefix + ":predict")
    def predict(name: str, body: Body, version: str | None = None) -> JSONResponse:
        # Not FastAPI's own serialisation: embeddings are long, and already plain lists.
        return JSONResponse(answer_predict(_find_model(models, name, version), body))

    @app.post(prefix + ":{method}")
    def other(name: str, method: str) -> None:
        _check_name(models, name)
        if method in ("classify", "regress"):
            raise ServingError(grpc.StatusCode.UNIMPLEMENTED, f"{method} is not offered here: call :predict")
        raise HTTPException(404)


def answer_predict(model: LoadedModel, body: bytes) -> dict[str, Any]:
    """Answers one predict request: {"predictions": …} to `instances`, {"outputs": …} to `inputs`.

    Raises ServingError: INVALID_ARGUMENT for a body that asks for nothing the model answers.
    """
    document = _parse(body)
    signature_name = document.get("signature_name", DEFAULT_SIGNATURE)
    if not isinstance(signature_name, str):
        raise invalid("'signature_name' key must be a string value.")
    infos = model.signature(signature_name, grpc.StatusCode.INVALID_ARGUMENT).inputs
    if ("instances" in document) == ("inputs" in document):
        raise invalid("Expecting exactly one of the keys 'inputs' or 'instances'")
    if "inputs" in document:
        inputs = _column_inputs(document["inputs"], infos)
        return {"outputs": _column_outputs(model.predict(inputs, signature_name=signature_name))}
    inputs = _row_inputs(document["instances"], infos)
    return {"predictions": _row_outputs(model.predict(inputs, signature_name=signature_name))}


def _parse(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise invalid(f"JSON Parse error: {error}") from error
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: must be an object, got {kind_of(document)}")
    return document


def _row_inputs(instances: Any, infos: Mapping[str, Any]) -> dict[str, Array]:
    """One list entry per example: plain values for a single input, else an object with every input's name."""
    if not isinstance(instances, list) or not instances:
        raise invalid("'instances' must be a list with at least one value")
    if not any(_is_named(instance) for instance in instances):
        return _column_inputs(instances, infos)
    for position, instance in enumerate(instances):
        if not _is_named(instance) or set(instance) != set(infos):
            names = ",".join(sorted(infos))
            raise invalid(f"element {position} of 'instances' must be an object with exactly the keys {names}")
    columns = {name: [instance[name] for instance in instances] for name in infos}
    return _column_inputs(columns, infos)


def _column_inputs(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Array]:
    """One tensor per input: the bare value for a single input, else an object by name."""
    if not _is_named(inputs):
        if len(infos) != 1:
            raise invalid(f"expecting an object with the keys {','.join(sorted(infos))}, got a plain value")
        inputs = {next(iter(infos)): inputs}
    missing = [name for name in infos if name not in inputs]
    if missing:
        raise invalid(f"Missing named input: {missing[0]} in 'inputs' object.")
    return {name: array_from_json(name, inputs[name], infos[name].dtype) for name in infos}


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and set(value) != {"b64"}


def array_from_json(name: str, value: Any, dtype_enum: int) -> Array:
    """A nested list (or a scalar) as an array of the signature's type. Raises ServingError INVALID_ARGUMENT."""
    dtype = tf.dtypes.as_dtype(dtype_enum)
    shape = _dense_shape(name, value)
    leaves = [_leaf(name, leaf, dtype) for leaf in _leaves(name, value, shape)]
    numpy_dtype = np.dtype(dtype.as_numpy_dtype)
    if dtype.is_integer and leaves:
        bounds = np.iinfo(numpy_dtype)
        if min(leaves) < bounds.min or max(leaves) > bounds.max:
            raise invalid(f"input {name} must fit {dtype.name}, got {min(leaves)} to {max(leaves)}")
    try:
        with np.errstate(over="raise"):
            return np.array(leaves, dtype=numpy_dtype).reshape(shape)
    except (FloatingPointError, OverflowError) as error:
        raise invalid(f"input {name} cannot be converted to {dtype.name} without loss of precision") from error


def _dense_shape(name: str, value: Any) -> list[int]:
    shape: list[int] = []
    while isinstance(value, list):
        shape.append(len(value))
        if len(shape) > _MAX_RANK:
            raise invalid(f"input {name} must have at most {_MAX_RANK} dimensions, got more")
        if not value:
            break
        value = value[0]
    return shape


def _leaves(name: str, value: Any, shape: list[int]) -> Iterator[Any]:
    if not shape:
        yield value
        return
    if not isinstance(value, list) or len(value) != shape[0]:
        raise invalid(f"input {name} must be a dense tensor: expected a list of {shape[0]} values")
    for item in value:
        yield from _leaves(name, item, shape[1:])


def _leaf(name: str, value: Any, dtype: tf.DType) -> Any:
    if dtype == tf.string and isinstance(value, str):
        return value.encode()
    if dtype == tf.string and isinstance(value, dict):
        return _base64(name, value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    if (
        (dtype.is_integer and is_number)
        or (dtype.is_floating and (is_number or isinstance(value, float)))
        or (dtype.is_bool and isinstance(value, bool))
    ):
        return value
    raise invalid(f"input {name}: JSON Value: {kind_of(value)} is not of expected type: {dtype.name}")


def _base64(name: str, value: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise invalid(f"input {name}: bytes must be given as {{'b64': '<base64>'}}: {error}") from error


def _column_outputs(outputs: Mapping[str, Array]) -> Any:
    columns = {name: _to_lists(name, array) for name, array in outputs.items()}
    return next(iter(columns.values())) if len(columns) == 1 else columns


def _row_outputs(outputs: Mapping[str, Array]) -> list[Any]:
    sizes = {array.shape[0] if array.ndim else None for array in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        raise invalid("the outputs must share their batch size to be answered by row; ask with 'inputs' instead")
    columns = {name: _to_lists(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        rows: list[Any] = next(iter(columns.values()))
        return rows
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _to_lists(name: str, array: Array) -> Any:
    if array.dtype != np.dtype(object):
        return array.tolist()
    # TF Serving's rule: outputs named *_bytes are bytes, other strings are text.
    if name.endswith("_bytes"):
        return _map_nested(array.tolist(), lambda value: {"b64": base64.b64encode(value).decode()})
    return _map_nested(array.tolist(), lambda value: value.decode(errors="replace"))


def _map_nested(value: Any, function: Any) -> Any:
    return [_map_nested(item, function) for item in value] if isinstance(value, list) else function(value)


def _find_model(models: ModelVersions, name: str, version: str | None) -> LoadedModel:
    _check_name(models, name)
    return models.get(_parse_version(version))


def _check_name(models: ModelVersions, name: str) -> None:
    if name != models.name:
        raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({name})")


def _parse_version(version: str | None) -> int | None:
    if version is None:
        return None
    if not (version.isascii() and version.isdecimal()) or int(version) >= 2**63:
        raise invalid(f"Failed to convert version: {version[:40]} to numeric.")
    return int(version)


def _to_json(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True, **_UNSET_FIELDS_TOO)


def _answer_serving_error(_request: Request, error: Exception) -> JSONResponse:
    code = error.code if isinstance(error, ServingError) else grpc.StatusCode.INTERNAL
    return JSONResponse({"error": str(error)}, _HTTP_STATUS.get(code, 500))


def _answer_malformed(request: Request, _error: Exception) -> JSONResponse:
    status = 400 if request.url.path.startswith("/v1/") else 404
    return JSONResponse({"error": f"Malformed request: {request.method} {request.url.path}"}, status)
