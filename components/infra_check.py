"""Does the candidate load and answer where it would serve? Asked in a separate process, which may die of it."""

import json
import subprocess
import sys
from pathlib import Path

from tfx import v1 as tfx
from tfx.utils import path_utils

import components
from components import artifacts, infra_probe
from components.component import component
from components.verdict import StageVerdict
from lookalike.storage.staging import fetched

TIMEOUT_S = 300.0
ROOT = Path(components.__file__).parent.parent


@component
def InfraCheck(
    examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples],
    model: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Model],
    verdict: tfx.dsl.components.OutputArtifact[artifacts.VerdictArtifact],
) -> None:
    """Asks the model held-out images."""
    held_out = examples.path(split=artifacts.HELD_OUT_SPLIT)
    with fetched(path_utils.serving_model_dir(model.uri)) as encoder:
        check(encoder, held_out).save(verdict.uri)


def check(encoder: Path, queries: str, timeout_s: float = TIMEOUT_S) -> StageVerdict:
    """A verdict whatever happens: a crash, a hang and a wrong answer are reasons, not errors of the pipeline."""
    command = [sys.executable, "-m", infra_probe.__name__, str(encoder), queries]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return StageVerdict(False, [f"the encoder must load and answer within {timeout_s:g} s, it did not"], {})
    if done.returncode:
        last_line = (done.stderr.strip().splitlines() or ["nothing on standard error"])[-1]
        return StageVerdict(False, [f"the probe must end with status 0, got {done.returncode}: {last_line}"], {})
    facts = json.loads(done.stdout)
    return StageVerdict(
        True, [f"loaded and answered {facts['num_queries']} queries, {facts['p50_ms']:.1f} ms each"], facts
    )
