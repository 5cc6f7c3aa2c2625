import json
from datetime import datetime, timedelta

import pytest

from lookalike.catalog.dead_letters import DataError, DeadLetter, Reason, check_dead_letter_thresholds
from lookalike.catalog.product import CatalogImage


def lost(count, category="hat", reason=Reason.TRUNCATED):
    return [DeadLetter(f"{category}{i}", "/x", reason, "cut", category=category) for i in range(count)]


def test_detail_is_cut_to_200_characters():
    assert len(DeadLetter("a", "/a", Reason.EMPTY, "x" * 500).detail) == 200


def test_json_round_trip_is_one_line():
    letter = DeadLetter("ä.jpg", "/ä.jpg", Reason.BAD_ROW, "line\nbreak", "ff", "Hat", "2026-11-20")
    text = letter.to_json()
    assert "\n" not in text
    assert json.loads(text)["reason"] == "BAD_ROW"
    assert DeadLetter.from_json(text) == letter


def test_what_a_later_version_adds_to_a_dead_letter_is_passed_over():
    letter = DeadLetter("a.jpg", "/a.jpg", Reason.EMPTY, "")
    later = json.dumps(json.loads(letter.to_json()) | {"retries": 3})
    assert DeadLetter.from_json(later) == letter


def test_first_seen_is_utc():
    seen = datetime.fromisoformat(DeadLetter("a", "/a", Reason.EMPTY, "").first_seen)
    assert seen.utcoffset() == timedelta(0)


def test_dead_letter_of_a_row_keeps_what_finds_the_original():
    row = CatalogImage("a.jpg", "p", "/d/a.jpg", category="Hat", span="2026-11-20", sha256="aa")
    letter = DeadLetter.of(row, Reason.CHECKSUM, "differs", sha256="bb")
    found = (letter.image_id, letter.uri, letter.category, letter.span, letter.sha256)
    assert found == ("a.jpg", "/d/a.jpg", "Hat", "2026-11-20", "bb")
    assert DeadLetter.of(row, Reason.TOO_LARGE, "big").sha256 == "aa"


def test_just_under_two_percent_passes():
    check_dead_letter_thresholds({"hat": 1000, "shoe": 1000}, lost(19, "hat") + lost(19, "shoe"))


def test_just_over_two_percent_stops_the_run_with_numbers():
    with pytest.raises(DataError, match=r"lost 42 of 2000 \(2.1%\)"):
        check_dead_letter_thresholds({"hat": 1000, "shoe": 1000}, lost(21, "hat") + lost(21, "shoe"))


def test_one_bad_category_stops_the_run_by_name():
    with pytest.raises(DataError, match=r"category 'hat' .* lost 6 of 100") as refused:
        check_dead_letter_thresholds({"hat": 100, "shoe": 1900}, lost(6, "hat"))
    assert "the source" not in str(refused.value)


def test_a_single_loss_never_stops_a_small_shop():
    check_dead_letter_thresholds({"hat": 10}, lost(1))


def test_losing_everything_stops_the_run():
    with pytest.raises(DataError, match="lost 1 of 1"):
        check_dead_letter_thresholds({"hat": 1}, lost(1))


def test_repeated_deliveries_lose_nothing():
    letters = lost(30, reason=Reason.DUPLICATE_ID) + lost(30, reason=Reason.DUPLICATE_IMAGE)
    check_dead_letter_thresholds({"hat": 100}, letters)


@pytest.mark.parametrize("reason", [Reason.CONFLICTING_LABEL, Reason.NO_IMAGE])
def test_what_is_found_under_another_name_or_has_no_picture_yet_is_no_loss(reason):
    check_dead_letter_thresholds({"hat": 100}, lost(99, reason=reason))


def test_unlabelled_rows_have_no_category_limit():
    check_dead_letter_thresholds({"": 3, "hat": 197}, lost(3, category=""))


def test_empty_source_without_losses_passes():
    check_dead_letter_thresholds({}, [])
