"""What makes two runs runs of one day, as a name."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from lookalike.configs.settings import Settings

# The stages that end in a candidate; people, index and store come after it.
MAKE_A_CANDIDATE = ("ingest", "schema", "model", "training", "evaluation")
# What only lets a day pass or shows it: with another value, the same candidate comes of it.
CHANGE_NO_CANDIDATE = {
    "ingest": ("max_dead_ratio", "max_category_dead_ratio"),
    "schema": ("max_label_drift", "warn_only"),
    "evaluation": ("bootstrap_resamples", "pictured_queries"),
}


def day_key(fingerprint: str, settings: Settings) -> str:
    """The name of a day.

    It is named by what differs from the defaults: a setting that a later version adds makes no other day of it.
    """
    document, defaults = asdict(settings), asdict(Settings())
    for section, names in CHANGE_NO_CANDIDATE.items():
        document[section] |= {name: defaults[section][name] for name in names}
    made_of = {section: document[section] for section in MAKE_A_CANDIDATE}
    return _key(fingerprint, _changed(made_of, defaults))


def _changed(document: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _changed(value, defaults[name]) if isinstance(value, dict) else value
        for name, value in document.items()
        if value != defaults[name]
    }


def _key(fingerprint: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([fingerprint, settings], sort_keys=True).encode()).hexdigest()[:16]
