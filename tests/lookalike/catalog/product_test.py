import pytest

from lookalike.catalog.product import CatalogImage, check_crop


def an_image(**facts):
    return CatalogImage(**{"image_id": "a.jpg", "product_id": "p", "uri": "/data/a.jpg", **facts})


def test_image_without_product_is_its_own_product():
    assert an_image(product_id="").product_id == "a.jpg"


def test_unstated_values_are_empty():
    image = an_image()
    assert (image.category, image.domain, image.split, image.price, image.crop) == ("", "catalog", "", None, None)
    assert dict(image.attributes) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_id", ""),
        ("domain", "street"),
        ("split", "validation"),
        ("price", float("nan")),
        ("price", float("inf")),
        ("price", -1.0),
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
