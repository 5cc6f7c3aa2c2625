from pathlib import Path

import pytest

from lookalike.configs.settings import Settings
from lookalike.local.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty one."""
    return Workspace(tmp_path / "workspace", Settings())
