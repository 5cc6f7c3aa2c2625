"""Search by product equals a naive loop over exact inner products; the current release is followed safely."""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookalike.catalog.product import CatalogImage
from lookalike.encoder.embedder import EmbedderUnavailable
from lookalike.release import contents
from lookalike.release.store import Release, ReleaseStore
from lookalike.retrieval import scann_index
from serving.searcher import (
    CurrentRelease,
    LiveRelease,
    NoReleaseError,
    Searcher,
    load_release,
)
from serving.subtrees import Subtrees, UnknownCategoryError

CATEGORIES = ["Clothing > Tops > Shirt", "Clothing > Tops", "Clothing > Topsy", "Shoes", ""]


def record(image_id: str, product_id: str, category: str, *others: str) -> CatalogImage:
    return CatalogImage(image_id, product_id, category=category, other_categories=others)


class ListCatalog:
    """What a Searcher needs of a catalogue."""

    def __init__(self, records: list[CatalogImage]):
        self._records = records
        self.product_ids = [record.product_id for record in records]
        self.is_available = lambda wanted: np.array([record.availability == wanted for record in records])
        self.categories = [record.category for record in records]
        self.other_categories = {
            row: list(record.other_categories) for row, record in enumerate(records) if record.other_categories
        }

    def __len__(self) -> int:
        return len(self._records)

    def image(self, row: int) -> CatalogImage:
        return self._records[row]


