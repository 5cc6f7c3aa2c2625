"""Runs a pipeline node by node in this process, and reads from ML Metadata what came of it."""

import json
import logging
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging as absl_logging
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx import v1 as tfx
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

from components.artifacts import ACCOUNT
from lookalike.errors import UserError
from lookalike.local.metadata import open_metadata

# Beam's default runner would first look for another one, Prism, on the network. The image is never started: naming one
# keeps TFX from packing itself up for workers that do not exist.
IN_PROCESS = ("--runner=FnApiRunner", "--sdk_container_image=none")

Artifact: Any = metadata_store_pb2.Artifact
Event: Any = metadata_store_pb2.Event
Execution: Any = metadata_store_pb2.Execution


@dataclass(frozen=True)
class PipelineRun:
    """A run, as far as it came.

    cached: nodes that had nothing to do.
    worked: nodes that ran.
    """

    cached: tuple[str, ...]
    worked: tuple[str, ...]
    _store: MetadataStore
    _context_id: int

    @property
    def account(self) -> dict[str, Any] | None:
        """What became of all that was read, as `catalog.account` documents it; None where that is not known."""
        stated = (artifact.custom_properties[ACCOUNT].string_value for artifact in self._artifacts("Examples"))
        return next(map(json.loads, filter(None, stated)), None)

    def artifact_uri(self, type_name: str) -> str:
        """Where the run's only artifact of a type lies."""
        [artifact] = self._artifacts(type_name)
        return str(artifact.uri)

    def _artifacts(self, type_name: str) -> list[Any]:
        kinds = [one.id for one in self._store.get_artifact_types() if one.name == type_name]
        found = self._store.get_artifacts_by_context(self._context_id)
        return [artifact for artifact in found if artifact.type_id in kinds]


def run_pipeline(pipeline: tfx.dsl.Pipeline, metadata: Path, on_node: Callable[[str], None]) -> PipelineRun:
    """Runs to the end, or raises what the node that failed raised; a refusal with the account of what was read.

    The caller holds the workspace's lock: executions that ML Metadata believes to be running are of killed runs, and
    are closed first, with what they left behind.

    pipeline: made with a connection to `metadata`.
    metadata: the SQLite file.
    on_node: called with the id of each node as it starts.
    """
    store = open_metadata(metadata)
    _close_killed_executions(store, Path(pipeline.pipeline_info.pipeline_root))
    run_id = str(uuid.uuid4())
    try:
        with _started_nodes(on_node):
            tfx.orchestration.LocalDagRunner().run_with_ir(_compiled(pipeline, run_id))
    except UserError as error:
        error.account = error.account or _find_run(store, pipeline.pipeline_info.pipeline_name, run_id).account
        raise
    return _find_run(store, pipeline.pipeline_info.pipeline_name, run_id)


def output_uris(metadata: Path, node: str) -> list[str]:
    """Where the artifacts lie that `pipeline.Node` handed out, those of its last run first; none where it never ran.

    An artifact from the cache is its run's as well. Runs are counted and not timed: clocks go wrong, and back.
    """
    if not metadata.exists():
        return []
    store = open_metadata(metadata)
    ids = _handed_out(store, node)
    uris = {one.id: str(one.uri) for one in store.get_artifacts_by_id(ids) if one.state == Artifact.LIVE}
    return [uris[one] for one in ids if one in uris]


def _handed_out(store: MetadataStore, node: str) -> list[int]:
    """The artifacts of all a node's runs that ended well, each once, where it was handed out last."""
    context = store.get_context_by_type_and_name("node", node)
    executions = [] if context is None else store.get_executions_by_context(context.id)
    ended_well = [one.id for one in executions if one.last_known_state in (Execution.COMPLETE, Execution.CACHED)]
    events = [one for one in store.get_events_by_execution_ids(ended_well) if one.type == Event.OUTPUT]
    events.sort(key=lambda one: one.execution_id, reverse=True)
    return list(dict.fromkeys(one.artifact_id for one in events))


def _compiled(pipeline: tfx.dsl.Pipeline, run_id: str) -> Any:
    """The pipeline as the runner takes it, its run named: left to TFX, the time of day would be the name."""
    compiled = Compiler().compile(pipeline)
    substitute_runtime_parameter(compiled, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    return compiled


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


def _find_run(store: MetadataStore, pipeline_name: str, run_id: str) -> PipelineRun:
    run = store.get_context_by_type_and_name("pipeline_run", run_id)
    by_state: dict[int, list[str]] = {}
    for execution in store.get_executions_by_context(run.id):
        by_state.setdefault(execution.last_known_state, []).append(_node_of(store, execution, pipeline_name))
    return PipelineRun(
        cached=tuple(sorted(by_state.get(Execution.CACHED, []))),
        worked=tuple(sorted(by_state.get(Execution.COMPLETE, []))),
        _store=store,
        _context_id=run.id,
    )


def _node_of(store: MetadataStore, execution: Any, pipeline_name: str) -> str:
    node_type = store.get_context_type("node").id
    [name] = [one.name for one in store.get_contexts_by_execution(execution.id) if one.type_id == node_type]
    return str(name).removeprefix(f"{pipeline_name}.")
