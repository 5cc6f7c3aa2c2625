"""Running the product as a shop would: the command in processes of its own, on a drawn catalogue."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookalike.drawing.catalog import draw_catalog

ROOT = Path(__file__).resolve().parents[2]
WARM_COMMAND = Path(__file__).with_name("warm_command.py")
COMMAND_TIMEOUT_S = 600
NUM_PRODUCTS, NUM_PLACEHOLDERS, NUM_DRAFTS = 36, 6, 4
TINY = {
    "ingest.longest_side_px": 64,
    "ingest.eval_fraction": 0.2,
    "ingest.test_fraction": 0.2,
    "model.image_size_px": 32,
    "model.depth": 10,
    "model.width": 8,
    "model.embedding_dim": 16,
    "training.epochs": 2,
    "training.batch_size": 16,
    "evaluation.min_accuracy": 0,
    "evaluation.min_recall_at_1": 0,
    "evaluation.max_recall_loss": 1,
    "evaluation.bootstrap_resamples": 50,
    "review.num_queries": 12,
    "review.min_judged_queries": 8,
    "review.precision_floor": 0,
    "review.allow_simulated": "true",
}


@pytest.fixture(scope="session")
def tiny_settings() -> dict[str, Any]:
    """Name → value of the settings with which a pipeline runs in seconds."""
    return TINY


@dataclass(frozen=True)
class Result:
    """What the command ended with."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """What --json printed."""
        return json.loads(self.stdout)


class WarmCommands:
    """The command in forks of a process that has imported everything, one at a time."""

    def __init__(self, directory: Path, *, measured: bool) -> None:
        self._directory = directory
        self._measured = measured
        # By -c, the folder that it starts in comes first among the imports, as with `python -m lookalike`.
        run = f"import runpy; runpy.run_path({str(WARM_COMMAND)!r}, run_name='__main__')"
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", run],
            cwd=ROOT,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Result:
        """A command, to its end."""
        stdout, stderr = self._directory / "stdout", self._directory / "stderr"
        stdout.write_text("")
        stderr.write_text("")
        process_group = self._start(arguments, stdout, stderr)
        limit = threading.Timer(COMMAND_TIMEOUT_S, os.killpg, (process_group, signal.SIGKILL))
        limit.start()
        status = self._told()
        limit.cancel()
        return Result(status, stdout.read_text(), stderr.read_text())

    def kill(self, *arguments: str, when: Callable[[str], bool]) -> None:
        """A command that is killed, with all its processes, at the first such line of its standard error."""
        stderr = self._directory / "killed_stderr"
        os.mkfifo(stderr)
        process_group = self._start(arguments, Path(os.devnull), stderr)
        with stderr.open() as lines:
            try:
                was_reached = any(map(when, lines))
            finally:
                with suppress(ProcessLookupError):  # where it ended by itself
                    os.killpg(process_group, signal.SIGKILL)
                status = self._told()
                stderr.unlink()
        assert was_reached, f"{arguments[0]} ended with {status} before it was to be killed"
        assert status == -signal.SIGKILL

    def stop(self) -> None:
        """At the end of its input it ends by itself."""
        with self._process:
            pass
        assert self._process.returncode == 0

    def _start(self, arguments: tuple[str, ...], stdout: Path, stderr: Path) -> int:
        """Returns the process group."""
        assert self._process.stdin is not None
        streams = {"stdout": str(stdout), "stderr": str(stderr)}
        order = {"arguments": arguments, "measured": self._measured, **streams}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return self._told()

    def _told(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


def run_in_a_new_process(*arguments: str) -> Result:
    """A command as a user starts it, to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Shop:
    """One workspace and the command line on it."""

    root: Path
    data: Path
    warm: WarmCommands

    def lookalike(self, command: str, *arguments: str, run: Callable[..., Result] | None = None) -> Result:
        """The command on this workspace, to its end; in a fork, or as `run` runs it."""
        return (run or self.warm.run)(*command.split(), *arguments, "--root", str(self.root))

    def kill(self, command: str, *arguments: str, when: Callable[[str], bool]) -> None:
        """The command on this workspace, killed at a line of its standard error."""
        self.warm.kill(command, *arguments, "--root", str(self.root), when=when)

    def run_arguments(self, **changes: object) -> list[str]:
        """`lookalike run` on a small model; `section__key=value` changes a setting."""
        settings = TINY | {name.replace("__", "."): value for name, value in changes.items()}
        overrides = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
        return ["--data", str(self.data), "--by", "trainer", "--json", *overrides]

    def run(self, **changes: object) -> Result:
        """Trains."""
        return self.lookalike("run", *self.run_arguments(**changes))

    def judge_and_decide(self, verdict: str) -> None:
        """Simulated raters judge the newest round, and a simulated analyst decides."""
        from lookalike.local.workspace import open_workspace
        from lookalike.review.decisions import decide, load_or_create_signing_key
        from lookalike.review.overview import list_rounds
        from lookalike.review.simulated_raters import judge_round

        workspace, _ = open_workspace(self.root)
        with workspace.review_session() as session:
            round_id = list_rounds(session)[0].round_id
            judge_round(session, round_id, num_raters=3, error_rate=0.0, seed=1)
            decide(
                session,
                round_id,
                verdict,
                decided_by="simulated analyst",
                reason="a test",
                signing_key=load_or_create_signing_key(workspace.signing_key),
                simulated=True,
            )


