import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lookalike.catalog.product import CatalogImage
from lookalike.release import contents
from lookalike.release.contents import Catalog, write_catalog
from lookalike.release.manifest import ReleaseError
from lookalike.retrieval import exact

DRESS = CatalogImage(
    "span=2026-11-20/dress.jpg",
    "p1",
    category="Clothing > Dresses",
    other_categories=("Sale", "Summer"),
    title='A "red" dress, grün',
    brand="Ähnlich",
    url="https://shop.example/p1",
    price="19.50",
    currency="EUR",
    availability="in_stock",
    gender="women",
    attributes={"colour": "rot", "länge": "midi"},
    crop=(0.0, 0.1, 0.5, 0.5),
    sha256="ab" * 32,
    canonical_sha256="cd" * 32,
    jpeg=b"\xff\xd8jpeg",
)
PLAIN = CatalogImage("plain.jpg", "p2")
# What 0.1.0 wrote, column by column.
FIRST_FORMAT = pa.schema(
    [
        ("image_id", pa.string()),
        ("product_id", pa.string()),
        ("category", pa.string()),
        ("title", pa.string()),
        ("gender", pa.string()),
        ("price", pa.float64()),
        ("attributes", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)


def write_arrow(path, schema, *rows):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.RecordBatch.from_pylist(list(rows), schema=schema))
    return path


def unit_vectors(num_rows, seed=0, dim=8):
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_records_come_back_as_they_were_written(tmp_path):
    assert write_catalog(tmp_path / "catalogue.arrow", [DRESS, PLAIN]) == 2
    catalog = Catalog.open(tmp_path / "catalogue.arrow")
    assert len(catalog) == 2
    assert (catalog.image(0), catalog.image(1)) == (replace(DRESS, jpeg=b""), PLAIN)
    assert catalog.thumbnail(0) == b"\xff\xd8jpeg"
    assert catalog.pictures == ["cd" * 32, ""]
    assert catalog.other_categories == {0: ["Sale", "Summer"]}
    assert catalog.product_ids == ["p1", "p2"]
    assert catalog.is_available("in_stock").tolist() == [True, False]
    assert catalog.is_available("sold").tolist() == [False, False]
    assert catalog.categories == ["Clothing > Dresses", ""]


def test_rows_keep_their_order_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_ROWS_PER_BATCH", 4)
    records = [CatalogImage(f"{i}", f"p{i}", jpeg=bytes([i])) for i in range(11)]
    assert write_catalog(tmp_path / "catalogue.arrow", iter(records)) == 11
    catalog = Catalog.open(tmp_path / "catalogue.arrow")
    assert [replace(catalog.image(row), jpeg=catalog.thumbnail(row)) for row in range(11)] == records


def test_an_empty_catalogue_can_be_read(tmp_path):
    write_catalog(tmp_path / "catalogue.arrow", [])
    assert len(Catalog.open(tmp_path / "catalogue.arrow")) == 0


@pytest.mark.parametrize("row", [-1, 2])
def test_rows_outside_the_catalogue_are_refused(tmp_path, row):
    write_catalog(tmp_path / "catalogue.arrow", [DRESS, PLAIN])
    with pytest.raises(IndexError, match=f"row must be between 0 and 1, got {row}"):
        Catalog.open(tmp_path / "catalogue.arrow").thumbnail(row)


def test_other_files_are_not_taken_for_a_catalogue(tmp_path):
    (tmp_path / "text.arrow").write_text("hello, this is no arrow file")
    with pytest.raises(ReleaseError, match=r"text\.arrow must be an Arrow file"):
        Catalog.open(tmp_path / "text.arrow")
    write_arrow(tmp_path / "other.arrow", pa.schema([("image_id", pa.string())]), {"image_id": "a.jpg"})
    with pytest.raises(ReleaseError, match=r"other\.arrow must have the columns .* none named product_id, category"):
        Catalog.open(tmp_path / "other.arrow")


def test_catalogue_of_the_first_format_is_read_and_what_it_lacks_is_absent(tmp_path):
    row = {
        "image_id": "a.jpg", "product_id": "p", "category": "Hat", "title": "T", "gender": "", "price": 99.99,
        "attributes": '{"fit": "slim"}', "thumbnail": b"jpeg",
    }  # fmt: skip
    catalog = Catalog.open(write_arrow(tmp_path / "catalogue.arrow", FIRST_FORMAT, row))
    expected = CatalogImage("a.jpg", "p", category="Hat", title="T", price="99.99", attributes={"fit": "slim"})
    assert catalog.image(0) == expected
    assert (catalog.pictures, catalog.other_categories) == (["a.jpg"], {})
    assert catalog.is_available("in_stock").tolist() == [False]


def test_a_column_of_a_later_version_is_passed_over_and_a_later_format_is_refused(tmp_path):
    schema = FIRST_FORMAT.append(pa.field("weight_g", pa.int64()))
    row = dict.fromkeys(schema.names) | {"image_id": "a.jpg", "product_id": "p", "category": ""}
    assert Catalog.open(write_arrow(tmp_path / "wider.arrow", schema, row)).image(0) == CatalogImage("a.jpg", "p")
    later = schema.with_metadata({"lookalike.format": "3"})
    with pytest.raises(ReleaseError, match=r"later\.arrow must be of format 2 or older, got 3: .* newer version"):
        Catalog.open(write_arrow(tmp_path / "later.arrow", later, row))


def test_rows_of_a_category_and_all_below_it_stand_together():
    paths = ["Shoes", "Clothing (old)", "Clothing > Tops", "Clothing", "Clothing > Tops > Tee", "", "Clothing > Hats"]
    rows = sorted((CatalogImage(f"{path}.jpg", category=path) for path in paths), key=contents.by_category)
    assert [row.category for row in rows] == [
        "", "Clothing", "Clothing > Hats", "Clothing > Tops", "Clothing > Tops > Tee", "Clothing (old)", "Shoes",
    ]  # fmt: skip


class Planted:
    """Loading its pickle leaves a file behind."""

    def __init__(self, left_behind):
        self.left_behind = left_behind

    def __reduce__(self):
        return Path.touch, (self.left_behind,)


def schema_with_pickled_type(name, pickled):
    """As pyarrow writes a column of a PyExtensionType."""
    metadata = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled}
    return pa.schema([pa.field(name, pa.string(), metadata=metadata)])


