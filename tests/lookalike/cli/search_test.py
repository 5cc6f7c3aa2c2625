import json
from pathlib import Path

import pytest

from lookalike.cli.options import open_store
from lookalike.cli.search import releases


def _push_without_facts(root: Path) -> None:
    def build(directory: Path, version: int) -> None:
        (directory / "encoder" / str(version)).mkdir(parents=True)

    (root / "releases").mkdir()
    open_store(root).push(build, decision_id="yes-1", facts={})


def test_releases_shows_a_dash_for_what_a_manifest_does_not_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _push_without_facts(tmp_path)
    releases(tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "yes", "–", "yes-1", "–"]
    releases(tmp_path, as_json=True)
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["candidate"], listed["simulated"]) == (None, None)
