"""What code a stage runs, as one digest for its cache key, which dotted module paths leave out."""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from lookalike.rooms import ROOMS, ROOT


@cache
def source_digest(module: str) -> str:
    """sha256 over the source of `module` and of every module of ours that it imports, however deep.

    Imports inside functions count as well: they run too. So do data files that are a module's by name: schema.pbtxt
    would be schema.py's.

    Raises ValueError: when no file of ours is `module`.
    """
    digest = hashlib.sha256()
    sources = {data for path in _reachable(module) for data in path.parent.glob(f"{path.stem}.*") if data.is_file()}
    for path in sorted(sources):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _reachable(module: str) -> set[Path]:
    if not any(_file(module.split("."))):
        raise ValueError(f"expected a module of ours, got {module!r}")
    found: set[Path] = set()
    waiting = list(_files(module))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(used for name in _imports(path, path.read_bytes()) for used in _files(name))
    return found


def _files(module: str) -> Iterator[Path]:
    """The file of a module of ours and of the packages around it; nothing for anybody else's."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        yield from _file(parts[:depth])


def _file(parts: list[str]) -> Iterator[Path]:
    if parts[0] not in ROOMS:
        return
    stem = ROOT.joinpath(*parts)
    for path in (stem.with_suffix(".py"), stem / "__init__.py"):
        if path.is_file():
            yield path


@cache
def _imports(path: Path, source: bytes) -> list[str]:
    """Kept, for most modules are reached from most others."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(path, node)
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return names


def _origin(path: Path, node: ast.ImportFrom) -> str:
    """The absolute name of what stands between `from` and `import`."""
    package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
    return ".".join([*package, *filter(None, [node.module])])
