"""TFX's own Transform, Trainer and Evaluator, wherever their artifacts lie.

Their executors read and write by TensorFlow, which knows paths and gs:// alone. On another store the inputs are fetched
to this machine and the outputs published from it, and Beam runs here, where the files are. What lies at gs:// stays
where it is: the workers of a Dataflow job read and write it by themselves.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.components.evaluator import constants
from tfx.components.evaluator.executor import Executor as TfxEvaluator
from tfx.components.trainer.executor import GenericExecutor as TfxTrainer
from tfx.components.transform.executor import Executor as TfxTransform
from tfx.dsl.components.base.base_executor import BaseExecutor
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec, ExecutorClassSpec
from tfx.types.artifact import Artifact

from lookalike.storage.address import is_remote
from lookalike.storage.staging import fetched, published

Artifacts = dict[str, list[Artifact]]


class _Staged(BaseExecutor):
    """Goes before TFX's executor among the parents of a class."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        inputs, outputs = (list(filter(_unseen, chain(*some.values()))) for some in (input_dict, output_dict))
        with ExitStack() as stack:
            for artifact in inputs:
                stack.enter_context(_at(artifact, fetched(artifact.uri)))
            for artifact in outputs:
                stack.enter_context(_at(artifact, published(artifact.uri)))
            if inputs or outputs:
                self._beam_pipeline_args = ["--runner=FnApiRunner"]  # in this process
            super().Do(input_dict, output_dict, exec_properties)


def _unseen(artifact: Artifact) -> bool:
    """By TensorFlow."""
    return is_remote(artifact.uri) and not artifact.uri.startswith("gs://")


@contextmanager
def _at(artifact: Artifact, place: AbstractContextManager[Path]) -> Iterator[None]:
    address = artifact.uri
    with place as directory:
        artifact.uri = str(directory)
        try:
            yield
        finally:
            artifact.uri = address


class TransformExecutor(_Staged, TfxTransform):
    """Named, for a container finds its executor by name."""


class TrainerExecutor(_Staged, TfxTrainer):
    """See TransformExecutor."""


class EvaluatorExecutor(_Staged, TfxEvaluator):
    """See TransformExecutor."""

    def Do(self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]) -> None:
        """A blessing names its model, which lies where it was fetched from."""
        super().Do(input_dict, output_dict, exec_properties)
        [model], [blessing] = input_dict["model"], output_dict["blessing"]
        blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)


class Transform(tfx.components.Transform):
    """TFX's."""

    EXECUTOR_SPEC = BeamExecutorSpec(TransformExecutor)


class Trainer(tfx.components.Trainer):
    """TFX's."""

    EXECUTOR_SPEC = ExecutorClassSpec(TrainerExecutor)


class Evaluator(tfx.components.Evaluator):
    """TFX's."""

    EXECUTOR_SPEC = BeamExecutorSpec(EvaluatorExecutor)
