import pytest

from lookalike.catalog.account import Account, Kept, account_of, accounted
from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason
from lookalike.catalog.notes import Note, Notes, in_a_line, merged
from lookalike.catalog.originals import ImageRejected


def letter(number, reason, category=""):
    return DeadLetter(f"{number}.jpg", f"/{number}.jpg", reason, "", category=category)


LETTERS = [
    *(letter(number, Reason.DUPLICATE_ID) for number in range(4)),
    letter(4, Reason.TRUNCATED, "Hats"),
    letter(5, Reason.TRUNCATED, "Hats"),
    letter(6, Reason.TRUNCATED),
    letter(7, Reason.NO_IMAGE),
]


def test_read_is_kept_and_duplicates_and_set_aside_by_reason_and_category():
    account = account_of(Kept(20, 10, 3), iter(LETTERS), Notes(), "dead_letters.jsonl")
    assert account.read == 28
    assert account.duplicates == {"DUPLICATE_ID": 4}
    assert account.set_aside == {"TRUNCATED": {"Hats": 2, "": 1}, "NO_IMAGE": {"": 1}}
    assert account.examples["DUPLICATE_ID"] == ["0.jpg", "1.jpg", "2.jpg"]
    assert account.in_a_line() == ("read 28 images = 20 kept + 4 duplicates + 4 set aside; 10 products in 3 categories")
    assert account.details_in_lines() == [
        "DUPLICATE_ID 4, duplicates: 0.jpg; 1.jpg; 2.jpg",
        "TRUNCATED 3 (Hats 2, unlabelled 1): 4.jpg; 5.jpg; 6.jpg",
        "NO_IMAGE 1 (unlabelled 1): 7.jpg",
        "all of them: dead_letters.jsonl",
    ]


def test_account_of_a_million_images_of_which_none_is_amiss_is_one_line_of_a_hundred_characters():
    account = account_of(Kept(1_000_000, 1_000_000, 10_000), [], Notes(), "dead_letters.jsonl")
    assert len(account.in_a_line()) <= 100
    assert account.details_in_lines() == []


def test_account_survives_json():
    account = account_of(Kept(1, 1, 1), LETTERS, Notes({"told": 2}, {"told": ["x"]}), "there")
    assert Account.from_document(account.to_document()) == account


@pytest.mark.parametrize("error", [DataError("bad"), ImageRejected(Reason.EMPTY, "worse")])
def test_every_refusal_carries_the_account_that_was_nearest(error):
    outer, inner = Account(kept=Kept(2)), Account(kept=Kept(1))
    with pytest.raises(type(error)) as refused, accounted(lambda: outer), accounted(lambda: inner):
        raise error
    assert refused.value.account == inner.to_document()


def test_a_refusal_before_anything_was_read_has_no_account():
    with pytest.raises(DataError) as refused, accounted(Account):
        raise DataError("no such folder")
    assert refused.value.account is None


def test_notes_of_one_text_are_counted_with_a_few_examples_in_order():
    notes = Notes()
    for example in "dcbae":
        notes.add(Note("left out", example))
    other = Notes()
    other.add(Note("left out", "0" * 500))
    assert merged([notes, other]).to_document() == [{"note": "left out", "count": 6, "examples": ["0" * 120, "a", "b"]}]
    assert in_a_line(notes.to_document()[0]) == "left out (5 times), such as a; b; c"
    assert in_a_line({"note": "semicolons", "count": 1, "examples": []}) == "semicolons"
    assert in_a_line({"note": "left out", "count": 1, "examples": ["a"]}) == "left out: a"
