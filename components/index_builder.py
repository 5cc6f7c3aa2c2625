"""Builds the nearest-neighbour index of a catalogue, of the kind that its size asks for."""

import json

from tfx import v1 as tfx

from components import artifacts
from components.component import component
from lookalike.configs.settings import IndexSettings
from lookalike.release.contents import EMBEDDINGS_FILE, read_embeddings
from lookalike.retrieval.scann_index import build, choose_spec
from lookalike.storage.staging import fetched, published


@component
def IndexBuilder(
    embeddings: tfx.dsl.components.InputArtifact[artifacts.Embeddings],
    index: tfx.dsl.components.OutputArtifact[artifacts.Index],
    settings: tfx.dsl.components.Parameter[str],
) -> None:
    """Saves the index."""
    chosen = IndexSettings(**json.loads(settings))
    with fetched(embeddings.uri) as directory, published(index.uri) as saved:
        vectors = read_embeddings(directory / EMBEDDINGS_FILE)
        spec = choose_spec(
            len(vectors),
            exact_below=chosen.exact_below,
            ah_below=chosen.ah_below,
            quantization=chosen.quantization,
        )
        built = build(vectors, spec, saved)
    index.set_string_custom_property("kind", built.kind)
