"""Runs of a pipeline of one node: what a run was is known by its own id, whatever the clocks said."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx import v1 as tfx

from components import artifacts
from lookalike.catalog.dead_letters import DataError
from lookalike.local.runner import PipelineRun, output_uris, run_pipeline

YEAR_MS = 365 * 86_400_000
NODE = "words.Say"


@tfx.dsl.components.component
def Say(  # noqa: N802 - called like its class
    said: tfx.dsl.components.OutputArtifact[artifacts.VerdictArtifact], word: tfx.dsl.components.Parameter[str]
) -> None:
    Path(said.uri).mkdir(parents=True, exist_ok=True)
    (Path(said.uri) / "word").write_text(word)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    return tmp_path / "metadata.sqlite"


@pytest.fixture
def say(tmp_path: Path, metadata: Path) -> Callable[[str], PipelineRun]:
    """Runs the pipeline."""

    def run(word: str) -> PipelineRun:
        pipeline = tfx.dsl.Pipeline(
            pipeline_name="words",
            pipeline_root=str(tmp_path / "artifacts"),
            components=[Say(word=word)],
            enable_cache=True,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)),
        )
        return run_pipeline(pipeline, metadata, lambda node: None)

    return run


def said(uri: str) -> str:
    return (Path(uri) / "word").read_text()


def put_the_clock_ahead(metadata: Path) -> None:
    """All that has happened so far happened a year from now."""
    with sqlite3.connect(metadata) as connection:
        for table in ("Context", "Execution", "Artifact"):
            connection.execute(
                f"UPDATE {table} SET create_time_since_epoch = create_time_since_epoch + {YEAR_MS},"
                f" last_update_time_since_epoch = last_update_time_since_epoch + {YEAR_MS}"
            )
    connection.close()


def test_a_run_finds_itself_though_an_earlier_clock_was_a_year_ahead(
    say: Callable[[str], PipelineRun], metadata: Path
) -> None:
    say("yesterday")
    put_the_clock_ahead(metadata)
    run = say("today")
    assert (run.worked, run.cached) == (("Say",), ())
    assert said(run.artifact_uri("components.Verdict")) == "today"
    assert [said(uri) for uri in output_uris(metadata, NODE)] == ["today", "yesterday"]


def test_a_cached_run_finds_its_artifact_and_makes_it_the_newest(
    say: Callable[[str], PipelineRun], metadata: Path
) -> None:
    first = say("first").artifact_uri("components.Verdict")
    second = say("second").artifact_uri("components.Verdict")
    assert output_uris(metadata, NODE) == [second, first]
    again = say("first")
    assert (again.worked, again.cached) == ((), ("Say",))
    assert again.artifact_uri("components.Verdict") == first
    assert output_uris(metadata, NODE) == [first, second]


def test_a_node_that_never_ran_handed_out_nothing(say: Callable[[str], PipelineRun], metadata: Path) -> None:
    assert output_uris(metadata, NODE) == []
    say("something")
    assert output_uris(metadata, "words.Sing") == []


@tfx.dsl.components.component
def Read(examples: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Examples]) -> None:  # noqa: N802
    examples.set_string_custom_property(artifacts.ACCOUNT, '{"read": 3}')


@tfx.dsl.components.component
def Refuse(examples: tfx.dsl.components.InputArtifact[tfx.types.standard_artifacts.Examples]) -> None:  # noqa: N802
    raise DataError("not these")


@pytest.mark.parametrize("times", [1, 2])  # the second time, what was read comes from the cache
def test_a_refusal_carries_the_account_of_what_the_run_has_read(tmp_path: Path, metadata: Path, times: int) -> None:
    for _ in range(times):
        read = Read()
        pipeline = tfx.dsl.Pipeline(
            pipeline_name="refused",
            pipeline_root=str(tmp_path / "artifacts"),
            components=[read, Refuse(examples=read.outputs["examples"])],
            enable_cache=True,
            metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(str(metadata)),
        )
        with pytest.raises(DataError, match="not these") as refused:
            run_pipeline(pipeline, metadata, lambda node: None)
        assert refused.value.account == {"read": 3}
