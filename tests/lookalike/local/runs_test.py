"""What a run remembers, and by which settings a candidate is promoted; the pipelines are built and not run."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components.candidate import CandidateFacts
from lookalike.catalog.sources import DataError
from lookalike.configs.settings import Settings, SettingsError, load_settings, promotion_settings
from lookalike.local import runs
from lookalike.local.runs import Request, find_candidate, promote, train
from lookalike.local.workspace import Workspace, WorkspaceBusyError
from lookalike.release.manifest import ReleaseError
from lookalike.review.decisions import DecisionPending
from lookalike.review.store import ReviewStoreError

REQUEST = Request(source="/photos", day="f" * 64, submitted_by="Ana", config="folder", overrides=["release.keep=3"])


class FakeRun:
    """A run that ended well.

    Attributes:
      candidate: its address.
    """

    def __init__(self, candidate: Path) -> None:
        self.candidate = candidate

    def artifact_uri(self, type_name: str) -> str:
        return str(self.candidate)

    account: ClassVar[dict[str, Any]] = {}


class Pipelines:
    """Takes pipelines instead of the runner.

    Attributes:
      nodes: of the last one, by name.
      ends: returns a run, or raises.
      uris: of the candidates, the newest first.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.nodes: dict[str, Any] = {}
        self.ends: Callable[[], Any] = lambda: None
        self.uris: list[str] = []

    def check_lock(self) -> None:
        with pytest.raises(WorkspaceBusyError), self.workspace.locked():
            pass

    def run(self, pipeline: Any, metadata: Path, on_node: Any) -> Any:
        self.check_lock()
        assert not (self.workspace.root / "workspace.json").exists(), "remembered at the end of a run only"
        self.nodes = {node.id: node for node in pipeline.components}
        return self.ends()


