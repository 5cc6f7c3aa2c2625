"""A verdict on a candidate: passed or not, with reasons either way."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lookalike.configs.mounts import mounted_path, output_directory
from lookalike.documents import read_left

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
        (output_directory(uri) / VERDICT_FILE).write_text(json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, uri: str) -> "StageVerdict":
        """Reads verdict.json; what a later version added to it is left out. Raises CandidateUnreadableError."""
        return read_left(cls, mounted_path(uri) / VERDICT_FILE, "the verdict of a stage")
