import pytest

from lookalike.catalog.columns import Columns
from lookalike.catalog.dead_letters import DataError


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("image", "image"),
        (" Image ", "image"),
        ("Product ID", "product_id"),
        ("PRODUCT-ID", "product_id"),
        ("ｐｒｉｃｅ", "price"),
        ("attr:Colour ", "attr:Colour"),
        ("ATTR:fit", "attr:fit"),
        ("file_name", "image"),
        ("Handle", "item_group_id"),
        ("attr:", ""),
        ("uri", ""),
        ("", ""),
    ],
)
def test_names_are_known_in_any_case_and_spacing(name, column):
    assert Columns().column_of(name) == column


def test_what_a_shop_says_of_its_own_names_goes_first():
    columns = Columns({"Bild": "image", "Farbe": "attr:colour", "Title": "brand"})
    names = ["bild", "FARBE", "title", "price", "Sonst"]
    assert list(map(columns.column_of, names)) == ["image", "attr:colour", "brand", "price", ""]


def test_a_column_that_we_do_not_have_is_refused_with_those_that_we_have():
    with pytest.raises(DataError, match=r"one of ours, image, product_id.* got Bild=picture"):
        Columns({"Bild": "picture"})
