import hashlib
import io

import numpy as np
import pytest

from components.review_evidence import CandidateIdentity, EmbeddedImages, write_review_evidence
from lookalike.catalog.image_file import ImageFile
from lookalike.review.evidence import read_evidence

MODEL = "ab" * 32


def at(*degrees):
    """Unit vectors of the plane; the nearer the angles, the more alike."""
    radians = np.deg2rad(np.float32(degrees))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def picture_of(image_id):
    return hashlib.sha256(f"picture of {image_id}".encode()).hexdigest()


@pytest.fixture
def photos(stored_image):
    """Makes images from (image_id, product number, degrees), every one with a picture of its own."""

    def make(*rows, domain="catalog"):
        images = [
            stored_image(image_id, product, view=place % 5, domain=domain, canonical_sha256=picture_of(image_id))
            for place, (image_id, product, _) in enumerate(rows)
        ]
        return images, at(*[degrees for *_, degrees in rows])

    return make


@pytest.fixture
def write(tmp_path):
    """Writes evidence and reads it again."""

    def run(candidate, baseline=None, name="evidence", **identity):
        facts = {"model_sha256": MODEL, "model_uri": "/model", "metrics": {"recall_at_1": 0.5}}
        facts |= {"baseline_version": None if baseline is None else 3, "baseline_manifest_sha256": "cd" * 32}
        max_queries = identity.pop("max_queries", 10)
        directory = tmp_path / name
        write_review_evidence(
            directory,
            candidate=candidate,
            baseline=baseline,
            identity=CandidateIdentity(**(facts | identity)),
            max_queries=max_queries,
        )
        return read_evidence(directory), directory

    return run


def embedded(queries, gallery):
    images = (ImageFile(io.BytesIO(), one[0]) for one in (queries, gallery))
    return EmbeddedImages(*images, queries[1], gallery[1])


def products(grid):
    return [result.product_id for result in grid]


def test_wild_photos_ask_where_there_are_any(photos, write):
    wild, held_out = photos(("w1", 1, 0), ("w2", 2, 90), domain="wild"), photos(("c1", 1, 0), ("c2", 2, 90))
    queries = wild[0] + held_out[0], np.concatenate([wild[1], held_out[1]])
    evidence, _ = write(embedded(queries, photos(("g1", 1, 5), ("g2", 2, 95))))
    assert {query.query_id for query in evidence.queries} == {image.key for image in wild[0]}
    assert {query.domain for query in evidence.queries} == {"wild"}


def test_catalogue_photos_ask_where_there_is_no_wild_one(photos, write):
    held_out = photos(("c1", 1, 0))
    evidence, _ = write(embedded(held_out, photos(("g1", 1, 5))))
    assert [query.query_id for query in evidence.queries] == [held_out[0][0].key]


def test_a_photo_is_never_shown_itself(photos, write):
    evidence, _ = write(embedded(photos(("c1", 1, 0)), photos(("c1", 1, 0), ("c2", 1, 20), ("c3", 3, 10))))
    [query] = evidence.queries
    assert products(query.candidate) == ["p3", "p1"]
    assert query.image_sha256 not in {result.image_sha256 for result in query.candidate}


def test_a_product_is_shown_once_by_its_nearest_image(photos, write):
    gallery = photos(("far", 1, 60), ("near", 1, 10), ("other", 2, 30), ("nearer", 2, 20))
    evidence, _ = write(embedded(photos(("q", 9, 0), domain="wild"), gallery))
    [query] = evidence.queries
    expected = [("p1", gallery[0][1], np.cos(np.deg2rad(10))), ("p2", gallery[0][3], np.cos(np.deg2rad(20)))]
    assert products(query.candidate) == [product for product, _, _ in expected]
    shown = [result.image_sha256 for result in query.candidate]
    assert shown == [hashlib.sha256(image.jpeg).hexdigest() for _, image, _ in expected]
    assert [result.score for result in query.candidate] == pytest.approx([score for *_, score in expected])


def test_eight_products_are_shown_however_many_images_the_first_ones_have(photos, write):
    rows = [(f"{product}-{view}", product, 2 * product + view / 10) for product in range(12) for view in range(4)]
    evidence, _ = write(embedded(photos(("q", 99, 0), domain="wild"), photos(*rows)))
    assert products(evidence.queries[0].candidate) == [f"p{product}" for product in range(8)]


def test_pictures_are_named_by_content_alone_for_both_arms(photos, write):
    queries, gallery = photos(("q", 9, 0), domain="wild"), photos(("g1", 1, 10), ("g2", 2, 80))
    turned = gallery[0], at(80, 10)
    evidence, directory = write(embedded(queries, gallery), embedded(queries, turned))
    [query] = evidence.queries
    assert products(query.candidate) == ["p1", "p2"]
    assert products(query.baseline) == ["p2", "p1"]
    assert {path.name for path in (directory / "images").iterdir()} == {
        f"{hashlib.sha256(image.jpeg).hexdigest()}.jpg" for image in queries[0] + gallery[0]
    }
    for path in (directory / "images").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem


def test_candidate_is_named_after_model_and_baseline(photos, write):
    images = embedded(photos(("c1", 1, 0)), photos(("g1", 1, 5)))
    first, _ = write(images, name="first")
    second, _ = write(images, images, name="second")
    assert (first.candidate.candidate_id, first.candidate.baseline_version) == ("abababababab", None)
    assert (second.candidate.candidate_id, second.candidate.baseline_version) == ("abababababab-vs-3-cdcdcd", 3)
    assert first.candidate.model_sha256 == MODEL
    assert first.candidate.metrics == {"recall_at_1": 0.5}


def test_the_draw_is_the_same_for_a_model_and_another_for_another(photos, write):
    queries = photos(*[(f"q{number}", number, number) for number in range(20)], domain="wild")
    images = embedded(queries, photos(("g1", 1, 5)))

    def drawn(name, model, max_queries=5):
        evidence, _ = write(images, name=name, model_sha256=model, max_queries=max_queries)
        return [query.query_id for query in evidence.queries]

    first = drawn("first", MODEL)
    assert len(set(first)) == 5
    assert drawn("again", MODEL) == first
    assert drawn("other", "cd" * 32) != first
    assert drawn("more", MODEL, max_queries=20)[:5] == first, "more of them begin with the same ones"
