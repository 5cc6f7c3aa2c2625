"""Searching one release for products, and following the store's current release while requests are answered."""

import gc
import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from lookalike.catalog.images import canonicalise
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.taxonomy import parse_category
from lookalike.encoder.embedder import Embedder, EmbedderUnavailable, open_embedder
from lookalike.release import contents
from lookalike.release.cache import DEFAULT_CACHE, ReleaseCache
from lookalike.release.contents import Catalog
from lookalike.release.store import Release, ReleaseStore
from lookalike.retrieval import exact
from lookalike.retrieval.scann_index import ScannIndex
from lookalike.storage.address import is_remote, open_folder
from serving.file_states import read_file_states
from serving.subtrees import Rows, Subtrees, row_numbers

log = logging.getLogger(__name__)

# The first request to the index asks for this many images per wanted product.
_IMAGES_PER_PRODUCT = 4
_GROWTH = 4
_COPIED_ROWS = 8192  # 8 MiB of vectors at 256 dimensions
_MAX_LOAD_ATTEMPTS = 3
_NAMED_DIGITS = 12  # of the manifest's sha256: enough to tell the releases of one shop apart
_SIDE_FACT = "longest_side_px"

Vector = npt.NDArray[np.float32]
Matrix = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Hit:
    """One product found, shown by its best image.

    row: of that image in the release's catalogue; score: its inner product with the query, 1 for the same vector.
    """

    row: int
    score: float
    image: CatalogImage


