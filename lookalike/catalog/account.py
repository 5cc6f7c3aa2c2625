"""One account of every image that a source states: read = kept + duplicates + set aside."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from lookalike.catalog.dead_letters import NOTHING_LOST, DeadLetter
from lookalike.catalog.notes import Notes, in_a_line
from lookalike.errors import UserError

NUM_EXAMPLES = 3


@dataclass(frozen=True)
class Kept:
    """What is in the catalogue."""

    images: int = 0
    products: int = 0
    categories: int = 0


@dataclass(frozen=True)
class Account:
    """What became of all that was read.

    kept: images, with their products and categories.
    duplicates: reason → how many images add nothing to another one.
    set_aside: reason → category → how many images cannot be used.
    examples: reason → at most three of them, as they can be found in the source.
    notes: what was assumed, dropped or passed over, and how often.
    details: where all that was set aside is listed, '' where nothing was.
    """

    kept: Kept = Kept()
    duplicates: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    examples: Mapping[str, list[str]] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    details: str = ""

    @property
    def num_duplicates(self) -> int:
        """All of them."""
        return sum(self.duplicates.values())

    @property
    def num_set_aside(self) -> int:
        """All of them."""
        return sum(sum(by_category.values()) for by_category in self.set_aside.values())

    @property
    def read(self) -> int:
        """Images that the source states."""
        return self.kept.images + self.num_duplicates + self.num_set_aside

    def in_a_line(self) -> str:
        """The sum, and the reasons where there are any."""
        text = f"read {self.read:,} images = {self.kept.images:,} kept"
        if self.num_duplicates:
            text += f" + {self.num_duplicates:,} duplicates"
        if self.num_set_aside:
            text += f" + {self.num_set_aside:,} set aside"
        return f"{text}; {self.kept.products:,} products in {self.kept.categories:,} categories"

    def details_in_lines(self) -> list[str]:
        """A line for each reason, with examples and the categories that it hit most; then notes and the list."""
        lines = [f"{reason} {count:,}, duplicates: {self._shown(reason)}" for reason, count in self.duplicates.items()]
        for reason, by_category in self.set_aside.items():
            worst = ", ".join(f"{name or 'unlabelled'} {count:,}" for name, count in _most(by_category))
            lines.append(f"{reason} {sum(by_category.values()):,} ({worst}): {self._shown(reason)}")
        lines += map(in_a_line, self.notes)
        return [*lines, f"all of them: {self.details}"] if self.details else lines

    def _shown(self, reason: str) -> str:
        return "; ".join(self.examples[reason])

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {"read": self.read, **asdict(self)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "Account":
        """The inverse of to_document."""
        stated = {name: value for name, value in document.items() if name != "read"}
        return cls(**stated | {"kept": Kept(**document["kept"])})


def account_of(kept: Kept, letters: Iterable[DeadLetter], notes: Notes, details: str) -> Account:
    """The account of what was kept and of the letters of the rest, which are read once."""
    duplicates: Counter[str] = Counter()
    set_aside: dict[str, Counter[str]] = {}
    examples: dict[str, list[str]] = {}
    for letter in letters:
        if letter.reason in NOTHING_LOST:
            duplicates[letter.reason.value] += 1
        else:
            set_aside.setdefault(letter.reason.value, Counter())[letter.category] += 1
        shown = examples.setdefault(letter.reason.value, [])
        if len(shown) < NUM_EXAMPLES:
            shown.append(letter.image_id)
    return Account(
        kept=kept,
        duplicates=dict(duplicates),
        set_aside={reason: dict(counts) for reason, counts in set_aside.items()},
        examples=examples,
        notes=notes.to_document(),
        details=details if examples else "",
    )


@contextmanager
def accounted(find: Callable[[], Account]) -> Iterator[None]:
    """A refusal within carries the account as it stands then, unless it has one or nothing was read."""
    try:
        yield
    except UserError as error:
        account = find()
        if error.account is None and account.read:
            error.account = account.to_document()
        raise


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return Counter(counts).most_common(NUM_EXAMPLES)
