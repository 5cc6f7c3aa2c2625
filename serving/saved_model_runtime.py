"""SavedModels in memory, by version: found on disk, warmed up, checked against their signatures and run."""

import enum
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from lookalike.release.manifest import MANIFEST_FILE, verify
from serving.file_states import FileStates, read_file_states

log = logging.getLogger(__name__)

DEFAULT_SIGNATURE = "serving_default"
_MAX_LOAD_ATTEMPTS = 3
_MAX_WARM_UP_RECORDS = 1000  # TF Serving's own limit
_WARM_UP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
# A TensorProto may state a huge shape and one value to repeat, so its size is checked before it is unpacked.
_MAX_TENSOR_BYTES = 64 * 2**20

Array = npt.NDArray[Any]


class ServingError(Exception):
    """A request that cannot be answered, with the status code TF Serving gives it."""

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code


def invalid(message: str) -> ServingError:
    """The caller's fault: INVALID_ARGUMENT."""
    return ServingError(grpc.StatusCode.INVALID_ARGUMENT, message)


class LoadedModel:
    """One version of a SavedModel, ready to answer."""

    def __init__(self, version: int, directory: Path):
        self.version = version
        self._directory = directory
        self.signature_defs = _read_signature_defs(directory)
        # The restored object owns the variables; its signatures alone would not keep them alive.
        self._model = tf.saved_model.load(str(directory))

    def signature(self, name: str, missing: grpc.StatusCode) -> meta_graph_pb2.SignatureDef:
        """The named signature; `missing` is the code when there is none (gRPC and REST differ in TF Serving)."""
        if name not in self.signature_defs:
            raise ServingError(missing, f'Serving signature name: "{name}" not found in signature def')
        return self.signature_defs[name]

    def predict(
        self, inputs: Mapping[str, Array], *, signature_name: str, output_filter: Iterable[str] = ()
    ) -> dict[str, Array]:
        """Runs one signature.

        inputs: one array for every input of the signature, of its dtype (bytes objects for strings) and shape.
        output_filter: the outputs wanted; all of them when empty.

        Raises ServingError: FAILED_PRECONDITION for an unknown signature, INVALID_ARGUMENT for inputs that do not
        fit it, or the code of the TensorFlow error.
        """
        signature = self.signature(signature_name, grpc.StatusCode.FAILED_PRECONDITION)
        wanted = _wanted_outputs(signature, list(output_filter))
        tensors = _checked_inputs(signature, inputs)
        try:
            outputs = self._model.signatures[signature_name](**tensors)
        except tf.errors.OpError as error:
            raise ServingError(_status_code(error), _kernel_message(error)) from error
        return {name: outputs[name].numpy() for name in wanted}

    def warm_up(self) -> None:
        """Answers the recorded requests, or else a grey image for every signature that takes `image_bytes`.

        The first call of a signature traces and plans its graph, which no user should wait for.
        """
        for signature_name, inputs in self._recorded_requests() or self._grey_requests():
            self.predict(inputs, signature_name=signature_name)

    def _recorded_requests(self) -> list[tuple[str, dict[str, Array]]]:
        path = self._directory / _WARM_UP_FILE
        if not path.is_file():
            return []
        requests: list[tuple[str, dict[str, Array]]] = []
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            if len(requests) == _MAX_WARM_UP_RECORDS:
                raise ValueError(f"{path} must hold at most {_MAX_WARM_UP_RECORDS} records, got more")
            log = prediction_log_pb2.PredictionLog.FromString(record)
            request = log.predict_log.request
            inputs = {name: array_from_proto(name, proto) for name, proto in request.inputs.items()}
            requests.append((request.model_spec.signature_name or DEFAULT_SIGNATURE, inputs))
        return requests

    def _grey_requests(self) -> list[tuple[str, dict[str, Array]]]:
        grey = tf.io.encode_jpeg(tf.fill([64, 64, 3], tf.constant(128, tf.uint8))).numpy()
        inputs = {"image_bytes": np.array([grey], dtype=object)}
        return [
            (name, inputs) for name, signature in self.signature_defs.items() if set(signature.inputs) == set(inputs)
        ]


