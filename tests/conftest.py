"""What the tests of all rooms share: the environment TensorFlow is imported in, their order, the real photos."""

import os
from pathlib import Path

import pytest

# Read when TensorFlow is first imported, so they are set before any test module is.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = Path(__file__).resolve().parent.parent
CLOTHING = ROOT.parent / "shared" / "data" / "clothing"
# Rooms without TensorFlow first, whole pipelines last: most mistakes are told within seconds.
SLOW_ROOMS = ("transform", "trainer", "serving", "components", "kubeflow", "pipeline", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the fast rooms before the slow ones; within a room, the order stays."""
    items.sort(key=_slowness)


def _slowness(item: pytest.Item) -> int:
    room = item.path.relative_to(ROOT / "tests").parts[0].removesuffix("_test.py")
    return SLOW_ROOMS.index(room) if room in SLOW_ROOMS else -1


@pytest.fixture(scope="session")
def clothing_photos() -> Path:
    """The folder of real photos, one folder of classes for each of train, validation and test."""
    if not CLOTHING.is_dir():
        pytest.skip(f"needs the clothing photos beside the repository, {CLOTHING} is no folder")
    return CLOTHING
