"""The wiring: which nodes there are, what each waits for, and what reaches it."""

import dataclasses
import json
import shutil

import pytest

from components import source_digest as source_digest_module
from components.source_digest import ROOT, source_digest
from lookalike.configs.settings import Settings
from pipeline import Places, create_promotion_pipeline, create_training_pipeline

PLACES = Places(
    artifacts="/shop/artifacts",
    checkpoints="/shop/checkpoints",
    dead_letters="/shop/dead_letters",
    releases="/shop/releases",
    review_database="sqlite:////root/review.db",
)
TRAINING = {"source": "/photos", "fingerprint": "f1", "baseline_release": "", "submitted_by": "Ana"}
PROMOTION = {
    "candidate_uri": "/candidate",
    "model_uri": "/model",
    "examples_uri": "/examples",
    "taxonomy_uri": "/taxonomy",
    "evaluation_uri": "/evaluation",
    "decision": "{}",
    "public_key": "PEM",
}


def make(settings=Settings(), places=PLACES, **changes):  # noqa: B008 - frozen
    """Every node of both pipelines by its name."""
    training = {name: changes.get(name, value) for name, value in TRAINING.items()}
    promotion = {name: changes.get(name, value) for name, value in PROMOTION.items()}
    assert changes.keys() <= training.keys() | promotion.keys()
    both = (
        create_training_pipeline(settings, places, **training),
        create_promotion_pipeline(settings, places, **promotion),
    )
    return {node.id: node for made in both for node in made.components}


def properties(nodes):
    """What a node's cache key is made of, beside its inputs."""
    return {name: json.dumps(node.exec_properties, sort_keys=True, default=str) for name, node in nodes.items()}


def reached(before, after):
    return {name for name, value in properties(after).items() if value != properties(before)[name]}


def ancestors(node):
    return {node.id for node in node.upstream_nodes}.union(*map(ancestors, node.upstream_nodes))


@pytest.fixture(scope="module")
def nodes():
    return make()


def test_training_goes_from_source_to_people():
    made = create_training_pipeline(Settings(), PLACES, **TRAINING)
    assert made.components[0].id == "ImageExampleGen"
    assert made.components[-1].id == "OpenReview"
    assert {node.id for node in made.components[1:-1]} == {
        "CatalogStatisticsGen",
        "CatalogSchemaGen",
        "SchemaGate",
        "Readiness",
        "Transform",
        "Trainer",
        "Evaluator",
        "RetrievalEvaluator",
        "InfraCheck",
    }
    assert made.enable_cache


def test_promotion_goes_from_candidate_to_release():
    made = create_promotion_pipeline(Settings(), PLACES, **PROMOTION)
    imported = {"candidate", "model", "examples", "taxonomy", "evaluation"}
    assert {node.id for node in made.components[:5]} == imported
    assert [node.id for node in made.components[5:]] == [
        "HumanGate",
        "CatalogueEmbedder",
        "IndexBuilder",
        "IndexEvaluator",
        "ReleasePusher",
        "ReleasePruner",
    ]
    assert made.enable_cache


def test_nothing_is_transformed_or_trained_before_the_schema_gate_has_passed(nodes):
    assert "SchemaGate" in ancestors(nodes["Transform"])
    assert "SchemaGate" in ancestors(nodes["Trainer"])


def test_people_are_asked_after_every_offline_check(nodes):
    assert {"Evaluator", "RetrievalEvaluator", "InfraCheck"} <= ancestors(nodes["OpenReview"])


def test_nothing_is_embedded_or_pushed_before_the_human_gate_has_passed(nodes):
    for name in ("CatalogueEmbedder", "IndexBuilder", "IndexEvaluator", "ReleasePusher"):
        assert "HumanGate" in ancestors(nodes[name])
    assert "IndexEvaluator" in ancestors(nodes["ReleasePusher"])


def test_nothing_is_removed_before_the_new_release_serves(nodes):
    assert "ReleasePusher" in ancestors(nodes["ReleasePruner"])


def test_a_candidate_keeps_what_its_promotion_goes_by(nodes):
    kept = json.loads(nodes["OpenReview"].exec_properties["promotion_settings"])
    assert kept["review"] == {"allow_simulated": nodes["HumanGate"].exec_properties["allow_simulated"]}
    assert kept["index"] == json.loads(nodes["IndexBuilder"].exec_properties["settings"])


def test_accuracy_and_recall_are_measured_on_photos_that_chose_nothing(nodes):
    assert json.loads(nodes["Evaluator"].exec_properties["example_splits"]) == ["test"]
    trainer = nodes["Trainer"].exec_properties
    assert json.loads(trainer["train_args"])["splits"] == ["train"]
    assert json.loads(trainer["eval_args"])["splits"] == ["eval"]


