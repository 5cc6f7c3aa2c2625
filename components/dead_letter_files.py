"""What was set aside, on disk: one sorted file of dead letters, and the originals for those who mend them."""

import hashlib
import heapq
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import groupby

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason
from lookalike.catalog.originals import ImageRejected, read_original
from lookalike.storage.address import open_folder
from lookalike.storage.folder import joined

DEAD_LETTERS_FILE = "dead_letters.jsonl"
QUARANTINE = "quarantine"
PIECE_LETTERS = 1000


def quarantine(letter: DeadLetter, dead_letters: str) -> DeadLetter:
    """Keeps the original under its sha256 for those who mend it; the dead letter learns what the file really is."""
    if letter.reason is Reason.DUPLICATE_IMAGE:  # there is nothing to mend
        return letter
    try:
        original = read_original(letter.uri)
    except ImageRejected:  # gone, or too large to keep
        return letter
    sha256 = hashlib.sha256(original).hexdigest()
    with open_folder(dead_letters).writing(f"{QUARANTINE}/{sha256}") as path:
        path.write_bytes(original)
    return replace(letter, sha256=sha256)


class WriteDeadLetters(beam.DoFn):
    """Dead letters → the names of sorted files of them, at the address `pieces`."""

    def __init__(self, pieces: str) -> None:
        self._pieces = pieces

    def start_bundle(self) -> None:
        """See beam.DoFn."""
        self._letters: list[DeadLetter] = []

    def process(self, letter: DeadLetter) -> Iterator[str]:
        """See beam.DoFn."""
        self._letters.append(letter)
        if len(self._letters) >= PIECE_LETTERS:
            yield self._written()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """See beam.DoFn."""
        if self._letters:
            yield WindowedValue(self._written(), GlobalWindow().max_timestamp(), [GlobalWindow()])

    def _written(self) -> str:
        name = uuid.uuid4().hex
        _write_letters(self._pieces, name, sorted(self._letters, key=_fault))
        self._letters = []
        return name


def merge_dead_letters(written: list[str], pieces: str, dead_letters: str) -> None:
    """One sorted file of all; a fault that an earlier run has seen keeps the day on which it was first seen.

    Raises DataError where what the earlier run left is damaged.
    """
    known = _marked(read_dead_letters(dead_letters), is_known=True)
    new = [_marked(_read_letters(pieces, name), is_known=False) for name in written]
    by_fault = groupby(heapq.merge(known, *new, key=_fault_of_marked), key=_fault_of_marked)
    _write_letters(dead_letters, DEAD_LETTERS_FILE, (letter for _, same in by_fault for letter in _first_seen(same)))


def _marked(letters: Iterable[DeadLetter], *, is_known: bool) -> Iterator[tuple[DeadLetter, bool]]:
    return ((letter, is_known) for letter in letters)


def _fault_of_marked(marked: tuple[DeadLetter, bool]) -> tuple[str, ...]:
    return _fault(marked[0])


def _first_seen(same: Iterable[tuple[DeadLetter, bool]]) -> Iterator[DeadLetter]:
    seen = ""
    for letter, is_known in same:  # those of an earlier run come first
        if is_known:
            seen = letter.first_seen
        else:
            yield replace(letter, first_seen=seen or letter.first_seen)


def read_dead_letters(dead_letters: str) -> Iterator[DeadLetter]:
    """What the last run set aside, sorted; nothing where there was none. Raises DataError where it is damaged."""
    if DEAD_LETTERS_FILE not in open_folder(dead_letters).children():
        return
    try:
        yield from _read_letters(dead_letters, DEAD_LETTERS_FILE)
    except (ValueError, TypeError) as error:
        path = joined(dead_letters, DEAD_LETTERS_FILE)
        raise DataError(
            f"{path} must hold what an earlier run set aside, it is damaged; delete it: only since when each image has "
            "been set aside is lost"
        ) from error


def _read_letters(address: str, name: str) -> Iterator[DeadLetter]:
    with open_folder(address).open(name) as file:
        yield from map(DeadLetter.from_json, map(bytes.decode, file))


def _write_letters(address: str, name: str, letters: Iterable[DeadLetter]) -> None:
    with open_folder(address).writing(name) as path, path.open("w") as file:
        file.writelines(f"{letter.to_json()}\n" for letter in letters)


def _fault(letter: DeadLetter) -> tuple[str, ...]:
    """What makes two dead letters the same one, seen twice."""
    return letter.image_id, letter.product_id, letter.span, letter.reason.value, letter.sha256
