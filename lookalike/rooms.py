"""Whether the pipeline's rooms are our own: their names are common, and PYTHONPATH may put another's in front."""

import importlib.util
from pathlib import Path

from lookalike.errors import EXIT_USAGE, UserError

ROOT = Path(__file__).resolve().parents[1]
# Named, for installed from a wheel the rooms lie among everybody else's packages.
ROOMS = frozenset({"components", "lookalike", "pipeline", "serving", "trainer", "transform"})


class ForeignPackageError(UserError, code="FOREIGN_PACKAGE", exit_status=EXIT_USAGE):
    """Another package has the name of one of our rooms and is found first."""


def check_rooms() -> None:
    """Returns only where every room would be imported from beside the package `lookalike`; imports none.

    Raises ForeignPackageError: for the first that would not.
    """
    for room in sorted(ROOMS):
        found = _found(room)
        if found is None:
            raise ForeignPackageError(f"expected the package `{room}` in {ROOT}, found none; install Lookalike again")
        if found.parent != ROOT:
            raise ForeignPackageError(
                f"expected the package `{room}` of Lookalike in {ROOT}, but Python finds {found} first; "
                f"take {found.parent} off PYTHONPATH, or rename what lies there"
            )


def _found(room: str) -> Path | None:
    """The folder or file that `import <room>` would take."""
    spec = importlib.util.find_spec(room)
    if spec is None or spec.origin is None:  # a folder without __init__.py is a namespace, and none of ours
        return None
    file = Path(spec.origin).resolve()
    return file.parent if file.name == "__init__.py" else file
