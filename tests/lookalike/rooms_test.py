import sys
from pathlib import Path

import pytest

from lookalike.rooms import ROOT, ForeignPackageError, check_rooms


def test_our_own_rooms_pass() -> None:
    check_rooms()


@pytest.mark.parametrize("file", ["serving/__init__.py", "pipeline.py"])
def test_a_foreign_room_is_named_with_both_places_and_the_way_out(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    room = file.split("/")[0]
    monkeypatch.delitem(sys.modules, room.removesuffix(".py"), raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ForeignPackageError) as refused:
        check_rooms()
    assert str(refused.value) == (
        f"expected the package `{room.removesuffix('.py')}` of Lookalike in {ROOT}, but Python finds "
        f"{tmp_path / room} first; take {tmp_path} off PYTHONPATH, or rename what lies there"
    )


def test_a_mere_folder_of_the_name_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "serving").mkdir()
    monkeypatch.delitem(sys.modules, "serving", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    check_rooms()
