"""Both specs as a cluster would read them: their nodes, order, commands and parameters; and one step, really run."""

import argparse
import itertools
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from absl import logging as absl_logging
from google.cloud.aiplatform.utils.pipeline_utils import PipelineRuntimeConfigBuilder
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KUBEFLOW_TFX_CMD
from tfx.utils import import_utils

from components.candidate import CandidateFacts
from lookalike.configs.settings import SettingsError, load_settings
from lookalike.review.decisions import DecisionPending

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = ROOT / "kubeflow" / "compile.py"
IMAGE = "registry.example/lookalike@sha256:0123"
ADDRESS = "gs://bucket/lookalike"

TRAINING = {
    "ImageExampleGen": "components.image_example_gen.ImageExampleGen_Executor",
    "CatalogStatisticsGen": "components.catalog_statistics_gen.CatalogStatisticsGen_Executor",
    "CatalogSchemaGen": "components.catalog_schema_gen.CatalogSchemaGen_Executor",
    "SchemaGate": "components.schema_gate.SchemaGate_Executor",
    "Readiness": "components.readiness.Readiness_Executor",
    "Transform": "components.staged.TransformExecutor",
    "Trainer": "components.staged.TrainerExecutor",
    "Evaluator": "components.staged.EvaluatorExecutor",
    "RetrievalEvaluator": "components.retrieval_evaluator.RetrievalEvaluator_Executor",
    "InfraCheck": "components.infra_check.InfraCheck_Executor",
    "OpenReview": "components.open_review.OpenReview_Executor",
}
PROMOTION = {
    "HumanGate": "components.human_gate.HumanGate_Executor",
    "CatalogueEmbedder": "components.catalogue_embedder.CatalogueEmbedder_Executor",
    "IndexBuilder": "components.index_builder.IndexBuilder_Executor",
    "IndexEvaluator": "components.index_evaluator.IndexEvaluator_Executor",
    "ReleasePusher": "components.release_pusher.ReleasePusher_Executor",
    "ReleasePruner": "components.release_pruner.ReleasePruner_Executor",
}
IMPORTED = {  # node → the parameter its address comes from, and the type it comes as
    "candidate": ("candidate_uri", "components.Candidate"),
    "model": ("model_uri", "tfx.Model"),
    "examples": ("examples_uri", "tfx.Examples"),
    "taxonomy": ("taxonomy_uri", "components.Taxonomy"),
    "evaluation": ("evaluation_uri", "components.RetrievalEvaluation"),
}
TRAINING_PARAMETERS = {
    "source": {"ImageExampleGen"},
    "fingerprint": {"ImageExampleGen"},
    "baseline_release": {"RetrievalEvaluator"},
    "submitted_by": {"OpenReview"},
    "review_database": {"OpenReview"},
}
PROMOTION_PARAMETERS = {
    **{parameter: {node} for node, (parameter, _) in IMPORTED.items()},
    "decision": {"HumanGate", "ReleasePusher"},
    "public_key": {"HumanGate", "ReleasePusher"},
}


