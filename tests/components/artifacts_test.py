import importlib

import pytest

import components
from components import artifacts
from components.verdict import StageVerdict


@pytest.mark.parametrize("name", artifacts.__all__)
def test_an_artifact_type_is_found_by_its_type_name(name):
    """As Kubeflow looks it up: the module and the class."""
    artifact_type = getattr(artifacts, name)
    package, _, class_name = artifact_type.TYPE_NAME.rpartition(".")
    assert getattr(importlib.import_module(package), class_name) is artifact_type


def test_type_names_are_those_that_ml_metadata_of_earlier_versions_holds():
    assert {getattr(artifacts, name).TYPE_NAME for name in artifacts.__all__} == {
        "components.Candidate",
        "components.Embeddings",
        "components.Index",
        "components.Release",
        "components.RetrievalEvaluation",
        "components.Taxonomy",
        "components.Verdict",
    }


def test_the_package_hands_out_artifact_types_alone():
    with pytest.raises(AttributeError, match="module 'components' has no attribute 'METRICS_FILE'"):
        components.METRICS_FILE  # noqa: B018


def test_a_verdict_survives_the_round_trip(tmp_path):
    verdict = StageVerdict(False, ["at least 0.5, got 0.4"], {"recall_at_1": 0.4})
    verdict.save(str(tmp_path / "new" / "folder"))
    assert StageVerdict.load(str(tmp_path / "new" / "folder")) == verdict
