"""What a run would make of a source, told in seconds: what is kept, set aside, split, and why."""

import hashlib
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lookalike.catalog.account import Account, Kept, account_of
from lookalike.catalog.dead_letters import DataError, DeadLetter, check_dead_letter_thresholds
from lookalike.catalog.guarded_decoder import GuardedDecoder
from lookalike.catalog.images import LOW_INFO
from lookalike.catalog.notes import Note
from lookalike.catalog.originals import ImageRejected, check_first_bytes, read_original
from lookalike.catalog.placement import DecodedImage, Placement, place_whole
from lookalike.catalog.product import CatalogImage
from lookalike.catalog.readiness import Count, Counted, Readiness, State, assess, count_product
from lookalike.catalog.rows import Keep
from lookalike.catalog.shared_pictures import SAYS_NOTHING
from lookalike.catalog.sources import Source, open_source
from lookalike.catalog.taxonomy import Taxonomy
from lookalike.configs.settings import IngestSettings

SAMPLE_S = 20.0
NUM_PICTURED = 60  # of each fate
_MAX_THUMBNAILS = 2000  # of the images that are opened first; all of a large catalogue would not fit


@dataclass(frozen=True)
class Pictured:
    """An image with its thumbnail, and what becomes of it in words."""

    image: CatalogImage
    jpeg: bytes
    fate: str


@dataclass(frozen=True)
class Checked:
    """What was found.

    refusal: why a run would end with 65 before training; '' where it would not.
    num_opened: images whose pixels were looked at; of the others the first bytes were.
    pictured: the images whose thumbnails are at hand.
    letters: all that is set aside.
    """

    account: Account
    readiness: Readiness
    refusal: str
    num_opened: int
    pictured: list[Pictured]
    letters: list[DeadLetter]

    @property
    def is_ready(self) -> bool:
        """Whether a run would come to its training."""
        return not self.refusal and self.readiness.state is not State.STOP

    def to_document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "account": self.account.to_document(),
            "readiness": self.readiness.to_document(),
            "refusal": self.refusal,
            "num_opened": self.num_opened,
        }


def check_source(address: str, settings: IngestSettings, keep: Keep, *, sample_s: float = SAMPLE_S) -> Checked:
    """Reads all rows, the first bytes of all images, and the pixels of as many products as come in `sample_s` seconds.

    Raises DataError: the source cannot be used at all.
    """
    source = open_source(address, window_spans=settings.window_spans, settings=settings, keep=keep)
    letters = list(source.dead)
    decoded: list[DecodedImage] = []
    thumbnails: dict[tuple[Any, ...], bytes] = {}
    num_opened = 0
    with GuardedDecoder() as decoder:
        deadline = time.monotonic() + sample_s
        for image in _sampled_first(source.rows):
            is_opened = time.monotonic() < deadline
            try:
                if is_opened:
                    num_opened += 1
                    decoded.append(_opened(image, decoder, settings.longest_side_px, thumbnails))
                else:
                    check_first_bytes(image.uri)
                    decoded.append(_unopened(image))
            except ImageRejected as rejected:
                letters.append(DeadLetter.of(image, rejected.reason, rejected.detail))
    return _checked(source, decoded, letters, settings, thumbnails, num_opened)


def _sampled_first(rows: Sequence[CatalogImage]) -> list[CatalogImage]:
    """Whole products in the order of a hash, so that what is seen within the time stands for all."""
    return sorted(rows, key=lambda row: (hashlib.sha256(row.product_id.encode()).digest(), row.stated_as))


def _opened(
    image: CatalogImage, decoder: GuardedDecoder, longest_side_px: int, thumbnails: dict[tuple[Any, ...], bytes]
) -> DecodedImage:
    original = read_original(image.uri, sha256=image.sha256)
    canonical = decoder.canonicalise(original, longest_side_px=longest_side_px, crop=image.crop)
    if len(thumbnails) < _MAX_THUMBNAILS:
        thumbnails[image.stated_as] = canonical.jpeg
    read = replace(image, canonical_sha256=hashlib.sha256(canonical.jpeg).hexdigest())
    return DecodedImage(read, canonical.perceptual_hash, LOW_INFO in canonical.flags)


def _unopened(image: CatalogImage) -> DecodedImage:
    """Taken for a picture like no other."""
    digest = hashlib.sha256(repr(image.stated_as).encode()).digest()
    return DecodedImage(replace(image, canonical_sha256=digest.hex()), int.from_bytes(digest[:8], "big"), False)


def _checked(
    source: Source,
    decoded: Sequence[DecodedImage],
    letters: list[DeadLetter],
    settings: IngestSettings,
    thumbnails: Mapping[tuple[Any, ...], bytes],
    num_opened: int,
) -> Checked:
    placed, shared = place_whole(decoded, settings)
    total: dict[str, int] = defaultdict(int)
    for category in (*(row.category for row in source.rows), *(letter.category for letter in source.dead)):
        total[category] += 1
    pictured: list[Pictured] = []
    kept: list[tuple[CatalogImage, Placement]] = []
    for one in decoded:
        outcome = placed.outcomes[one.image.stated_as]
        if isinstance(outcome, Placement):
            kept.append((one.image, outcome))
            if one.perceptual_hash in shared:
                source.notes.add(Note(SAYS_NOTHING, one.image.image_id))
        else:
            letters.append(DeadLetter.of(one.image, outcome.reason, outcome.detail))
        if one.image.stated_as in thumbnails:
            fate = outcome.split if isinstance(outcome, Placement) else outcome.reason.value
            pictured.append(Pictured(one.image, thumbnails[one.image.stated_as], fate))
    letters.sort(key=lambda letter: (letter.reason.value, letter.image_id))
    categories = {image.category for image, _ in kept} - {""}
    counted = Kept(len(kept), len({image.product_id for image, _ in kept}), len(categories))
    return Checked(
        account=account_of(counted, letters, source.notes, ""),
        readiness=_readiness(kept),
        refusal=_refusal(total, letters, categories, settings),
        num_opened=num_opened,
        pictured=pictured,
        letters=letters,
    )


def _readiness(kept: Iterable[tuple[CatalogImage, Placement]]) -> Readiness:
    products: defaultdict[str, list[Counted]] = defaultdict(list)
    for image, goes in kept:
        products[image.product_id].append(
            Counted(goes.split, goes.label, image.category, image.product_id, asks=not goes.seen_in)
        )
    counts: dict[tuple[str, str], Count] = {}
    for shown in products.values():
        for key, count in count_product(shown).items():
            counts[key] = counts.get(key, Count()).plus(count)
    return assess(counts)


def _refusal(
    total: Mapping[str, int], letters: Iterable[DeadLetter], categories: Iterable[str], settings: IngestSettings
) -> str:
    try:
        Taxonomy.from_categories(categories)
        check_dead_letter_thresholds(
            total, letters, max_ratio=settings.max_dead_ratio, max_category_ratio=settings.max_category_dead_ratio
        )
    except (DataError, ValueError) as error:
        return str(error)
    return ""


def pictured_of_each(checked: Checked) -> Iterator[tuple[str, list[Pictured]]]:
    """Some pictures of each fate, those that are set aside first."""
    by_fate: defaultdict[str, list[Pictured]] = defaultdict(list)
    for one in checked.pictured:
        by_fate[one.fate].append(one)
    for fate in sorted(by_fate, key=lambda fate: (fate.islower(), fate)):
        yield fate, by_fate[fate][:NUM_PICTURED]
