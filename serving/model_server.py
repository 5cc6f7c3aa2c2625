"""A model server that speaks TF Serving's protocol (gRPC and REST) over SavedModels in this process."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import grpc

from lookalike.http.server import HttpServer, bind_socket, join_address
from lookalike.release.cache import DEFAULT_CACHE
from lookalike.release.manifest import ReleaseError
from lookalike.storage.address import is_remote
from serving.encoder_mirror import EncoderMirror
from serving.predict_grpc import create_grpc_server
from serving.predict_rest import create_rest_app
from serving.saved_model_runtime import ModelVersions

log = logging.getLogger(__name__)
_DRAIN_TIMEOUT_S = 20


class ModelServer:
    """A running server: gRPC and REST ports, and a thread that follows the base directory."""

    def __init__(
        self,
        models: ModelVersions,
        *,
        host: str,
        grpc_port: int,
        rest_port: int,
        poll_interval_s: float,
        num_threads: int,
        mirror: EncoderMirror | None = None,
    ):
        self._models = models
        self._mirror = mirror
        self._poll_interval_s = poll_interval_s
        self._stopping = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="model-versions", daemon=True)
        self._grpc = create_grpc_server(models, num_threads=num_threads)
        self.grpc_port: int = _open_grpc_port(self._grpc, host, grpc_port)
        self.grpc_address = join_address(host, self.grpc_port)
        self._http = HttpServer(create_rest_app(models), host=host, port=rest_port)
        self.rest_port = self._http.port
        self.rest_url = self._http.url

    def start(self) -> None:
        """Loads what is there, then opens both ports and follows the directory."""
        self._look()
        self._grpc.start()
        self._http.start()
        self._follower.start()

    def stop(self) -> None:
        """Refuses new requests at once, answers those under way, and returns."""
        self._stopping.set()
        drained = self._grpc.stop(_DRAIN_TIMEOUT_S)
        self._http.stop()
        drained.wait()
        self._follower.join()

    def __enter__(self) -> "ModelServer":
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def _follow(self) -> None:
        while not self._stopping.wait(self._poll_interval_s):
            self._look()

    def _look(self) -> None:
        """A store or a file system that is away for a moment ends nothing: what is loaded goes on."""
        if self._mirror is not None:
            _try_to(self._mirror.refresh)
        _try_to(self._models.refresh)


def _try_to(refresh: Callable[[], None]) -> None:
    try:
        refresh()
    except (OSError, ReleaseError) as error:
        log.warning("cannot look for new versions: %s", error)


def _open_grpc_port(server: grpc.Server, host: str, port: int) -> int:
    """The port that was opened. gRPC does not say why it cannot open one, so a socket of ours is asked first."""
    bind_socket(host, port).close()
    opened: int = server.add_insecure_port(join_address(host, port))
    return opened


def serve(
    base_path: Path | str,
    model_name: str,
    grpc_port: int = 8500,
    rest_port: int = 8501,
    *,
    host: str = "127.0.0.1",
    max_versions: int = 2,
    poll_interval_s: float = 2.0,
    num_threads: int = 4,
    cache_directory: Path = DEFAULT_CACHE,
) -> ModelServer:
    """Serves the newest versions below a directory until `stop`.

    base_path: holds one SavedModel per integer directory name; new ones are loaded while serving. Of an object store,
      the newest are fetched into cache_directory.
    grpc_port, rest_port: 0 takes a free one; the handle tells which.
    max_versions: how many of the newest stay available, the latest being the default. Two, so that a client that
      still asks for the last release's version is answered while it changes over.
    num_threads: gRPC requests answered at once.

    Raises PortBusyError, ListenAddressError.
    """
    mirror = None
    if is_remote(str(base_path)):
        mirror = EncoderMirror(str(base_path), cache_directory, max_versions=max_versions)
    models = ModelVersions(model_name, mirror.directory if mirror else Path(base_path), max_versions=max_versions)
    server = ModelServer(
        models,
        host=host,
        grpc_port=grpc_port,
        rest_port=rest_port,
        poll_interval_s=poll_interval_s,
        num_threads=num_threads,
        mirror=mirror,
    )
    server.start()
    return server
