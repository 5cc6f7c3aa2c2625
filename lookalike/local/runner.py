"""Runs a pipeline node by node in this process, and reads from ML Metadata what came of it."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging as absl_logging
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx

# Beam's default runner would first look for another one, Prism, on the network. The image is never started: naming one
# keeps TFX from packing itself up for workers that do not exist.
IN_PROCESS = ("--runner=FnApiRunner", "--sdk_container_image=none")

Execution: Any = metadata_store_pb2.Execution


@dataclass(frozen=True)
class PipelineRun:
    """A run that ended well.

    Attributes:
      cached: nodes that had nothing to do.
      worked: nodes that ran.
    """

    cached: tuple[str, ...]
    worked: tuple[str, ...]
    _store: MetadataStore
    _context_id: int

    def artifact_uri(self, type_name: str) -> str:
        """Where the run's only artifact of a type lies."""
        type_id = self._store.get_artifact_type(type_name).id
        found = self._store.get_artifacts_by_context(self._context_id)
        [uri] = [artifact.uri for artifact in found if artifact.type_id == type_id]
        return str(uri)


def run_pipeline(pipeline: tfx.dsl.Pipeline, metadata: Path, on_node: Callable[[str], None]) -> PipelineRun:
    """Runs to the end, or raises what the node that failed raised.

    The caller holds the workspace's lock: executions that ML Metadata believes to be running are of killed runs, and
    are closed first, with what they left behind.

    Args:
      pipeline: made with a connection to `metadata`.
      metadata: the SQLite file.
      on_node: called with the id of each node as it starts.
    """
    store = MetadataStore(tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)))
    _close_killed_executions(store, Path(pipeline.pipeline_info.pipeline_root))
    with _started_nodes(on_node):
        tfx.orchestration.LocalDagRunner().run(pipeline)
    return _latest_run(store, pipeline.pipeline_info.pipeline_name)


def artifact_uris(metadata: Path, type_name: str) -> list[str]:
    """Where the finished artifacts of a type lie, the newest first; none where nothing has run yet."""
    if not metadata.exists():
        return []
    store = MetadataStore(tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)))
    found = [one for one in store.get_artifacts_by_type(type_name) if one.state == metadata_store_pb2.Artifact.LIVE]
    return [str(one.uri) for one in sorted(found, key=lambda one: one.id, reverse=True)]


def _close_killed_executions(store: MetadataStore, pipeline_root: Path) -> None:
    killed = [one for one in store.get_executions() if one.last_known_state == Execution.RUNNING]
    for execution in killed:
        execution.last_known_state = Execution.CANCELED
        for left_behind in pipeline_root.glob(f"*/*/{execution.id}"):
            shutil.rmtree(left_behind)
    if killed:
        store.put_executions(killed)


@contextmanager
def _started_nodes(on_node: Callable[[str], None]) -> Iterator[None]:
    """Listens to the runner's own log for the nodes it starts: it has no other way to tell."""

    verbosity = absl_logging.get_verbosity()
    quietest = absl_logging.converter.absl_to_standard(verbosity)

    def listen(record: logging.LogRecord) -> bool:
        if record.msg == "Component %s is running.":
            on_node(record.getMessage().split()[1])
        return bool(record.levelno >= quietest)

    # Not by setLevel: TensorFlow saves and restores absl's verbosity around its own noise.
    absl_logging.set_verbosity(absl_logging.INFO)
    absl_logging.get_absl_logger().addFilter(listen)
    try:
        yield
    finally:
        absl_logging.get_absl_logger().removeFilter(listen)
        absl_logging.set_verbosity(verbosity)


def _latest_run(store: MetadataStore, pipeline_name: str) -> PipelineRun:
    pipeline = store.get_context_by_type_and_name("pipeline", pipeline_name)
    run = max(
        (context for context in store.get_children_contexts_by_context(pipeline.id) if _is_run(store, context)),
        key=lambda context: context.create_time_since_epoch,
    )
    by_state: dict[int, list[str]] = {}
    for execution in store.get_executions_by_context(run.id):
        by_state.setdefault(execution.last_known_state, []).append(_node_of(store, execution, pipeline_name))
    return PipelineRun(
        cached=tuple(sorted(by_state.get(Execution.CACHED, []))),
        worked=tuple(sorted(by_state.get(Execution.COMPLETE, []))),
        _store=store,
        _context_id=run.id,
    )


def _is_run(store: MetadataStore, context: Any) -> bool:
    return bool(context.type_id == store.get_context_type("pipeline_run").id)


def _node_of(store: MetadataStore, execution: Any, pipeline_name: str) -> str:
    node_type = store.get_context_type("node").id
    [name] = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type_id == node_type]
    return str(name).removeprefix(f"{pipeline_name}.")