def array_from_proto(name: str, proto: Any) -> Array:
    """Unpacks a TensorProto. Raises ServingError INVALID_ARGUMENT when it is malformed or too large."""
    sizes = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or min(sizes, default=0) < 0:
        raise invalid(f"input {name} must have a complete shape, got {sizes}")
    try:
        dtype = tf.dtypes.as_dtype(proto.dtype)
        num_bytes = int(np.prod(sizes, dtype=object)) * np.dtype(dtype.as_numpy_dtype).itemsize
        if num_bytes > _MAX_TENSOR_BYTES:
            raise invalid(f"input {name} must be at most {_MAX_TENSOR_BYTES} bytes, got {num_bytes}")
        array: Array = tf.make_ndarray(proto)
    except (TypeError, ValueError) as error:
        raise invalid(f"input {name} must be a well-formed tensor: {error}") from error
    return array


def _read_signature_defs(directory: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """What the SavedModel can be asked, without the bookkeeping signature that only its loader calls."""
    saved_model = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if "serve" in meta_graph.meta_info_def.tags:
            return {name: s for name, s in meta_graph.signature_def.items() if name != "__saved_model_init_op"}
    raise ValueError(f"{directory} must hold a graph tagged 'serve', it does not")


def _wanted_outputs(signature: meta_graph_pb2.SignatureDef, output_filter: list[str]) -> list[str]:
    for alias in output_filter:
        if alias not in signature.outputs:
            expected = ",".join(sorted(signature.outputs))
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{expected}}}."
            )
        if output_filter.count(alias) > 1:
            raise invalid(f"duplicate output tensor alias: {alias}")
    return output_filter or sorted(signature.outputs)


def _checked_inputs(signature: meta_graph_pb2.SignatureDef, inputs: Mapping[str, Array]) -> dict[str, tf.Tensor]:
    if set(inputs) != set(signature.inputs):
        extra = ",".join(sorted(set(inputs) - set(signature.inputs)))
        missing = ",".join(sorted(set(signature.inputs) - set(inputs)))
        raise invalid(
            f"input size does not match signature: {len(inputs)}!={len(signature.inputs)}. "
            f"Sent extra: {{{extra}}}. Missing but required: {{{missing}}}."
        )
    return {name: _checked_input(name, info, inputs[name]) for name, info in signature.inputs.items()}


def _checked_input(name: str, info: Any, array: Array) -> tf.Tensor:
    expected_dtype = tf.dtypes.as_dtype(info.dtype)
    dtype = tf.dtypes.as_dtype(array.dtype)
    if dtype != expected_dtype:
        raise invalid(f"input {name} must be of type {expected_dtype.name}, got {dtype.name}")
    expected_shape = tf.TensorShape(info.tensor_shape)
    if not expected_shape.is_compatible_with(array.shape):
        raise invalid(f"input {name} must have the shape {expected_shape}, got {array.shape}")
    return tf.constant(array, expected_dtype)


def _status_code(error: tf.errors.OpError) -> grpc.StatusCode:
    """TensorFlow's error codes are gRPC's by number."""
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return codes.get(error.error_code, grpc.StatusCode.UNKNOWN)


def _kernel_message(error: tf.errors.OpError) -> str:
    """What the kernel said, as TF Serving shows it: without the Python loader's preamble about the graph."""
    return str(error.message.rpartition("<stack traces unavailable>\n")[2])


class State(enum.Enum):
    """The part of TF Serving's ModelVersionStatus.State that a version goes through here."""

    LOADING = 20
    AVAILABLE = 30
    END = 50


@dataclass(frozen=True)
class VersionStatus:
    """Where a version stands; `problem` says why it is not served, '' when all is well."""

    version: int
    state: State
    problem: str = ""
    attempts: int = 0


