"""Many images at hand without their pictures in memory: these lie in a file."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import BinaryIO

from lookalike.catalog.product import CatalogImage


class ImageFile(Sequence[CatalogImage]):
    """Images in the order in which they were added; each is read with its picture.

    facts: the images without their pictures.
    """

    def __init__(self, file: BinaryIO, images: Iterable[CatalogImage] = ()) -> None:
        """Keeps pictures at the end of an open file, which several may share."""
        self._file = file
        self.facts: list[CatalogImage] = []
        self._places: list[tuple[int, int]] = []  # offset and length
        for image in images:
            self.append(image)

    def append(self, image: CatalogImage) -> None:
        """Adds an image."""
        self._places.append((self._file.seek(0, os.SEEK_END), len(image.jpeg)))
        self._file.write(image.jpeg)
        self.facts.append(replace(image, jpeg=b""))

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, row: int) -> CatalogImage:  # type: ignore[override] # nobody asks for a slice
        offset, length = self._places[row]
        self._file.seek(offset)
        return replace(self.facts[row], jpeg=self._file.read(length))
