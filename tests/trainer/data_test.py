import numpy as np
import pytest
import tensorflow as tf

from trainer.data import augmented_batches, load_images
from transform import features


def test_images_keep_the_order_of_their_file(images, rows) -> None:
    assert images.table.picture == [row[features.CANONICAL_SHA256].decode() for row in rows]
    assert images.table.product_id == [row[features.PRODUCT_ID].decode() for row in rows]
    assert images.table.category == [row[features.LABEL].decode() for row in rows]
    assert set(images.table.domain) == {"catalog"}
    assert images.pixels.shape == (18, 32, 32, 3)


def test_label_ids_follow_the_vocabulary_and_are_missing_without_a_label(images) -> None:
    # Nine boots are more than six bags, and tf.Transform counts from the most frequent.
    assert images.label_ids.tolist() == [0] * 9 + [1] * 6 + [-1] * 3
    assert images.label_ids.dtype == np.int64


def test_images_of_one_product_share_an_id(images) -> None:
    assert images.product_ids.tolist() == [number for number in range(6) for _ in range(3)]


def test_keeping_pixels_as_bytes_loses_nothing(images, rows, transform) -> None:
    layer = transform.transform_features_layer()
    encoded = tf.constant([row[features.IMAGE] for row in rows])
    seen_in_serving = layer({features.IMAGE: encoded})[features.PIXELS].numpy()
    np.testing.assert_array_equal(tf.image.convert_image_dtype(images.pixels, tf.float32), seen_in_serving)


def test_several_files_and_patterns_are_read_as_one(images, rows, transform, write_examples, tmp_path) -> None:
    write_examples(tmp_path / "a-0", rows[:5])
    write_examples(tmp_path / "a-1", rows[5:7])
    write_examples(tmp_path / "b-0", rows[7:])
    patterns = [str(tmp_path / "a-*"), str(tmp_path / "b-*")]
    read = load_images(patterns, transform, tmp_path / "pixels")
    np.testing.assert_array_equal(read.pixels, images.pixels)
    assert read.table.picture == images.table.picture


@pytest.mark.parametrize("num_files", [0, 1])
def test_no_image_at_all_is_an_error(num_files: int, transform, write_examples, tmp_path) -> None:
    for number in range(num_files):
        write_examples(tmp_path / f"a-{number}", [])
    with pytest.raises(ValueError, match=r"expected at least one example in .*/a-\*, got none"):
        load_images([str(tmp_path / "a-*")], transform, tmp_path / "pixels")


def batches(images, settings, first_step: int, count: int) -> list:
    dataset = augmented_batches(images, settings, settings.steps_per_epoch, tf.Variable(first_step, dtype=tf.int64))
    return list(dataset.take(count).as_numpy_iterator())


def test_a_batch_holds_augmented_pixels_and_both_targets(images, training_settings) -> None:
    [(pixels, targets)] = batches(images, training_settings, 0, 1)
    assert pixels.shape == (8, 32, 32, 3)
    assert pixels.dtype == np.float32
    assert set(targets) == {"embedding", "logits"}
    label_of_product = dict(zip(images.product_ids.tolist(), images.label_ids.tolist(), strict=True))
    assert [label_of_product[product] for product in targets["embedding"]] == targets["logits"].tolist()


def test_a_resumed_stream_goes_on_with_the_very_same_batches(images, training_settings) -> None:
    unbroken = batches(images, training_settings, 0, 6)
    resumed = batches(images, training_settings, 3, 3)
    for (pixels, targets), (pixels_again, targets_again) in zip(unbroken[3:], resumed, strict=True):
        np.testing.assert_array_equal(pixels, pixels_again)
        np.testing.assert_array_equal(targets["embedding"], targets_again["embedding"])
        np.testing.assert_array_equal(targets["logits"], targets_again["logits"])
    assert not np.array_equal(unbroken[0][0], unbroken[3][0])
