"""Photos against a release's gallery: what is asked, and what a photo does not find."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from PIL import Image

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.image_file import ImageFile
from lookalike.catalog.product import CatalogImage
from lookalike.configs.settings import IngestSettings
from lookalike.quality.evaluation import Queries, evaluate_baseline, read_queries
from lookalike.release.contents import write_catalog
from lookalike.release.manifest import Manifest
from lookalike.release.store import Release

# Three pictures; the angle between the first and the others grows.
ANGLES = {b"own": 0.0, b"other product": 10.0, b"same product": 20.0}
OWN = CatalogImage("p/own.jpg", "p", canonical_sha256="ab" * 32, jpeg=b"own")
GALLERY = [
    OWN,
    CatalogImage("q/1.jpg", "q", canonical_sha256="cd" * 32, jpeg=b"other product"),
    CatalogImage("p/2.jpg", "p", canonical_sha256="ef" * 32, jpeg=b"same product"),
]


def embed(jpegs: Sequence[bytes]) -> npt.NDArray[np.float32]:
    radians = np.deg2rad([ANGLES[jpeg] for jpeg in jpegs])
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def release_in(directory: Path) -> Release:
    return Release(1, str(directory), Manifest({}, {}, "0" * 64))


def write_first_format(directory: Path) -> None:
    """catalogue.arrow as 0.1.0 wrote it, of which evaluation needs these columns."""
    names = ("image_id", "product_id", "category")
    rows = [{name: getattr(image, name) for name in names} | {"thumbnail": image.jpeg} for image in GALLERY]
    schema = pa.schema([*((name, pa.string()) for name in names), ("thumbnail", pa.binary())])
    with pa.OSFile(str(directory / "catalogue.arrow"), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


@pytest.mark.parametrize("is_old", [False, True])
def test_a_photo_of_the_gallery_does_not_find_itself(tmp_path: Path, is_old: bool) -> None:
    if is_old:
        write_first_format(tmp_path)
    else:
        write_catalog(tmp_path / "catalogue.arrow", GALLERY)
    measured = evaluate_baseline(release_in(tmp_path), Queries(ImageFile(io.BytesIO(), [OWN]), num_unusable=0), embed)
    product = measured["product"]["overall"]
    assert product["num_queries"] == 1
    assert (product["recall_at_1"], product["recall_at_4"]) == (0.0, 1.0), "the other product comes first"


def test_photos_are_read_as_ingest_reads_them_and_broken_ones_are_counted(tmp_path: Path) -> None:
    encoded = io.BytesIO()
    Image.effect_noise((64, 48), 60).convert("RGB").save(encoded, "PNG")
    for name, content in (("a.png", encoded.getvalue()), ("b.png", encoded.getvalue()), ("c.png", b"<html>")):
        (tmp_path / "Hat").mkdir(exist_ok=True)
        (tmp_path / "Hat" / name).write_bytes(content)
    queries = read_queries(str(tmp_path), IngestSettings(), longest_side_px=32, pictures=io.BytesIO())
    assert [(row.image_id, row.category) for row in queries.rows] == [("Hat/a.png", "Hat"), ("Hat/b.png", "Hat")]
    assert queries.num_unusable == 1
    assert [Image.open(io.BytesIO(jpeg)).size for jpeg in queries.jpegs] == [(32, 24)] * 2
    assert queries.rows[0].picture == queries.rows[1].picture


def test_headers_mean_what_the_settings_of_ingest_say(tmp_path: Path) -> None:
    Image.effect_noise((64, 48), 60).convert("RGB").save(tmp_path / "a.png", "PNG")
    (tmp_path / "photos.csv").write_text("Bild,Warengruppe\na.png,Hat\n")
    settings = IngestSettings(columns=("Bild=image", "Warengruppe=category"))
    [row] = read_queries(str(tmp_path / "photos.csv"), settings, longest_side_px=32, pictures=io.BytesIO()).rows
    assert (row.image_id, row.category) == ("a.png", "Hat")


def test_photos_of_which_none_can_be_used_are_bad_data(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"<html>")
    with pytest.raises(DataError, match="at least one usable image"):
        read_queries(str(tmp_path), IngestSettings(), longest_side_px=32, pictures=io.BytesIO())
