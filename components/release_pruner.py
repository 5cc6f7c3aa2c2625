"""Removes the oldest releases: a stage of its own, so that how many are kept changes no push."""

import json

from tfx import v1 as tfx

from components import artifacts
from components.component import component
from lookalike.configs.settings import ReleaseSettings
from lookalike.release.store import ReleaseStore


@component
def ReleasePruner(
    release: tfx.dsl.components.InputArtifact[artifacts.Release],
    settings: tfx.dsl.components.Parameter[str],
    release_store: tfx.dsl.components.Parameter[str],
) -> None:
    """Leaves the newest releases and the one that serves; `release` is what it waits for."""
    ReleaseStore(release_store).prune(ReleaseSettings(**json.loads(settings)).keep)
