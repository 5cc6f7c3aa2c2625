from datetime import date
from decimal import Decimal

import pytest

from lookalike.catalog.written import (
    Conventions,
    as_text,
    conventions_of,
    plain_text,
    same_to_people,
    split_categories,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (float("nan"), ""),
        (38.0, "38"),
        (Decimal("9.90"), "9.90"),
        (True, "true"),
        ("  Hat,\u00a0red\u202f1\n2 ", "Hat, red 1 2"),
        (["red", None, "blue"], "red, blue"),
        (date(2026, 1, 1), "2026-01-01"),
        *((word, "") for word in ("nan", "NaN", "NULL", "None", "N/A", "#N/A", "-", "–")),
        ("Nonesuch", "Nonesuch"),
    ],
)
def test_cells_of_every_kind_become_text_and_words_for_nothing_become_nothing(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize("value", [{"a": 1}, b"x", object()])
def test_what_no_text_can_be_made_of_is_refused(value):
    with pytest.raises(ValueError, match="must be text or a number"):
        as_text(value)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hat &amp; <b>coat</b></p>", "Hat & coat"),
        ("A<br/>B<style>p {x: 1}</style><!-- no --> C", "A B C"),
        ("I <3 you, 5 < 6 > 4", "I <3 you, 5 < 6 > 4"),
        ("R&D", "R&D"),
    ],
)
def test_html_becomes_plain_text(html, text):
    assert plain_text(html) == text


def test_marks_that_nobody_sees_are_left_out_and_joiners_stay():
    assert same_to_people("Ein\u00adkaufs\u200b\ufeff  tasche") == "Einkaufs tasche"
    assert same_to_people("ها\u200cی 👨\u200d👩") == "ها\u200cی 👨\u200d👩"


@pytest.mark.parametrize(
    ("prices", "decimal"),
    [(["5", "19,99", "1,299"], ","), (["19.99", "1,299"], "."), (["19,99", "19.99"], ""), (["5", "1,299"], "")],
)
def test_the_decimal_mark_is_inferred_from_the_column(prices, decimal):
    assert conventions_of({"price": price} for price in prices).decimal == decimal


@pytest.mark.parametrize(
    ("categories", "levels"),
    [
        (["Shoes > Boots", "Men/Women > Hats"], ">"),
        (["Shoes &gt; Boots", "A/B"], ">"),
        (["Shoes/Boots", "Bags/Totes", "Sale"], "/"),
        (["Shoes | Boots"], "|"),
        (["Shoes › Boots", "Bags"], "›"),
        (["Shoes＞Boots"], "＞"),
        (["T-shirts/Tops", "Hats", "Bags"], ">"),
        ([["Shoes » Boots"], None], "»"),
        ([], ">"),
    ],
)
def test_the_mark_between_levels_is_inferred_where_nothing_uses_the_usual_one(categories, levels):
    assert conventions_of({"category": one} for one in categories).levels == levels


@pytest.mark.parametrize(
    ("cell", "levels", "categories"),
    [
        ("Shoes > Boots", ">", ["Shoes > Boots"]),
        ("Shoes &gt; Boots; Sale", ">", ["Shoes > Boots", " Sale"]),
        ("Shoes > Boots | Sale > Winter", ">", ["Shoes > Boots ", " Sale > Winter"]),
        ("Shoes > Boots, Sale > Winter", ">", ["Shoes > Boots", " Sale > Winter"]),
        ("Food, Drink & Tobacco > Food", ">", ["Food, Drink & Tobacco > Food"]),
        ("Hats, caps", ">", ["Hats, caps"]),
        ("Shoes | Boots", "|", ["Shoes > Boots"]),
        ("Shoes/Boots;Sale", "/", ["Shoes>Boots", "Sale"]),
    ],
)
def test_several_categories_of_a_cell_are_parted(cell, levels, categories):
    assert split_categories(cell, Conventions(levels=levels)) == categories


def test_conventions_out_of_the_usual_are_told():
    assert Conventions().in_words() == ""
    assert Conventions(",", "/").in_words() == "decimal comma, levels of categories parted by '/'"
