"""The two pipelines, node by node: training (daily), and promotion (after people have decided)."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from tfx import v1 as tfx
from tfx.orchestration.data_types import RuntimeParameter

from components import artifacts
from components.accuracy import accuracy_eval_config
from components.catalog_schema_gen import CatalogSchemaGen
from components.catalog_statistics_gen import CatalogStatisticsGen
from components.catalogue_embedder import CatalogueEmbedder
from components.human_gate import HumanGate
from components.image_example_gen import ImageExampleGen
from components.index_builder import IndexBuilder
from components.index_evaluator import IndexEvaluator
from components.infra_check import InfraCheck
from components.open_review import OpenReview
from components.readiness import Readiness
from components.release_pruner import ReleasePruner
from components.release_pusher import ReleasePusher
from components.retrieval_evaluator import RetrievalEvaluator
from components.schema_gate import SchemaGate
from components.source_digest import source_digest
from components.staged import Evaluator, Trainer, Transform
from lookalike.configs.settings import Settings, promotion_settings

TRAINING = "lookalike-training"
PROMOTION = "lookalike-promotion"

Text: TypeAlias = str | RuntimeParameter


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a pipeline keeps things; plain paths, or gs:// addresses on Vertex.

    artifacts: TFX's pipeline root.
    checkpoints: of interrupted training.
    dead_letters: what ingest could not use.
    releases: the release store.
    review_database: SQLAlchemy URL.
    """

    artifacts: str
    checkpoints: str
    dead_letters: str
    releases: str
    review_database: Text


def create_training_pipeline(
    settings: Settings,
    places: Places,
    *,
    source: Text,
    fingerprint: Text,
    baseline_release: Text,
    submitted_by: Text,
    beam_args: Sequence[str] = (),
    metadata: Any = None,
) -> tfx.dsl.Pipeline:
    """Source to candidate; ends with the candidate before people.

    settings: every knob.
    places: where things are kept.
    source: folder or manifest of the catalogue.
    fingerprint: digest of the source's content; the same fingerprint is the same day, and does no work twice.
    baseline_release: `Release.reference` of the one that is serving, '' when none is.
    submitted_by: who started the run, and so may not be the one who blesses it.
    beam_args: Beam's pipeline options.
    metadata: ML Metadata connection of a local run.
    """
    ingest = ImageExampleGen(
        source=source,
        fingerprint=fingerprint,
        settings=_json(settings.ingest),
        dead_letter_root=places.dead_letters,
    )
    examples, taxonomy = ingest.outputs["examples"], ingest.outputs["taxonomy"]
    statistics = CatalogStatisticsGen(examples=examples)
    schema = CatalogSchemaGen(statistics=statistics.outputs["statistics"])
    gate = SchemaGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        settings=_json(settings.schema),
    )
    readiness = Readiness(examples=examples)
    readiness.add_upstream_node(gate)
    transform = Transform(
        examples=examples,
        schema=schema.outputs["schema"],
        preprocessing_fn="transform.preprocessing.preprocessing_fn",
        # The trainer runs the graph itself, once an image, and keeps uint8: a quarter of the floats on disk.
        materialize=False,
        disable_statistics=True,
        custom_config={
            "image_size_px": settings.model.image_size_px,
            "source_digest": source_digest("transform.preprocessing"),
        },
    )
    transform.add_upstream_node(readiness)
    trainer = Trainer(
        run_fn="trainer.run.run_fn",
        examples=examples,
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
        custom_config={
            "model": dataclasses.asdict(settings.model),
            "training": dataclasses.asdict(settings.training),
            "checkpoint_root": places.checkpoints,
            "source_digest": source_digest("trainer.run"),
        },
    )
    model = trainer.outputs["model"]
    evaluator = Evaluator(
        examples=examples,
        model=model,
        schema=schema.outputs["schema"],
        example_splits=["test"],
        eval_config=accuracy_eval_config(settings.evaluation.min_accuracy),
    )
    retrieval = RetrievalEvaluator(
        examples=examples,
        model=model,
        settings=_json(settings.evaluation),
        baseline_release=baseline_release,
    )
    infra_check = InfraCheck(examples=examples, model=model)
    review = OpenReview(
        examples=examples,
        taxonomy=taxonomy,
        model=model,
        blessing=evaluator.outputs["blessing"],
        accuracy=evaluator.outputs["evaluation"],
        evaluation=retrieval.outputs["evaluation"],
        retrieval_verdict=retrieval.outputs["verdict"],
        infra_verdict=infra_check.outputs["verdict"],
        settings=_json(settings.review),
        promotion_settings=json.dumps(promotion_settings(settings), sort_keys=True),
        submitted_by=submitted_by,
        database_url=places.review_database,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=TRAINING,
        pipeline_root=places.artifacts,
        components=[
            ingest,
            statistics,
            schema,
            gate,
            readiness,
            transform,
            trainer,
            evaluator,
            retrieval,
            infra_check,
            review,
        ],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=list(beam_args),
    )