@pytest.fixture
def pipelines(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    fake = Pipelines(workspace)
    remember = workspace.remember

    def remember_inside_the_lock(config: str, overrides: list[str]) -> None:
        fake.check_lock()
        remember(config, overrides)

    monkeypatch.setattr(workspace, "remember", remember_inside_the_lock)
    monkeypatch.setattr(runs, "run_pipeline", fake.run)
    monkeypatch.setattr(runs, "output_uris", lambda metadata, node: fake.uris)
    monkeypatch.setattr(runs, "_readiness", lambda workspace: {})
    monkeypatch.setattr(runs, "accuracy_by_slice", lambda uri: [])
    return fake


@pytest.fixture
def make_candidate(tmp_path: Path, pipelines: Pipelines) -> Callable[..., str]:
    """Puts a candidate before people, as a run with overrides does."""

    def make(*overrides: str, candidate_id: str = "c1", refusals: tuple[str, ...] = (), **facts: Any) -> str:
        uri = tmp_path / f"candidate-{len(pipelines.uris)}"
        uri.mkdir()
        kept = {"settings": promotion_settings(load_settings("folder", overrides))} | facts
        addresses = {name: f"/{name}" for name in ("model_uri", "examples_uri", "taxonomy_uri", "evaluation_uri")}
        CandidateFacts(
            candidate_id=candidate_id,
            round_id=None if refusals else 1,
            refusals=refusals,
            model_sha256="ab" * 32,
            longest_side_px=64,
            **addresses,
            **kept,
        ).save(str(uri))
        pipelines.uris.insert(0, str(uri))
        return str(uri)

    return make


def remembered(workspace: Workspace) -> Any:
    path = workspace.root / "workspace.json"
    return json.loads(path.read_text()) if path.exists() else None


def run_training(workspace: Workspace, request: Request = REQUEST) -> None:
    train(workspace, Settings(), request, lambda node: None)


def test_a_run_that_ends_with_a_candidate_before_people_is_remembered(
    workspace: Workspace, pipelines: Pipelines, make_candidate: Callable[..., str]
) -> None:
    pipelines.ends = lambda: FakeRun(Path(make_candidate()))
    run_training(workspace)
    assert remembered(workspace) == {"config": "folder", "overrides": ["release.keep=3"]}
    assert pipelines.nodes["OpenReview"].exec_properties["submitted_by"] == "Ana"


def test_a_run_whose_candidate_was_refused_is_not_remembered(
    workspace: Workspace, pipelines: Pipelines, make_candidate: Callable[..., str]
) -> None:
    pipelines.ends = lambda: FakeRun(Path(make_candidate(refusals=("recall too low",))))
    run_training(workspace)
    assert remembered(workspace) is None


def test_a_run_that_failed_is_not_remembered(workspace: Workspace, pipelines: Pipelines) -> None:
    def fail() -> None:
        raise DataError("nothing to train on")

    pipelines.ends = fail
    with pytest.raises(DataError):
        run_training(workspace)
    assert remembered(workspace) is None


def test_a_run_that_found_another_one_going_on_is_not_remembered(workspace: Workspace, pipelines: Pipelines) -> None:
    with workspace.locked(), pytest.raises(WorkspaceBusyError, match="; wait until it ends, or take another --root"):
        run_training(workspace)
    assert remembered(workspace) is None


def test_a_name_that_only_the_database_would_refuse_is_refused_at_once(
    workspace: Workspace, pipelines: Pipelines, make_candidate: Callable[..., str]
) -> None:
    pipelines.ends = lambda: FakeRun(Path(make_candidate()))
    with pytest.raises(SettingsError, match="--by must name who starts the run in at most 255 characters, got 256"):
        run_training(workspace, Request("/photos", "f", "b" * 256, "folder", []))
    with pytest.raises(SettingsError, match="--by must name who starts the run in UTF-8 text, got"):
        run_training(workspace, Request("/photos", "f", "b\udcff", "folder", []))
    assert not workspace.root.exists()
    run_training(workspace, Request("/photos", "f", "b" * 255, "folder", []))


def test_a_review_that_nobody_keeps_is_told_before_anything_is_trained(
    workspace: Workspace, pipelines: Pipelines
) -> None:
    workspace.review_database = "postgresql://127.0.0.1:1/none"
    with pytest.raises(ReviewStoreError):
        run_training(workspace)
    assert pipelines.nodes == {}


def test_where_nothing_is_decided_yet_the_rounds_can_be_listed(
    workspace: Workspace, pipelines: Pipelines, make_candidate: Callable[..., str]
) -> None:
    def refuse() -> None:
        raise DecisionPending("said by the gate")

    pipelines.ends = refuse
    told = f"in {workspace.root}, found none yet; `lookalike review list --root {workspace.root}` shows what is still"
    with pytest.raises(DecisionPending, match=re.escape(f"expected a decision about candidate c1 {told}")):
        promote(workspace, Settings(), make_candidate(), lambda node: None)
    with pytest.raises(DecisionPending, match=re.escape(f"expected a candidate c9 {told}")):
        find_candidate(workspace, "c9")


@pytest.fixture
def promoted_by(workspace: Workspace, pipelines: Pipelines) -> Callable[..., tuple[bool, int]]:
    """The gate's allow_simulated and the index's exact_below in the promotion of the last candidate."""

    def build(*overrides: str) -> tuple[bool, int]:
        with pytest.raises(ReleaseError, match="expected the release of candidate"):
            promote(workspace, load_settings("folder", overrides), pipelines.uris[0], lambda node: None)
        index = json.loads(pipelines.nodes["IndexBuilder"].exec_properties["settings"])
        gates = [pipelines.nodes[node].exec_properties["allow_simulated"] for node in ("HumanGate", "ReleasePusher")]
        assert gates[0] == gates[1]
        return gates[0], index["exact_below"]

    return build


LATER = ("review.allow_simulated=true", "index.exact_below=9", "release.keep=9")


def test_a_candidate_is_promoted_by_the_settings_kept_with_it(
    make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate("index.exact_below=7")
    assert promoted_by(*LATER) == (False, 7)
    make_candidate("index.exact_below=7", "review.allow_simulated=true", candidate_id="c2")
    assert promoted_by() == (True, 7)


def test_a_candidate_of_0_1_0_is_promoted_by_the_settings_of_the_workspace(
    make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate(settings={})
    assert promoted_by(*LATER) == (True, 9)


def test_no_later_run_of_its_day_opens_the_gate_to_simulated_judgements(
    make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate()
    make_candidate(*LATER)
    assert promoted_by(*LATER) == (False, 9), "the gate as the round was opened, the index as its own day wants it now"


def test_a_refused_or_another_candidate_has_no_say_in_the_gate(
    make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate(refusals=("recall too low",))
    make_candidate(candidate_id="c0")
    make_candidate(*LATER)
    assert promoted_by() == (True, 9)


def test_how_many_releases_are_kept_is_a_matter_of_the_workspace(
    pipelines: Pipelines, make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate("release.keep=3")
    promoted_by("release.keep=9")
    assert json.loads(pipelines.nodes["ReleasePruner"].exec_properties["settings"])["keep"] == 9


def test_settings_of_a_candidate_that_are_gone_are_told_with_it(
    make_candidate: Callable[..., str], promoted_by: Callable[..., tuple[bool, int]]
) -> None:
    make_candidate(settings={"index": {"trees": 5}})
    with pytest.raises(
        SettingsError, match=r"settings of candidate c1: index has the keys .*, got 'trees'; run its day"
    ):
        promoted_by()
