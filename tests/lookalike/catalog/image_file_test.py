import tracemalloc
from io import BytesIO

import pytest

from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.product import CatalogImage


def test_images_come_back_whole_and_in_order_from_a_shared_file() -> None:
    file = BytesIO()
    images = [CatalogImage(f"{number}.jpg", title="Hat", jpeg=bytes([number]) * number) for number in range(5)]
    first, second = ImageFile(file, images[:1]), ImageFile(file, images[1:3])
    first.append(images[3])
    second.append(images[4])
    assert list(first) == [images[0], images[3]]
    assert [image.title for image in first.facts] == ["Hat", "Hat"]
    assert not any(image.jpeg for image in first.facts)
    assert [second[row] for row in range(len(second))] == [images[1], images[2], images[4]]


def test_pictures_are_not_kept_in_memory(tmp_path) -> None:
    with (tmp_path / "pictures").open("w+b") as file:
        images = ImageFile(file)
        tracemalloc.start()
        for number in range(100):
            images.append(CatalogImage(f"{number}.jpg", jpeg=b"x" * 100_000))
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 1_000_000
        assert len(images[99].jpeg) == 100_000


def test_a_row_that_is_not_there_is_an_error() -> None:
    with pytest.raises(IndexError):
        ImageFile(BytesIO())[0]
