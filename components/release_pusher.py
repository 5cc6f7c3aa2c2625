"""Puts encoder, index and catalogue together as one release, and makes it the one that serves."""

import json
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tfx import v1 as tfx
from tfx.utils import path_utils

from components import artifacts
from components.candidate import CandidateFacts
from components.component import component
from components.human_gate import check_decision
from components.verdict import StageVerdict
from lookalike.documents import CandidateUnreadableError
from lookalike.errors import UserError
from lookalike.release import contents
from lookalike.release.store import ReleaseStore
from lookalike.retrieval.scann_index import ScannIndex
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched

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
    verdict = StageVerdict.load(index_verdict.uri)
    with ExitStack() as stack:
        encoder = stack.enter_context(fetched(path_utils.serving_model_dir(model.uri)))
        blessed = check_decision(
            decision, candidate=facts, encoder_dir=encoder, public_key=public_key, allow_simulated=allow_simulated
        )
        if not verdict.passed:
            raise IndexNotGoodEnoughError("; ".join(verdict.reasons))
        saved_index, vectors, categories, measured = (
            stack.enter_context(fetched(one.uri)) for one in (index, embeddings, taxonomy, evaluation)
        )
        min_recall = verdict.facts[artifacts.MIN_RECALL]

        def build(directory: Path, version: int) -> None:
            shutil.copytree(encoder, directory / "encoder" / str(version))
            shutil.copytree(saved_index, directory / contents.INDEX_DIRECTORY)
            shutil.copy(vectors / contents.EMBEDDINGS_FILE, directory)
            shutil.copy(vectors / contents.CATALOG_FILE, directory)
            shutil.copy(categories / artifacts.TAXONOMY_FILE, directory / contents.TAXONOMY_FILE)
            metrics = {"retrieval": _read_metrics(measured / artifacts.METRICS_FILE), "index": verdict.facts}
            (directory / contents.METRICS_FILE).write_text(json.dumps(metrics, indent=2))
            (directory / contents.DECISION_FILE).write_text(decision)
            contents.write_canary(
                directory / contents.CANARY_FILE,
                contents.read_embeddings(vectors / artifacts.QUERIES_FILE)[:CANARY_QUERIES],
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
    with open_folder(release.uri).writing(RELEASE_FILE) as path:
        path.write_text(json.dumps(told, indent=2))
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
