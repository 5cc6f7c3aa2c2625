"""Builds the nearest-neighbour index of a catalogue, of the kind that its size asks for."""

import json

import numpy as np
from tfx import v1 as tfx

from components import artifacts
from components.component import component
from lookalike.configs.mounts import mounted_path
from lookalike.configs.settings import IndexSettings
from lookalike.release.contents import EMBEDDINGS_FILE
from lookalike.retrieval.scann_index import build, choose_spec


@component
def IndexBuilder(
    embeddings: tfx.dsl.components.InputArtifact[artifacts.Embeddings],
    index: tfx.dsl.components.OutputArtifact[artifacts.Index],
    settings: tfx.dsl.components.Parameter[str],
) -> None:
    """Saves the index."""
    chosen = IndexSettings(**json.loads(settings))
    vectors = np.load(mounted_path(embeddings.uri) / EMBEDDINGS_FILE, allow_pickle=False)
    spec = choose_spec(
        len(vectors),
        exact_below=chosen.exact_below,
        ah_below=chosen.ah_below,
        quantization=chosen.quantization,
    )
    built = build(vectors, spec, mounted_path(index.uri))
    index.set_string_custom_property("kind", built.kind)