@pytest.mark.parametrize(
    ("section", "change", "expected"),
    [
        ("ingest", {"eval_fraction": 0.2}, {"ImageExampleGen"}),
        ("schema", {"max_label_drift": 0.5}, {"SchemaGate"}),
        ("model", {"image_size_px": 128}, {"Transform", "Trainer"}),
        ("model", {"embedding_dim": 64}, {"Trainer"}),
        ("training", {"epochs": 3}, {"Trainer"}),
        ("evaluation", {"min_accuracy": 0.9}, {"Evaluator", "RetrievalEvaluator"}),
        ("evaluation", {"max_recall_loss": 0.5}, {"RetrievalEvaluator"}),
        ("evaluation", {"max_review_queries": 500}, {"RetrievalEvaluator"}),
        ("review", {"num_queries": 250}, {"OpenReview"}),
        ("review", {"expiry_days": 1}, {"OpenReview"}),
        ("review", {"allow_simulated": True}, {"OpenReview", "HumanGate", "ReleasePusher"}),
        ("index", {"exact_below": 10}, {"OpenReview", "IndexBuilder", "IndexEvaluator"}),
        ("release", {"keep": 9}, {"ReleasePruner"}),
        ("demo", {"num_products": 12}, set()),
    ],
)
def test_a_setting_reaches_the_nodes_it_is_for(nodes, section, change, expected):
    settings = Settings()
    changed = dataclasses.replace(getattr(settings, section), **change)
    assert reached(nodes, make(dataclasses.replace(settings, **{section: changed}))) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"fingerprint": "f2"}, {"ImageExampleGen"}),
        ({"source": "/other"}, {"ImageExampleGen"}),
        ({"baseline_release": "/shop/releases/releases/3"}, {"RetrievalEvaluator"}),
        ({"submitted_by": "Bo"}, {"OpenReview"}),
        ({"decision": '{"verdict": "bless"}'}, {"HumanGate", "ReleasePusher"}),
        ({"public_key": "other"}, {"HumanGate", "ReleasePusher"}),
        ({"model_uri": "/other"}, {"model"}),
    ],
)
def test_what_a_run_is_told_reaches_the_nodes_it_is_for(nodes, change, expected):
    assert reached(nodes, make(**change)) == expected


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("checkpoints", {"Trainer"}),
        ("dead_letters", {"ImageExampleGen"}),
        ("releases", {"ReleasePusher", "ReleasePruner"}),
        ("review_database", {"OpenReview"}),
        ("artifacts", set()),
    ],
)
def test_a_place_reaches_the_nodes_that_keep_things_there(nodes, place, expected):
    assert reached(nodes, make(places=dataclasses.replace(PLACES, **{place: "/elsewhere"}))) == expected


def test_artifacts_of_both_pipelines_lie_in_one_place():
    for made in (
        create_training_pipeline(Settings(), PLACES, **TRAINING),
        create_promotion_pipeline(Settings(), PLACES, **PROMOTION),
    ):
        assert made.pipeline_info.pipeline_root == "/shop/artifacts"


@pytest.fixture
def working_copy(tmp_path, monkeypatch):
    """A copy of the source that may be changed; digests are of it."""
    ignored = shutil.ignore_patterns(".*", "__pycache__", "tests", "demo", "build", "*.egg-info")
    for path in ROOT.iterdir():
        if path.suffix == ".py":
            shutil.copy(path, tmp_path)
        elif (path / "__init__.py").exists():
            shutil.copytree(path, tmp_path / path.name, ignore=ignored)
    monkeypatch.setattr(source_digest_module, "ROOT", tmp_path)
    source_digest.cache_clear()
    yield tmp_path
    source_digest.cache_clear()


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("lookalike/catalog/images.py", {"ImageExampleGen"}),
        ("components/catalog_statistics_gen.py", {"CatalogStatisticsGen"}),
        ("components/catalog_schema_gen.py", {"CatalogSchemaGen"}),
        ("components/schema_gate.py", {"SchemaGate"}),
        ("components/readiness.py", {"Readiness"}),
        ("transform/image_ops.py", {"Transform"}),
        ("trainer/models/resnet.py", {"Trainer"}),
        ("components/retrieval_page.html", {"RetrievalEvaluator"}),
        ("components/infra_probe.py", {"InfraCheck"}),
        ("lookalike/encoder/embedder.py", {"RetrievalEvaluator", "InfraCheck", "CatalogueEmbedder"}),
        ("lookalike/review/rounds.py", {"OpenReview", "HumanGate", "ReleasePusher"}),
        ("components/catalogue_embedder.py", {"CatalogueEmbedder"}),
        ("lookalike/retrieval/scann_index.py", {"IndexBuilder", "IndexEvaluator", "ReleasePusher"}),
        ("components/release_pusher.py", {"ReleasePusher"}),
        ("components/release_pruner.py", {"ReleasePruner"}),
        ("pipeline.py", set()),
        ("serving/search_service.py", set()),
    ],
)
def test_a_change_of_source_reaches_the_nodes_whose_code_it_is(working_copy, file, expected):
    before = make()
    with (working_copy / file).open("a") as changed:
        changed.write("\n")
    source_digest.cache_clear()
    assert reached(before, make()) == expected


def test_every_node_with_code_of_ours_has_the_digest_of_it(nodes):
    modules = {name: type(node).__module__ for name, node in nodes.items()}
    standard = {"Transform", "Trainer", "Evaluator", "candidate", "model", "examples", "taxonomy", "evaluation"}
    ours = {name for name, module in modules.items() if module.startswith("components.")} - standard
    assert nodes.keys() - ours == standard
    assert {name: nodes[name].exec_properties["source_digest"] for name in ours} == {
        name: source_digest(modules[name]) for name in ours
    }
    for name, module in (("Transform", "transform.preprocessing"), ("Trainer", "trainer.run")):
        assert json.loads(nodes[name].exec_properties["custom_config"])["source_digest"] == source_digest(module)
