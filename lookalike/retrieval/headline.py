"""The one track that a model is chosen and gated by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lookalike.errors import EXIT_BAD_DATA, UserError


class NothingToMeasureError(UserError, code="NOTHING_TO_MEASURE", exit_status=EXIT_BAD_DATA):
    """No held-out image has anything to be found."""


@dataclass(frozen=True)
class Headline:
    """The figures of one track.

    name: the track, in words.
    values: the track's metrics, as in `retrieval.metrics.evaluate_retrieval`.
    """

    name: str
    values: Mapping[str, Any]

    @property
    def recall_at_1(self) -> float:
        """What is compared with floors and with the serving release."""
        return float(self.values["recall_at_1"])


def headline(metrics: Mapping[str, Any]) -> Headline:
    """The most demanding track that has queries: the product in a wild photo, then the product, then the category.

    metrics: as `retrieval.metrics.evaluate_retrieval` gives them.
    Raises NothingToMeasureError when no track has a query.
    """
    for level, track in (("product", "wild→catalog"), ("product", "overall"), ("category", "overall")):
        values = metrics[level][track]
        if values["num_queries"]:
            return Headline(f"{level}, {track}", values)
    raise NothingToMeasureError(
        "expected queries whose product or category is in the gallery, got none: "
        "held-out images need a label, or another catalogue image of their product"
    )
