"""The README's table of exit statuses and codes, held against the classes of the product, read without importing it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from lookalike import errors

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("components", "lookalike", "serving", "trainer", "transform")


def test_every_code_and_status_of_an_error_is_in_the_readme_and_no_other() -> None:
    assert {ending for name, ending in _endings().items() if name != "UserError"} == set(_rows_with_codes())


def test_every_error_has_a_code_of_its_own_or_of_a_parent() -> None:
    own = errors.UserError.code
    assert [name for name, (_, code) in _endings().items() if code == own] == ["UserError"]


def _rows_with_codes() -> Iterator[tuple[int, str]]:
    for status, code in re.findall(r"^\| (\d+) \| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE):
        yield int(status), code


def _endings() -> dict[str, tuple[int, str]]:
    """Exit status and code of each class that descends from UserError, by its name."""
    found = {"UserError": (errors.UserError.exit_status, errors.UserError.code)}
    waiting = list(_classes())
    while related := [one for one in waiting if _parent(one) in found]:
        for one in related:
            status, code = found[_parent(one)]
            stated = {keyword.arg: keyword.value for keyword in one.keywords}
            found[one.name] = _status(stated.get("exit_status"), status), _code(stated.get("code"), code)
        waiting = [one for one in waiting if one not in related]
    return found


def _classes() -> Iterator[ast.ClassDef]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield from (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))


def _parent(one: ast.ClassDef) -> str:
    return one.bases[0].id if one.bases and isinstance(one.bases[0], ast.Name) else ""


def _status(stated: ast.expr | None, inherited: int) -> int:
    return inherited if stated is None else int(getattr(errors, ast.unparse(stated)))


def _code(stated: ast.expr | None, inherited: str) -> str:
    return inherited if stated is None else str(ast.literal_eval(stated))
