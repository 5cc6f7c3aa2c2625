"""Drawn photos, a tiny real encoder, and artifacts as the pipeline hands them on."""

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from PIL import Image
from tfx import v1 as tfx
from tfx.types import artifact_utils

from components import artifacts
from components.candidate import CandidateFacts
from components.catalog_statistics_gen import CatalogStatisticsGen
from components.image_example_gen import ImageExampleGen
from components.tf_examples import encode, write_records
from lookalike.catalog.dead_letters import DeadLetter
from lookalike.catalog.fingerprints import fingerprint
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.sources import open_source
from lookalike.configs.settings import IngestSettings
from lookalike.release.manifest import tree_sha256
from lookalike.review.decisions import Decision, sign_decision
from lookalike.storage.address import open_folder

EMBEDDING_DIM = 16


@pytest.fixture
def beam_pipeline() -> beam.Pipeline:
    """Beam in this process: the DirectRunner would first look on the network for a program to do its work."""
    return beam.Pipeline(runner="FnApiRunner")


def draw(product: int, view: int = 0, size_px: int = 48) -> bytes:
    """A mosaic of the product's own colours as JPEG; each view of it is a little darker."""
    colours = np.random.default_rng(product).integers(40, 256, (6, 6, 3)).astype(np.uint8)
    image = Image.fromarray(colours - np.uint8(8 * view)).resize((size_px, size_px), Image.Resampling.NEAREST)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=95)
    return encoded.getvalue()


@pytest.fixture(scope="session", name="draw")
def draw_fixture() -> Callable[..., bytes]:
    """See `draw`."""
    return draw


def stored_image(image_id: str = "p0/a.jpg", product: int = 0, view: int = 0, **facts: Any) -> CatalogImage:
    jpeg = facts.pop("jpeg", None) or draw(product, view)
    defaults = {
        "product_id": f"p{product}",
        "category": "Tops > Shirt",
        "label": "Tops > Shirt",
        "sha256": hashlib.sha256(image_id.encode()).hexdigest(),
        "canonical_sha256": hashlib.sha256(jpeg).hexdigest(),
        "canonical_recipe": "drawn",
    }
    return CatalogImage(image_id, jpeg=jpeg, **(defaults | facts))


@pytest.fixture(scope="session", name="stored_image")
def stored_image_fixture() -> Callable[..., CatalogImage]:
    """Makes an image as ingest keeps it, of which any fact can be stated."""
    return stored_image


@pytest.fixture
def artifact(tmp_path: Path) -> Callable[..., Any]:
    """Makes an artifact of a type with an empty folder of its own."""

    def make(artifact_type: Any, name: str) -> Any:
        made = artifact_type()
        made.uri = str(tmp_path / name)
        Path(made.uri).mkdir()
        return made

    return make


@pytest.fixture
def make_examples(artifact: Callable[..., Any]) -> Callable[..., Any]:
    """Makes an Examples artifact: split → images."""

    def make(splits: Mapping[str, Sequence[CatalogImage]]) -> Any:
        examples = artifact(tfx.types.standard_artifacts.Examples, "examples")
        examples.split_names = artifact_utils.encode_split_names(sorted(splits))
        for split, images in splits.items():
            write_records(
                open_folder(examples.path(split=split)), "images-00000-of-00001.tfrecord", map(encode, images)
            )
        return examples

    return make


