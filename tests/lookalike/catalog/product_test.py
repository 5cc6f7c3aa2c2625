import pytest

from lookalike.catalog.product import (
    CatalogImage,
    Reach,
    check_crop,
    from_columns,
    parse_price,
    to_answer,
    to_columns,
)


def an_image(**facts):
    return CatalogImage(**{"image_id": "a.jpg", "product_id": "p", "uri": "/data/a.jpg", **facts})


def test_image_without_product_is_its_own_product():
    assert an_image(product_id="").product_id == "a.jpg"


def test_unstated_values_are_empty():
    image = an_image()
    assert (image.category, image.domain, image.split, image.price, image.crop) == ("", "catalog", "", "", None)
    assert dict(image.attributes) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_id", ""),
        ("domain", "street"),
        ("split", "validation"),
        ("price", "nan"),
        ("price", "Infinity"),
        ("price", "-1"),
        ("price", "1e3"),
        ("crop", (0.0, 0.0, 1.2, 0.5)),
    ],
)
def test_value_outside_its_field_is_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        an_image(**{field: value})


@pytest.mark.parametrize(
    "crop",
    [
        (-0.1, 0.0, 0.5, 0.5),
        (0.6, 0.0, 0.5, 0.5),
        (0.0, 0.0, 0.0, 0.5),
        (0.0, 0.0, 0.5, -0.5),
        (0.0, 0.0, float("nan"), 0.5),
    ],
)
def test_crop_without_an_area_inside_the_image_is_refused(crop):
    with pytest.raises(ValueError, match="crop must be"):
        check_crop(crop)


def test_crop_may_end_at_the_border_despite_rounding():
    check_crop((0.7, 0.9, 0.3, 0.1))


def test_key_is_product_original_and_crop_whatever_the_name():
    key = an_image(sha256="ab" * 32).key
    assert an_image(sha256="ab" * 32, image_id="other.jpg", title="T", span="2026-11-20").key == key
    for changed in ({"product_id": "q"}, {"sha256": "cd" * 32}, {"crop": (0, 0, 0.5, 1)}):
        assert an_image(**({"sha256": "ab" * 32} | changed)).key != key
    assert (
        an_image(sha256="ab" * 32, crop=(0, 0, 1, 1)).key == an_image(sha256="ab" * 32, crop=(0.0, 0.0, 1.0, 1.0)).key
    )


def test_there_is_no_key_before_the_original_is_read():
    with pytest.raises(ValueError, match="digest of the original"):
        _ = an_image().key


def test_two_boxes_of_one_photo_are_two_products_unless_one_is_named():
    left, right = an_image(product_id="", crop=(0, 0, 0.5, 1)), an_image(product_id="", crop=(0.5, 0, 0.5, 1))
    assert left.product_id != right.product_id
    assert left.is_own_product
    assert not an_image(crop=(0, 0, 0.5, 1)).is_own_product


def test_every_kept_fact_comes_back_from_its_columns():
    image = an_image(
        uri="",
        category="Tops > Shirt",
        other_categories=("Sale",),
        domain="wild",
        title="Shirt",
        brand="B",
        url="https://shop.example/p",
        price="19.90",
        currency="EUR",
        availability="in_stock",
        gender="women",
        attributes={"fit": "slim"},
        crop=(0.1, 0.2, 0.3, 0.4),
        span="2026-11-20",
        sha256="ab" * 32,
        canonical_sha256="cd" * 32,
        canonical_recipe="1/pillow",
        label="Tops > Shirt",
        seen_in="train",
    )
    columns = to_columns(image, Reach.EXAMPLES)
    assert (columns["price"], columns["price_text"]) == (19.9, "19.90")
    assert from_columns(columns) == image


def test_columns_of_an_older_file_may_lack_what_was_added_since():
    image = from_columns({"image_id": "a.jpg", "product_id": "p", "category": "Hat", "price": 9.5, "unheard_of": 1})
    assert image == CatalogImage("a.jpg", "p", category="Hat", price="9.5")


def test_an_answer_shows_the_price_as_a_number_and_as_stated_and_no_inner_names():
    answer = to_answer(an_image(price="19.90", currency="EUR", brand="B", sha256="ab" * 32, label="Hat"))
    assert answer == {
        "image_id": "a.jpg",
        "product_id": "p",
        "category": "",
        "other_categories": [],
        "title": "",
        "brand": "B",
        "url": "",
        "price": 19.9,
        "price_text": "19.90",
        "currency": "EUR",
        "availability": "",
        "gender": "",
        "attributes": {},
    }


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("", ""),
        ("19.90", "19.90"),
        ("1e3", "1000"),
        ("0", "0"),
        ("16777217.01", "16777217.01"),
        ("26.991000000000003", "26.991"),
        ("0.30000000000000004", "0.3"),
        ("12345678901234.5678", "12345678901234.6"),
        ("1e-40", "0"),
        ("0.00", "0.00"),
        ("999999999999999", "999999999999999"),
    ],
)
def test_price_keeps_its_digits(text, digits):
    assert parse_price(text) == digits


@pytest.mark.parametrize("text", ["1e15", "1e999999"])
def test_a_price_that_nobody_pays_is_refused(text):
    with pytest.raises(ValueError, match=r"below 10\^15"):
        parse_price(text)


def test_a_side_of_minus_nothing_is_the_same_crop():
    assert an_image(sha256="ab" * 32, crop=(-0.0, 0, 1, 1)).key == an_image(sha256="ab" * 32, crop=(0, 0, 1, 1)).key
