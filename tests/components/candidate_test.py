from pathlib import Path

import pytest

from components.candidate import CANDIDATE_FILE, CandidateFacts, CandidateUnreadableError

FACTS = CandidateFacts("c", 1, [], "0" * 64, "model", "examples", "taxonomy", "evaluation", 256)


def test_a_candidate_comes_back_as_it_went(tmp_path: Path) -> None:
    FACTS.save(str(tmp_path))
    assert CandidateFacts.load(str(tmp_path)) == FACTS


@pytest.mark.parametrize("content", ["", "[]", '{"candidate_id": "c"}'])
def test_a_damaged_candidate_is_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / CANDIDATE_FILE).write_text(content)
    with pytest.raises(CandidateUnreadableError, match=r"candidate.json must hold .* restore it from a backup"):
        CandidateFacts.load(str(tmp_path))


def test_a_candidate_that_is_gone_is_told_alike(tmp_path: Path) -> None:
    with pytest.raises(CandidateUnreadableError, match=r"lookalike doctor` if the workspace was moved"):
        CandidateFacts.load(str(tmp_path / "gone"))
