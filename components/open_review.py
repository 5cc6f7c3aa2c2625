"""The end of a training run: a candidate that nothing speaks against is put before people; nobody waits here."""

import json
import logging
from pathlib import Path

from tfx import v1 as tfx
from tfx.components.evaluator import constants as evaluator_constants

from components import artifacts
from components.accuracy import why_not_blessed
from components.candidate import CandidateFacts
from components.component import component
from components.verdict import StageVerdict
from lookalike.configs.settings import ReviewSettings
from lookalike.review.evidence import evidence_sha256, read_evidence
from lookalike.review.rounds import OpenedRound, open_round
from lookalike.review.store import open_store
from lookalike.storage.address import open_folder
from lookalike.storage.staging import fetched

log = logging.getLogger(__name__)


@component
def OpenReview(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    taxonomy: tfx.dsl.components.InputArtifact[artifacts.Taxonomy],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    blessing: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelBlessing],
    accuracy: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.ModelEvaluation],
    evaluation: tfx.dsl.components.InputArtifact[artifacts.RetrievalEvaluation],
    retrieval_verdict: tfx.dsl.components.InputArtifact[artifacts.VerdictArtifact],
    infra_verdict: tfx.dsl.components.InputArtifact[artifacts.VerdictArtifact],
    candidate: tfx.dsl.components.OutputArtifact[artifacts.Candidate],
    settings: tfx.dsl.components.Parameter[str],
    promotion_settings: tfx.dsl.components.Parameter[str],
    submitted_by: tfx.dsl.components.Parameter[str],
    database_url: tfx.dsl.components.Parameter[str],
) -> None:
    """Opens a round, or records why not.

    settings: of the review.
    promotion_settings: kept with the candidate.
    submitted_by: who started the run, '' for nobody; a round that stands keeps its first.
    """
    refusals = [] if _is_blessed(blessing) else [_why_not_blessed(accuracy)]
    for verdict in (StageVerdict.load(retrieval_verdict.uri), StageVerdict.load(infra_verdict.uri)):
        refusals += [] if verdict.passed else verdict.reasons
    with fetched(evaluation.uri) as evidence_dir:
        evidence = read_evidence(evidence_dir)
        opened = None
        if refusals:
            log.warning("candidate %s not put before people: %s", evidence.candidate.candidate_id, "; ".join(refusals))
        else:
            rules = ReviewSettings(**json.loads(settings))
            opened = _open_round(evidence_dir, len(evidence.queries), rules, submitted_by, database_url)
    CandidateFacts(
        candidate_id=evidence.candidate.candidate_id,
        round_id=opened.round_id if opened else None,
        refusals=refusals,
        model_sha256=evidence.candidate.model_sha256,
        model_uri=model.uri,
        examples_uri=examples.uri,
        taxonomy_uri=taxonomy.uri,
        evaluation_uri=evaluation.uri,
        longest_side_px=examples.get_int_custom_property(artifacts.LONGEST_SIDE),
        submitted_by=opened.submitted_by if opened else submitted_by,
        stands=opened.stands if opened else (),
        settings=json.loads(promotion_settings),
    ).save(candidate.uri)


def _is_blessed(blessing: tfx.types.standard_artifacts.ModelBlessing) -> bool:
    return evaluator_constants.BLESSED_FILE_NAME in open_folder(blessing.uri).children()


def _why_not_blessed(accuracy: tfx.types.standard_artifacts.ModelEvaluation) -> str:
    with fetched(accuracy.uri) as directory:
        return why_not_blessed(str(directory))


def _open_round(
    evidence_dir: Path, num_queries: int, settings: ReviewSettings, submitted_by: str, database_url: str
) -> OpenedRound:
    with open_store(database_url)() as session:
        opened = open_round(
            session,
            evidence_dir,
            submitted_by=submitted_by,
            num_queries=settings.num_queries,
            votes_per_task=settings.votes_per_task,
            # A small catalogue has fewer held-out photos than a round wants; all of them must then be judged.
            min_judged_queries=min(settings.min_judged_queries, num_queries),
            delta=settings.non_inferiority_margin,
            critical_z=settings.critical_z,
            precision_floor=settings.precision_floor,
            expiry_days=settings.expiry_days,
            seed=int(evidence_sha256(evidence_dir)[:8], 16),
        )
    log.info("round %d is open until %s", opened.round_id, opened.expires_at)
    if opened.stands:
        log.warning("round %d stands as it was opened: %s", opened.round_id, "; ".join(opened.stands))
    return opened
