import importlib

import pytest

import components
from components import artifacts
from components.verdict import VERDICT_FILE, StageVerdict
from lookalike.documents import CandidateUnreadableError


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


def test_what_a_later_version_adds_to_a_verdict_is_passed_over(tmp_path):
    (tmp_path / VERDICT_FILE).write_text('{"passed": true, "reasons": [], "facts": {"a": 1}, "judged_by": "later"}')
    assert StageVerdict.load(str(tmp_path)) == StageVerdict(True, [], {"a": 1})


@pytest.mark.parametrize("content", [b"", b"[]", b'{"passed": 1, "reasons": [], "facts": {}}', None])
def test_a_verdict_that_is_damaged_or_gone_is_named_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / VERDICT_FILE).write_bytes(content)
    with pytest.raises(CandidateUnreadableError, match=r"verdict\.json must hold the verdict of a stage") as told:
        StageVerdict.load(str(tmp_path))
    assert str(told.value).isprintable()
