"""What the tests of all rooms share: TensorFlow's environment, their order, the real photos, an object store."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
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


@pytest.fixture(scope="session")
def build_release() -> Callable[[Path, int], None]:
    """Fills a directory with the least that a release may hold."""

    def build(directory: Path, version: int) -> None:
        encoder = directory / "encoder" / str(version)
        encoder.mkdir(parents=True)
        (encoder / "saved_model.pb").write_bytes(b"a model")

    return build


S3_PORTS = ("s3", "master", "volume", "filer", "admin")  # each has a second one for gRPC


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket on a real S3 server, SeaweedFS, which the environment names."""
    from obstore.store import S3Store

    names = [f"-{name}.port{kind}" for name in S3_PORTS for kind in ("", ".grpc")]
    ports = [f"{name}={port}" for name, port in zip(names, free_ports(len(names)), strict=True)]
    directory = tmp_path_factory.mktemp("s3")
    command = [Path(sys.executable).with_name("weed"), "mini", f"-dir={directory}", "-ip=127.0.0.1", *ports]
    # Only what the tests need, and nothing beyond this machine.
    command += ["-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-bucket=lookalike"]
    with pytest.MonkeyPatch.context() as patch, (directory / "log").open("w") as log:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{ports[0].partition('=')[2]}")
        patch.setenv("AWS_ACCESS_KEY_ID", "key")  # the server takes these for its one user's
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        with subprocess.Popen(command, stdout=log, stderr=log) as server:
            try:
                store = S3Store("lookalike", client_options={"allow_http": True})
                store.put("ready", b"")  # obstore tries again until the server is up
                yield "s3://lookalike"
            finally:
                server.kill()


@pytest.fixture
def s3_address(s3_server: str) -> str:
    """An address on the S3 server that no other test uses: s3://bucket/prefix."""
    return f"{s3_server}/{os.urandom(8).hex()}"


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
