import json
from dataclasses import asdict
from pathlib import Path

import pytest

from components.candidate import CANDIDATE_FILE, CandidateFacts
from lookalike.documents import CandidateUnreadableError

FACTS = CandidateFacts("c", 1, [], "0" * 64, "model", "examples", "taxonomy", "evaluation", 256)


def test_a_candidate_comes_back_as_it_went(tmp_path: Path) -> None:
    FACTS.save(str(tmp_path))
    assert CandidateFacts.load(str(tmp_path)) == FACTS


@pytest.mark.parametrize("content", [b"", b"[]", b'{"candidate_id": "c"}', b"\xff"])
def test_a_damaged_candidate_is_named_with_the_way_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / CANDIDATE_FILE).write_bytes(content)
    with pytest.raises(CandidateUnreadableError, match=r"candidate.json must hold .* restore it from a backup") as told:
        CandidateFacts.load(str(tmp_path))
    assert str(told.value).isprintable()


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("settings", "release.keep=3", "in settings: an object was expected"),
        ("settings", [], "in settings: an object was expected"),
        ("refusals", "none", "in refusals"),
        ("model_uri", 7, "in model_uri: input should be a valid string"),
    ],
)
def test_a_candidate_with_a_value_of_another_kind_is_damaged(
    tmp_path: Path, key: str, value: object, told: str
) -> None:
    (tmp_path / CANDIDATE_FILE).write_text(json.dumps(asdict(FACTS) | {key: value}))
    with pytest.raises(CandidateUnreadableError, match=told):
        CandidateFacts.load(str(tmp_path))


def test_what_a_later_version_adds_to_a_candidate_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / CANDIDATE_FILE).write_text(json.dumps(asdict(FACTS) | {"weather": "fine"}))
    assert CandidateFacts.load(str(tmp_path)) == FACTS


def test_a_candidate_that_is_gone_is_told_alike(tmp_path: Path) -> None:
    with pytest.raises(CandidateUnreadableError, match=r"lookalike doctor` if the workspace was moved"):
        CandidateFacts.load(str(tmp_path / "gone"))
