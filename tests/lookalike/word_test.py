import json

from lookalike.word import Word


class Colour(Word):
    GREEN = "sea green"


def test_a_member_is_its_word_wherever_it_is_written() -> None:
    assert str(Colour.GREEN) == f"{Colour.GREEN}" == "%s" % Colour.GREEN == "sea green"  # noqa: UP031
    assert json.dumps({"colour": Colour.GREEN}) == '{"colour": "sea green"}'


def test_a_member_is_found_by_its_word_and_equals_it() -> None:
    assert Colour("sea green") is Colour.GREEN
    assert Colour.GREEN == "sea green"
