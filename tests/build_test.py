"""BUILD states who may import whom: it is evaluated here, and it and every import of the repository are held against
each other."""

import ast
import functools
import graphlib
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path, PurePosixPath

import pytest
import starlark

ROOT = Path(__file__).resolve().parent.parent
RULES_FILE = "@rules_python//python:defs.bzl"
PYPI = "@pypi//"
HEAVY = {PYPI + name for name in ("apache_beam", "ml_pipelines_sdk", "tensorflow", "tf_keras", "tfx")}
PLAIN_ROOMS = ("catalog", "configs", "drawing", "http", "mining", "release", "retrieval", "review")

Files = Mapping[str, str]  # path from the top of the repository → its text


@dataclass(frozen=True)
class Target:
    """One py_library of BUILD; file paths and labels as they are written there."""

    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]
    data: tuple[str, ...]

    @property
    def label(self) -> str:
        return f":{self.name}"


@dataclass(frozen=True)
class Use:
    """Something that a file names: `import module`, or a dotted string that TFX imports for us."""

    line: int
    module: str
    is_string: bool = False
    must_exist: bool = False


# --- BUILD → targets ---------------------------------------------------------------------------------------


def evaluate(build: str, paths: Collection[str]) -> list[Target]:
    """The targets that `build` declares; its globs see `paths`. Raises StarlarkError as Bazel would complain."""
    targets: list[Target] = []

    # Attributes are listed, not swallowed by **kwargs, so that a misspelt one is an error here too.
    def py_library(name, srcs, deps=(), data=()):  # type: ignore[no-untyped-def]
        targets.append(Target(name, tuple(srcs), tuple(deps), tuple(data)))

    rules = starlark.Module()
    rules.add_callable("py_library", py_library)
    loadable = {RULES_FILE: rules.freeze()}
    module = starlark.Module()
    module.add_callable("glob", functools.partial(_glob, paths))
    loader = starlark.FileLoader(lambda label: loadable[label])
    starlark.eval(module, starlark.parse("BUILD", build), starlark.Globals.standard(), loader)
    return targets


def _glob(paths: Collection[str], include: list[str], exclude: Iterable[str] = ()) -> list[str]:
    wanted, unwanted = [_glob_regex(p) for p in include], [_glob_regex(p) for p in exclude]
    found = [
        path
        for path in sorted(paths)
        if any(regex.fullmatch(path) for regex in wanted) and not any(regex.fullmatch(path) for regex in unwanted)
    ]
    if not found:
        raise ValueError(f"glob must match at least one file, {include} matches none")
    return found


def _glob_regex(pattern: str) -> re.Pattern[str]:
    """Bazel's patterns: `*` stays inside a folder, the segment `**` spans any number of folders."""
    *folders, name = pattern.split("/")
    segments = ["(?:[^/]+/)*" if folder == "**" else _segment_regex(folder) + "/" for folder in folders]
    return re.compile("".join(segments) + (".*" if name == "**" else _segment_regex(name)))


def _segment_regex(segment: str) -> str:
    return re.escape(segment).replace(r"\*", "[^/]*")


# --- Python source → what it uses --------------------------------------------------------------------------

DOTTED = re.compile(r"[a-z_]\w*(\.\w+)+")


