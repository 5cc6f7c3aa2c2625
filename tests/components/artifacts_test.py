import importlib

import pytest

import components
from components import artifacts
from components.verdict import Verdict


@pytest.mark.parametrize("name", artifacts.__all__)
def test_an_artifact_type_is_found_by_its_type_name(name):
    """As Kubeflow looks it up: the module and the class."""
    artifact_type = getattr(artifacts, name)
    package, _, class_name = artifact_type.TYPE_NAME.rpartition(".")
    assert getattr(importlib.import_module(package), class_name) is artifact_type


def test_the_package_hands_out_artifact_types_alone():
    with pytest.raises(AttributeError, match="module 'components' has no attribute 'METRICS_FILE'"):
        components.METRICS_FILE  # noqa: B018


def test_a_verdict_survives_the_round_trip(tmp_path):
    verdict = Verdict(False, ["at least 0.5, got 0.4"], {"recall_at_1": 0.4})
    verdict.save(str(tmp_path / "new" / "folder"))
    assert Verdict.load(str(tmp_path / "new" / "folder")) == verdict
