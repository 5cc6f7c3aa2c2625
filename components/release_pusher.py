"""Puts encoder, index and catalogue together as one release, and makes it the one that serves."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tfx import v1 as tfx
from tfx.utils import path_utils

from components import artifacts
from components.candidate import CandidateFacts
from components.component import component
from components.human_gate import check_decision
from components.verdict import StageVerdict
from lookalike.configs.mounts import mounted_path, output_directory
from lookalike.documents import CandidateUnreadableError
from lookalike.errors import UserError
from lookalike.release import contents
from lookalike.release.store import ReleaseStore
from lookalike.retrieval.scann_index import ScannIndex

RELEASE_FILE = "release.json"
CANARY_QUERIES = 100


class IndexNotGoodEnoughError(UserError, code="INDEX_NOT_GOOD_ENOUGH"):
    """The index evaluation said no; nothing is pushed."""


@component
def ReleasePusher(
    candidate: tfx.dsl.components.InputArtifact[artifacts.Candidate],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    taxonomy: tfx.dsl.components.InputArtifact[artifacts.Taxonomy],
    evaluation: tfx.dsl.components.InputArtifact[artifacts.RetrievalEvaluation],
    blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    embeddings: tfx.dsl.components.InputArtifact[artifacts.Embeddings],
    index: tfx.dsl.components.InputArtifact[artifacts.Index],
    index_verdict: tfx.dsl.components.InputArtifact[artifacts.VerdictArtifact],
    release: tfx.dsl.components.OutputArtifact[artifacts.Release],
    decision: tfx.dsl.components.Parameter[str],
    public_key: tfx.dsl.components.Parameter[str],
    allow_simulated: tfx.dsl.components.Parameter[bool],
    release_store: tfx.dsl.components.Parameter[str],
) -> None:
    """Pushes once for each decision; `blessing` is why this may run.

    The gate may have answered from TFX's cache, so the decision is checked again, now.

    Raises DecisionError: if it is not a blessing of this model any more.
    Raises IndexNotGoodEnoughError: with the reasons.
    Raises OSError: disk full or not writable; the release that serves goes on serving.
    """
    facts = CandidateFacts.load(candidate.uri)
    encoder_dir = mounted_path(path_utils.serving_model_path(model.uri))
    blessed = check_decision(
        decision, candidate=facts, encoder_dir=encoder_dir, public_key=public_key, allow_simulated=allow_simulated
    )
    verdict = StageVerdict.load(index_verdict.uri)
    if not verdict.passed:
        raise IndexNotGoodEnoughError("; ".join(verdict.reasons))
    vectors = mounted_path(embeddings.uri)

    min_recall = verdict.facts[artifacts.MIN_RECALL]

    def build(directory: Path, version: int) -> None:
        shutil.copytree(encoder_dir, directory / "encoder" / str(version))
        shutil.copytree(mounted_path(index.uri), directory / contents.INDEX_DIRECTORY)
        shutil.copy(vectors / contents.EMBEDDINGS_FILE, directory)
        shutil.copy(vectors / contents.CATALOG_FILE, directory)
        shutil.copy(mounted_path(taxonomy.uri) / artifacts.TAXONOMY_FILE, directory / contents.TAXONOMY_FILE)
        retrieval = mounted_path(evaluation.uri) / artifacts.METRICS_FILE
        metrics = {"retrieval": _read_metrics(retrieval), "index": verdict.facts}
        (directory / contents.METRICS_FILE).write_text(json.dumps(metrics, indent=2))
        (directory / contents.DECISION_FILE).write_text(decision)
        contents.write_canary(
            directory / contents.CANARY_FILE,
            np.load(vectors / artifacts.QUERIES_FILE, allow_pickle=False)[:CANARY_QUERIES],
            contents.read_embeddings(vectors / contents.EMBEDDINGS_FILE),
        )
        _check_canary(directory, min_recall)

    pushed = ReleaseStore(release_store).push(
        build,
        decision_id=blessed.decision_id,
        facts={
            "candidate_id": facts.candidate_id,
            "model_sha256": facts.model_sha256,
            "model_uri": facts.model_uri,
            "examples_uri": facts.examples_uri,
            "longest_side_px": facts.longest_side_px,
            "simulated": blessed.simulated,
            contents.MIN_RECALL_FACT: min_recall,
        },
    )
    told = {"version": pushed.version, "manifest_sha256": pushed.manifest.sha256, "decision_id": blessed.decision_id}
    (output_directory(release.uri) / RELEASE_FILE).write_text(json.dumps(told, indent=2))
    release.set_int_custom_property("version", pushed.version)
    release.set_string_custom_property("decision_id", blessed.decision_id)


def _check_canary(directory: Path, min_recall: float) -> None:
    """As every server will ask before it serves: what fails there must not be pushed. Raises ReleaseError."""
    index = ScannIndex.load(directory / contents.INDEX_DIRECTORY)
    embeddings = contents.read_embeddings(directory / contents.EMBEDDINGS_FILE)
    contents.check_canary(directory / contents.CANARY_FILE, index.search, embeddings, min_recall=min_recall)


def _read_metrics(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CandidateUnreadableError.of(path, "what was measured of the candidate", "no JSON") from error
