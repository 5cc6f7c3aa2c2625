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


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "a > b\x1b[31m", "\ud800"])
def test_broken_names_are_refused(text):
    with pytest.raises(ValueError, match="printable"):
        parse_category(text)


def test_leaves_are_sorted_and_inner_nodes_are_not_among_them():
    assert SHOP.leaves == ("Clothing > Tops > Shirt", "Clothing > Tops > T-shirt", "Shoes")
    assert SHOP.is_leaf("Shoes")
    assert not SHOP.is_leaf("Clothing > Tops")
    assert not SHOP.is_leaf("")


@pytest.mark.parametrize("twin", ["clothing > tops > SHIRT", "Clothing > tops"])
def test_siblings_that_differ_only_by_case_are_refused(twin):
    with pytest.raises(ValueError, match="sibling categories"):
        Taxonomy.from_categories(["Clothing > Tops > Shirt", twin])


def test_siblings_that_differ_only_by_unicode_form_are_refused():
    with pytest.raises(ValueError, match="Unicode form"):
        Taxonomy.from_categories([normalize("NFC", "Café"), normalize("NFD", "Café")])


def test_equal_names_under_different_parents_are_two_classes():
    assert Taxonomy.from_categories(["Men > Shirt", "Women > shirt"]).leaves == ("Men > Shirt", "Women > shirt")


def test_no_categories_make_an_empty_tree():
    assert Taxonomy.from_categories(["", " "]).leaves == ()


@pytest.mark.parametrize(
    "text", ["[]", '{"leaves": 3}', '{"leaves": [1]}', '{"leaves": ["b", "a"]}', '{"leaves": ["a", "a > b"]}', "x"]
)
def test_json_that_no_taxonomy_wrote_is_refused(text):
    with pytest.raises(ValueError, match=r"taxonomy|Expecting"):
        Taxonomy.from_json(text)


names = st.text("abc", min_size=1, max_size=3)
trees = st.lists(st.lists(names, min_size=1, max_size=4).map(SEPARATOR.join), max_size=12)


@given(trees)
def test_any_tree_survives_json_and_leaves_are_exactly_the_childless(categories):
    tree = Taxonomy.from_categories(categories)
    assert Taxonomy.from_json(tree.to_json()) == tree
    naive = {c for c in categories if not any(other.startswith(c + SEPARATOR) for other in categories)}
    assert set(tree.leaves) == naive
    assert Taxonomy.from_categories(reversed(categories)) == tree