@pytest.fixture(scope="session")
def warm_commands(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommands]:
    """Runs commands that need not be started anew; measures coverage in them where pytest does."""
    is_measured = pytestconfig.pluginmanager.hasplugin("_cov")
    commands = WarmCommands(tmp_path_factory.mktemp("commands"), measured=is_measured)
    yield commands
    commands.stop()


@pytest.fixture(scope="session")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of a small drawn catalogue, as a shop's spreadsheet might write it."""
    manifest = draw_catalog(
        tmp_path_factory.mktemp("catalogue"),
        num_products=NUM_PRODUCTS,
        seed=0,
        image_size_px=64,
        catalog_images=3,
        wild_images=2,
    )
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    feed = manifest.with_name("Products.CSV")
    feed.write_bytes(as_a_spreadsheet(rows, manifest.parent).encode("cp1252"))
    manifest.unlink()
    return feed


def as_a_spreadsheet(rows: list[dict[str, Any]], folder: Path) -> str:
    """Semicolons, decimal commas, paths of Windows, a placeholder of new products, drafts, empty rows at the end."""
    names = {name: name.replace("_", " ").title() if ":" not in name else name for name in rows[0]}
    Image.radial_gradient("L").resize((64, 64)).save(folder / "soon.png")
    new = [
        {"image": "soon.png", "product_id": f"new-{number}", "category": rows[-number]["category"], "domain": "catalog"}
        for number in range(0, 10 * NUM_PLACEHOLDERS, 10)
    ]
    drafts = [{"product_id": f"draft-{number}", "title": "to come, Größe 5"} for number in range(NUM_DRAFTS)]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, names, delimiter=";", restval="")
    writer.writerow(names)
    for row in [*rows, *new, *drafts]:
        price = f"{row['price']:.2f} €".replace(".", ",") if row.get("price") else ""
        writer.writerow(row | {"image": row.get("image", "").replace("/", "\\"), "price": price})
    return text.getvalue() + f"{';' * (len(names) - 1)}\r\n" * 30


@pytest.fixture(scope="session")
def make_shop(
    catalog: Path, warm_commands: WarmCommands, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Shop]:
    """Opens a shop with an empty workspace, by default for the drawn catalogue."""
    return lambda name, data=catalog: Shop(tmp_path_factory.mktemp(name), data, warm_commands)


@dataclass(frozen=True)
class Story:
    """One day of a shop, step by step: the shop, and what each command ended with."""

    shop: Shop
    run: Result
    promote_too_early: Result
    promote: Result
    run_again: Result
    promote_again: Result


@pytest.fixture(scope="session")
def story(make_shop: Callable[..., Shop]) -> Story:
    """From nothing to a release, by commands that are started anew, and once more."""
    shop = make_shop("whole-way")
    run = shop.lookalike("run", *shop.run_arguments(), run=run_in_a_new_process)
    too_early = shop.lookalike("promote", "--json")
    assert not (shop.root / "releases" / "CURRENT").exists()
    shop.judge_and_decide("bless")
    return Story(
        shop=shop,
        run=run,
        promote_too_early=too_early,
        promote=shop.lookalike("promote", "--json", run=run_in_a_new_process),
        run_again=shop.run(),
        promote_again=shop.lookalike("promote", "--json"),
    )