def unit_vectors(count: int, dim: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def make_searcher(
    directory: Path, embeddings: np.ndarray, records: list[CatalogImage], spec: scann_index.IndexSpec | None = None
) -> Searcher:
    scann_index.build(embeddings, spec or scann_index.IndexSpec("exact"), directory / "index")
    catalog: Any = ListCatalog(records)
    return Searcher(scann_index.ScannIndex.load(directory / "index"), embeddings, catalog)


def naive_search(
    query: np.ndarray, embeddings: np.ndarray, records: list[CatalogImage], k: int, prefix: tuple[str, ...] = ()
) -> list[str]:
    """Every product's best score in turn, by plain Python."""
    best: dict[str, float] = {}
    for vector, record in zip(embeddings, records, strict=True):
        if any(tuple(category.split(" > "))[: len(prefix)] == prefix for category in record.categories or [""]):
            score = float(np.dot(query, vector))
            best[record.product_id] = max(score, best.get(record.product_id, -2.0))
    return sorted(best, key=lambda product: -best[product])[:k]


@pytest.fixture(scope="module")
def records() -> list[CatalogImage]:
    """90 images of 30 products: product i has 1 to 5 images, categories take turns."""
    products = [number for number in range(30) for _ in range(1 + number % 5)]
    return [
        record(f"image-{row}", f"product-{number}", CATEGORIES[number % len(CATEGORIES)])
        for row, number in enumerate(products)
    ]


@pytest.fixture(scope="module")
def embeddings(records: list[CatalogImage]) -> np.ndarray:
    return unit_vectors(len(records), 8, seed=0)


@pytest.fixture(scope="module")
def searcher(tmp_path_factory: pytest.TempPathFactory, embeddings: np.ndarray, records: list[CatalogImage]) -> Searcher:
    return make_searcher(tmp_path_factory.mktemp("searcher"), embeddings, records)


@pytest.mark.parametrize("k", [1, 7, 29, 30, 200])
@pytest.mark.parametrize("category", ["", "Clothing", "Clothing > Tops", "Clothing > Tops > Shirt", "Shoes"])
def test_products_equal_a_naive_loop(
    searcher: Searcher, embeddings: np.ndarray, records: list[CatalogImage], k: int, category: str
) -> None:
    prefix = tuple(category.split(" > ")) if category else ()
    for query in unit_vectors(5, 8, seed=1):
        hits = searcher.search(query, k, category)
        assert [hit.image.product_id for hit in hits] == naive_search(query, embeddings, records, k, prefix)
        for hit in hits:
            assert hit.image == records[hit.row]
            assert hit.score == pytest.approx(float(np.dot(query, embeddings[hit.row])), abs=1e-6)


@pytest.mark.parametrize("category", ["", "Clothing", "Shoes"])
@pytest.mark.parametrize("wanted", ["in_stock", "out_of_stock", "preorder"])
def test_products_of_one_availability_equal_a_naive_loop_over_those(
    tmp_path: Path, embeddings: np.ndarray, records: list[CatalogImage], wanted: str, category: str
) -> None:
    stated = [
        replace(one, availability="out_of_stock" if one.product_id.endswith("7") else "in_stock") for one in records
    ]
    searcher = make_searcher(tmp_path, embeddings, stated)
    rows = [row for row, one in enumerate(stated) if one.availability == wanted]
    prefix = tuple(category.split(" > ")) if category else ()
    query = unit_vectors(1, 8, seed=1)[0]
    found = [hit.image.product_id for hit in searcher.search(query, 5, category, wanted)]
    assert found == naive_search(query, embeddings[rows], [stated[row] for row in rows], 5, prefix)


def test_product_with_many_images_does_not_crowd_out_others(tmp_path: Path) -> None:
    crowd = np.tile(np.float32([1, 0]), (500, 1))
    others = np.float32([[0, 1], [0.6, 0.8], [0.8, 0.6]])
    records = [record(str(row), "crowd", "A") for row in range(500)]
    records += [record("far", "far", "A"), record("near", "near", "A"), record("nearer", "nearer", "A")]
    searcher = make_searcher(tmp_path, np.concatenate([crowd, others]), records)
    for category in ("", "A"):
        hits = searcher.search(np.float32([1, 0]), 3, category)
        assert [hit.image.product_id for hit in hits] == ["crowd", "nearer", "near"]
        assert [round(hit.score, 5) for hit in hits] == [1.0, 0.8, 0.6]


def test_equal_scores_are_ordered_by_row(tmp_path: Path) -> None:
    embeddings = np.tile(np.float32([0, 1]), (6, 1))
    records = [record(str(row), f"product-{5 - row}", "A") for row in range(6)]
    searcher = make_searcher(tmp_path, embeddings, records)
    for category in ("", "A"):
        assert [hit.row for hit in searcher.search(np.float32([0, 1]), 6, category)] == [0, 1, 2, 3, 4, 5]


def test_category_is_searched_exactly_whatever_the_index(tmp_path: Path) -> None:
    embeddings = unit_vectors(400, 16, seed=3)
    records = [record(str(row), str(row), "Rare" if row % 40 == 0 else "Common") for row in range(400)]
    spec = scann_index.IndexSpec("ah", reorder=10)
    searcher = make_searcher(tmp_path, embeddings, records, spec)
    for query in unit_vectors(5, 16, seed=4):
        hits = searcher.search(query, 10, "Rare")
        assert [hit.image.product_id for hit in hits] == naive_search(query, embeddings, records, 10, ("Rare",))


SHOP = [
    record("0", "tee", "Clothing"),
    record("1", "shirt", "Clothing > Tops", "Sale"),
    record("2", "blouse", "Clothing > Tops > Blouse", "Clothing > Office"),
    record("3", "robe", "Clothing (old)"),
    record("4", "boot", "Shoes", "Sale"),
    record("5", "ring", ""),
]


def test_products_are_found_under_each_of_their_categories(tmp_path: Path) -> None:
    embeddings = unit_vectors(len(SHOP), 8, seed=5)
    searcher = make_searcher(tmp_path, embeddings, SHOP)
    query = unit_vectors(1, 8, seed=6)[0]
    for category in ("Clothing", "Clothing > Tops", "Clothing > Office", "Sale", "Shoes", "Clothing (old)"):
        found = [hit.image.product_id for hit in searcher.search(query, 6, category)]
        assert found == naive_search(query, embeddings, SHOP, 6, tuple(category.split(" > "))), category
    assert searcher.category_sizes() == {
        "Clothing": 3,
        "Clothing > Office": 1,
        "Clothing > Tops": 2,
        "Clothing > Tops > Blouse": 1,
        "Clothing (old)": 1,
        "Sale": 2,
        "Shoes": 1,
    }


def test_subtree_of_an_ordered_gallery_is_a_slice_and_copies_nothing() -> None:
    ordered: Any = ListCatalog(SHOP)
    below = Subtrees(ordered).below(("Clothing",))
    assert below.main == slice(0, 3)
    assert below.others.tolist() == [], "the blouse is in the subtree by its first category already"
    sale = Subtrees(ordered).below(("Sale",))
    assert (sale.main, sale.others.tolist()) == (slice(0, 0), [1, 4])
    embeddings = unit_vectors(len(SHOP), 8, seed=5)
    assert np.shares_memory(embeddings[below.main], embeddings)


def test_category_sizes_count_what_lies_below(searcher: Searcher, records: list[CatalogImage]) -> None:
    sizes = searcher.category_sizes()
    assert list(sizes) == ["Clothing", "Clothing > Tops", "Clothing > Tops > Shirt", "Clothing > Topsy", "Shoes"]
    for category, size in sizes.items():
        levels = category.split(" > ")
        assert size == sum(record.category.split(" > ")[: len(levels)] == levels for record in records)


@pytest.mark.parametrize(
    ("category", "like"),
    [
        ("Hats", ""),
        ("Clothing > Top", ", such as Clothing > Tops; Clothing > Topsy"),
        ("clothing", ", such as Clothing"),
        ("shirt", ", such as Clothing > Tops > Shirt"),
    ],
)
def test_unknown_category_is_an_error_that_lists_near_ones(searcher: Searcher, category: str, like: str) -> None:
    with pytest.raises(UnknownCategoryError, match=rf"must be one of the release's{like}(;.*)?, got {category}$"):
        searcher.search(unit_vectors(1, 8, seed=1)[0], 5, category)


def test_unusable_queries_are_errors(searcher: Searcher) -> None:
    query = unit_vectors(1, 8, seed=1)[0]
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        searcher.search(query, 0)
    with pytest.raises(ValueError, match="dimension"):
        searcher.search(query[:4], 5)
    with pytest.raises(ValueError, match="finite"):
        searcher.search(np.full(8, np.nan, np.float32), 5)


def test_parts_of_different_size_are_refused(
    tmp_path: Path, embeddings: np.ndarray, records: list[CatalogImage]
) -> None:
    with pytest.raises(ValueError, match=r"must have one size, got \(90, 90, 89\)"):
        make_searcher(tmp_path, embeddings, records[:-1])


def test_release_is_opened_and_finds_its_own_images(store_root: Path, draw_product: Callable[..., bytes]) -> None:
    release = ReleaseStore(store_root).current()
    assert release is not None
    live = load_release(release)
    rows = np.load(release.directory / "embeddings.npy")
    for row in (0, 7, 23):
        hits = live.searcher.search(rows[row], 3)
        assert hits[0].row == row
        assert hits[0].score == pytest.approx(1, abs=1e-5)
    assert live.longest_side_px == 64


def test_release_without_its_image_size_is_refused(tmp_path: Path, store_root: Path) -> None:
    release = ReleaseStore(store_root).current()
    assert release is not None
    facts = {"longest_side_px": None}
    other = Release(release.version, release.address, type(release.manifest)(facts, {}, release.manifest.sha256))
    with pytest.raises(ValueError, match="must state longest_side_px in pixels, got None"):
        load_release(other)


def test_the_limit_of_the_canary_is_the_releases_own(
    tmp_path: Path, push_release: Callable[..., Release], monkeypatch: pytest.MonkeyPatch
) -> None:
    release = push_release(tmp_path)
    asked: list[float] = []
    monkeypatch.setattr(contents, "check_canary", lambda *_canary, min_recall: asked.append(min_recall))
    for facts in ({}, {"min_canary_recall": 0.8}):  # releases of 0.2.0 state none
        Searcher.open(replace(release, manifest=replace(release.manifest, facts=facts)))
    assert asked == [0.95, 0.8]


class FakeEmbedder:
    def embed(self, jpegs: Any) -> np.ndarray:
        return unit_vectors(len(jpegs), 8, seed=5)


class Loader:
    """A stand-in for load_release that fails as told."""

    def __init__(self, searcher: Searcher):
        self.errors: dict[int, Exception] = {}
        self.calls: list[int] = []
        self._searcher = searcher

    def __call__(self, release: Release) -> LiveRelease:
        self.calls.append(release.version)
        if release.version in self.errors:
            raise self.errors[release.version]
        return LiveRelease(release, self._searcher, FakeEmbedder(), 64)


@pytest.fixture
def loader(searcher: Searcher) -> Loader:
    return Loader(searcher)


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "store")