class ModelVersions:
    """The newest versions of one model below a base directory, as `<base_path>/<version>/saved_model.pb`.

    The newest `max_versions` that load are kept; one that does not load never displaces one that does. A version whose
    files are replaced is loaded anew: a release store that is rebuilt at its place gives out its numbers again.
    """

    def __init__(self, name: str, base_path: Path, *, max_versions: int = 2):
        self.name = name
        self._base_path = base_path
        self._max_versions = max_versions
        self._loaded: dict[int, LoadedModel] = {}
        self._statuses: dict[int, VersionStatus] = {}
        self._files: dict[int, FileStates] = {}  # what each status is about
        self._refreshing = threading.Lock()

    def get(self, version: int | None = None) -> LoadedModel:
        """The wanted version, by default the newest. Raises ServingError NOT_FOUND."""
        loaded = self._loaded  # refresh replaces the dictionary and never changes it
        wanted = max(loaded, default=None) if version is None else version
        if wanted is None or wanted not in loaded:
            servable = f"Latest({self.name})" if version is None else f"Specific({self.name}, {version})"
            raise ServingError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {servable}")
        return loaded[wanted]

    def statuses(self, version: int | None = None) -> list[VersionStatus]:
        """All versions seen so far, newest first, or only the wanted one. Raises ServingError NOT_FOUND."""
        statuses = dict(self._statuses)
        if version is not None and version not in statuses:
            text = f"Could not find version {version} of model {self.name}"
            raise ServingError(grpc.StatusCode.NOT_FOUND, text)
        if not statuses:
            text = f"Could not find any versions of model {self.name}"
            raise ServingError(grpc.StatusCode.NOT_FOUND, text)
        wanted = sorted(statuses, reverse=True) if version is None else [version]
        return [statuses[wanted_version] for wanted_version in wanted]

    def refresh(self) -> None:
        """Looks at the directory once: loads what is new, lets go of what is old or gone."""
        with self._refreshing:
            directories = dict(_version_directories(self._base_path))
            self._forget_failures_without(directories)
            keep: dict[int, LoadedModel] = {}
            for version in sorted(directories, reverse=True):
                if len(keep) == self._max_versions:
                    break
                model = self._load_if_new(version, directories[version])
                if model is not None:
                    keep[version] = model
                    # Published at once, so that the newest serves while older ones still load.
                    self._loaded = {**self._loaded, version: model}
            for version in set(self._loaded) - set(keep):
                self._statuses[version] = VersionStatus(version, State.END)
            self._loaded = keep

    def _load_if_new(self, version: int, directory: Path) -> LoadedModel | None:
        """The model that lies there now; one that was loaded before, where its replacement does not load."""
        files = read_file_states(directory)
        if files != self._files.get(version):
            self._files[version] = files
            self._statuses[version] = VersionStatus(version, State.LOADING)
        loaded = self._loaded.get(version)
        if loaded is not None and self._statuses[version].state is State.AVAILABLE:
            return loaded
        return self._try_to_load(version, directory) or loaded

    def _try_to_load(self, version: int, directory: Path) -> LoadedModel | None:
        attempts = self._statuses[version].attempts
        if attempts == _MAX_LOAD_ATTEMPTS:
            return None
        self._statuses[version] = VersionStatus(version, State.LOADING, attempts=attempts)
        try:
            _check_files(directory)
            model = LoadedModel(version, directory)
            model.warm_up()
        except Exception as error:  # noqa: BLE001 - whatever a damaged model raises, the others keep serving
            log.warning("version %d of %s does not load: %s", version, self.name, error)
            self._statuses[version] = VersionStatus(version, State.END, str(error), attempts + 1)
            return None
        log.info("version %d of %s is available", version, self.name)
        self._statuses[version] = VersionStatus(version, State.AVAILABLE)
        return model

    def _forget_failures_without(self, directories: Mapping[int, Path]) -> None:
        """A version that was taken away and put back is tried afresh."""
        for version, status in list(self._statuses.items()):
            if status.problem and version not in directories:
                del self._statuses[version], self._files[version]


def _check_files(directory: Path) -> None:
    """Holds an encoder of a release against its own manifest; a SavedModel of another origin has none.

    Raises ReleaseError naming the file.
    """
    if (directory / MANIFEST_FILE).is_file():
        verify(directory)


def _version_directories(base_path: Path) -> Iterator[tuple[int, Path]]:
    """Integer directory names (or links) that hold a complete SavedModel; exporters write saved_model.pb last."""
    if not base_path.is_dir():
        return
    for path in base_path.iterdir():
        if path.name.isascii() and path.name.isdecimal() and (path / "saved_model.pb").is_file():
            yield int(path.name), path
