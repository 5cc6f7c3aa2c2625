"""A verdict on a candidate: passed or not, with reasons either way."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookalike.documents import read_left
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched

VERDICT_FILE = "verdict.json"


@dataclass(frozen=True)
class StageVerdict:
    """What a stage thinks of a candidate.

    passed: whether nothing speaks against it.
    reasons: each what was expected, then what came; for a pass too.
    facts: figures for those who read on.
    """

    passed: bool
    reasons: Sequence[str]
    facts: dict[str, Any]

    def save(self, uri: str) -> None:
        """Writes verdict.json."""
        with open_folder(uri).writing(VERDICT_FILE) as path:
            path.write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, uri: str) -> "StageVerdict":
        """Reads verdict.json; what a later version added to it is left out. Raises CandidateUnreadableError."""
        with fetched(uri) as directory:
            return read_left(cls, directory / VERDICT_FILE, "the verdict of a stage")
