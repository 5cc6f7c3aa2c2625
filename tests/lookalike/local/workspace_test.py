"""What a workspace remembers: its settings, and which release served when a day was first run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lookalike.configs.settings import (
    DemoSettings,
    EvaluationSettings,
    IndexSettings,
    IngestSettings,
    ModelSettings,
    ReleaseSettings,
    ReviewSettings,
    SchemaSettings,
    Settings,
    SettingsError,
    TrainingSettings,
)
from lookalike.local.days import day_key
from lookalike.local.workspace import (
    SETTINGS_FILE,
    NoWorkspaceError,
    Workspace,
    WorkspaceDamagedError,
    open_releases,
    open_workspace,
)
from lookalike.release.store import Release

DAY = "f" * 64


@pytest.fixture
def push(workspace: Workspace, build_release: Callable[[Path, int], None]) -> Callable[[], Release]:
    """Makes another release serve."""

    def make() -> Release:
        return workspace.releases.push(
            build_release,
            decision_id=f"decision-{len(list(workspace.root.glob('releases/releases/*')))}",
            facts={},
        )

    return make


def test_a_day_run_again_is_compared_with_what_served_the_first_time(
    workspace: Workspace, push: Callable[[], Release]
) -> None:
    assert workspace.baseline_of_day(DAY, Settings()) == ""
    first = push().reference
    assert workspace.baseline_of_day(DAY, Settings()) == ""
    assert workspace.baseline_of_day("e" * 64, Settings()) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"review": ReviewSettings(num_queries=250, votes_per_task=2, allow_simulated=True)},
        {"index": IndexSettings(exact_below=7)},
        {"release": ReleaseSettings(keep=9)},
        {"evaluation": EvaluationSettings(pictured_queries=7, bootstrap_resamples=10)},
        {"ingest": IngestSettings(max_dead_ratio=0.5), "schema": SchemaSettings(warn_only=("title",))},
        {"demo": DemoSettings(seed=1)},
    ],
)
def test_what_comes_after_the_candidate_makes_no_other_day(
    workspace: Workspace, push: Callable[[], Release], changes: dict[str, object]
) -> None:
    workspace.baseline_of_day(DAY, Settings())
    push()
    assert workspace.baseline_of_day(DAY, replace(Settings(), **changes)) == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"ingest": IngestSettings(seed=8)},
        {"model": ModelSettings(width=64)},
        {"training": TrainingSettings(epochs=3)},
        {"evaluation": EvaluationSettings(max_gallery_images=10)},
    ],
)
def test_what_makes_another_candidate_is_compared_with_what_serves_now(
    workspace: Workspace, push: Callable[[], Release], changes: dict[str, object]
) -> None:
    workspace.baseline_of_day(DAY, Settings())
    serving = push().reference
    assert workspace.baseline_of_day(DAY, replace(Settings(), **changes)) == serving


def test_a_removed_release_is_asked_no_more(workspace: Workspace, push: Callable[[], Release]) -> None:
    push()
    workspace.baseline_of_day(DAY, Settings())
    newest = [push() for _ in range(2)][-1]
    assert workspace.releases.prune(keep=2) == [1]
    assert workspace.baseline_of_day(DAY, Settings()) == newest.reference


def test_a_release_that_was_replaced_under_its_version_is_asked_no_more(
    workspace: Workspace, push: Callable[[], Release], build_release: Callable[[Path, int], None]
) -> None:
    push()
    workspace.baseline_of_day(DAY, Settings())
    shutil.rmtree(workspace.releases.address)
    rebuilt = workspace.releases.push(build_release, decision_id="of another store", facts={})
    assert rebuilt.version == 1
    assert workspace.baseline_of_day(DAY, Settings()) == rebuilt.reference


def test_a_note_of_0_1_0_names_a_release_by_its_place_alone(workspace: Workspace, push: Callable[[], Release]) -> None:
    first = push()
    workspace.baseline_of_day(DAY, Settings())
    [note] = (workspace.root / "days").iterdir()
    note.write_text(json.dumps({"fingerprint": DAY, "baseline_release": str(first.directory)}))
    push()
    assert workspace.baseline_of_day(DAY, Settings()) == str(first.directory)


def test_a_workspace_is_opened_with_the_settings_it_remembers(workspace: Workspace) -> None:
    workspace.remember("folder", ["training.epochs=3"])
    opened, settings = open_workspace(workspace.root)
    assert opened.root == workspace.root
    assert settings.training.epochs == 3


def test_settings_that_are_gone_are_told_with_their_file(workspace: Workspace) -> None:
    workspace.remember("folder", ["training.gone=3"])
    with pytest.raises(SettingsError, match=r"workspace\.json: training has the keys .*, got 'gone'; a new `lookalike"):
        open_workspace(workspace.root)


def test_releases_are_opened_whatever_the_settings_are(workspace: Workspace, push: Callable[[], Release]) -> None:
    release = push()
    workspace.remember("no-such-preset", ["training.gone=3"])
    assert open_releases(workspace.root).current() == release
    (workspace.root / "workspace.json").unlink()
    assert open_releases(workspace.root).current() == release


def test_where_neither_a_run_nor_a_release_was_there_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(NoWorkspaceError, match=f"start with `lookalike run --data FOLDER --root '{tmp_path}/my shop'`"):
        open_releases(tmp_path / "my shop")
    (tmp_path / "metadata.sqlite").touch()
    assert open_releases(tmp_path).releases() == []


@pytest.mark.parametrize(
    "content", ['{"config": "de', "[]", '{"config": "demo"}', '{"config": "demo", "overrides": 3}']
)
def test_settings_that_cannot_be_read_are_named_with_the_way_out(tmp_path: Path, content: str) -> None:
    (tmp_path / SETTINGS_FILE).write_text(content)
    with pytest.raises(WorkspaceDamagedError) as refused:
        open_workspace(tmp_path)
    assert str(refused.value) == (
        f"{tmp_path / SETTINGS_FILE} must be the JSON that a run wrote, it is damaged; restore it from a backup, "
        "or repeat the last `lookalike run` with its --config and --set, which writes it again"
    )


def test_a_day_is_named_by_what_differs_from_the_defaults() -> None:
    def named(settings: dict[str, dict[str, int]]) -> str:
        return hashlib.sha256(json.dumps(["f1", settings], sort_keys=True).encode()).hexdigest()[:16]

    assert day_key("f1", Settings()) == named({}), "so that a setting which a later version adds changes no name"
    changed = Settings(training=TrainingSettings(epochs=3), review=ReviewSettings(num_queries=250))
    assert day_key("f1", changed) == named({"training": {"epochs": 3}})


def test_a_damaged_note_of_a_day_is_named_with_the_way_out(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings())
    assert workspace.baseline_of_day("today", Settings()) == ""
    [note] = (tmp_path / "days").iterdir()
    note.write_text("{")
    with pytest.raises(WorkspaceDamagedError) as refused:
        workspace.baseline_of_day("today", Settings())
    assert str(refused.value) == (
        f"{note} must be the JSON that a run wrote, it is damaged; restore it from a backup, or delete it: "
        "the day is then measured against the release that serves now"
    )
