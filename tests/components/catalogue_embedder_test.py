import io

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image, ImageOps
from tfx import v1 as tfx

from components import artifacts
from components.catalogue_embedder import CatalogueEmbedder, roles
from components.tf_examples import encode
from lookalike.catalog.dead_letters import DataError
from lookalike.encoder.embedder import InProcessEmbedder
from lookalike.release.contents import Catalog, read_embeddings


@pytest.fixture
def embed(artifact, make_examples, model):
    """Embeds the images of each split → (catalogue, its embeddings, queries' embeddings)."""

    def run(splits):
        embeddings = artifact(artifacts.Embeddings, "embeddings")
        CatalogueEmbedder.test_call(
            examples=make_examples(splits),
            model=model,
            blessing=tfx.types.standard_artifacts.ModelBlessing(),
            embeddings=embeddings,
            beam_pipeline=beam.Pipeline(runner="FnApiRunner"),
        )
        catalog = Catalog.open(artifact_path(embeddings) / "catalogue.arrow")
        vectors = read_embeddings(artifact_path(embeddings) / "embeddings.npy")
        return catalog, vectors, np.load(artifact_path(embeddings) / "queries.npy", allow_pickle=False)

    return run


def artifact_path(artifact):
    from pathlib import Path

    return Path(artifact.uri)


def mirrored(jpeg):
    encoded = io.BytesIO()
    ImageOps.mirror(Image.open(io.BytesIO(jpeg))).save(encoded, "JPEG", quality=95)
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("domain", "held_out", "expected"),
    [
        ("catalog", False, ["gallery"]),
        ("catalog", True, ["gallery", "query"]),
        ("wild", False, []),
        ("wild", True, ["query"]),
    ],
)
def test_catalogue_images_are_the_gallery_and_held_out_ones_ask(stored_image, domain, held_out, expected):
    image = stored_image(domain=domain)
    assert list(roles(encode(image), held_out)) == [(role, image) for role in expected]


def test_catalogue_and_embeddings_belong_together_and_no_query_is_in_the_gallery(
    embed, stored_image, encoder_dir, tmp_path
):
    train = [stored_image(f"p{number}/a.jpg", number, title=f"Shirt {number}") for number in range(20)]
    train.append(stored_image("p0/street.jpg", 0, view=2, domain="wild"))
    facts = {
        "price": "12.50",
        "brand": "B",
        "gender": "women",
        "attributes": {"sleeve": "long"},
        "category": "Tops > Blouse",
    }
    test = [stored_image("p50/a.jpg", 50, **facts), stored_image("p51/street.jpg", 51, domain="wild")]
    untrained = [stored_image("p60/a.jpg", 60)]

    catalog, vectors, queries = embed({"train": train, "test": test, "untrained": untrained})

    gallery = {image.image_id: image for image in [*train, *test, *untrained] if image.domain == "catalog"}
    image_ids = [catalog.image(row).image_id for row in range(len(catalog))]
    assert sorted(image_ids) == sorted(gallery)
    assert len(vectors) == len(catalog) == 22
    embedder = InProcessEmbedder(encoder_dir)
    expected = embedder.embed([gallery[image_id].jpeg for image_id in image_ids])
    np.testing.assert_allclose(vectors, expected, atol=1e-5)

    row = image_ids.index("p50/a.jpg")
    assert row == 0, "a blouse comes before all shirts"
    assert [catalog.categories[row], *set(catalog.categories[1:])] == ["Tops > Blouse", "Tops > Shirt"]
    record = catalog.image(row)
    assert (record.product_id, record.price, record.brand) == ("p50", "12.50", "B")
    assert (record.gender, record.attributes) == ("women", {"sleeve": "long"})
    assert catalog.image(image_ids.index("p7/a.jpg")).title == "Shirt 7"
    assert Image.open(io.BytesIO(catalog.thumbnail(row))).size == (48, 48)

    asked = embedder.embed([mirrored(test[0].jpeg), test[1].jpeg])
    assert queries.shape == asked.shape
    nearest = np.argmax(queries @ asked.T, axis=1)
    assert sorted(nearest) == [0, 1]
    np.testing.assert_allclose(queries, asked[nearest], atol=1e-5)
    assert (queries @ vectors.T).max() < 0.999
    assert sorted(path.name for path in (tmp_path / "embeddings").iterdir()) == [
        "catalogue.arrow",
        "embeddings.npy",
        "queries.npy",
    ]


def test_large_image_gets_a_small_thumbnail(embed, stored_image, draw):
    catalog, _, _ = embed({"train": [stored_image(jpeg=draw(0, size_px=320))]})
    assert Image.open(io.BytesIO(catalog.thumbnail(0))).size == (160, 160)


def test_split_of_wild_images_alone_adds_nothing_to_the_gallery(embed, stored_image):
    train = [stored_image("a.jpg", 1)]
    wild = [stored_image("b.jpg", 2, domain="wild")]
    catalog, vectors, queries = embed({"train": train, "eval": wild, "test": wild})
    assert [catalog.image(0).image_id] == ["a.jpg"]
    assert (vectors.shape, queries.shape) == ((1, 16), (1, 16))


def test_nothing_that_asks_leaves_no_queries(embed, stored_image):
    catalog, _, queries = embed({"train": [stored_image("a.jpg", 1)]})
    assert len(catalog) == 1
    assert queries.shape == (0, 16)
    assert queries.dtype == np.float32


def test_nothing_to_search_is_bad_data(embed, stored_image):
    with pytest.raises(DataError, match="at least one image of the domain 'catalog' to search, got none"):
        embed({"train": [stored_image("a.jpg", domain="wild")]})