class Searcher:
    """The index, vectors and catalogue of one release. Thread-safe."""

    def __init__(self, index: ScannIndex, embeddings: npt.NDArray[np.float32], catalog: Catalog):
        """embeddings: [num_images, dim] float32, memory-mapped; row i is id i of the index and of the catalogue."""
        sizes = (index.size, len(embeddings), len(catalog))
        if len(set(sizes)) != 1:
            raise ValueError(f"index, embeddings and catalogue must have one size, got {sizes}")
        self.index = index
        self.catalog = catalog
        self._embeddings = embeddings
        products, self._product_of_row = _number(catalog.product_ids)
        self.num_products = len(products)
        self._subtrees = Subtrees(catalog)

    @classmethod
    def open(cls, release: Release) -> "Searcher":
        """Opens a verified release; damaged index files could crash the process.

        Raises ReleaseError where the index does not find what the release's canary says it found.
        """
        index = ScannIndex.load(release.directory / contents.INDEX_DIRECTORY)
        embeddings = contents.read_embeddings(release.directory / contents.EMBEDDINGS_FILE)
        # Releases of 0.2.0 and before state no limit: theirs was this.
        min_recall = release.manifest.facts.get(contents.MIN_RECALL_FACT, 0.95)
        contents.check_canary(release.directory / contents.CANARY_FILE, index.search, embeddings, min_recall=min_recall)
        return cls(index, embeddings, Catalog.open(release.directory / contents.CATALOG_FILE))

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.index.dim

    def search(self, embedding: Vector, k: int, category: str = "", availability: str = "") -> list[Hit]:
        """Finds the k products whose best image is nearest.

        embedding: [dim] float32, L2-normalised.
        category: only images of this category path or one below it; '' is all of them.
        availability: only products of this availability, such as in_stock; '' is all of them.

        A category is searched exactly over its own vectors, whatever the index: filtering an approximate answer
        afterwards would miss products whenever the category is rare, and the cost is bounded by the category's size.

        Returns at most k hits, best first, equal scores by smaller row; fewer when there are fewer products.
        Raises UnknownCategoryError; ValueError for a k or an embedding out of range.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, got {k}")
        query = embedding[np.newaxis]
        levels = parse_category(category)
        is_wanted = self.catalog.is_available(availability) if availability else None
        if not levels:
            return self._best_products(lambda num: self.index.search(query, num), self.index.size, k, is_wanted)
        subtree = self._subtrees.below(levels)
        parts = [*_blocks(subtree.main), *_blocks(subtree.others)]

        def ask(num_images: int) -> exact.Neighbours:
            found = [_search_part(query, row_numbers(rows), self._embeddings[rows], num_images) for rows in parts]
            return _side_by_side(found)

        return self._best_products(ask, sum(len(row_numbers(rows)) for rows in parts), k, is_wanted)

    def category_sizes(self) -> dict[str, int]:
        """Number of images at or below every category path, in path order."""
        return self._subtrees.sizes

    def _best_products(
        self,
        ask: Callable[[int], exact.Neighbours],
        num_images: int,
        k: int,
        is_wanted: npt.NDArray[np.bool_] | None,
    ) -> list[Hit]:
        """Asks for more images until they hold k wanted products: the best images of a list hold its best products."""
        wanted = min(num_images, k * _IMAGES_PER_PRODUCT)
        while True:
            rows, scores = self._best_images(ask(wanted), is_wanted)
            if len(rows) >= min(k, self.num_products) or wanted == num_images:
                return [self._hit(int(row), float(score)) for row, score in zip(rows[:k], scores[:k], strict=True)]
            wanted = min(num_images, wanted * _GROWTH)

    def _best_images(self, found: exact.Neighbours, is_wanted: npt.NDArray[np.bool_] | None) -> tuple[Rows, Vector]:
        """The best image of every product, best first. Equal scores by row: ScaNN promises no order for them."""
        order = np.lexsort((found.ids[0], -found.scores[0]))
        rows, scores = found.ids[0][order], found.scores[0][order]
        if is_wanted is not None:
            rows, scores = rows[is_wanted[rows]], scores[is_wanted[rows]]
        _, first = np.unique(self._product_of_row[rows], return_index=True)
        first.sort()
        return rows[first], scores[first]

    def _hit(self, row: int, score: float) -> Hit:
        return Hit(row, score, self.catalog.image(row))


def _blocks(rows: slice | Rows) -> Iterator[slice | Rows]:
    """Rows in parts whose vectors can be taken: a slice copies nothing, other rows a bounded part at a time."""
    if isinstance(rows, slice):
        yield from [rows] if rows.stop > rows.start else []
    else:
        yield from (rows[start : start + _COPIED_ROWS] for start in range(0, len(rows), _COPIED_ROWS))


def _search_part(query: Matrix, rows: Rows, vectors: Matrix, num_images: int) -> exact.Neighbours:
    found = exact.search(query, vectors, min(num_images, len(rows)))
    return exact.Neighbours(rows[found.ids], found.scores)


def _side_by_side(found: Sequence[exact.Neighbours]) -> exact.Neighbours:
    return exact.Neighbours(
        np.concatenate([part.ids for part in found], axis=1), np.concatenate([part.scores for part in found], axis=1)
    )


def _number(values: Sequence[str]) -> tuple[list[str], Rows]:
    """The distinct values and, for every row, which of them it has. (numpy would pad every string to the longest.)"""
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(value, len(numbers)) for value in values), np.int64, len(values))
    return list(numbers), rows


@dataclass(frozen=True)
class LiveRelease:
    """What answers a request: a release with the searcher and the embedder that belong to it and to no other.

    longest_side_px: what ingest reduced the catalogue's images to; queries are reduced alike.
    """

    release: Release
    searcher: Searcher
    embedder: Embedder
    longest_side_px: int

    @property
    def name(self) -> str:
        """Version and manifest in one word, for addresses: a store that is rebuilt begins its versions anew."""
        return f"{self.release.version}-{self.release.manifest.sha256[:_NAMED_DIGITS]}"


class NoReleaseError(Exception):
    """Nothing can be searched yet."""


def load_release(
    release: Release, encoder_url: str | None = None, cache_directory: Path = DEFAULT_CACHE
) -> LiveRelease:
    """Verifies and opens a release and answers a first query with it, so that no user waits for what loads late.

    cache_directory: where a release of an object store is fetched to.

    Raises ReleaseError when a file is not as pushed, EmbedderUnavailable when its encoder's server is away, ValueError
    when its parts do not fit together.
    """
    release = ReleaseCache(cache_directory / "releases").verified(release)
    searcher, embedder = Searcher.open(release), open_embedder(encoder_url, release.encoder_directory, release.version)
    live = LiveRelease(release, searcher, embedder, _longest_side_px(release))
    embedding = live.embedder.embed([_grey_jpeg(live.longest_side_px)])[0]
    live.searcher.search(embedding, k=10)
    return live


def _longest_side_px(release: Release) -> int:
    side = release.manifest.facts.get(_SIDE_FACT)
    if not isinstance(side, int) or side < 1:
        raise ValueError(f"the manifest of {release.directory} must state {_SIDE_FACT} in pixels, got {side!r}")
    return side


def _grey_jpeg(longest_side_px: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (longest_side_px, longest_side_px), (128, 128, 128)).save(stream, "PNG")
    return canonicalise(stream.getvalue(), longest_side_px=longest_side_px).jpeg


class _Failures:
    """Why one release did not load, attempt by attempt."""

    def __init__(self) -> None:
        self._of: object = None
        self.problems: list[str] = []

    def look_at(self, release: Release) -> None:
        """Begins anew for another release, and for one whose files changed: a backup may still be coming back.

        Raises OSError where they change while they are looked at.
        """
        of = (_identity(release), _file_states(release))
        if of != self._of:
            self._of, self.problems = of, []


def _file_states(release: Release) -> object:
    """What changes when the files of a release do; an object store tells sizes alone."""
    if is_remote(release.address):
        return tuple(open_folder(release.address).files())
    return read_file_states(release.directory)


def _identity(release: Release) -> tuple[int, str]:
    """The version is not enough: a store that is rebuilt, or restored from a backup, gives out its numbers again."""
    return release.version, release.manifest.sha256


class CurrentRelease:
    """Follows the store's CURRENT on a thread: a new release is loaded beside the old one, then takes its place.

    A request holds on to one LiveRelease until it is answered. A release that does not load is reported by `problem`
    and given up after three attempts, until its files change (an encoder server that is away is waited for); a store
    that is gone is reported too. All the while the old release keeps serving.
    """

    def __init__(
        self,
        store: ReleaseStore,
        *,
        poll_interval_s: float = 2.0,
        load: Callable[[Release], LiveRelease] = load_release,
    ):
        self._store = store
        self._poll_interval_s = poll_interval_s
        self._load = load
        self._live: LiveRelease | None = None
        # Result pages still ask for the thumbnails of the release before; a mapped file costs no memory.
        self._catalogs: dict[str, Catalog] = {}
        self._failures = _Failures()
        self._problem = ""
        self._stopping = threading.Event()
        self._follower = threading.Thread(target=self._follow, name="current-release", daemon=True)

    @property
    def problem(self) -> str:
        """Why the release that should serve does not; '' when it does."""
        return self._problem

    def get(self) -> LiveRelease:
        """The release to answer with. Raises NoReleaseError."""
        if self._live is None:
            raise NoReleaseError(self._problem or "a release must be pushed first, there is none")
        return self._live

    def catalog(self, name: str) -> Catalog | None:
        """The catalogue of the live release or the one before it, by its name."""
        return self._catalogs.get(name)

    def start(self) -> None:
        """Begins to follow, with a first look at once on the thread."""
        self._follower.start()

    def stop(self) -> None:
        """Ends the thread; what is live stays so for requests under way."""
        self._stopping.set()
        self._follower.join()

    def refresh(self) -> None:
        """Looks once. Never raises: what is wrong is logged and told by `problem`."""
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - whatever the store's state, the live release keeps serving
            self._report(f"the current release cannot be read: {error}")

    def _look(self) -> None:
        release = self._store.current()
        if release is None:
            self._report(self._what_is_gone())
        elif self._live is not None and _identity(release) == _identity(self._live.release):
            self._report("")
        else:
            self._load_unless_given_up(release)

    def _what_is_gone(self) -> str:
        if self._live is None:
            return ""
        serving = f"release {self._live.release.version} keeps serving"
        return f"{self._store.address} must name the release that serves, it names none any more: restore it; {serving}"

    def _load_unless_given_up(self, release: Release) -> None:
        self._failures.look_at(release)
        if len(self._failures.problems) < _MAX_LOAD_ATTEMPTS:
            self._try_to_load(release)
        else:
            self._report(self._failures.problems[-1])

    def _try_to_load(self, release: Release) -> None:
        started = time.monotonic()
        if self._live is None and not self._problem:
            self._problem = f"release {release.version} is being loaded"
        try:
            live = self._load(release)
        except EmbedderUnavailable as error:
            self._report(f"release {release.version} waits for its encoder: {error}")
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the live release keeps serving
            self._failures.problems.append(f"release {release.version} does not load: {error}")
            self._report(self._failures.problems[-1])
        else:
            self._swap(live)
            log.info("release %d is live after %.1f s", release.version, time.monotonic() - started)

    def _swap(self, live: LiveRelease) -> None:
        previous = self._live
        kept = [live] if previous is None else [previous, live]
        self._catalogs = {item.name: item.searcher.catalog for item in kept}
        self._live = live
        self._failures = _Failures()
        self._problem = ""
        del previous, kept
        gc.collect()  # a SavedModel is full of reference cycles: without this, old releases pile up

    def _report(self, problem: str) -> None:
        if problem and problem != self._problem:
            log.warning("%s", problem)
        self._problem = problem

    def _follow(self) -> None:
        while True:
            self.refresh()
            if self._stopping.wait(self._poll_interval_s):
                return
