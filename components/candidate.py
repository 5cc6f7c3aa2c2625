"""What waits for people: a model, where its evidence lies, and whether anything speaks against it already."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from lookalike.documents import read_left
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched

CANDIDATE_FILE = "candidate.json"


@dataclass(frozen=True)
class CandidateFacts:
    """All that promotion needs to find the candidate again.

    candidate_id: names it in the review.
    round_id: the review round, None when it was refused offline.
    refusals: why no round was opened; empty when one was.
    model_uri, examples_uri, taxonomy_uri, evaluation_uri: artifacts of the training run.
    model_sha256: of the SavedModel's files.
    longest_side_px: of the canonical images it was trained on; queries are reduced alike.
    submitted_by: whose run put it before people first, '' for nobody; 0.1.0 kept that in the review alone.
    stands: what its round was opened with, in words, where this run asked for something else.
    settings: of its promotion, as `configs.settings.merge` takes them; empty in candidates of 0.1.0.
    """

    candidate_id: str
    round_id: int | None
    refusals: Sequence[str]
    model_sha256: str
    model_uri: str
    examples_uri: str
    taxonomy_uri: str
    evaluation_uri: str
    longest_side_px: int
    submitted_by: str = ""
    stands: Sequence[str] = field(default_factory=list)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def save(self, uri: str) -> None:
        """Writes candidate.json."""
        with open_folder(uri).writing(CANDIDATE_FILE) as path:
            path.write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, uri: str) -> "CandidateFacts":
        """Reads candidate.json; what a later version added to it is left out. Raises CandidateUnreadableError."""
        with fetched(uri) as directory:
            return read_left(cls, directory / CANDIDATE_FILE, "the candidate that a run wrote")
