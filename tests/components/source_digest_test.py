import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from components import source_digest as module
from components.source_digest import source_digest

TREE = {
    "kitchen/__init__.py": '"""Where it is cooked."""\n',
    "kitchen/stove.py": "import os\nfrom pantry import spices\nfrom kitchen.pan import fry\n",
    "kitchen/pan.py": "def fry():\n    from pantry.oil import OIL\n    return OIL\n",
    "kitchen/pan.json": '{"diameter_cm": 28}',
    "kitchen/sink.py": "import kitchen\n",
    "pantry/__init__.py": "",
    "pantry/spices.py": "SALT = 1\n",
    "pantry/oil.py": "from . import cellar\n\nOIL = 2\n",
    "pantry/cellar.py": "import kitchen.stove  # round and round\n",
    "pantry/flour.py": "FLOUR = 3\n",
}

Digest = Callable[[Mapping[str, str]], str]


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Digest]:
    """The digest of kitchen.stove in TREE with some files changed."""
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "ROOMS", frozenset({"kitchen", "pantry"}))

    def of(changes: Mapping[str, str]) -> str:
        for name, text in (TREE | dict(changes)).items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text)
        source_digest.cache_clear()
        return source_digest("kitchen.stove")

    yield of
    source_digest.cache_clear()


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("kitchen/stove.py", id="the module itself"),
        pytest.param("kitchen/__init__.py", id="the package around it"),
        pytest.param("pantry/spices.py", id="a module imported from its package"),
        pytest.param("kitchen/pan.py", id="a module whose function is imported"),
        pytest.param("kitchen/pan.json", id="the data file of an imported module"),
        pytest.param("pantry/__init__.py", id="the package around an imported module"),
        pytest.param("pantry/oil.py", id="a module imported inside a function"),
        pytest.param("pantry/cellar.py", id="a module imported relatively by an imported one"),
    ],
)
def test_digest_changes_with_everything_that_runs(digest: Digest, path: str) -> None:
    before = digest({})
    assert digest({path: TREE[path] + " "}) != before
    assert digest({}) == before


@pytest.mark.parametrize("path", ["kitchen/sink.py", "pantry/flour.py", "kitchen/stove_notes.txt"])
def test_digest_stays_when_a_file_changes_that_is_not_imported(digest: Digest, path: str) -> None:
    assert digest({path: "# changed"}) == digest({})


def test_moving_code_between_files_changes_the_digest(digest: Digest) -> None:
    moved = {"pantry/spices.py": TREE["pantry/oil.py"], "pantry/oil.py": TREE["pantry/spices.py"]}
    assert digest(moved) != digest({})


def test_digest_does_not_depend_on_where_the_tree_lies(
    digest: Digest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = digest({})
    elsewhere = tmp_path / "elsewhere"
    for name, text in TREE.items():
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).write_text(text)
    monkeypatch.setattr(module, "ROOT", elsewhere)
    source_digest.cache_clear()
    assert source_digest("kitchen.stove") == before


@pytest.mark.parametrize("name", ["numpy", "kitchens.stove", ""])
def test_a_module_that_is_not_ours_is_refused(digest: Digest, name: str) -> None:
    digest({})
    with pytest.raises(ValueError, match=f"expected a module of ours, got '{name}'"):
        source_digest(name)


def test_packages_of_others_that_lie_beside_ours_do_not_count(digest: Digest) -> None:
    before = digest({"pantry/spices.py": "import neighbours\n"})
    assert digest({"pantry/spices.py": "import neighbours\n", "neighbours/__init__.py": "NOISE = 1\n"}) == before


def test_every_package_of_the_repository_is_a_named_room() -> None:
    packages = {path.parent.name for path in module.ROOT.glob("*/__init__.py")}
    assert packages | {"pipeline"} == module.ROOMS


def test_a_mistyped_module_of_a_known_package_is_refused(digest: Digest) -> None:
    digest({})
    with pytest.raises(ValueError, match=r"expected a module of ours, got 'kitchen\.stoev'"):
        source_digest("kitchen.stoev")


def test_the_committed_schema_counts_as_code_of_whoever_reads_the_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("lookalike", "transform"):
        shutil.copytree(module.ROOT / room, tmp_path / room)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    source_digest.cache_clear()
    before = source_digest("transform.preprocessing")
    (tmp_path / "transform" / "features.pbtxt").write_text("")
    source_digest.cache_clear()
    assert source_digest("transform.preprocessing") != before
    source_digest.cache_clear()
