import dataclasses

import pytest
import tensorflow as tf

from components.tf_examples import StoredImage, decode, encode, read_images, write_records
from lookalike.catalog.product import CatalogImage


def test_every_fact_survives_the_round_trip(stored_image):
    image = stored_image(
        "p1/ü.jpg", 1, title="Café “T”", price=12.5, gender="women", span="2026-11-20", attributes={"sleeve": "long"}
    )
    assert decode(encode(image)) == image


def test_missing_values_stay_missing_and_empty_text_stays_empty(stored_image):
    image = stored_image(category="", label="", price=None, attributes={})
    back = decode(encode(image))
    assert (back.price, back.attributes, back.category, back.title) == (None, {}, "", "")
    columns = tf.train.Example.FromString(encode(image)).features.feature
    assert "price" not in columns
    assert not [name for name in columns if name.startswith("attr:")]
    assert columns["category"].bytes_list.value == [b""]


def test_a_price_of_nothing_is_no_missing_price(stored_image):
    assert decode(encode(stored_image(price=0.0))).price == 0.0


def test_bytes_do_not_depend_on_the_order_of_attributes(stored_image):
    first = stored_image(attributes={"sleeve": "long", "colour": "red"})
    second = dataclasses.replace(first, attributes={"colour": "red", "sleeve": "long"})
    assert encode(first) == encode(second)


def test_an_image_of_the_source_keeps_its_facts():
    image = CatalogImage(
        "a.jpg", "p1", "/a.jpg", category="Tops", domain="wild", title="T", price=2.0, gender="men",
        attributes={"neck": "v"}, span="2026-11-20",
    )  # fmt: skip
    stored = StoredImage.of(image, b"jpeg", "ab" * 32, label="")
    assert stored == StoredImage(
        image_id="a.jpg", product_id="p1", jpeg=b"jpeg", category="Tops", label="", domain="wild", span="2026-11-20",
        title="T", price=2.0, gender="men", sha256="ab" * 32, attributes={"neck": "v"},
    )  # fmt: skip


def test_records_are_read_in_the_order_of_file_names(tmp_path, stored_image):
    first, second, third = (stored_image(f"{name}.jpg") for name in "abc")
    write_records(str(tmp_path / "1.tfrecord"), [encode(third)])
    write_records(str(tmp_path / "0.tfrecord"), [encode(second), encode(first)])
    assert [image.image_id for image in read_images(f"{tmp_path}/*")] == ["b.jpg", "a.jpg", "c.jpg"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, stored_image):
    def records():
        yield encode(stored_image())
        raise OSError("no space left on device")

    path = tmp_path / "images.tfrecord"
    with pytest.raises(OSError, match="no space"):
        write_records(str(path), records())
    assert not path.exists()
    write_records(str(path), [encode(stored_image("new.jpg"))])
    with pytest.raises(OSError, match="no space"):
        write_records(str(path), records())
    assert [image.image_id for image in read_images(str(path))] == ["new.jpg"]
    write_records(str(path), [encode(stored_image("newer.jpg"))])
    assert [image.image_id for image in read_images(f"{tmp_path}/*")] == ["newer.jpg"]


def test_a_price_comes_back_as_it_was_said(stored_image):
    assert decode(encode(stored_image(price=99.99))).price == 99.99