def push_empty(store: ReleaseStore, decision_id: str) -> Release:
    def build(directory: Path, version: int) -> None:
        (directory / "encoder" / str(version)).mkdir(parents=True)
        (directory / "encoder" / str(version) / "saved_model.pb").write_bytes(b"")

    return store.push(build, decision_id=decision_id, facts={})


def test_nothing_is_served_before_the_first_release(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    current.refresh()
    with pytest.raises(NoReleaseError, match="must be pushed first"):
        current.get()


def test_pushes_and_rollbacks_are_followed(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    for decision in ("a", "b"):
        push_empty(store, decision)
        current.refresh()
        current.refresh()
    assert current.get().release.version == 2
    store.rollback()
    current.refresh()
    assert current.get().release.version == 1
    assert loader.calls == [1, 2, 1]  # once each: an unchanged pointer loads nothing


def test_bad_release_keeps_the_old_one_and_is_given_up(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    current.refresh()
    loader.errors[2] = ValueError("its parts do not fit")
    push_empty(store, "b")
    for _ in range(6):
        current.refresh()
    assert current.get().release.version == 1
    assert current.problem == "release 2 does not load: its parts do not fit"
    assert loader.calls == [1, 2, 2, 2]
    push_empty(store, "c")
    current.refresh()
    assert current.get().release.version == 3
    assert current.problem == ""


def test_encoder_that_is_away_is_waited_for(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    loader.errors[1] = EmbedderUnavailable("connection refused")
    for _ in range(5):
        current.refresh()
    with pytest.raises(NoReleaseError, match="release 1 waits for its encoder: connection refused"):
        current.get()
    del loader.errors[1]
    current.refresh()
    assert current.get().release.version == 1


def test_damaged_pointer_keeps_the_old_release(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    current.refresh()
    pointer = (Path(store.address) / "CURRENT").read_text()
    (Path(store.address) / "CURRENT").write_text('{"version": 1')
    current.refresh()
    assert current.get().release.version == 1
    assert "CURRENT" in current.problem
    (Path(store.address) / "CURRENT").write_text(pointer)
    current.refresh()
    assert current.problem == ""


def test_damaged_file_is_never_loaded(tmp_path: Path, push_release: Callable[..., Release]) -> None:
    release = push_release(tmp_path)
    path = release.directory / "embeddings.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    current = CurrentRelease(ReleaseStore(tmp_path))
    current.refresh()
    with pytest.raises(NoReleaseError, match=r"embeddings\.npy has changed"):
        current.get()


def test_thumbnails_of_the_release_before_stay(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    names = []
    for decision in ("a", "b", "c"):
        push_empty(store, decision)
        current.refresh()
        names.append(current.get().name)
    assert [current.catalog(name) is not None for name in names] == [False, True, True]


def rebuild(store: ReleaseStore, decision_id: str) -> Release:
    """The store is made anew at its place: its versions begin with 1 again."""
    shutil.rmtree(Path(store.address))
    return push_empty(store, decision_id)


def test_name_holds_the_version_and_the_manifests_first_digits(store: ReleaseStore, loader: Loader) -> None:
    release = push_empty(store, "a")
    digest = hashlib.sha256((release.directory / "manifest.json").read_bytes()).hexdigest()
    assert loader(release).name == f"1-{digest[:12]}"


def test_rebuilt_store_with_the_same_version_is_another_release(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    current.refresh()
    before = current.get()
    rebuilt = rebuild(store, "b")
    current.refresh()
    assert loader.calls == [1, 1]
    assert current.get().release.manifest.sha256 == rebuilt.manifest.sha256 != before.release.manifest.sha256
    assert current.problem == ""
    assert current.catalog(before.name) is not None
    assert current.catalog(current.get().name) is not None


def test_store_that_is_gone_is_a_problem_until_it_is_back(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    current.refresh()
    away = Path(store.address).rename(Path(store.address).with_name("away"))
    current.refresh()
    assert current.get().release.version == 1
    assert current.problem == (
        f"{store.address} must name the release that serves, it names none any more: "
        "restore it; release 1 keeps serving"
    )
    away.rename(Path(store.address))
    current.refresh()
    assert current.problem == ""
    assert loader.calls == [1]


def test_store_without_its_pointer_is_a_problem(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    push_empty(store, "a")
    current.refresh()
    (Path(store.address) / "CURRENT").unlink()
    current.refresh()
    assert "it names none any more" in current.problem


def test_attempts_are_counted_for_each_release_of_one_version(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    loader.errors[1] = ValueError("its parts do not fit")
    push_empty(store, "a")
    for _ in range(5):
        current.refresh()
    assert loader.calls == [1] * 3
    rebuild(store, "b")
    for _ in range(5):
        current.refresh()
    assert loader.calls == [1] * 6


def test_release_that_was_given_up_is_tried_again_when_its_files_change(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    loader.errors[1] = ValueError("embeddings.npy is in the manifest and missing")
    release = push_empty(store, "a")
    for _ in range(5):
        current.refresh()
    del loader.errors[1]
    current.refresh()
    assert "does not load" in current.problem
    (release.directory / "embeddings.npy").write_bytes(b"")  # the copy goes on
    current.refresh()
    assert current.get().release.version == 1


def test_release_that_was_given_up_stays_the_problem_after_another_one(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, load=loader)
    loader.errors[1] = ValueError("its parts do not fit")
    push_empty(store, "a")
    for _ in range(3):
        current.refresh()
    pointer = (Path(store.address) / "CURRENT").read_text()
    (Path(store.address) / "CURRENT").write_text("{")
    current.refresh()
    assert "cannot be read" in current.problem
    (Path(store.address) / "CURRENT").write_text(pointer)
    current.refresh()
    assert current.problem == "release 1 does not load: its parts do not fit"


def test_thread_follows_the_store(store: ReleaseStore, loader: Loader) -> None:
    current = CurrentRelease(store, poll_interval_s=0.01, load=loader)
    current.start()
    push_empty(store, "a")
    seen = threading.Event()
    for _ in range(500):
        if loader.calls:
            break
        seen.wait(0.01)
    current.stop()
    assert current.get().release.version == 1
    assert json.loads((Path(store.address) / "CURRENT").read_text())["version"] == 1
