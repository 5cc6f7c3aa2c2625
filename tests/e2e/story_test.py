"""A drawn catalogue goes the whole way: run, review, promote, search, and once more from cache."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.drawing.catalog import draw_catalog
from lookalike.release.contents import Catalog

TRAINING_NODES = {
    "ImageExampleGen",
    "CatalogStatisticsGen",
    "CatalogSchemaGen",
    "SchemaGate",
    "Readiness",
    "Transform",
    "Trainer",
    "Evaluator",
    "RetrievalEvaluator",
    "InfraCheck",
    "OpenReview",
}
PROMOTION_NODES = {"HumanGate", "CatalogueEmbedder", "IndexBuilder", "IndexEvaluator", "ReleasePusher"}


def test_training_ends_green_with_a_candidate_awaiting_review(story: Any) -> None:
    assert story.run.status == 75, story.run.stderr
    assert story.run.document["state"] == "awaiting review"
    assert set(story.run.document["worked"]) == TRAINING_NODES
    slices = {row["slice"]: row for row in story.run.document["accuracy"]}
    by_domain = slices["domain catalog"]["images"], slices["domain wild"]["images"]
    assert slices["overall"]["images"] == sum(by_domain)
    assert all(number > 0 for number in by_domain)
    assert any(name.startswith("category Accessories > ") for name in slices)
    assert "data:image/jpeg;base64," in Path(story.run.document["evaluation"]).read_text()


def test_a_spreadsheet_of_a_shop_is_read_and_accounted_for(story: Any, catalog: Path) -> None:
    account = story.run.document["account"]
    assert account["kept"] == {"images": 36 * 5 + 6, "products": 36 + 6, "categories": 12}
    assert account["set_aside"] == {"NO_IMAGE": {"": 4}}
    assert account["read"] == 36 * 5 + 6 + 4
    assert {note["note"]: note["count"] for note in account["notes"]} == {
        "Products.CSV was read as: semicolons, Windows-1252, decimal comma": 1,
        "images were found by a name that is spelt in another way": 36 * 5,
        "pictures that many products share can be found, and are not learnt from": 6,
    }
    assert Path(account["details"]).read_text().count("NO_IMAGE") == 4
    assert story.run.document["readiness"]["products"]["untrained"] == 6
    settings = ("--set", "ingest.longest_side_px=64")  # as the run had
    checked = story.shop.warm.run("check", "--data", str(catalog), "--json", *settings)
    assert checked.document["account"] | {"details": ""} == account | {"details": ""}


def test_a_pending_decision_pushes_nothing_and_says_so(story: Any) -> None:
    assert story.promote_too_early.status == 75
    assert "AWAITING_REVIEW" in story.promote_too_early.stderr


def test_a_blessing_is_promoted_and_marked_as_simulated(story: Any) -> None:
    assert story.promote.status == 0, story.promote.stderr
    told = story.promote.document
    assert told["version"] == 1
    assert told["simulated"] is True
    assert set(told["worked"]) >= PROMOTION_NODES


def test_an_unchanged_day_does_no_work(story: Any) -> None:
    assert story.run_again.status == 0, "the day's candidate is blessed, nothing is left to do"
    assert story.run_again.document["worked"] == []
    assert set(story.run_again.document["cached"]) == TRAINING_NODES
    assert story.promote_again.status == 0
    assert not set(story.promote_again.document["worked"]) & PROMOTION_NODES
    assert story.promote_again.document["version"] == 1


def test_lineage_leads_from_the_release_to_candidate_examples_and_decision(story: Any) -> None:
    from ml_metadata import MetadataStore
    from tfx.orchestration.metadata import sqlite_metadata_connection_config

    store = MetadataStore(sqlite_metadata_connection_config(str(story.shop.root / "metadata.sqlite")))
    [release] = store.get_artifacts_by_type("components.Release")
    origins = _origins(store, release.id)
    types = {store.get_artifact_types_by_id([one.type_id])[0].name for one in origins}
    assert {"Model", "Examples", "TransformGraph", "Schema", "ModelBlessing", "components.Candidate"} <= types
    for origin in origins:  # one and the same artifacts as in training, not copies that an importer made
        assert len(store.get_artifacts_by_uri(origin.uri)) == 1
    decided = json.loads((story.shop.root / "releases" / "releases" / "1" / "decision.json").read_text())
    assert release.custom_properties["decision_id"].string_value == decided["decision_id"]


def _origins(store: Any, artifact_id: int) -> list[Any]:
    """Every artifact that had a part in one, however far back."""
    seen: set[int] = set()
    waiting = [artifact_id]
    while waiting:
        current = waiting.pop()
        makers = [event.execution_id for event in store.get_events_by_artifact_ids([current]) if event.type == 4]
        for event in store.get_events_by_execution_ids(makers):
            if event.type == 3 and event.artifact_id not in seen:
                seen.add(event.artifact_id)
                waiting.append(event.artifact_id)
    return list(store.get_artifacts_by_id(sorted(seen)))


def test_search_finds_a_photo_of_the_catalogue_itself(story: Any, catalog: Path) -> None:
    photo = catalog.parent / "images" / "hat-0008" / "catalog-1.jpg"
    result = story.shop.lookalike("search", str(photo), "-k", "5", "--json")
    assert result.status == 0, result.stderr
    hits = result.document["results"]
    assert hits[0]["product_id"] == "hat-0008"
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-3)
    assert [hit["rank"] for hit in hits] == [1, 2, 3, 4, 5]


def test_search_equals_an_exact_search_over_the_same_vectors(story: Any) -> None:
    from lookalike.release.store import ReleaseStore
    from serving.searcher import Searcher

    release = ReleaseStore(story.shop.root / "releases").current()
    assert release is not None
    vectors = np.load(release.directory / "embeddings.npy", allow_pickle=False)
    products = Catalog.open(release.directory / "catalogue.arrow").product_ids
    searcher = Searcher.open(release)
    for query in vectors[::7]:
        best: dict[str, float] = {}  # of each product, its most alike image
        for product, score in zip(products, (vectors @ query).tolist(), strict=True):
            best[product] = max(score, best.get(product, -1.0))
        scores = [hit.score for hit in searcher.search(query, k=5)]
        assert scores == pytest.approx(sorted(best.values(), reverse=True)[:5], abs=1e-5)


def test_evaluate_reports_other_photos_and_baselines(story: Any, tmp_path: Path) -> None:
    # The shop's first products, photographed anew.
    others = draw_catalog(tmp_path, num_products=24, seed=0, image_size_px=64, catalog_images=0, wild_images=1)
    result = story.shop.lookalike("evaluate", "--baselines", "--json", "--data", str(others))
    assert result.status == 0, result.stderr
    metrics = result.document["metrics"]
    assert set(metrics) == {"release 1", "untrained network", "colour histogram"}
    for measured in metrics.values():
        for level in ("category", "product"):
            assert measured[level]["overall"]["num_queries"] == result.document["num_queries"] == 24
            assert 0.0 <= measured[level]["overall"]["recall_at_1"] < 1.0


def test_releases_and_rollback_tell_what_serves(story: Any) -> None:
    [release] = story.shop.lookalike("releases", "--json").document
    assert (release["version"], release["serving"], release["simulated"]) == (1, True, True)
    refused = story.shop.lookalike("rollback", "--json")
    assert refused.status == 1
    assert "RELEASE_REFUSED" in refused.stderr


def test_doctor_finds_nothing_wrong(story: Any) -> None:
    result = story.shop.lookalike("doctor", "--json")
    assert result.status == 0, result.stdout
    assert {"workspace", "current release", "review database"} & {finding["what"] for finding in result.document}
