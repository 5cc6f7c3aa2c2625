import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike.cli.options import open_store
from lookalike.cli.search import releases


def test_releases_shows_a_dash_for_what_a_manifest_does_not_state(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], build_release: Callable[[Path, int], None]
) -> None:
    (tmp_path / "releases").mkdir()
    open_store(tmp_path).push(build_release, decision_id="yes-1", facts={})
    releases(tmp_path, as_json=False)
    assert capsys.readouterr().out.splitlines()[-1].split() == ["1", "yes", "–", "yes-1", "–"]
    releases(tmp_path, as_json=True)
    [listed] = json.loads(capsys.readouterr().out)
    assert (listed["candidate"], listed["simulated"]) == (None, None)
