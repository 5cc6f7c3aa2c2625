import pytest

from components import artifacts
from components.release_pruner import ReleasePruner
from lookalike.release.store import ReleaseStore


@pytest.fixture
def store(tmp_path, build_release):
    """Four releases, of which the first serves again."""
    made = ReleaseStore(tmp_path / "store")
    for number in range(1, 5):
        made.push(build_release, decision_id=f"decision-{number}", facts={})
    made.rollback(1)
    return made


@pytest.fixture
def prune(artifact, store):
    def run(settings):
        ReleasePruner.test_call(
            release=artifact(artifacts.Release, "release"),
            settings=settings,
            release_store=store.address,
        )
        return [release.version for release in store.releases()]

    return run


def test_the_newest_stay_and_the_one_that_serves(prune):
    assert prune('{"keep": 2}') == [1, 3, 4]


def test_nothing_goes_while_there_is_room(prune):
    assert prune('{"keep": 4}') == [1, 2, 3, 4]
