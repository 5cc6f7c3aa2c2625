"""What could not be used and why: reason codes, records, and the thresholds that stop a run."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from enum import Enum

from lookalike.catalog.product import CatalogImage
from lookalike.errors import EXIT_BAD_DATA, UserError

MAX_DETAIL_CHARS = 200
MIN_LOST = 2


class Reason(str, Enum):
    """Why an image or a row was set aside."""

    EMPTY = "EMPTY"  # a file of 0 bytes
    NOT_IMAGE = "NOT_IMAGE"  # no known image signature
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"  # an image, but of a format not on the accept list
    TRUNCATED = "TRUNCATED"  # the signature is right, the data ends early or is damaged
    CHECKSUM = "CHECKSUM"  # the file is not the one the manifest states
    TOO_LARGE = "TOO_LARGE"
    TOO_SMALL = "TOO_SMALL"
    ASPECT = "ASPECT"
    TOO_COSTLY = "TOO_COSTLY"  # a progressive JPEG of very many scans
    DECODER_CRASH = "DECODER_CRASH"
    DECODER_TIMEOUT = "DECODER_TIMEOUT"
    DECODER_MEMORY = "DECODER_MEMORY"
    OUTSIDE_ROOT = "OUTSIDE_ROOT"  # the path leaves the data root, or names another file system
    MISSING_FILE = "MISSING_FILE"  # no such file, or it cannot be read
    BAD_ROW = "BAD_ROW"
    NO_IMAGE = "NO_IMAGE"  # a row that names no picture
    DUPLICATE_ID = "DUPLICATE_ID"  # a newer row states the same image of the same product
    DUPLICATE_IMAGE = "DUPLICATE_IMAGE"  # the product, or another one, has the same picture already
    CONFLICTING_LABEL = "CONFLICTING_LABEL"  # one picture without a product came in several categories


# The content is still in the catalogue, so nothing was lost: a repeated delivery is normal.
NOTHING_LOST = frozenset({Reason.DUPLICATE_ID, Reason.DUPLICATE_IMAGE, Reason.CONFLICTING_LABEL})
# Nor does a shop lose what has no picture yet.
_NO_FAULT = NOTHING_LOST | {Reason.NO_IMAGE}


class DataError(UserError, code="BAD_DATA", exit_status=EXIT_BAD_DATA):
    """Bad data over a threshold, or a source that cannot be used at all; the command exits with 65."""


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class DeadLetter:
    """One image or row set aside, with all that is needed to find and mend the original.

    detail: free text, cut to 200 characters.   first_seen: ISO 8601, UTC.
    """

    image_id: str
    uri: str
    reason: Reason
    detail: str
    sha256: str = ""
    category: str = ""
    span: str = ""
    product_id: str = ""
    first_seen: str = field(default_factory=_now)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", Reason(self.reason))
        object.__setattr__(self, "detail", self.detail[:MAX_DETAIL_CHARS])

    @classmethod
    def of(cls, image: CatalogImage, reason: Reason, detail: str, sha256: str = "") -> "DeadLetter":
        """The dead letter of a row that a source gave; sha256 is of the original file, once it was read."""
        return cls(
            image_id=image.image_id,
            uri=image.uri,
            reason=reason,
            detail=detail,
            sha256=sha256 or image.sha256,
            category=image.category,
            span=image.span,
            product_id=image.product_id,
        )

    def to_json(self) -> str:
        """One line of JSON with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "DeadLetter":
        """The inverse of to_json; keys that a later version added are passed over."""
        stated = json.loads(text)
        return cls(**{known.name: stated[known.name] for known in fields(cls) if known.name in stated})


def check_dead_letter_thresholds(
    total_by_category: Mapping[str, int],
    dead: Iterable[DeadLetter],
    *,
    max_ratio: float = 0.02,
    max_category_ratio: float = 0.05,
) -> None:
    """Stop the run when too much of the source is unusable.

    total_by_category: rows that came in, dead ones included; '' counts the unlabelled.

    Duplicates do not count: their content is still in the catalogue. A single loss never stops a run, so that
    one broken file of ten does not stop a shop; losing everything always does. Unlabelled rows are no
    category: only the overall limit holds for them.

    Raises DataError with the numbers of every limit that was exceeded.
    """
    lost = Counter(letter.category for letter in dead if letter.reason not in _NO_FAULT)
    lost_overall, total = lost.total(), sum(total_by_category.values())
    problems = [
        _ratio_text(f"category {category!r}", lost[category], count, max_category_ratio)
        for category, count in sorted(total_by_category.items())
        if category and _exceeds(lost[category], count, max_category_ratio)
    ]
    if _exceeds(lost_overall, total, max_ratio) or 0 < total <= lost_overall:
        problems.insert(0, _ratio_text("the source", lost_overall, total, max_ratio))
    if problems:
        raise DataError("too many images are unusable: " + "; ".join(problems))


def _exceeds(lost: int, total: int, limit: float) -> bool:
    return lost >= MIN_LOST and lost > limit * total


def _ratio_text(where: str, lost: int, total: int, limit: float) -> str:
    share = lost / total if total else 1.0
    return f"{where} should lose at most {limit:.1%}, lost {lost} of {total} ({share:.1%})"
