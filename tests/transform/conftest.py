"""JPEGs as the catalogue stores them."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """Encodes [height, width, 3] (or, grey, [height, width]) uint8 pixels at quality 95."""

    def encode(pixels: np.ndarray, **options) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", **({"quality": 95} | options))
        return stream.getvalue()

    return encode
