import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lookalike.documents import CandidateUnreadableError
from lookalike.review.evidence import Evidence, evidence_sha256, image_path, read_evidence, write_evidence

MakeEvidence = Callable[..., Evidence]


@pytest.mark.parametrize("baseline", [True, False])
def test_evidence_survives_its_file(make_evidence: MakeEvidence, tmp_path: Path, baseline: bool) -> None:
    evidence = make_evidence(baseline=baseline)
    write_evidence(evidence, tmp_path)
    assert read_evidence(tmp_path) == evidence


def test_the_file_has_the_agreed_layout(make_evidence: MakeEvidence, tmp_path: Path) -> None:
    path = write_evidence(make_evidence(queries=1), tmp_path)
    document = json.loads(path.read_text())
    assert path.name == "evidence.json"
    assert set(document) == {"candidate", "queries"}
    assert document["candidate"]["baseline_version"] == 3
    assert document["candidate"]["model_uri"]
    assert set(document["queries"][0]["candidate"][0]) == {"image_sha256", "product_id", "category", "score"}


def test_the_digest_is_of_the_document_as_it_lies(make_evidence: MakeEvidence, tmp_path: Path) -> None:
    path = write_evidence(make_evidence(), tmp_path)
    before = evidence_sha256(tmp_path)
    assert before == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(path.read_bytes().replace(b'"recall_at_1":0.5', b'"recall_at_1":0.51'))
    assert evidence_sha256(tmp_path) != before


def test_a_document_of_0_1_0_that_names_its_submitter_is_read(tmp_path: Path) -> None:
    old = """{"candidate":{"baseline_version":null,"candidate_id":"a47ee30404ec","metrics":{"recall_at_1":0.1},\
"model_sha256":"%s","model_uri":"/model/6","submitted_by":"trainer"},"queries":[{"baseline":null,"candidate":[\
{"category":"Shirt","image_sha256":"%s","product_id":"p1","score":0.5}],"category":"Shirt","domain":"wild",\
"image_sha256":"%s","product_id":"p2","query_id":"w.jpg"}]}"""
    (tmp_path / "evidence.json").write_text(old % ("a" * 64, "b" * 64, "c" * 64))
    found = read_evidence(tmp_path)
    assert found.candidate.candidate_id == "a47ee30404ec"
    assert [query.shown for query in found.queries] == [(("c" * 64,), ("b" * 64,), ())]


def test_an_image_hash_cannot_lead_out_of_the_folder(make_evidence: MakeEvidence, tmp_path: Path) -> None:
    path = write_evidence(make_evidence(queries=1), tmp_path)
    document = json.loads(path.read_text())
    document["queries"][0]["image_sha256"] = "../../etc/passwd"
    path.write_text(json.dumps(document))
    with pytest.raises(CandidateUnreadableError, match=r"in queries.0.image_sha256: "):
        read_evidence(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"candidate": 3, "queries": 4}', b"\xff", None])
def test_evidence_that_is_damaged_or_gone_is_named_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "evidence.json").write_bytes(content)
    with pytest.raises(CandidateUnreadableError, match=r"evidence\.json must hold the evidence of a round") as told:
        read_evidence(tmp_path)
    assert str(told.value).isprintable()
    assert "an instance of" not in str(told.value)


def test_repeated_query_ids_are_refused(make_evidence: MakeEvidence) -> None:
    query = make_evidence(queries=1).queries[0]
    with pytest.raises(ValueError, match="query_id must be unique, got 1 repeated"):
        replace(make_evidence(), queries=(query, query))


@pytest.mark.parametrize(("version", "baseline"), [(None, True), (3, False)])
def test_grids_of_the_baseline_must_fit_the_candidate(
    make_evidence: MakeEvidence, version: int | None, baseline: bool
) -> None:
    evidence = make_evidence(baseline=baseline)
    with pytest.raises(ValueError, match="got 4 otherwise, 'q000' first"):
        replace(evidence, candidate=replace(evidence.candidate, baseline_version=version))


def test_more_than_eight_results_are_refused(make_evidence: MakeEvidence) -> None:
    query = make_evidence().queries[0]
    with pytest.raises(ValueError, match="at most 8"):
        replace(query, candidate=query.candidate * 5)


def test_the_same_pictures_in_another_order_are_no_tie(make_evidence: MakeEvidence) -> None:
    query = make_evidence(queries=1, ties=1).queries[0]
    assert query.is_exact_tie
    assert not replace(query, baseline=query.candidate[::-1]).is_exact_tie


def test_images_lie_beside_the_file_under_their_hash() -> None:
    assert image_path(Path("e"), "ab") == Path("e/images/ab.jpg")