def create_promotion_pipeline(
    settings: Settings,
    places: Places,
    *,
    candidate_uri: Text,
    model_uri: Text,
    examples_uri: Text,
    taxonomy_uri: Text,
    evaluation_uri: Text,
    decision: Text,
    public_key: Text,
    beam_args: Sequence[str] = (),
    metadata: Any = None,
) -> tfx.dsl.Pipeline:
    """Blessed candidate to release; pushes nothing without a valid decision.

    settings: every knob.
    places: where things are kept.
    candidate_uri, model_uri, examples_uri, taxonomy_uri, evaluation_uri: the training run's artifacts, as
      candidate.json names them; lineage goes on from them.
    decision: the signed JSON document, '' while there is none.
    public_key: PEM, of the review.
    beam_args: Beam's pipeline options.
    metadata: ML Metadata connection of a local run.
    """
    standard = tfx.types.standard_artifacts
    candidate = _import("candidate", candidate_uri, artifacts.Candidate)
    model = _import("model", model_uri, standard.Model)
    examples = _import("examples", examples_uri, standard.Examples)
    taxonomy = _import("taxonomy", taxonomy_uri, artifacts.Taxonomy)
    evaluation = _import("evaluation", evaluation_uri, artifacts.RetrievalEvaluation)
    gate = HumanGate(
        candidate=candidate.outputs["result"],
        model=model.outputs["result"],
        decision=decision,
        public_key=public_key,
        allow_simulated=settings.review.allow_simulated,
    )
    embedder = CatalogueEmbedder(
        examples=examples.outputs["result"],
        model=model.outputs["result"],
        blessing=gate.outputs["blessing"],
    )
    index_builder = IndexBuilder(
        embeddings=embedder.outputs["embeddings"],
        settings=_json(settings.index),
    )
    index_evaluator = IndexEvaluator(
        embeddings=embedder.outputs["embeddings"],
        index=index_builder.outputs["index"],
        settings=_json(settings.index),
    )
    pusher = ReleasePusher(
        candidate=candidate.outputs["result"],
        model=model.outputs["result"],
        taxonomy=taxonomy.outputs["result"],
        evaluation=evaluation.outputs["result"],
        blessing=gate.outputs["blessing"],
        embeddings=embedder.outputs["embeddings"],
        index=index_builder.outputs["index"],
        index_verdict=index_evaluator.outputs["verdict"],
        decision=decision,
        public_key=public_key,
        allow_simulated=settings.review.allow_simulated,
        release_store=places.releases,
    )
    pruner = ReleasePruner(
        release=pusher.outputs["release"],
        settings=_json(settings.release),
        release_store=places.releases,
    )
    return tfx.dsl.Pipeline(
        pipeline_name=PROMOTION,
        pipeline_root=places.artifacts,
        components=[
            candidate,
            model,
            examples,
            taxonomy,
            evaluation,
            gate,
            embedder,
            index_builder,
            index_evaluator,
            pusher,
            pruner,
        ],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=list(beam_args),
    )


def _import(name: str, uri: Text, artifact_type: type) -> tfx.dsl.Importer:
    """Takes up an artifact of the training run; a known address is the same artifact, so lineage is unbroken."""
    return tfx.dsl.Importer(source_uri=uri, artifact_type=artifact_type).with_id(name)


def _json(section: Any) -> str:
    return json.dumps(dataclasses.asdict(section), sort_keys=True)