def uses(path: str, source: str) -> Iterator[Use]:
    """Every import of a file, those inside functions too, and every string that looks like a dotted name."""
    tree = ast.parse(source, path)
    required = set(_strings_that_name_functions(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (Use(node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(names=names):
                origin = _origin(path, node)
                yield from (Use(node.lineno, f"{origin}.{alias.name}") for alias in names)
            case ast.Constant(value=str(text)) if DOTTED.fullmatch(text):
                yield Use(node.lineno, text, is_string=True, must_exist=node in required)


def _origin(path: str, node: ast.ImportFrom) -> str:
    """The absolute name of what stands between `from` and `import`."""
    package = PurePosixPath(path).parts[: -node.level] if node.level else ()
    return ".".join([*package, *filter(None, [node.module])])


def _strings_that_name_functions(tree: ast.AST) -> Iterator[ast.Constant]:
    """The values of `run_fn="…"`, `preprocessing_fn="…"`: TFX finds them only when the stage runs."""
    for node in ast.walk(tree):
        match node:
            case ast.keyword(arg="run_fn" | "preprocessing_fn", value=ast.Constant() as value):
                yield value


def module_file(module: str, files: Files) -> tuple[str | None, list[str]]:
    """The file of the longest leading part of a dotted name that is a module of ours, and the parts left over."""
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        stem = "/".join(parts[:depth])
        for path in (f"{stem}.py", f"{stem}/__init__.py"):
            if path in files:
                return path, parts[depth:]
    return None, parts


def named_file(text: str, files: Files) -> str | None:
    """The file of ours that a dotted string names; None for 'release.json', which only looks like one."""
    path, rest = module_file(text, files)
    if path is None or (rest and rest[0] not in _top_level_names(files[path])):
        return None
    return path


def _top_level_names(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(source).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names.add(name)
    return names


# --- Third-party modules → distributions -------------------------------------------------------------------


def installed_providers(module: str) -> frozenset[str]:
    """Names, spelt as in labels, of the distributions that install the longest leading part of `module`."""
    index = _installed_modules()
    parts = module.split(".")
    for depth in range(len(parts), 0, -1):
        if found := index.get(".".join(parts[:depth])):
            return frozenset(found)
    return frozenset()


@functools.cache
def _installed_modules() -> dict[str, set[str]]:
    """Module → distributions. packages_distributions() reads top_level.txt alone on Python 3.10, which many
    lack, and knows only first names, where `google` is shared by thirty."""
    index: dict[str, set[str]] = {}
    for distribution in distributions():
        name = _label_name(distribution.metadata["Name"])
        for file in distribution.files or ():
            if file.suffix in (".py", ".so"):
                stem = [*file.parts[:-1], file.name.partition(".")[0]]
                index.setdefault(".".join(stem).removesuffix(".__init__"), set()).add(name)
    return index


@functools.cache
def installed_names() -> frozenset[str]:
    return frozenset(_label_name(distribution.metadata["Name"]) for distribution in distributions())


def _label_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "_", distribution).lower()


# --- The rules ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repository:
    """Files, the targets they are sorted into, and who provides what is not ours."""

    files: Files
    targets: list[Target]
    providers: Callable[[str], frozenset[str]]

    def owners(self, path: str) -> list[Target]:
        """The targets of a file."""
        return [target for target in self.targets if path in target.srcs]

    def owner_labels(self, path: str) -> set[str]:
        return {target.label for target in self.owners(path)}

    def labels_of(self, module: str) -> set[str] | None:
        """The labels of which one must be among the deps to import a module, None for the standard library."""
        path, _ = module_file(module, self.files)
        if path:
            return self.owner_labels(path)
        if module.partition(".")[0] in sys.stdlib_module_names:
            return None
        return {PYPI + name for name in self.providers(module)}


def violations(repository: Repository, installed: Collection[str]) -> list[str]:
    """One sentence for each rule that is broken."""
    return [
        *_ownership_faults(repository),
        *_label_faults(repository, installed),
        *_cycle_faults(repository.targets),
        *_import_faults(repository),
        *_unused_edge_faults(repository),
    ]


def _ownership_faults(repository: Repository) -> Iterator[str]:
    for path in repository.files:
        if path.endswith(".py"):
            names = [target.name for target in repository.owners(path)]
            if len(names) != 1:
                yield f"{path}: must be in exactly one target, is in {names or 'none'}"


def _label_faults(repository: Repository, installed: Collection[str]) -> Iterator[str]:
    names = [target.name for target in repository.targets]
    yield from (f"//:{name}: is declared twice" for name, times in Counter(names).items() if times > 1)
    known = {f":{name}" for name in names} | {PYPI + name for name in installed}
    for target in repository.targets:
        wrong = [label for label in target.deps if label not in known]
        wrong += [label for label in target.data if label not in known]
        wrong += [path for path in target.srcs if path not in repository.files]
        yield from (f"//:{target.name}: there is no {label}" for label in wrong)


def _cycle_faults(targets: list[Target]) -> Iterator[str]:
    try:
        graphlib.TopologicalSorter({t.label: {*t.deps, *t.data} for t in targets}).prepare()
    except graphlib.CycleError as error:
        yield f"the targets depend on each other in a circle: {' → '.join(error.args[1])}"


def _import_faults(repository: Repository) -> Iterator[str]:
    for path, source in repository.files.items():
        for target in repository.owners(path):
            # `from x import a, b, c` lacks one dep, not three: the first use tells it.
            first: dict[tuple[int, str], Use] = {}
            for use in uses(path, source):
                fault = _string_fault if use.is_string else _import_fault
                if complaint := fault(use, target, repository):
                    first.setdefault((use.line, complaint), use)
            for (line, complaint), use in first.items():
                yield f"{path}:{line}: {'names' if use.is_string else 'imports'} {use.module}, {complaint}"


def _import_fault(use: Use, target: Target, repository: Repository) -> str | None:
    wanted = repository.labels_of(use.module)
    if wanted is None or wanted & {target.label, *target.deps}:
        return None
    if not wanted:
        return "but nothing provides it"
    return f"but //:{target.name} lacks the dep {_one_of(wanted)}"


def _string_fault(use: Use, target: Target, repository: Repository) -> str | None:
    path = named_file(use.module, repository.files)
    if path is None:
        return "which is no function of ours" if use.must_exist else None
    wanted = repository.owner_labels(path)
    if wanted & {target.label, *target.deps, *target.data}:
        return None
    return f"but //:{target.name} lacks the data {_one_of(wanted)}"


def _unused_edge_faults(repository: Repository) -> Iterator[str]:
    for target in repository.targets:
        imported, named = _used_labels(target, repository)
        yield from (f'//:{target.name}: no file imports its dep "{dep}"' for dep in target.deps if dep not in imported)
        yield from (
            f'//:{target.name}: no file names its data "{label}"' for label in target.data if label not in named
        )


def _used_labels(target: Target, repository: Repository) -> tuple[set[str], set[str]]:
    """The labels that the files of a target import, and those that they name in dotted strings."""
    imported: set[str] = set()
    named: set[str] = set()
    for path in repository.files.keys() & target.srcs:
        for use in uses(path, repository.files[path]):
            if not use.is_string:
                imported |= repository.labels_of(use.module) or set()
            elif file := named_file(use.module, repository.files):
                named |= repository.owner_labels(file)
    return imported, named


def _one_of(labels: Iterable[str]) -> str:
    return " or ".join(f'"{label}"' for label in sorted(labels))


def reachable(label: str, targets: Iterable[Target]) -> set[str]:
    """Every label that importing a target can bring in."""
    deps = {target.label: target.deps for target in targets}
    found: set[str] = set()
    waiting = [label]
    while waiting:
        new = set(deps.get(waiting.pop(), ())) - found
        found |= new
        waiting.extend(new)
    return found


# --- This repository ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files() -> Files:
    """What git tracks, and what it would track; the text of Python files only."""
    # A checkout that belongs to another user (CI as root) is refused by git without safe.directory.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "-co", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [path for path in listing.split("\0") if path and (ROOT / path).is_file()]
    return {p: (ROOT / p).read_text(encoding="utf-8") if p.endswith(".py") else "" for p in paths}


@pytest.fixture(scope="module")
def repository(files: Files) -> Repository:
    build = (ROOT / "BUILD").read_text(encoding="utf-8")
    return Repository(files, evaluate(build, files), installed_providers)


def test_every_import_is_among_the_deps_of_its_target(repository: Repository) -> None:
    broken = violations(repository, installed_names())
    assert not broken, "\n".join(["BUILD states the import rules, and these break them:", *broken])


@pytest.mark.parametrize("room", PLAIN_ROOMS)
def test_plain_rooms_and_their_tests_reach_no_heavy_library(repository: Repository, room: str) -> None:
    targets = [t for t in repository.targets if f"{t.name}_".startswith(f"{room}_")]
    assert {room, f"{room}_test"} <= {t.name for t in targets}
    assert not {label for t in targets for label in reachable(t.label, repository.targets)} & HEAVY


# --- The checker itself ------------------------------------------------------------------------------------

LOAD = 'load("@rules_python//python:defs.bzl", "py_library")\n'
PROVIDERS = {"numpy": frozenset({"numpy"}), "shared": frozenset({"one", "other"})}


def faults(build: str, files: Files) -> list[str]:
    """The violations in a repository of these files, on a machine with numpy, one and other installed."""
    providers = lambda module: PROVIDERS.get(module.partition(".")[0], frozenset())  # noqa: E731
    repository = Repository(files, evaluate(build, files), providers)
    return violations(repository, installed=["numpy", "one", "other"])


def rooms(attributes: str = "") -> str:
    """A BUILD of two rooms: //:low of low/, and //:high of high.py with these attributes."""
    low = 'py_library(name = "low", srcs = glob(["low/**/*.py"]))'
    return f'{LOAD}{low}\npy_library(name = "high", srcs = ["high.py"], {attributes})\n'


def test_imports_among_the_deps_pass() -> None:
    files = {"high.py": "import os.path\nfrom low import deep", "low/deep.py": "from . import deep"}
    assert faults(rooms('deps = [":low"]'), files) == []


def test_missing_dep_is_told_with_file_line_import_and_label() -> None:
    assert faults(rooms(), {"high.py": "", "low/deep.py": "import os\nimport high"}) == [
        'low/deep.py:2: imports high, but //:low lacks the dep ":high"'
    ]


def test_dep_that_no_file_imports_is_a_fault() -> None:
    files = {"high.py": "import low.deep", "low/deep.py": ""}
    assert faults(rooms('deps = [":low", "@pypi//numpy"]'), files) == [
        '//:high: no file imports its dep "@pypi//numpy"'
    ]
    assert faults(rooms('deps = [":low"]'), files | {"high.py": '"low.deep"'}) == [
        '//:high: no file imports its dep ":low"'
    ]


def test_dep_is_used_when_one_of_several_files_imports_it() -> None:
    build = LOAD + 'py_library(name = "all", srcs = glob(["*.py"]), deps = ["@pypi//numpy"])'
    assert faults(build, {"a.py": "", "b.py": "def late():\n    import numpy", "c.py": ""}) == []


def test_data_that_no_file_names_is_a_fault() -> None:
    files = {"high.py": "", "low/deep.py": ""}
    assert faults(rooms('data = [":low"]'), files) == ['//:high: no file names its data ":low"']


@pytest.mark.parametrize(
    "source",
    [
        "def late():\n    import low.deep",
        "if TYPE_CHECKING:\n    from low.deep import something",
        "from low import deep",
        "from .deep import something",
        "from . import deep",
        "from .deep import *",
    ],
)
def test_imports_are_found_however_they_are_written(source: str) -> None:
    build = LOAD + "".join(f'py_library(name = "{n}", srcs = ["low/{n}.py"])\n' for n in ("deep", "near"))
    (fault,) = faults(build, {"low/deep.py": "", "low/near.py": source})
    assert fault.endswith('but //:near lacks the dep ":deep"')


def test_third_party_import_needs_its_distribution_among_the_deps() -> None:
    files = {"high.py": "import numpy.linalg as linear", "low/deep.py": ""}
    assert faults(rooms('deps = ["@pypi//numpy"]'), files) == []
    assert faults(rooms(), files) == ['high.py:1: imports numpy.linalg, but //:high lacks the dep "@pypi//numpy"']


def test_any_provider_of_a_shared_module_will_do() -> None:
    files = {"high.py": "import shared", "low/deep.py": ""}
    assert faults(rooms('deps = ["@pypi//other"]'), files) == []
    assert faults(rooms(), files) == [
        'high.py:1: imports shared, but //:high lacks the dep "@pypi//one" or "@pypi//other"'
    ]


def test_names_from_one_module_are_one_fault() -> None:
    files = {"high.py": "from numpy import array, zeros", "low/deep.py": ""}
    assert faults(rooms(), files) == ['high.py:1: imports numpy.array, but //:high lacks the dep "@pypi//numpy"']


def test_module_that_nothing_provides_is_a_fault() -> None:
    assert faults(rooms(), {"high.py": "import nowhere", "low/deep.py": ""}) == [
        "high.py:1: imports nowhere, but nothing provides it"
    ]


def test_file_in_no_target_and_in_two_are_faults() -> None:
    build = rooms().replace('["high.py"]', '["high.py", "low/deep.py"]')
    assert faults(build, {"high.py": "", "low/deep.py": "", "stray.py": ""}) == [
        "low/deep.py: must be in exactly one target, is in ['low', 'high']",
        "stray.py: must be in exactly one target, is in none",
    ]


def test_labels_and_files_that_do_not_exist_are_faults() -> None:
    build = rooms('deps = [":lo", "@pypi//numpi"], data = ["page.html"]').replace("high.py", "hi.py")
    assert list(
        _label_faults(Repository({"low/deep.py": ""}, evaluate(build, ["low/deep.py"]), PROVIDERS.get), [])
    ) == [
        "//:high: there is no :lo",
        "//:high: there is no @pypi//numpi",
        "//:high: there is no page.html",
        "//:high: there is no hi.py",
    ]


def test_target_declared_twice_is_a_fault() -> None:
    build = rooms() + 'py_library(name = "low", srcs = [])'
    assert faults(build, {"high.py": "", "low/deep.py": ""}) == ["//:low: is declared twice"]


def test_circle_of_targets_is_a_fault() -> None:
    build = rooms('deps = [":low"]').replace('glob(["low/**/*.py"])', '["low/deep.py"], deps = [":high"]')
    (fault,) = faults(build, {"high.py": "import low.deep", "low/deep.py": "import high"})
    assert fault.startswith("the targets depend on each other in a circle: :")


def test_dotted_string_needs_the_target_it_names_as_data() -> None:
    files = {"high.py": 'Trainer(run_fn="low.deep.run_fn")', "low/deep.py": "def run_fn(): pass"}
    assert faults(rooms('data = [":low"]'), files) == []
    assert faults(rooms(), files) == ['high.py:1: names low.deep.run_fn, but //:high lacks the data ":low"']


def test_run_fn_that_does_not_exist_is_a_fault() -> None:
    files = {"high.py": 'Trainer(run_fn="low.deep.run")', "low/deep.py": "def run_fn(): pass"}
    assert faults(rooms(), files) == ["high.py:1: names low.deep.run, which is no function of ours"]


def test_file_name_that_looks_like_a_dotted_name_is_none() -> None:
    files = {"high.py": 'open("low.json")', "low/__init__.py": ""}
    assert faults(rooms(), files) == []


def test_data_does_not_allow_an_import() -> None:
    assert faults(rooms('data = [":low"]'), {"high.py": "import low.deep", "low/deep.py": ""}) == [
        'high.py:1: imports low.deep, but //:high lacks the dep ":low"',
        '//:high: no file names its data ":low"',
    ]


def test_misspelt_attribute_is_an_error() -> None:
    with pytest.raises(starlark.StarlarkError, match="dependencies"):
        evaluate(rooms('dependencies = [":low"]'), ["high.py", "low/deep.py"])


def test_glob_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(starlark.StarlarkError, match="at least one file"):
        evaluate(rooms(), ["high.py"])


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("a/*.py", "a/b.py", "a/b/c.py"),
        ("a/**/*.py", "a/b.py", "b/a/c.py"),
        ("a/**/*.py", "a/b/c/d.py", "a/b/c.txt"),
        ("a/**", "a/b/c.txt", "ab"),
    ],
)
def test_glob_follows_bazels_segments(pattern: str, matching: str, other: str) -> None:
    assert _glob([matching, other], [pattern]) == [matching]


def test_excluded_files_are_left_out_of_a_glob() -> None:
    assert _glob(["a/b.py", "a/c.py"], ["a/*.py"], exclude=["a/c.py"]) == ["a/b.py"]


def test_everything_a_target_brings_in_is_reachable() -> None:
    build = LOAD + "".join(
        f'py_library(name = "{name}", srcs = [], deps = ["{dep}"])\n'
        for name, dep in (("top", ":middle"), ("middle", ":bottom"), ("bottom", "@pypi//tfx"), ("aside", ":top"))
    )
    assert reachable(":top", evaluate(build, [])) == {":middle", ":bottom", "@pypi//tfx"}


def test_installed_module_of_a_shared_namespace_is_found() -> None:
    assert installed_providers("google.protobuf.text_format") == {"protobuf"}
    assert installed_providers("PIL.Image") == {"pillow"}
    assert installed_providers("no_such_module_anywhere") == frozenset()


# --- The picture of the rooms --------------------------------------------------------------------------------

PARTS_OF_ROOMS = {
    "retrieval_metrics": "retrieval",
    "retrieval_scann_index": "retrieval",
    "transform_features": "transform",
    "components_tf_examples": "components",
    "serving_model_server": "serving",
}
NOT_DRAWN = {"lookalike_errors", "lookalike", "bench"}  # what all rooms import, and what only starts or measures them


def room_edges(targets: Iterable[Target]) -> set[tuple[str, str]]:
    """Which room needs which other; what a room reaches through another one is left out."""
    needs: dict[str, set[str]] = {}
    for target in targets:
        if target.name not in NOT_DRAWN and not target.name.endswith(("_test", "_conftest")):
            labels = [label[1:] for label in (*target.deps, *target.data) if label.startswith(":")]
            rooms = {PARTS_OF_ROOMS.get(name, name) for name in labels} - NOT_DRAWN
            needs.setdefault(PARTS_OF_ROOMS.get(target.name, target.name), set()).update(rooms)
    order = graphlib.TopologicalSorter({room: used - {room} for room, used in needs.items()}).static_order()
    reached: dict[str, set[str]] = {}
    for room in order:
        used = needs[room] - {room}
        reached[room] = used.union(*(reached[other] for other in used))
    return {
        (room, other)
        for room, used in needs.items()
        for other in used - {room}
        if not any(other in reached[between] for between in used - {room, other})
    }


def test_the_picture_of_the_rooms_shows_what_build_says(repository: Repository) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = set(re.findall(r"^  (\w+) --> (\w+)$", text, re.MULTILINE))
    assert drawn == room_edges(repository.targets)
