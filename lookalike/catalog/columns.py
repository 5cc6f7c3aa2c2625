"""Which of our columns a shop's own name for one means."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from lookalike.catalog.dead_letters import DataError
from lookalike.catalog.product import ATTRIBUTE_PREFIX, COLUMNS

IMAGE = "image"
VARIANTS_OF = "item_group_id"
"""What the variants of a product have in common; it is their product where they are to be merged."""

_GAPS = re.compile(r"[\s_\-]+")
_OTHER_NAMES = {"file_name": IMAGE, "filename": IMAGE, "handle": VARIANTS_OF}  # Hugging Face, and Shopify
_NUM_REMEMBERED = 10_000


class Columns:
    """Names as they are written → our columns, in any case and spacing.

    stated: what a shop says that its own names mean; it goes before what we would take them for.

    Raises DataError: it names a column that we do not have.
    """

    def __init__(self, stated: Mapping[str, str] | None = None) -> None:
        for name, column in (stated or {}).items():
            if not is_column(column):
                ours = ", ".join([*COLUMNS, VARIANTS_OF, f"{ATTRIBUTE_PREFIX}<name>"])
                raise DataError(f"a column must be one of ours, {ours}; got {name}={column} in ingest.columns")
        self._stated = {_plain(name): column for name, column in (stated or {}).items()}
        self.column_of = lru_cache(_NUM_REMEMBERED)(self._column_of)

    def _column_of(self, name: str) -> str:
        plain = _plain(name)
        column = self._stated.get(plain, plain)
        if column.startswith(ATTRIBUTE_PREFIX):
            own = name.partition(":")[2] if column == plain else column.partition(":")[2]
            return f"{ATTRIBUTE_PREFIX}{own.strip()}" if own.strip() else ""
        column = _OTHER_NAMES.get(column, column)
        return column if is_column(column) else ""


def is_column(name: str) -> bool:
    """Whether a name is one of our columns."""
    return name in COLUMNS or name == VARIANTS_OF or (name.startswith(ATTRIBUTE_PREFIX) and name != ATTRIBUTE_PREFIX)


def _plain(name: str) -> str:
    return _GAPS.sub("_", unicodedata.normalize("NFKC", name).strip().casefold())
