"""From canonical JPEGs to embeddings: with the release's encoder in this process, or in a TF Serving over gRPC.

TensorFlow is imported when the first embedder is used, never with this module. tensorflow-serving-api's stubs import
all of TensorFlow for the TensorProto message, so the client of a remote server needs the package too; it only
spares this process the model.
"""

import ipaddress
import threading
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from lookalike.errors import EXIT_USAGE, UserError

_INPUT = "image_bytes"
_OUTPUT = "embedding"
_SIGNATURE = "serving_default"
_MODEL_NAME = "encoder"
_DEADLINE_S = 5.0
_BATCH = 32  # 8 to 64 cost the same an image; a fixed one rounds alike in every run

Embeddings = npt.NDArray[np.float32]
Embed = Callable[[Sequence[bytes]], Embeddings]
"""Canonical JPEGs of one batch → [num_images, dim] float32, L2-normalised."""


class EmbedderUnavailable(Exception):  # noqa: N818 - a state of the world that callers wait out, not a defect
    """The encoder cannot answer at the moment; asking again later may help."""


class EncoderUrlError(UserError, code="BAD_ENCODER_URL", exit_status=EXIT_USAGE):
    """The url of an encoder is of another form than grpc://host:port[/model]."""


class Embedder(Protocol):
    """Anything that embeds images."""

    def embed(self, jpegs: Sequence[bytes]) -> Embeddings:
        """Embeds canonical images.

        Returns [num_images, dim] float32, L2-normalised.
        Raises EmbedderUnavailable; ValueError when the model's answer has another form.
        """


def open_embedder(url: str | None, encoder_dir: Path, version: int) -> Embedder:
    """A version of the encoder: in this process, or at `grpc://host:port[/model]` when a url is given.

    Raises EncoderUrlError for another kind of url.
    """
    return InProcessEmbedder(encoder_dir) if url is None else GrpcEmbedder(url, version)


def embed_all(embed: Embed, jpegs: Iterable[bytes]) -> Embeddings:
    """[num_images, dim] float32: any number of images, of which one batch is in memory at a time."""
    rest = iter(jpegs)
    return np.concatenate([embed(batch) for batch in iter(lambda: list(islice(rest, _BATCH)), [])])


class InProcessEmbedder:
    """Runs a SavedModel in this process; it is loaded by the first call."""

    def __init__(self, encoder_dir: Path):
        self._encoder_dir = encoder_dir
        self._model: Any = None
        self._loading = threading.Lock()

    def embed(self, jpegs: Sequence[bytes]) -> Embeddings:
        """See Embedder."""
        import tensorflow as tf

        outputs = self._load().signatures[_SIGNATURE](**{_INPUT: tf.constant(list(jpegs), tf.string)})
        return _checked(outputs[_OUTPUT].numpy(), len(jpegs))

    def _load(self) -> Any:
        import tensorflow as tf

        with self._loading:
            if self._model is None:
                self._model = tf.saved_model.load(str(self._encoder_dir))
            return self._model


class GrpcEmbedder:
    """Asks a TF Serving for one version of the encoder, the release's own: encoder and index never mix.

    The server must keep that version available while a newer one is loaded (TF Serving: model_version_policy
    `latest { num_versions: 2 }`). The channel closes with the last reference, when no request uses it any more.
    """

    def __init__(self, url: str, version: int):
        """Does not connect yet. Raises EncoderUrlError for an url that is not grpc://host:port[/model]."""
        import grpc
        from tensorflow_serving.apis import prediction_service_pb2_grpc

        address, self._model_name = parse_encoder_url(url)
        self._version = version
        self._channel = grpc.insecure_channel(address, options=_channel_options(url))
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def embed(self, jpegs: Sequence[bytes]) -> Embeddings:
        """See Embedder."""
        import grpc
        import tensorflow as tf

        try:
            response = self._stub.Predict(self._request(jpegs), timeout=_DEADLINE_S)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                raise ValueError(f"the encoder must accept canonical images, it answered: {error.details()}") from error
            text = f"encoder version {self._version}: {error.code().name}: {error.details()}"
            raise EmbedderUnavailable(text) from error
        return _checked(tf.make_ndarray(response.outputs[_OUTPUT]), len(jpegs))

    def _request(self, jpegs: Sequence[bytes]) -> Any:
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        request = predict_pb2.PredictRequest(output_filter=[_OUTPUT])
        request.model_spec.name = self._model_name
        request.model_spec.version.value = self._version
        request.model_spec.signature_name = _SIGNATURE
        request.inputs[_INPUT].CopyFrom(tf.make_tensor_proto(list(jpegs), tf.string))
        return request


def parse_encoder_url(url: str) -> tuple[str, str]:
    """The host:port and the model name of grpc://host:port[/model]. Raises EncoderUrlError for another form."""
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme == "grpc" and bool(parts.hostname and parts.port)
    except ValueError:  # a port beyond 65535 or not a number, a bracket that does not close
        well_formed = False
    if not well_formed:
        text = (
            f"an encoder url must look like grpc://host:8500 or grpc://host:8500/model, got {url!r}: give its gRPC port"
        )
        raise EncoderUrlError(text)
    return parts.netloc, parts.path.strip("/") or _MODEL_NAME


def _channel_options(url: str) -> list[tuple[str, int]]:
    """A server on this machine is never asked through a proxy; for others the environment decides, as gRPC does."""
    return [("grpc.enable_http_proxy", 0)] if _is_loopback(urlsplit(url).hostname or "") else []


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _checked(embeddings: Any, num_images: int) -> Embeddings:
    array = np.asarray(embeddings, np.float32)
    if array.ndim != 2 or len(array) != num_images:
        raise ValueError(f"the encoder must answer [{num_images}, dim], got {list(array.shape)}")
    if not np.isfinite(array).all():
        raise ValueError("the encoder must answer finite numbers, got NaN or infinity")
    return array
