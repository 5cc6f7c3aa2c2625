"""What the tests of all rooms share: the environment TensorFlow is imported in, their order, the real photos."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

# Read when TensorFlow is first imported, so they are set before any test module is.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

ROOT = Path(__file__).resolve().parent.parent
CLOTHING = ROOT.parent / "shared" / "data" / "clothing"
# Rooms without TensorFlow first, whole pipelines last: most mistakes are told within seconds.
SLOW_ROOMS = ("cli", "local", "transform", "trainer", "serving", "components", "kubeflow", "pipeline", "e2e")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the fast rooms before the slow ones; within a room, the order stays. Leave out what has no photos."""
    items.sort(key=_slowness)
    if not CLOTHING.is_dir():
        left_out = [item for item in items if _needs_photos(item)]
        items[:] = [item for item in items if not _needs_photos(item)]
        config.hook.pytest_deselected(items=left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what was left out."""
    if not CLOTHING.is_dir() and any(map(_needs_photos, terminalreporter.stats.get("deselected", []))):
        terminalreporter.write_line(f"The tests on real photos were left out: {CLOTHING} is no folder.")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI=true, a test that is skipped is one that nobody runs: it fails."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"expected no skipped test where CI=true, got: {report.longreprtext}"
    return report


def _slowness(item: pytest.Item) -> int:
    parts = [part.removesuffix("_test.py") for part in item.path.relative_to(ROOT / "tests").parts]
    return next((SLOW_ROOMS.index(part) for part in parts if part in SLOW_ROOMS), -1)


def _needs_photos(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and "clothing_photos" in item.fixturenames


@pytest.fixture(scope="session")
def clothing_photos() -> Path:
    """The folder of real photos, one folder of classes for each of train, validation and test."""
    return CLOTHING
