"""How a JSON document that some version of ours wrote is read into a dataclass."""

from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def read_document(kind: type[T], document: str | bytes) -> T:
    """A dataclass from its JSON: keys it does not know are passed over, those it lacks have their default.

    Raises ValueError: the document is none of the kind; it says where and what in one line, and quotes nothing.
    """
    try:
        return TypeAdapter(kind).validate_json(document, strict=True)
    except ValidationError as error:
        raise ValueError(first_fault(error)) from error


def first_fault(error: ValidationError) -> str:
    """Where the first fault of a document is, and what it is, in one line."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "the document"
    return f"in {where}: {first['msg'][0].lower()}{first['msg'][1:]}"
