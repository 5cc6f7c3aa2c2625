"""What was assumed, dropped or passed over while a source was read, and how often: told, and no reason to stop."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_EXAMPLES = 3
_MAX_EXAMPLE_CHARS = 120


@dataclass(frozen=True)
class Note:
    """Something to tell.

    text: the same for all of its kind.   example: where it was seen, or what was.
    """

    text: str
    example: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "example", self.example[:_MAX_EXAMPLE_CHARS])


@dataclass
class Notes:
    """Notes by their text: how many, and the first examples in the order of their letters."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, note: Note) -> None:
        """Counts a note."""
        self._add(note.text, 1, [note.example] if note.example else [])

    def add_all(self, others: "Notes") -> None:
        """Counts what was counted elsewhere."""
        for text, count in others.counts.items():
            self._add(text, count, others.examples[text])

    def _add(self, text: str, count: int, examples: Iterable[str]) -> None:
        self.counts[text] = self.counts.get(text, 0) + count
        self.examples[text] = sorted({*self.examples.get(text, ()), *examples})[:MAX_EXAMPLES]

    def to_document(self) -> list[dict[str, Any]]:
        """As JSON, sorted by text: the same however the notes came."""
        return [
            {"note": text, "count": count, "examples": self.examples[text]}
            for text, count in sorted(self.counts.items())
        ]

    @classmethod
    def from_document(cls, document: Iterable[Mapping[str, Any]]) -> "Notes":
        """The inverse of to_document."""
        stated = list(document)
        return cls(
            {one["note"]: one["count"] for one in stated}, {one["note"]: list(one["examples"]) for one in stated}
        )


def merged(many: Iterable[Notes]) -> Notes:
    """All notes as one."""
    notes = Notes()
    for one in many:
        notes.add_all(one)
    return notes


def in_a_line(note: Mapping[str, Any]) -> str:
    """A note of `Notes.to_document`, as it is told."""
    times = f" ({note['count']:,} times)" if note["count"] > 1 else ""
    between = ", such as " if note["count"] > len(note["examples"]) else ": "
    return f"{note['note']}{times}" + (f"{between}{'; '.join(note['examples'])}" if note["examples"] else "")
