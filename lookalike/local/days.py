"""What makes two runs runs of one day, as a name."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from lookalike.configs.settings import Settings

# The stages that end in a candidate; people, index and store come after it.
MAKE_A_CANDIDATE = ("ingest", "schema", "model", "training", "evaluation")

# 0.1.0 named a day by every setting that it knew.
SETTINGS_OF_0_1_0 = {
    "ingest": "window_spans longest_side_px eval_fraction test_fraction near_duplicate_distance max_dead_ratio"
    " max_category_dead_ratio seed",
    "schema": "max_label_drift warn_only",
    "model": "image_size_px depth width embedding_dim",
    "training": "epochs batch_size steps_per_epoch learning_rate weight_decay ranking_weight temperature"
    " label_smoothing patience max_rotation_degrees max_zoom max_shear colour_jitter erase_fraction bfloat16 seed",
    "evaluation": "min_accuracy min_recall_at_1 max_recall_loss max_gallery_images bootstrap_resamples"
    " pictured_queries",
    "review": "database_url num_queries min_judged_queries votes_per_task non_inferiority_margin critical_z"
    " precision_floor expiry_days allow_simulated",
    "index": "exact_below ah_below quantization min_recall_at_10 max_queries",
    "release": "keep",
    "demo": "num_products seed num_searches",
}


def day_keys(fingerprint: str, settings: Settings) -> tuple[str, str]:
    """The name of a day, and the one that 0.1.0 gave it.

    A day is named by what differs from the defaults: a setting that a later version adds makes no other day of it.
    """
    document = asdict(settings)
    made_of = {section: document[section] for section in MAKE_A_CANDIDATE}
    known = {
        section: {name: document[section][name] for name in names.split() if name in document.get(section, {})}
        for section, names in SETTINGS_OF_0_1_0.items()
    }
    return _key(fingerprint, _changed(made_of, asdict(Settings()))), _key(fingerprint, known)


def _changed(document: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _changed(value, defaults[name]) if isinstance(value, dict) else value
        for name, value in document.items()
        if value != defaults[name]
    }


def _key(fingerprint: str, settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps([fingerprint, settings], sort_keys=True).encode()).hexdigest()[:16]