@pytest.mark.parametrize("is_pickle", [True, False])
def test_a_catalogue_whose_columns_carry_a_pickle_is_refused_and_nothing_runs(tmp_path, is_pickle):
    pickled = pickle.dumps(Planted(tmp_path / "left_behind")) if is_pickle else b"no pickle"
    schema = schema_with_pickled_type("image_id", pickled)
    with pa.OSFile(str(tmp_path / "catalogue.arrow"), "wb") as file, pa.ipc.new_file(file, schema):
        pass
    with pytest.raises(ReleaseError, match="one whose type is a pickle: loading it could run code") as refused:
        Catalog.open(tmp_path / "catalogue.arrow")
    assert not (tmp_path / "left_behind").exists()
    assert "\n" not in str(refused.value)


def test_embeddings_are_mapped_as_they_were_written(tmp_path):
    embeddings = unit_vectors(5)
    contents.write_embeddings(tmp_path / "embeddings.npy", embeddings)
    mapped = contents.read_embeddings(tmp_path / "embeddings.npy")
    assert isinstance(mapped, np.memmap)
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, embeddings)


def test_embeddings_must_be_finite_float32(tmp_path):
    with pytest.raises(ValueError, match="float32"):
        contents.write_embeddings(tmp_path / "embeddings.npy", np.zeros((2, 2)))
    np.save(tmp_path / "double.npy", np.zeros((2, 2)))
    with pytest.raises(ReleaseError, match=r"double\.npy must be a \[rows, dim\] float32 array, got \(2, 2\) float64"):
        contents.read_embeddings(tmp_path / "double.npy")


def test_pickled_embeddings_are_refused(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ReleaseError, match=r"objects\.npy must be a float32 array"):
        contents.read_embeddings(tmp_path / "objects.npy")


def searching(gallery):
    return lambda queries, k: exact.search(queries, gallery, k)


def test_the_canary_passes_with_its_own_index(tmp_path):
    embeddings = unit_vectors(60)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)
    assert contents.check_canary(tmp_path / "canary.npz", searching(embeddings), embeddings, min_recall=0.95) == 1.0


def test_the_canary_works_for_fewer_items_than_neighbours(tmp_path):
    embeddings = unit_vectors(3)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)
    assert contents.check_canary(tmp_path / "canary.npz", searching(embeddings), embeddings, min_recall=0.95) == 1.0


def test_the_canary_finds_out_an_index_of_other_embeddings(tmp_path):
    embeddings, others = unit_vectors(60), unit_vectors(60, seed=9)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)
    with pytest.raises(ReleaseError, match=r"the index must find 95% of the neighbours in .*canary\.npz, got"):
        contents.check_canary(tmp_path / "canary.npz", searching(others), embeddings, min_recall=0.95)
    with pytest.raises(ReleaseError, match="must hold 60 items, got id"):
        contents.check_canary(tmp_path / "canary.npz", searching(unit_vectors(90, seed=9)), embeddings, min_recall=0.95)


@pytest.mark.parametrize("num_items", [60, 8])
def test_the_canary_finds_out_embeddings_of_another_run(tmp_path, num_items):
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), unit_vectors(60))
    others = unit_vectors(num_items, seed=9)
    with pytest.raises(ReleaseError, match="got one of other embeddings"):
        contents.check_canary(tmp_path / "canary.npz", searching(others), others, min_recall=0.95)


def test_the_canary_is_held_against_the_limit_of_its_release(tmp_path):
    embeddings = unit_vectors(60)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)

    def search(queries, k):  # finds nine of ten: the last one is some other item
        found = exact.search(queries, embeddings, 60)
        return exact.Neighbours(found.ids[:, [*range(9), 59]], found.scores[:, [*range(9), 59]])

    assert contents.check_canary(tmp_path / "canary.npz", search, embeddings, min_recall=0.9) == pytest.approx(0.9)
    with pytest.raises(ReleaseError, match=r"must find 91% of the neighbours in .*canary\.npz, got 90\.0%"):
        contents.check_canary(tmp_path / "canary.npz", search, embeddings, min_recall=0.91)
