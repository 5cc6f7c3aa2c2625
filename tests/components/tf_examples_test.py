import dataclasses

import pytest
import tensorflow as tf

from components.tf_examples import decode, encode, read_images, write_records
from lookalike.catalog.product import CatalogImage
from lookalike.storage.address import open_folder


def test_every_fact_survives_the_round_trip(stored_image):
    image = stored_image(
        "p1/ü.jpg", 1, title="Café “T”", price="12.50", currency="EUR", brand="B", url="https://shop.example/p1",
        availability="in_stock", gender="women", span="2026-11-20", attributes={"sleeve": "long"},
        other_categories=("Sale", "New"), crop=(0.0, 0.1, 0.5, 0.5), domain="wild", seen_in="train",
    )  # fmt: skip
    assert decode(encode(image)) == image


def test_missing_values_stay_missing_and_empty_text_stays_empty(stored_image):
    image = stored_image(category="", label="")
    assert decode(encode(image)) == image
    columns = tf.train.Example.FromString(encode(image)).features.feature
    assert "price" not in columns
    assert not [name for name in columns if name.startswith("attr:")]
    assert columns["category"].bytes_list.value == [b""]


def test_a_price_of_nothing_is_no_missing_price(stored_image):
    assert decode(encode(stored_image(price="0"))).price == "0"


def test_a_price_keeps_the_digits_that_float32_loses_and_statistics_have_a_number(stored_image):
    serialized = encode(stored_image(price="16777217.10"))
    assert decode(serialized).price == "16777217.10"
    assert tf.train.Example.FromString(serialized).features.feature["price"].float_list.value[0] == 16777218.0


def test_bytes_do_not_depend_on_the_order_of_attributes(stored_image):
    first = stored_image(attributes={"sleeve": "long", "colour": "red"})
    second = dataclasses.replace(first, attributes={"colour": "red", "sleeve": "long"})
    assert encode(first) == encode(second)


def test_an_example_of_the_first_version_is_read_and_what_it_lacks_is_absent():
    texts = {
        "image": b"jpeg", "image_id": b"a.jpg", "product_id": b"p", "category": b"Hat", "label": b"Hat",
        "domain": b"catalog", "span": b"", "title": b"T", "gender": b"", "sha256": b"ab" * 32, "attr:fit": b"slim",
    }  # fmt: skip
    packed = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value])) for name, value in texts.items()}
    packed["price"] = tf.train.Feature(float_list=tf.train.FloatList(value=[99.99]))
    old = tf.train.Example(features=tf.train.Features(feature=packed)).SerializeToString()
    assert decode(old) == CatalogImage(
        "a.jpg", "p", category="Hat", label="Hat", title="T", sha256="ab" * 32, price="99.99",
        attributes={"fit": "slim"}, jpeg=b"jpeg",
    )  # fmt: skip


def test_a_feature_of_a_later_version_is_passed_over(stored_image):
    example = tf.train.Example.FromString(encode(stored_image()))
    example.features.feature["weight_g"].int64_list.value.append(300)
    example.features.feature["tags"].bytes_list.SetInParent()
    assert decode(example.SerializeToString()) == stored_image()


def test_records_are_read_in_the_order_of_file_names(tmp_path, stored_image):
    first, second, third = (stored_image(f"{name}.jpg") for name in "abc")
    folder = open_folder(str(tmp_path))
    write_records(folder, "1.tfrecord", [encode(third)])
    write_records(folder, "0.tfrecord", [encode(second), encode(first)])
    assert [image.image_id for image in read_images(str(tmp_path))] == ["b.jpg", "a.jpg", "c.jpg"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, stored_image):
    def records():
        yield encode(stored_image())
        raise OSError("no space left on device")

    folder = open_folder(str(tmp_path))
    with pytest.raises(OSError, match="no space"):
        write_records(folder, "images.tfrecord", records())
    assert not list(tmp_path.iterdir())
    write_records(folder, "images.tfrecord", [encode(stored_image("new.jpg"))])
    with pytest.raises(OSError, match="no space"):
        write_records(folder, "images.tfrecord", records())
    assert [image.image_id for image in read_images(str(tmp_path))] == ["new.jpg"]
    write_records(folder, "images.tfrecord", [encode(stored_image("newer.jpg"))])
    assert [image.image_id for image in read_images(str(tmp_path))] == ["newer.jpg"]
