from pathlib import Path

import pytest
from tfx import v1 as tfx
from tfx.dsl.components.base.base_executor import BaseExecutor

from components.staged import _Staged, _unseen
from lookalike.storage.address import open_folder


class Copies(BaseExecutor):
    """Stands for an executor of TFX's: it knows this machine's files alone."""

    seen: list[str]

    def Do(self, input_dict, output_dict, exec_properties):
        [found], [made] = input_dict["examples"], output_dict["model"]
        self.seen = [found.uri, made.uri]
        text = Path(found.uri, "a").read_text()
        Path(made.uri).mkdir(exist_ok=True)
        Path(made.uri, "b").write_text(text + exec_properties["word"])
        made.set_string_custom_property("kind", "copied")
        if exec_properties["word"] == "fails":
            raise ZeroDivisionError


class StagedCopies(_Staged, Copies):
    pass


@pytest.fixture
def artifacts_at():
    """Makes Examples with a file, and a model to be, below an address."""

    def make(address):
        found, made = tfx.types.standard_artifacts.Examples(), tfx.types.standard_artifacts.Model()
        found.uri, made.uri = f"{address}/examples", f"{address}/model"
        with open_folder(found.uri).writing("a") as path:
            path.write_text("some ")
        return found, made

    return make


def copy(found, made, word):
    executor = StagedCopies()
    executor.Do({"examples": [found]}, {"model": [made]}, {"word": word})
    return executor.seen


def test_what_lies_in_an_object_store_is_staged(artifacts_at, s3_address):
    found, made = artifacts_at(s3_address)
    seen = copy(found, made, "words")
    assert open_folder(made.uri).read("b") == b"some words"
    assert (found.uri, made.uri) == (f"{s3_address}/examples", f"{s3_address}/model")
    assert made.get_string_custom_property("kind") == "copied"
    assert not any(Path(path).exists() for path in seen)


def test_an_executor_that_fails_publishes_nothing(artifacts_at, s3_address):
    found, made = artifacts_at(s3_address)
    with pytest.raises(ZeroDivisionError):
        copy(found, made, "fails")
    assert not list(open_folder(made.uri).files())
    assert (found.uri, made.uri) == (f"{s3_address}/examples", f"{s3_address}/model")


def test_what_tensorflow_reads_by_itself_stays_where_it_is(artifacts_at, tmp_path):
    found, made = artifacts_at(str(tmp_path))
    assert copy(found, made, "words") == [found.uri, made.uri]
    assert [_unseen(found), _unseen(made)] == [False, False]
    made.uri = "gs://bucket/model"
    assert not _unseen(made)
