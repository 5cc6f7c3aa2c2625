import apache_beam as beam
import pytest
from tfx import v1 as tfx

from components.component import component

said: list[str] = []


@component
def Says(word: tfx.dsl.components.Parameter[str]) -> None:
    said.append(word)


@component(use_beam=True)
def SaysInBeam(
    word: tfx.dsl.components.Parameter[str],
    beam_pipeline: tfx.dsl.components.BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    said.append(f"{word} in a {type(beam_pipeline).__name__}")


@pytest.fixture(autouse=True)
def digests(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Module → its digest, for this module is none of the rooms."""
    by_module = {__name__: "d1"}
    monkeypatch.setattr("components.component.source_digest", by_module.__getitem__)
    said.clear()
    return by_module


@pytest.mark.parametrize("made", [Says, SaysInBeam])
def test_node_carries_the_digest_that_its_module_has_when_the_node_is_made(made, digests) -> None:
    before = made(word="yes")
    digests[__name__] = "d2"
    assert before.exec_properties == {"word": "yes", "source_digest": "d1"}
    assert made(word="yes").exec_properties == {"word": "yes", "source_digest": "d2"}


@pytest.mark.parametrize("made", [Says, SaysInBeam])
def test_type_and_executor_are_named_in_ml_metadata_as_the_function_is(made) -> None:
    node = made(word="yes")
    assert (node.id, node.type) == (made.__name__, f"{__name__}.{made.__name__}")
    assert node.executor_spec.class_path == f"{__name__}.{made.__name__}_Executor"


@pytest.mark.parametrize(("made", "expected"), [(Says, "yes"), (SaysInBeam, "yes in a Pipeline")])
def test_executor_hands_on_what_the_function_declares_and_no_digest(made, expected) -> None:
    node = made(word="yes")
    node.executor_spec.executor_class().Do({}, {}, dict(node.exec_properties))
    assert said == [expected]


def test_digest_is_no_argument_of_the_caller() -> None:
    with pytest.raises(TypeError, match="source_digest"):
        Says(word="yes", source_digest="forged")


def test_unknown_argument_is_refused_as_by_tfx() -> None:
    with pytest.raises(ValueError, match="Unknown arguments to 'Says': colour"):
        Says(word="yes", colour="no")