@dataclass(frozen=True)
class Compiled:
    """A document of compile.py, parsed as strictly as a cluster does."""

    path: Path
    spec: pipeline_spec_pb2.PipelineSpec
    deployment: pipeline_spec_pb2.PipelineDeploymentConfig

    @classmethod
    def read(cls, path: Path) -> "Compiled":
        document = json.loads(path.read_text())["pipelineSpec"]
        spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
        deployment = json_format.ParseDict(
            document["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
        )  # in the spec itself it is a Struct, which takes anything
        return cls(path, spec, deployment)

    @property
    def tasks(self) -> Mapping[str, Any]:
        return self.spec.root.dag.tasks

    def component(self, node: str) -> Any:
        return self.spec.components[self.tasks[node].component_ref.name]

    def executor(self, node: str) -> Any:
        return self.deployment.executors[self.component(node).executor_label]

    def ancestors(self, node: str) -> set[str]:
        parents = set(self.tasks[node].dependent_tasks)
        return parents.union(*(self.ancestors(parent) for parent in parents))

    def nodes_that_take(self, parameter: str) -> set[str]:
        return {
            name
            for name, task in self.tasks.items()
            if parameter in {given.component_input_parameter for given in task.inputs.parameters.values()}
        }


@pytest.fixture(scope="module")
def compile_pipelines() -> Callable[..., list[Path]]:
    """The function of the script, which is no module anybody could import."""
    return runpy.run_path(str(SCRIPT))["compile_pipelines"]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def compiled(
    compile_pipelines: Callable[..., list[Path]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[Compiled]]:
    """Compiles the production setting, with overrides, to the specs of training and promotion."""

    def compile_production(*overrides: str, **more: Any) -> list[Compiled]:
        settings, to = load_settings("production", overrides), tmp_path_factory.mktemp("compiled")
        paths = compile_pipelines(settings, output_dir=to, image=IMAGE, root=ADDRESS, **more)
        return [Compiled.read(path) for path in paths]

    return compile_production


@pytest.fixture(scope="module")
def training(compiled: Callable[..., list[Compiled]]) -> Compiled:
    return compiled()[0]


@pytest.fixture(scope="module")
def promotion(compiled: Callable[..., list[Compiled]]) -> Compiled:
    return compiled()[1]


# --- What the specs say ------------------------------------------------------------------------------------


def test_specs_hold_exactly_the_nodes_of_the_pipelines(training: Compiled, promotion: Compiled) -> None:
    assert training.spec.pipeline_info.name == "lookalike-training"
    assert set(training.tasks) == set(TRAINING)
    assert promotion.spec.pipeline_info.name == "lookalike-promotion"
    assert set(promotion.tasks) == set(PROMOTION) | set(IMPORTED)


def test_no_image_is_learned_from_before_the_schema_gate_and_readiness(training: Compiled) -> None:
    assert "Readiness" in training.tasks["Transform"].dependent_tasks
    before = {"ImageExampleGen", "CatalogStatisticsGen", "CatalogSchemaGen", "SchemaGate", "Readiness"}
    for node in set(TRAINING) - before:
        assert {"SchemaGate", "Readiness"} <= training.ancestors(node), node


def test_people_are_asked_after_every_other_node(training: Compiled) -> None:
    assert training.ancestors("OpenReview") == set(TRAINING) - {"OpenReview"}


def test_nothing_of_the_promotion_runs_before_the_human_gate(promotion: Compiled) -> None:
    assert set(promotion.tasks["HumanGate"].dependent_tasks) == {"candidate", "model"}
    for node in set(PROMOTION) - {"HumanGate"}:
        assert "HumanGate" in promotion.ancestors(node), node


def test_a_release_waits_for_the_verdict_on_its_index(promotion: Compiled) -> None:
    assert {"IndexEvaluator", "IndexBuilder"} <= promotion.ancestors("ReleasePusher")


@pytest.mark.parametrize("pipeline", [0, 1])
def test_every_step_runs_its_executor_in_our_image(compiled: Callable[..., list[Compiled]], pipeline: int) -> None:
    found = compiled(beam_args=["--runner=FlinkRunner"])[pipeline]
    for node, executor_class in (TRAINING, PROMOTION)[pipeline].items():
        container = found.executor(node).container
        assert container.image == IMAGE
        assert tuple(container.command) == KUBEFLOW_TFX_CMD
        assert _flags(container.args)["executor_class_path"] == executor_class
        assert import_utils.import_class_by_path(executor_class)
        assert container.args[-1] == "--runner=FlinkRunner"


def test_images_entrypoint_is_the_command_of_the_steps() -> None:
    dockerfile = (ROOT / "kubeflow" / "Dockerfile").read_text()
    assert json.loads(re.search(r"^ENTRYPOINT (.*)$", dockerfile, re.M)[1]) == list(KUBEFLOW_TFX_CMD)  # type: ignore[index]
    assert "TF_USE_LEGACY_KERAS=1" in dockerfile


def test_promotion_takes_up_artifacts_by_address_and_type(promotion: Compiled) -> None:
    for node, (parameter, title) in IMPORTED.items():
        assert promotion.tasks[node].inputs.parameters["artifact_uri"].component_input_parameter == parameter
        importer = promotion.executor(node).importer
        assert importer.artifact_uri.runtime_parameter == "artifact_uri"
        assert importer.type_schema.instance_schema.startswith(f"title: {title}\n")


def test_what_differs_from_run_to_run_is_a_text_parameter(training: Compiled, promotion: Compiled) -> None:
    for found, expected in ((training, TRAINING_PARAMETERS), (promotion, PROMOTION_PARAMETERS)):
        declared = found.spec.root.input_definitions.parameters
        assert {name: found.nodes_that_take(name) for name in declared} == expected
        assert {given.parameter_type for given in declared.values()} == {pipeline_spec_pb2.ParameterType.STRING}


def test_review_database_of_the_settings_needs_no_parameter(compiled: Callable[..., list[Compiled]]) -> None:
    training, _ = compiled("review.database_url=postgresql+psycopg://db/lookalike")
    assert "review_database" not in training.spec.root.input_definitions.parameters
    given = training.tasks["OpenReview"].inputs.parameters["database_url"]
    assert given.runtime_value.constant.string_value == "postgresql+psycopg://db/lookalike"


def test_everything_is_kept_below_the_root(compiled: Callable[..., list[Compiled]], training: Compiled) -> None:
    assert json.loads(training.path.read_text())["runtimeConfig"] == {"gcsOutputDirectory": f"{ADDRESS}/artifacts"}
    promotion = compiled()[1]
    given = promotion.tasks["ReleasePusher"].inputs.parameters["release_store"]
    assert given.runtime_value.constant.string_value == f"{ADDRESS}/releases"


def test_specs_name_nothing_of_this_machine(training: Compiled, promotion: Compiled) -> None:
    for found in (training, promotion):
        text = found.path.read_text()
        for here in (ROOT, Path.home(), sys.prefix, tempfile.gettempdir(), found.path.parent):
            assert f"{here}/" not in text


@pytest.mark.parametrize(
    ("override", "nodes"),
    [
        ("ingest.longest_side_px=200", {"ImageExampleGen"}),
        ("schema.max_label_drift=0.31", {"SchemaGate"}),
        ("model.image_size_px=64", {"Transform", "Trainer"}),
        ("training.epochs=3", {"Trainer"}),
        ("evaluation.min_recall_at_1=0.41", {"RetrievalEvaluator"}),
        ("review.expiry_days=3", {"OpenReview"}),
        ("review.allow_simulated=true", {"OpenReview", "HumanGate", "ReleasePusher"}),
        ("index.exact_below=7", {"OpenReview", "IndexBuilder", "IndexEvaluator"}),
        ("release.keep=7", {"ReleasePruner"}),
        ("demo.seed=1", set()),
    ],
)
def test_a_setting_changes_the_nodes_that_it_is_about(
    compiled: Callable[..., list[Compiled]], training: Compiled, promotion: Compiled, override: str, nodes: set[str]
) -> None:
    changed = {
        name
        for before, after in zip((training, promotion), compiled(override), strict=True)
        for name in before.tasks
        if before.tasks[name] != after.tasks[name] or before.executor(name) != after.executor(name)
    }
    assert changed == nodes


@pytest.mark.parametrize("root", ["s3://bucket/lookalike", "lookalike"])
def test_root_that_no_step_could_reach_is_refused(
    compile_pipelines: Callable[..., list[Path]], tmp_path: Path, root: str
) -> None:
    with pytest.raises(SettingsError, match=f"path.*, got '{root}'"):
        compile_pipelines(load_settings("production"), output_dir=tmp_path, image=IMAGE, root=root)
    assert not list(tmp_path.iterdir())


def test_script_compiles_what_its_arguments_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, training: Compiled
) -> None:
    arguments = ["--config", "production", "--output", str(tmp_path / "out"), "--image", IMAGE, "--root", f"{ADDRESS}/"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    written = [Path(path) for path in json.loads(capsys.readouterr().out)]
    assert [path.name for path in written] == ["lookalike-training.json", "lookalike-promotion.json"]
    assert written[0].read_text() == training.path.read_text()


def test_script_tells_a_wrong_setting_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", "nowhere", "--image", IMAGE, "--root", ADDRESS]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
    with pytest.raises(SystemExit, match=r"^2$"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
    told = capsys.readouterr().err
    assert re.fullmatch(r"error: config must be one of .*, got 'nowhere'.* \[BAD_SETTINGS\]\n", told)


def test_vertex_client_reads_root_and_parameters_from_the_document(training: Compiled) -> None:
    runtime = PipelineRuntimeConfigBuilder.from_job_spec_json(json.loads(training.path.read_text()))
    values = {name: f"a {name}" for name in TRAINING_PARAMETERS} | {"baseline_release": ""}
    runtime.update_runtime_parameters(values)
    submitted = runtime.build()
    assert submitted["gcsOutputDirectory"] == f"{ADDRESS}/artifacts"
    assert submitted["parameterValues"] == values


# --- One step, run as a cluster runs it --------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One container of a spec, with what a Kubeflow backend would put in place of its placeholders.

    Attributes:
      inputs: artifact name → address.
      parameters: the values of the run's parameters.
      directory: where outputs go.
    """

    compiled: Compiled
    node: str
    inputs: Mapping[str, Path]
    parameters: Mapping[str, str]
    directory: Path

    @property
    def output_file(self) -> Path:
        return self.directory / "executor_output.json"

    def run(self) -> subprocess.CompletedProcess[str]:
        """In a process of its own, whose imports take most of its time."""
        command = self.compiled.executor(self.node).container.command
        return subprocess.run(
            [sys.executable, *command[1:], *self._arguments()],
            cwd=self.directory,  # not the repository: the rooms are installed, as in the image
            env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    def run_here(self) -> None:
        """By the same entrypoint in this process; raises what the component raises."""
        verbosity = absl_logging.get_verbosity()
        try:
            kubeflow_v2_run_executor.main((argparse.Namespace(**_flags(self._arguments())), []))
        finally:
            absl_logging.set_verbosity(verbosity)

    def _arguments(self) -> list[str]:
        invocation = json_format.MessageToJson(self._executor_input())
        container = self.compiled.executor(self.node).container
        return [invocation if argument == "{{$}}" else argument for argument in container.args]

    def _executor_input(self) -> pipeline_spec_pb2.ExecutorInput:
        component, task = self.compiled.component(self.node), self.compiled.tasks[self.node]
        message = pipeline_spec_pb2.ExecutorInput()
        for name, declared in component.input_definitions.artifacts.items():
            self._artifact(message.inputs.artifacts[name], declared, self.inputs[name])
        for name, declared in component.output_definitions.artifacts.items():
            self._artifact(message.outputs.artifacts[name], declared, self.directory / name)
        for name, given in task.inputs.parameters.items():
            if given.component_input_parameter:
                message.inputs.parameter_values[name].string_value = self.parameters[given.component_input_parameter]
            else:
                message.inputs.parameter_values[name].CopyFrom(given.runtime_value.constant)
        message.outputs.output_file = str(self.output_file)
        return message

    def _artifact(self, into: Any, declared: Any, address: Path) -> None:
        name = f"projects/1/locations/here/metadataStores/default/artifacts/{address.name}"
        into.artifacts.add(name=name, type=declared.artifact_type, uri=str(address))


@pytest.mark.slow  # most of it the container's imports
def test_step_with_our_own_artifact_types_runs_as_in_the_cluster(promotion: Compiled, tmp_path: Path) -> None:
    embeddings = tmp_path / "embeddings"
    embeddings.mkdir()
    np.save(embeddings / "embeddings.npy", np.eye(4, dtype=np.float32))
    step = Step(promotion, "IndexBuilder", {"embeddings": embeddings}, {}, tmp_path)

    done = step.run()

    assert done.returncode == 0, done.stderr
    told = json.loads(step.output_file.read_text())["artifacts"]["index"]["artifacts"][0]
    assert told["metadata"]["kind"] == "exact"
    assert Path(told["uri"]) == tmp_path / "index"
    assert list((tmp_path / "index").iterdir())


def test_human_gate_without_a_decision_ends_its_step_with_an_error(promotion: Compiled, tmp_path: Path) -> None:
    places = dict.fromkeys(("model_sha256", "model_uri", "examples_uri", "taxonomy_uri", "evaluation_uri"), "")
    facts = CandidateFacts(candidate_id="c-1", round_id=1, refusals=[], longest_side_px=64, **places)
    facts.save(str(tmp_path / "candidate"))
    inputs = {"candidate": tmp_path / "candidate", "model": tmp_path / "model"}
    step = Step(promotion, "HumanGate", inputs, {"decision": "", "public_key": ""}, tmp_path)

    with pytest.raises(DecisionPending, match="expected a decision about candidate c-1, got none yet"):
        step.run_here()

    assert not step.output_file.exists()


def _flags(arguments: Sequence[str]) -> dict[str, str]:
    """The arguments that come as `--name value`."""
    pairs = itertools.pairwise(arguments)
    return {name.removeprefix("--"): value for name, value in pairs if name.startswith("--")}
