"""How a drawn product comes into a picture: the view of it, the shadow it casts, the JPEG file."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Matrix = NDArray[np.float64]  # [3, 3]

_OVERSAMPLING = 2


@dataclass(frozen=True)
class View:
    """Where the camera stands.

    fill: the product's longer side, in widths of the picture. centre: the product's middle, 0…1 in the picture.
    roll in radians. tilt: how fast the product shrinks to the right and downwards, as when it is seen at a slant.
    squeeze: its width when it is turned away, 1 from the front.
    """

    fill: float
    centre: tuple[float, float] = (0.5, 0.5)
    roll: float = 0.0
    tilt: tuple[float, float] = (0.0, 0.0)
    squeeze: float = 1.0
    mirrored: bool = False


def project(product: Image.Image, view: View, size_px: int) -> Image.Image:
    """Returns the product as the camera sees it: RGBA [size_px, size_px], transparent around it.

    product: RGBa, cut to its outline.
    """
    side = size_px * _OVERSAMPLING
    onto_product = _onto_product(view, product.size) @ _onto_unit(side)
    coefficients = (onto_product / onto_product[2, 2]).ravel()[:8]
    picture = product.transform(
        (side, side), Image.Transform.PERSPECTIVE, coefficients.tolist(), Image.Resampling.BILINEAR
    )
    return picture.reduce(_OVERSAMPLING).convert("RGBA")


def _onto_unit(side: int) -> Matrix:
    """Pixels of the picture to 0…1."""
    return np.diag([1 / side, 1 / side, 1.0])


def _onto_product(view: View, size: tuple[int, int]) -> Matrix:
    """The projective map from places in the picture, 0…1, back to the pixels of the product that they show."""
    (x, y), (tilt_x, tilt_y) = view.centre, view.tilt
    cos, sin = np.cos(view.roll), np.sin(view.roll)
    width = -view.squeeze if view.mirrored else view.squeeze
    extent = max(size)
    from_centre = np.array([[1, 0, -x], [0, 1, -y], [0, 0, view.fill]]) / view.fill
    upright = np.array([[1, 0, 0], [0, 1, 0], [-tilt_x, -tilt_y, 1]])
    unrolled = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    enlarged = np.array([[extent / width, 0, size[0] / 2], [0, extent, size[1] / 2], [0, 0, 1]])
    return np.asarray(enlarged @ unrolled @ upright @ from_centre)


def cast_shadow(
    scene: Image.Image, mask: Image.Image, *, offset: tuple[float, float], blur: float, depth: float
) -> None:
    """Darkens `scene` [RGB] in place under a shape lit from the side.

    mask: L, of the scene's size. offset and blur in widths of the picture; depth 0…1, 1 is black.
    """
    size_px = scene.width
    shadow = Image.new("L", mask.size, 0)
    shadow.paste(round(255 * depth), (round(offset[0] * size_px), round(offset[1] * size_px)), mask)
    scene.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(blur * size_px)))


def jpeg(picture: Image.Image, quality: int) -> bytes:
    """Returns the picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
