"""A tiny real encoder, as a SavedModel with the signatures every encoder here has."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lookalike.catalog.images import canonicalise
from lookalike.catalog.product import CatalogImage
from lookalike.encoder.embedder import InProcessEmbedder
from lookalike.release import contents
from lookalike.release.store import Release, ReleaseStore
from lookalike.retrieval import scann_index

EMBEDDING_DIM = 16
LONGEST_SIDE_PX = 64


def encode_jpeg(colour: tuple[int, int, int], size_px: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size_px, size_px), colour).save(stream, "JPEG", quality=95)
    return stream.getvalue()


@pytest.fixture(scope="session")
def jpegs() -> list[bytes]:
    return [encode_jpeg((220, 30, 30)), encode_jpeg((30, 200, 60)), encode_jpeg((20, 40, 210))]


@pytest.fixture(scope="session")
def export_encoder() -> Callable[[Path, int], None]:
    """Writes a SavedModel whose embedding is a fixed projection, drawn from the given seed, of the 8×8 image."""
    import tensorflow as tf

    def preprocess(image_bytes: tf.Tensor) -> tf.Tensor:
        image = tf.io.decode_jpeg(image_bytes, channels=3)
        return tf.reshape(tf.image.resize(tf.cast(image, tf.float32) / 255.0, [8, 8]), [192])

    class Encoder(tf.Module):
        def __init__(self, seed: int):
            super().__init__()
            draws = np.random.default_rng(seed).normal(size=(192, EMBEDDING_DIM))
            self.projection = tf.Variable(draws.astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.map_fn(preprocess, image_bytes, fn_output_signature=tf.TensorSpec([192], tf.float32))
            return {"embedding": tf.math.l2_normalize(pixels @ self.projection, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def classify(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"probabilities": tf.nn.softmax(self.embed(image_bytes)["embedding"][:, :4])}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, name="left"),
                tf.TensorSpec([None, 2], tf.float32, name="right"),
            ]
        )
        def add(self, left: tf.Tensor, right: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"sum": left + right, "name_bytes": tf.strings.as_string(left[:, 0], precision=1)}

    def export(directory: Path, seed: int) -> None:
        encoder = Encoder(seed)
        signatures = {
            "serving_default": encoder.embed,
            "classify": encoder.classify,
            "add": encoder.add,
        }
        tf.saved_model.save(encoder, str(directory), signatures=signatures)

    return export


@pytest.fixture(scope="session")
def encoder_dir(tmp_path_factory: pytest.TempPathFactory, export_encoder: Callable[[Path, int], None]) -> Path:
    directory = tmp_path_factory.mktemp("encoder") / "saved_model"
    export_encoder(directory, 1)
    return directory


PRODUCTS = (
    ("Clothing > Tops > Shirt", "striped", (200, 40, 50)),
    ("Clothing > Tops > Shirt", "plain", (40, 160, 70)),
    ("Clothing > Tops > T-shirt", "plain", (30, 60, 200)),
    ("Clothing > Dress", "striped", (220, 190, 40)),
    ("Clothing > Dress", "plain", (120, 40, 160)),
    ("Shoes > Boots", "striped", (90, 60, 30)),
    ("Shoes > Boots", "plain", (30, 30, 35)),
    ("", "plain", (235, 235, 235)),
)
IMAGES_PER_PRODUCT = 3


def draw(colour: tuple[int, int, int], pattern: str, view: int, size_px: int = 48) -> bytes:
    """One product, a little darker and shifted with every view; PNG, as a person might send it."""
    image = Image.new("RGB", (size_px, size_px), (250, 250, 250))
    pen = ImageDraw.Draw(image)
    shade = tuple(max(0, part - 6 * view) for part in colour)
    pen.rectangle((6 + view, 6, size_px - 7 + view, size_px - 7), fill=shade)
    if pattern == "striped":
        for y in range(8, size_px - 8, 8):
            pen.line((6 + view, y, size_px - 7 + view, y), fill=(255, 255, 255), width=3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="session")
def draw_product() -> Callable[..., bytes]:
    """Draws the product with the given number, seen from the given view."""

    def draw_view(number: int, view: int) -> bytes:
        _, pattern, colour = PRODUCTS[number]
        return draw(colour, pattern, view)

    return draw_view


@pytest.fixture(scope="session")
def push_release(export_encoder: Callable[[Path, int], None]) -> Callable[..., Release]:
    """Pushes a release of the eight products; `seed` draws its encoder, `prefix` begins its image ids."""

    def build(directory: Path, version: int, seed: int, prefix: str) -> None:
        encoder_dir = directory / "encoder" / str(version)
        export_encoder(encoder_dir, seed)
        images = [
            (number, view, canonicalise(draw(colour, pattern, view), longest_side_px=LONGEST_SIDE_PX).jpeg)
            for number, (_, pattern, colour) in enumerate(PRODUCTS)
            for view in range(IMAGES_PER_PRODUCT)
        ]
        embeddings = InProcessEmbedder(encoder_dir).embed([jpeg for _, _, jpeg in images])
        scann_index.build(embeddings, scann_index.choose_spec(len(images)), directory / contents.INDEX_DIRECTORY)
        contents.write_embeddings(directory / contents.EMBEDDINGS_FILE, embeddings)
        contents.write_canary(directory / contents.CANARY_FILE, embeddings, embeddings)
        contents.write_catalog(
            directory / contents.CATALOG_FILE,
            [
                CatalogImage(
                    image_id=f"{prefix}{number}/{view}.png",
                    product_id=f"{prefix}{number}",
                    category=PRODUCTS[number][0],
                    other_categories=("Sale",) if number == 2 else (),
                    title=f"Product {number}",
                    brand=f"Brand {number}",
                    url=f"https://shop.example/{prefix}{number}",
                    availability="in_stock",
                    gender="women",
                    attributes={"fit": "slim"},
                    price="" if number == 0 else f"{10 * number}.00",
                    currency="EUR",
                    jpeg=jpeg,
                )
                for number, view, jpeg in images
            ],
        )

    def push(root: Path | str, *, decision_id: str = "decision-1", seed: int = 1, prefix: str = "p") -> Release:
        return ReleaseStore(root).push(
            lambda directory, version: build(directory, version, seed, prefix),
            decision_id=decision_id,
            facts={"longest_side_px": LONGEST_SIDE_PX},
        )

    return push


@pytest.fixture(scope="session")
def store_root(tmp_path_factory: pytest.TempPathFactory, push_release: Callable[..., Release]) -> Path:
    """A store with one release. Tests only read it."""
    root = tmp_path_factory.mktemp("store")
    push_release(root)
    return root
