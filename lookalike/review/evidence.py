"""What goes into a review: a candidate, and for each query what it and the serving release would show."""

import hashlib
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated

from pydantic import Field, FiniteFloat, StringConstraints, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass

from lookalike.documents import read_left
from lookalike.review.canonical import canonical_json

GRID_SIZE = 8
MAX_NAME_LENGTH = 255  # what a column of the store holds
EVIDENCE_FILE = "evidence.json"
IMAGES_FOLDER = "images"

# Hashes become file names, so their spelling is also what keeps a reader inside the images folder.
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_NAME_LENGTH)]


@dataclass(frozen=True)
class Candidate:
    """The trained model that asks for a blessing, whoever asks: evidence of 0.1.0 also named the submitter."""

    candidate_id: Name
    model_sha256: Sha256
    model_uri: str
    baseline_version: Annotated[int, Field(ge=1)] | None
    metrics: Mapping[str, FiniteFloat]


@dataclass(frozen=True)
class EvidenceResult:
    """One image that a search returned, with the truth about it that raters never see."""

    image_sha256: Sha256
    product_id: str
    category: str
    score: FiniteFloat


ResultGrid = Annotated[tuple[EvidenceResult, ...], Field(min_length=1, max_length=GRID_SIZE)]


@dataclass(frozen=True)
class EvidenceQuery:
    """One query photo and the best results of the candidate and of the baseline, best first."""

    query_id: Name
    image_sha256: Sha256
    category: str
    product_id: str
    domain: str
    candidate: ResultGrid
    baseline: ResultGrid | None

    @property
    def is_exact_tie(self) -> bool:
        """Whether both arms show the same images in the same order: no person could prefer one."""
        return self.baseline is not None and _shown(self.candidate) == _shown(self.baseline)

    @property
    def shown(self) -> tuple[tuple[str, ...], ...]:
        """The hashes of what a rater sees: the query, the candidate's results, the baseline's; in their order."""
        return (self.image_sha256,), _shown(self.candidate), _shown(self.baseline or ())

    @property
    def image_hashes(self) -> set[str]:
        """The hashes of all the images that a rater of this query is shown."""
        return set(chain.from_iterable(self.shown))


@dataclass(frozen=True)
class Evidence:
    """A candidate and its queries, in the order in which rounds ask them.

    Every query has a baseline grid exactly where a baseline is serving.
    """

    candidate: Candidate
    queries: Annotated[tuple[EvidenceQuery, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _check_queries(self) -> "Evidence":
        ids = [query.query_id for query in self.queries]
        if len(set(ids)) < len(ids):
            raise ValueError(f"query_id must be unique, got {len(ids) - len(set(ids))} repeated")
        expected = self.candidate.baseline_version is not None
        wrong = [query.query_id for query in self.queries if (query.baseline is not None) != expected]
        if wrong:
            rule = "every query needs a baseline grid" if expected else "no query may have a baseline grid"
            raise ValueError(
                f"with baseline_version {self.candidate.baseline_version}, {rule}, got {len(wrong)} otherwise,"
                f" {wrong[0]!r} first"
            )
        return self


_EVIDENCE = TypeAdapter(Evidence)
_QUERY = TypeAdapter(EvidenceQuery)


def write_evidence(evidence: Evidence, directory: Path) -> Path:
    """Writes evidence.json into an existing folder and returns its path."""
    path = directory / EVIDENCE_FILE
    path.write_bytes(canonical_json(_EVIDENCE.dump_python(evidence, mode="json")))
    return path


def read_evidence(directory: Path) -> Evidence:
    """Reads evidence.json from a folder; raises CandidateUnreadableError where it is missing or damaged."""
    return read_left(Evidence, directory / EVIDENCE_FILE, "the evidence of a round")


def evidence_sha256(directory: Path) -> str:
    """What a round and its decision are bound to: evidence.json as it lies there, whichever version wrote it."""
    return hashlib.sha256((directory / EVIDENCE_FILE).read_bytes()).hexdigest()


def query_to_json(query: EvidenceQuery) -> dict[str, object]:
    """A query as plain JSON values, for a database column."""
    payload: dict[str, object] = _QUERY.dump_python(query, mode="json")
    return payload


def query_from_json(payload: Mapping[str, object]) -> EvidenceQuery:
    """The query that `query_to_json` gave away."""
    return _QUERY.validate_python(payload)


def image_path(evidence_dir: Path, image_sha256: str) -> Path:
    """Where an image of the evidence lies."""
    return evidence_dir / IMAGES_FOLDER / f"{image_sha256}.jpg"


def _shown(grid: Sequence[EvidenceResult]) -> tuple[str, ...]:
    return tuple(result.image_sha256 for result in grid)
