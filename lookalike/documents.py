"""How a JSON document that some version of ours wrote is read into a dataclass."""

from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from lookalike.errors import UserError

T = TypeVar("T")

# Where pydantic's own words are Python's.
_WORDS = {
    "dataclass_type": "an object was expected",
    "dict_type": "an object was expected",
    "list_type": "a list was expected",
    "mapping_type": "an object was expected",
    "tuple_type": "a list was expected",
}


class CandidateUnreadableError(UserError, code="CANDIDATE_UNREADABLE"):
    """What a training run left for its review and its promotion is missing or damaged."""

    @classmethod
    def of(cls, path: Path, what: str, fault: str) -> "CandidateUnreadableError":
        """Names what must be where, what is wrong with it, and the ways out."""
        return cls(
            f"{path} must hold {what}, it is missing or damaged ({fault}); restore it from a backup, run "
            "`lookalike doctor` if the workspace was moved, or train another candidate (training.seed)"
        )


def read_left(kind: type[T], path: Path, what: str) -> T:
    """What a training run left in a JSON file, as `read_document` reads it; raises CandidateUnreadableError."""
    try:
        return read_document(kind, path.read_bytes())
    except OSError as error:
        raise CandidateUnreadableError.of(path, what, (error.strerror or "unreadable").lower()) from error
    except ValueError as error:
        raise CandidateUnreadableError.of(path, what, str(error)) from error


def read_document(kind: type[T], document: str | bytes) -> T:
    """A dataclass from its JSON: keys it does not know are passed over, those it lacks have their default.

    Raises ValueError: the document is none of the kind; it says where and what in one line, and quotes nothing.
    """
    try:
        found: T = _adapter(cast(Hashable, kind)).validate_json(document, strict=True)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from error
    return found


def first_fault(error: ValidationError) -> str:
    """Where the first fault of a document is, and what it is, in one line."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the document"
    said = _WORDS.get(first["type"]) or first["msg"].removeprefix("Value error, ")
    return f"in {where}: {said[0].lower()}{said[1:]}"


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Making one costs more than reading a line of history."""
    return TypeAdapter(kind)
