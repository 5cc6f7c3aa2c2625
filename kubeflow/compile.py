"""Compiles both pipelines for Vertex AI and Kubeflow Pipelines; needs no cluster and no network."""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from tfx import v1 as tfx
from tfx.orchestration.data_types import RuntimeParameter

from lookalike.configs.settings import Settings, SettingsError, load_settings
from pipeline import Places, create_promotion_pipeline, create_training_pipeline


def compile_pipelines(
    settings: Settings, *, output_dir: Path, image: str, root: str, beam_args: Sequence[str] = ()
) -> list[Path]:
    """Writes one JSON document for each pipeline; what differs from run to run stays a parameter of the run.

    settings: every knob; without review.database_url, the database is a parameter of the training run.
    output_dir: made if it is missing; documents of the same name are replaced.
    image: made by kubeflow/Dockerfile of this very code.
    root: a gs:// address, or an absolute path that is mounted wherever a step runs.
    beam_args: Beam's pipeline options; without any, each Beam step runs on its own machine.

    Returns the documents of training and promotion.
    Raises SettingsError: if the root is of another kind.
    """
    places = _places(root, settings)
    training = create_training_pipeline(
        settings,
        places,
        source=_parameter("source"),
        fingerprint=_parameter("fingerprint"),
        baseline_release=_parameter("baseline_release"),
        submitted_by=_parameter("submitted_by"),
        beam_args=beam_args,
    )
    promotion = create_promotion_pipeline(
        settings,
        places,
        candidate_uri=_parameter("candidate_uri"),
        model_uri=_parameter("model_uri"),
        examples_uri=_parameter("examples_uri"),
        taxonomy_uri=_parameter("taxonomy_uri"),
        evaluation_uri=_parameter("evaluation_uri"),
        decision=_parameter("decision"),
        public_key=_parameter("public_key"),
        beam_args=beam_args,
    )
    return [_write(pipeline, output_dir, image) for pipeline in (training, promotion)]


def _places(root: str, settings: Settings) -> Places:
    # The executors take an s3:// address, too; what a cluster does around them has not been tried there.
    if not re.match(r"/|gs://[^/]", root):
        raise SettingsError(f"root must be a gs:// address or an absolute path, got {root!r}")
    root = root.rstrip("/")
    return Places(
        artifacts=f"{root}/artifacts",
        checkpoints=f"{root}/checkpoints",
        dead_letters=f"{root}/dead_letters",
        releases=f"{root}/releases",
        review_database=settings.review.database_url or _parameter("review_database"),
    )


def _parameter(name: str) -> RuntimeParameter:
    return RuntimeParameter(name=name, ptype=str)


def _write(pipeline: tfx.dsl.Pipeline, output_dir: Path, image: str) -> Path:
    runner = tfx.orchestration.experimental.KubeflowV2DagRunner(
        # Kubeflow Pipelines 2 reads schema 2.1 only, Vertex both.
        tfx.orchestration.experimental.KubeflowV2DagRunnerConfig(default_image=image, use_pipeline_spec_2_1=True),
        output_dir=str(output_dir),
        output_filename=f"{pipeline.pipeline_info.pipeline_name}.json",
    )
    runner.run(pipeline)
    return output_dir / f"{pipeline.pipeline_info.pipeline_name}.json"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="production", help="a preset of lookalike/configs/")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value", help="repeatable")
    parser.add_argument("--output", type=Path, default=Path("compiled"), help="folder for the two documents")
    parser.add_argument("--image", required=True, help="made by kubeflow/Dockerfile")
    parser.add_argument("--root", required=True, help="where the cluster keeps things: gs://bucket/lookalike")
    parser.add_argument("--beam-arg", action="append", default=[], help="--beam-arg=--runner=…, repeatable")
    return parser.parse_args()


def main() -> None:
    """Compiles as the arguments say and prints the addresses of the documents as JSON."""
    arguments = _arguments()
    try:
        written = compile_pipelines(
            load_settings(arguments.config, arguments.set),
            output_dir=arguments.output,
            image=arguments.image,
            root=arguments.root,
            beam_args=arguments.beam_arg,
        )
    except SettingsError as error:
        sys.stderr.write(f"error: {error} [{error.code}]\n")
        sys.exit(error.exit_status)
    json.dump([str(path) for path in written], sys.stdout)


if __name__ == "__main__":
    main()
