from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookalike.catalog.taxonomy import SEPARATOR, Taxonomy, parse_category

SHOP = Taxonomy.from_categories(
    ["Clothing > Tops > T-shirt", "Clothing > Tops > Shirt", "Shoes", "Clothing > Tops", ""]
)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Clothing > Tops > T-shirt", ("Clothing", "Tops", "T-shirt")),
        ("  Clothing>Tops  ", ("Clothing", "Tops")),
        ("> Clothing > > Tops >", ("Clothing", "Tops")),
        ("", ()),
        (" > ", ()),
    ],
)
def test_category_text_is_split_trimmed_and_rid_of_empty_levels(text, levels):
    assert parse_category(text) == levels


@pytest.mark.parametrize("text", ["a\x00b", "a\x07b", "a > b\x1b[31m", "\ud800"])
def test_broken_names_are_refused(text):
    with pytest.raises(ValueError, match="printable"):
        parse_category(text)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Chaussures\u00a0& Co >\u202fBottes", ("Chaussures & Co", "Bottes")),
        ("کفش\u200cها", ("کفش\u200cها",)),  # the joiner is spelling
        ("Ein\u00adkaufs\u200b > \u200eTaschen", ("Einkaufs", "Taschen")),
        (normalize("NFD", "Röcke"), ("Röcke",)),
    ],
)
def test_levels_that_look_the_same_are_the_same(text, levels):
    assert parse_category(text) == levels


def test_categories_are_sorted_and_inner_ones_are_among_them_where_they_hold_images():
    assert SHOP.categories == (
        "Clothing > Tops",
        "Clothing > Tops > Shirt",
        "Clothing > Tops > T-shirt",
        "Shoes",
    )


@pytest.mark.parametrize("twin", ["clothing > tops > SHIRT", "Clothing > tops"])
def test_siblings_that_differ_only_by_case_are_refused(twin):
    with pytest.raises(ValueError, match="sibling categories"):
        Taxonomy.from_categories(["Clothing > Tops > Shirt", twin])


def test_equal_names_under_different_parents_are_two_classes():
    assert Taxonomy.from_categories(["Men > Shirt", "Women > shirt"]).categories == ("Men > Shirt", "Women > shirt")


def test_no_categories_make_an_empty_tree():
    assert Taxonomy.from_categories(["", " "]).categories == ()


@pytest.mark.parametrize(
    "text",
    ["[]", '{"categories": 3}', '{"categories": [1]}', '{"categories": ["b", "a"]}', '{"leaves": ["b", "a"]}', "x"],
)
def test_json_that_no_taxonomy_wrote_is_refused(text):
    with pytest.raises(ValueError, match=r"taxonomy|Expecting"):
        Taxonomy.from_json(text)


names = st.text("abc", min_size=1, max_size=3)
trees = st.lists(st.lists(names, min_size=1, max_size=4).map(SEPARATOR.join), max_size=12)


@given(trees)
def test_any_tree_survives_json(categories):
    tree = Taxonomy.from_categories(categories)
    assert Taxonomy.from_json(tree.to_json()) == tree
    assert set(tree.categories) == set(categories)
    assert Taxonomy.from_categories(reversed(categories)) == tree
