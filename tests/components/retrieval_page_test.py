import dataclasses
import re

import numpy as np
import pytest

from components.retrieval_page import render_page
from components.verdict import StageVerdict
from lookalike.catalog.account import Kept, account_of
from lookalike.catalog.dead_letters import DeadLetter, Reason
from lookalike.catalog.notes import Notes
from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.metrics import evaluate_retrieval

PASSED = StageVerdict(True, ["recall@1 at least 0.300, got 1.000"], {})
FAILED = StageVerdict(False, ["recall@1 at least 0.300, got 0.100"], {})


LOST = DeadLetter("gone.jpg", "/gone.jpg", Reason.MISSING_FILE, "", category="Hats")


def at(*degrees):
    """Unit vectors of the plane; the nearer the angles, the more alike."""
    radians = np.deg2rad(np.float32(degrees))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def measure(queries, query_vectors, gallery, gallery_vectors):
    return evaluate_retrieval(
        query_vectors,
        gallery_vectors,
        RetrievalTable.of(queries),
        RetrievalTable.of(gallery),
        num_resamples=10,
    )


@pytest.fixture
def page(stored_image):
    """The page of two wild photos, at 0 and 10 degrees, among the catalogue images of their products, at 4 and 40."""
    photos = [stored_image(f"q{n}.jpg", n, view=1, domain="wild", product_id=f"shirt-{n}") for n in range(2)]
    catalog = [stored_image(f"g{n}.jpg", n, product_id=f"shirt-{n}") for n in range(2)]

    def render(verdict=PASSED, *, serving=None, num_pictured=2, **facts):
        queries, gallery = ([dataclasses.replace(image, **facts) for image in found] for found in (photos, catalog))
        measured = measure(queries, at(0, 10), gallery, at(4, 40))
        baseline = measure(queries, serving, gallery, at(4, 40)).metrics if serving is not None else None
        report = {"split": "test", "num_gallery_images": 2000, "candidate": measured.metrics, "baseline": baseline}
        report["account"] = account_of(Kept(2000, 900, 12), [LOST], Notes(), "lost.jsonl").to_document()
        return render_page(report, verdict, measured, queries, gallery, num_pictured)

    return render


def marks(html):
    """For each photo, whether each picture it found is marked right or wrong."""
    return [re.findall(r'<figure class="(right|wrong)"', row) for row in html.split('<div class="row">')[1:]]


def text(html):
    """What a reader sees of it, on one line."""
    body = re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_what_was_read_and_what_was_not_is_told(page):
    told = text(page())
    assert "read 2,001 images = 2,000 kept + 1 set aside; 900 products in 12 categories" in told
    assert "MISSING_FILE 1 (Hats 1): gone.jpg" in told


def test_what_was_found_is_marked_right_or_wrong(page):
    assert marks(page()) == [["right", "wrong"], ["wrong", "right"]]


def test_verdict_and_reasons_are_told(page):
    assert 'class="badge passed">passed<' in page(PASSED)
    failed = page(FAILED)
    assert 'class="badge failed">failed<' in failed
    assert "recall@1 at least 0.300, got 0.100" in failed


def test_figures_of_the_headline_track_stand_first(page):
    # One of two finds its product first: recall@1 = 1/2, recall@4 = 2/2, precision@4 = 1/4, mAP@R = 1/2.
    told = text(page())
    assert "search 2,000 catalogue images" in told
    assert re.search(
        r"Product, wild→catalog 2 queries recall@1 0\.500 \S+ – \S+ recall@4 1\.000 1\.00 – 1\.00 .*"
        r"precision@4 0\.250 .* mAP@R 0\.500 .*By product",
        told,
    )


def test_serving_release_stands_beside_the_candidate(page):
    html = page(serving=at(0, 39))  # which finds both
    assert 'class="worse">-0.500</span> <small>serving 1.000' in html
    assert html.count("serving release") == 5  # two tracks by product, two by category, one category
    better = page(serving=at(39, 0))
    assert 'class="better">+0.500</span> <small>serving 0.000' in better


def test_page_works_without_a_serving_release(page):
    assert "serving" not in text(page())


def test_page_works_when_only_categories_have_answers(stored_image):
    categories = ("Tops > Shirt", "Shoes > Boot")
    queries = [stored_image(f"q{n}.jpg", n, product_id=f"q{n}", category=categories[n]) for n in range(2)]
    gallery = [stored_image(f"g{n}.jpg", n + 2, product_id=f"g{n}", category=categories[n]) for n in range(2)]
    measured = measure(queries, at(0, 40), gallery, at(4, 41))
    report = {
        "account": None,
        "split": "test",
        "num_gallery_images": 2,
        "candidate": measured.metrics,
        "baseline": None,
    }
    html = render_page(report, PASSED, measured, queries, gallery, 2)
    assert marks(html) == [["right", "wrong"], ["right", "wrong"]]
    assert "By product No held-out photo has an answer of this kind in the catalogue. By category" in text(html)
    assert "the same category" in html


def test_names_from_the_source_cannot_become_markup(page):
    evil = '<script>alert("x")</script>'
    html = page(product_id=evil, category=f"{evil} > Shirt")
    assert "<script" not in html
    assert "&lt;script&gt;alert(" in html


def test_page_is_whole_in_itself(page):
    html, num_pictures = re.subn(r'src="data:image/jpeg;base64,[A-Za-z0-9+/=]+"', "", page())
    assert num_pictures == 6
    assert not re.findall(r"//|src=|href=|@import|url\(|<script|<link", html)


def test_as_many_photos_are_pictured_as_asked_for(page):
    assert len(marks(page(num_pictured=1))) == 1
    assert len(marks(page(num_pictured=50))) == 2
