import numpy as np
import pyarrow as pa
import pytest

from lookalike.release import contents
from lookalike.release.contents import Catalogue, CatalogueRecord, write_catalogue
from lookalike.release.manifest import ReleaseError
from lookalike.retrieval import exact

DRESS = CatalogueRecord(
    "span=2026-11-20/dress.jpg",
    "p1",
    "Clothing > Dresses",
    'A "red" dress, grün',
    "women",
    19.5,
    {"colour": "rot", "länge": "midi"},
    b"\xff\xd8jpeg",
)
PLAIN = CatalogueRecord("plain.jpg", "p2")


def unit_vectors(num_rows, seed=0, dim=8):
    rows = np.random.default_rng(seed).normal(size=(num_rows, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_records_come_back_as_they_were_written(tmp_path):
    assert write_catalogue(tmp_path / "catalogue.arrow", [DRESS, PLAIN]) == 2
    catalogue = Catalogue.open(tmp_path / "catalogue.arrow")
    assert len(catalogue) == 2
    assert (catalogue.record(0), catalogue.record(1)) == (DRESS, PLAIN)
    assert catalogue.thumbnail(0) == b"\xff\xd8jpeg"
    assert catalogue.image_ids == ["span=2026-11-20/dress.jpg", "plain.jpg"]
    assert catalogue.product_ids == ["p1", "p2"]
    assert catalogue.categories == ["Clothing > Dresses", ""]


def test_rows_keep_their_order_across_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(contents, "_ROWS_PER_BATCH", 4)
    records = [CatalogueRecord(f"{i}", f"p{i}", thumbnail=bytes([i])) for i in range(11)]
    assert write_catalogue(tmp_path / "catalogue.arrow", iter(records)) == 11
    catalogue = Catalogue.open(tmp_path / "catalogue.arrow")
    assert [catalogue.record(row) for row in range(11)] == records


def test_an_empty_catalogue_can_be_read(tmp_path):
    write_catalogue(tmp_path / "catalogue.arrow", [])
    assert len(Catalogue.open(tmp_path / "catalogue.arrow")) == 0


@pytest.mark.parametrize("row", [-1, 2])
def test_rows_outside_the_catalogue_are_refused(tmp_path, row):
    write_catalogue(tmp_path / "catalogue.arrow", [DRESS, PLAIN])
    with pytest.raises(IndexError, match=f"row must be between 0 and 1, got {row}"):
        Catalogue.open(tmp_path / "catalogue.arrow").thumbnail(row)


def test_other_files_are_not_taken_for_a_catalogue(tmp_path):
    (tmp_path / "text.arrow").write_text("hello, this is no arrow file")
    with pytest.raises(ReleaseError, match=r"text\.arrow must be an Arrow file"):
        Catalogue.open(tmp_path / "text.arrow")
    schema = pa.schema([("image_id", pa.string())])
    with pa.OSFile(str(tmp_path / "other.arrow"), "wb") as file, pa.ipc.new_file(file, schema):
        pass
    with pytest.raises(ReleaseError, match=r"other\.arrow must have the columns .* got \['image_id'\]"):
        Catalogue.open(tmp_path / "other.arrow")


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
    assert contents.check_canary(tmp_path / "canary.npz", searching(embeddings), embeddings) == 1.0


def test_the_canary_works_for_fewer_items_than_neighbours(tmp_path):
    embeddings = unit_vectors(3)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)
    assert contents.check_canary(tmp_path / "canary.npz", searching(embeddings), embeddings) == 1.0


def test_the_canary_finds_out_an_index_of_other_embeddings(tmp_path):
    embeddings, others = unit_vectors(60), unit_vectors(60, seed=9)
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), embeddings)
    with pytest.raises(ReleaseError, match=r"the index must find 95% of the neighbours in .*canary\.npz, got"):
        contents.check_canary(tmp_path / "canary.npz", searching(others), embeddings)
    with pytest.raises(ReleaseError, match="must hold 60 items, got id"):
        contents.check_canary(tmp_path / "canary.npz", searching(unit_vectors(90, seed=9)), embeddings)


@pytest.mark.parametrize("num_items", [60, 8])
def test_the_canary_finds_out_embeddings_of_another_run(tmp_path, num_items):
    contents.write_canary(tmp_path / "canary.npz", unit_vectors(20, seed=1), unit_vectors(60))
    others = unit_vectors(num_items, seed=9)
    with pytest.raises(ReleaseError, match="got one of other embeddings"):
        contents.check_canary(tmp_path / "canary.npz", searching(others), others)
