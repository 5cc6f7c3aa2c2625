import json

import apache_beam as beam
import pytest

from components import artifacts
from components.readiness import Readiness
from components.verdict import StageVerdict
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.readiness import NotReadyError


@pytest.fixture
def checked(make_examples, artifact):
    """Runs the component on images by split."""

    def run(splits):
        verdict = artifact(artifacts.VerdictArtifact, "readiness")
        Readiness.test_call(
            examples=make_examples(splits), verdict=verdict, beam_pipeline=beam.Pipeline(runner="FnApiRunner")
        )
        return StageVerdict.load(verdict.uri)

    return run


def images(split, products, *, views=2, label="Hats"):
    return [
        CatalogImage(
            f"{split}-{product}-{view}.jpg", product_id=f"{split}-{product}", category="Hats", label=label, jpeg=b"x"
        )
        for product in range(products)
        for view in range(views)
    ]


def test_a_run_goes_on_with_what_is_weak_told(checked):
    verdict = checked({"train": images("train", 5), "eval": images("eval", 2), "test": images("test", 2)})
    assert verdict.passed
    assert verdict.facts["products"] == {"train": 5, "eval": 2, "test": 2}
    assert verdict.facts["classes"] == {"Hats": {"train": 5, "eval": 2, "test": 2}}
    assert ["4 held-out images can be measured" in reason for reason in verdict.reasons] == [True]
    json.dumps(verdict.facts)


def test_a_run_that_could_not_be_measured_is_stopped_with_what_helps(checked):
    splits = {name: images(name, 2, views=1, label="") for name in ("train", "eval", "test")}
    with pytest.raises(NotReadyError, match=r"nothing can be learnt.*; no answer is known"):
        checked(splits)
