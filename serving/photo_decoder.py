"""The door for strangers' photos: decoded in worker processes, where a quick one never waits for a slow one.

What a stranger can cost: 5 s of CPU a photo, and with all workers at their limits 192 + 48 MiB for each processor more.
"""

import os
from types import TracebackType

from lookalike.catalog.dead_letters import Reason
from lookalike.catalog.guarded_decoder import Budget, GuardedDecoder
from lookalike.catalog.images import CanonicalImage
from lookalike.catalog.originals import ImageLimits, ImageRejected

NUM_QUICK = os.cpu_count() or 1
"""Quick photos that are decoded at once."""

# About 0.1 s of CPU: 16 megapixels of a plain JPEG, 1.6 of a progressive one in 10 scans, 3.2 of a PNG.
_QUICK_LIMITS = ImageLimits(max_work_px=16_000_000, max_memory_bytes=48 * 2**20)
_QUICK_BUDGET = Budget(cpu_s=1, wall_s=10)
_SLOW_LIMITS = ImageLimits(max_memory_bytes=192 * 2**20)
_SLOW_BUDGET = Budget(niceness=10, wall_s=20)


class PhotoDecoder:
    """images.canonicalise for any number of threads, in two parts; a block that it manages starts and ends its workers.

    One worker alone takes what is slow, and stands back for all else.
    """

    def __init__(self) -> None:
        self._quick = GuardedDecoder(num_workers=NUM_QUICK, limits=_QUICK_LIMITS, budget=_QUICK_BUDGET)
        self._slow = GuardedDecoder(limits=_SLOW_LIMITS, budget=_SLOW_BUDGET)

    def canonicalise_if_quick(self, photo: bytes, longest_side_px: int) -> CanonicalImage | None:
        """The canonical image, or None where its header says that it takes longer. Raises ImageRejected."""
        try:
            return self._quick.canonicalise(photo, longest_side_px=longest_side_px)
        except ImageRejected as rejected:
            if rejected.reason is Reason.TOO_COSTLY:
                return None
            raise

    def canonicalise_slowly(self, photo: bytes, longest_side_px: int) -> CanonicalImage:
        """The canonical image of any other photo, one at a time. Raises ImageRejected."""
        return self._slow.canonicalise(photo, longest_side_px=longest_side_px)

    def __enter__(self) -> "PhotoDecoder":
        self._quick.__enter__()
        self._slow.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slow.close()
        self._quick.close()
