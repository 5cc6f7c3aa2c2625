"""The kinds of artifact that TFX does not know, and what nodes find in each other's artifacts.

A TYPE_NAME is what ML Metadata knows a kind by, and what Kubeflow imports it by.
"""

from tfx.types.artifact import Artifact

__all__ = ["Candidate", "Embeddings", "Index", "Release", "RetrievalEvaluation", "Taxonomy", "VerdictArtifact"]

# Names are spelt here and not by the node that writes them: importing that node would make its code part of the
# reader's cache key.
SPLIT_PREFIX = "Split-"  # TFX's layout of Examples
HELD_OUT_SPLIT = "test"  # never trained on; eval has chosen the epoch already
LONGEST_SIDE = "longest_side_px"  # property of Examples: of the canonical images; queries are reduced alike
SCHEMA_FILE = "schema.pbtxt"
TAXONOMY_FILE = "taxonomy.json"
ACCOUNT = "account"  # property of Examples: what became of all that was read, catalog.account as JSON
METRICS_FILE = "metrics.json"
QUERIES_FILE = "queries.npy"
MIN_RECALL = "min_recall_at_10"  # fact of the index's verdict: the limit it was held against


class Taxonomy(Artifact):
    """taxonomy.json, the tree of categories of the examples."""

    TYPE_NAME = "components.Taxonomy"


class RetrievalEvaluation(Artifact):
    """metrics.json, page.html, and evidence.json with its pictures for the reviewers."""

    TYPE_NAME = "components.RetrievalEvaluation"


class VerdictArtifact(Artifact):
    """verdict.json: passed or not, and the reasons."""

    TYPE_NAME = "components.Verdict"


class Candidate(Artifact):
    """candidate.json: a model with all that speaks for or against it, waiting for people."""

    TYPE_NAME = "components.Candidate"


class Embeddings(Artifact):
    """embeddings.npy and catalogue.arrow of the gallery, row by row, and the held-out queries.npy."""

    TYPE_NAME = "components.Embeddings"


class Index(Artifact):
    """A saved nearest-neighbour index over Embeddings."""

    TYPE_NAME = "components.Index"


class Release(Artifact):
    """release.json: which version of the release store this run pushed."""

    TYPE_NAME = "components.Release"