@pytest.fixture
def ingest(tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Runs ImageExampleGen on a source; settings can be stated, by default nothing is too much to lose.

    at: the address of what comes out; a folder of the test's, when left out.
    """

    def run(source: Path | str, name: str = "ingested", at: str = "", **settings: Any) -> SimpleNamespace:
        at, dead_letters = (at, f"{at}/dead_letters") if at else (str(tmp_path / name), str(tmp_path / "dead_letters"))
        limits = IngestSettings(**({"max_dead_ratio": 1.0, "max_category_dead_ratio": 1.0} | settings))
        examples, taxonomy = tfx.types.standard_artifacts.Examples(), artifacts.Taxonomy()
        examples.uri, taxonomy.uri = f"{at}/examples", f"{at}/taxonomy"
        ImageExampleGen.test_call(
            examples=examples,
            taxonomy=taxonomy,
            source=str(source),
            fingerprint=fingerprint(open_source(str(source), window_spans=limits.window_spans)),
            settings=json.dumps(asdict(limits)),
            dead_letter_root=dead_letters,
            beam_pipeline=beam.Pipeline(runner="FnApiRunner"),
        )
        return SimpleNamespace(examples=examples, taxonomy=taxonomy)

    return run


@pytest.fixture
def dead_letters(tmp_path: Path) -> Callable[[], list[DeadLetter]]:
    """Reads what `ingest` set aside."""

    def read() -> list[DeadLetter]:
        [path] = (tmp_path / "dead_letters").glob("*/dead_letters.jsonl")
        return [DeadLetter.from_json(line) for line in path.read_text().splitlines()]

    return read


@pytest.fixture(scope="session")
def export_encoder() -> Callable[..., None]:
    """Writes a SavedModel whose embedding is a fixed projection, drawn from the seed, of the 6×6 image."""

    class Encoder(tf.Module):
        def __init__(self, seed: int, length: float):
            super().__init__()
            draws = np.random.default_rng(seed).normal(size=(6 * 6 * 3, EMBEDDING_DIM))
            self.projection = tf.Variable(draws.astype(np.float32))
            self.length = length

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
        def embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = tf.map_fn(_pixels, image_bytes, fn_output_signature=tf.TensorSpec([108], tf.float32))
            return {"embedding": self.length * tf.math.l2_normalize(pixels @ self.projection, axis=1)}

    def export(directory: Path, seed: int = 1, length: float = 1.0) -> None:
        encoder = Encoder(seed, length)
        tf.saved_model.save(encoder, str(directory), signatures={"serving_default": encoder.embed})

    return export


def _pixels(jpeg: tf.Tensor) -> tf.Tensor:
    image = tf.cast(tf.io.decode_jpeg(jpeg, channels=3), tf.float32) / 127.5 - 1.0
    return tf.reshape(tf.image.resize(image, [6, 6], antialias=True), [108])


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, export_encoder: Callable[..., None]) -> Any:
    """A Model artifact as the Trainer leaves it. Tests only read it."""
    found = tfx.types.standard_artifacts.Model()
    found.uri = str(tmp_path_factory.mktemp("model"))
    export_encoder(Path(found.uri) / "Format-Serving")
    return found


@pytest.fixture(scope="session")
def encoder_dir(model: Any) -> Path:
    """The SavedModel of `model`."""
    return Path(model.uri) / "Format-Serving"


@pytest.fixture
def make_statistics(artifact: Callable[..., Any], beam_pipeline: beam.Pipeline) -> Callable[[Any], Any]:
    """Runs CatalogStatisticsGen on an Examples artifact."""

    def make(examples: Any) -> Any:
        statistics = artifact(tfx.types.standard_artifacts.ExampleStatistics, "statistics")
        CatalogStatisticsGen.test_call(examples=examples, statistics=statistics, beam_pipeline=beam_pipeline)
        return statistics

    return make


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The review's key."""
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def public_key(signing_key: Ed25519PrivateKey) -> str:
    """PEM of `signing_key`'s other half."""
    return signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.fixture
def candidate_facts(model: Any, encoder_dir: Path) -> CandidateFacts:
    """`model`, waiting for people."""
    return CandidateFacts(
        candidate_id="candidate-1",
        round_id=1,
        refusals=[],
        model_sha256=tree_sha256(encoder_dir),
        model_uri=model.uri,
        examples_uri="/examples",
        taxonomy_uri="/taxonomy",
        evaluation_uri="/evaluation",
        longest_side_px=48,
    )


@pytest.fixture
def decide(candidate_facts: CandidateFacts, signing_key: Ed25519PrivateKey) -> Callable[..., str]:
    """Signs a decision about the candidate, by default a fresh blessing by people; any field can be stated."""

    def make(*, key: Ed25519PrivateKey = signing_key, **fields: Any) -> str:
        now = datetime.now(timezone.utc)
        defaults = {
            "decision_id": "decision-1",
            "round_id": 1,
            "candidate_id": candidate_facts.candidate_id,
            "model_sha256": candidate_facts.model_sha256,
            "evidence_sha256": "e" * 64,
            "judgements_sha256": "f" * 64,
            "verdict": "bless",
            "decided_by": "Ana",
            "reason": "better",
            "simulated": False,
            "statistics": {"z": 2.5},
            "decided_at": now,
            "expires_at": now + timedelta(days=7),
        }
        return sign_decision(Decision(**(defaults | fields)), key).to_json()

    return make
