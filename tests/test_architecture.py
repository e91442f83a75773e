"""The shape of the program: imports go down, the core knows no clock and no Kafka, all is small."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("models", "streams", "metrics", "replay")
CORE = {
    f"streams.{name}"
    for name in (
        *("events", "codec", "settings", "state", "recent", "open_appeal", "collector_state"),
        *("collector", "exposure", "reciprocity", "series", "standing", "tally", "design", "fit"),
        *(
            "ask",
            "contest",
            "packing",
            "lines",
            "lines_appeal",
            "collector_lines",
            "turns",
            "ledger",
            "register",
            "community",
            "communities",
            "learner",
            "facts",
            "pipeline",
        ),
    )
}
FUNCTION_LINES_MAX, FUNCTION_LINES_MEDIAN, MODULE_LINES_MAX = 60, 10, 400
# What the first stage needs. The last needs river, and that loads asyncio by way of joblib.
FIRST_STAGE = {"streams.codec", "streams.collector", "streams.settings", "streams.state"}
# Started by name, not imported.
ENTRIES = {"metrics.dashboards.write", "replay.cli", "replay.feeder", "streams.worker"}


@cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = ast.parse(path.read_text(encoding="utf-8"))
    return found


@cache
def imports(name: str) -> frozenset[str]:
    """Modules that a module imports, wherever in it; `from a import b` may mean a.b.

    Not what it imports for the type checker alone.
    """
    found = set()
    for node in walk_without_types(modules()[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: expected absolute imports"
            found |= {node.module or ""}
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def walk_without_types(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and dotted(node.test) == "TYPE_CHECKING"):
            yield node
            yield from walk_without_types(node)


def layer(name: str) -> str:
    if name in CORE or name == "streams":
        return "core"
    return {"streams": "shell"}.get(name.split(".")[0], name.split(".")[0])


MAY_IMPORT = {
    "models": {"models"},
    "core": {"models", "core"},
    "metrics": {"metrics"},
    "shell": {"models", "core", "shell", "metrics"},
    "replay": {"models", "core", "shell", "metrics", "replay"},
}


@pytest.mark.parametrize("name", modules())
def test_imports_go_down(name: str) -> None:
    ours = {module for module in imports(name) if module in modules()}
    up = {module for module in ours if layer(module) not in MAY_IMPORT[layer(name)]}
    assert not up


def test_there_are_no_cycles() -> None:
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " imports ".join((*path[path.index(name) :], name))
        if name not in done:
            for module in sorted(imports(name) & modules().keys()):
                if module != name and module not in PACKAGES:
                    visit(module, (*path, name))
            done.add(name)

    for name in modules():
        visit(name, ())


def test_every_module_is_imported() -> None:
    used = {m for name in modules() for m in imports(name) if m != name}
    unused = {name for name in modules() if not is_package(name)} - used - ENTRIES
    assert not unused


@pytest.mark.parametrize(
    ("some", "heavy"),
    [
        (CORE, "faust aiokafka prometheus_client duckdb typer rich matplotlib"),
        (FIRST_STAGE, "faust aiokafka prometheus_client asyncio numpy river scipy zstandard"),
        (
            {"replay.feeder"},
            "faust aiokafka prometheus_client asyncio river sklearn duckdb models.retention",
        ),
    ],
    ids=["core", "first stage", "reading ahead"],
)
def test_the_core_loads_no_kafka(some: set[str], heavy: str) -> None:
    """In a fresh interpreter."""
    program = (
        f"import sys; {'; '.join(f'import {name}' for name in sorted(some))}\n"
        "print([name for name in sys.argv[1].split() if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, heavy]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    assert said.strip() == "[]"


NEVER = {"pickle", "cPickle", "dill", "shelve", "marshal", "joblib", "cloudpickle"}
CLOCKS = {
    *("time.time", "time.time_ns", "time.monotonic", "time.perf_counter", "time.sleep"),
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today"),
    *("os.environ", "os.getenv", "random.random", "np.random.rand", "np.random.seed"),
}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


@pytest.mark.parametrize("name", modules())
def test_nothing_is_pickled_or_evaluated(name: str) -> None:
    assert not {module.split(".")[0] for module in imports(name)} & NEVER
    calls = {dotted(n.func) for n in ast.walk(modules()[name]) if isinstance(n, ast.Call)}
    assert not calls & {"eval", "exec", "compile", "__import__"}


@pytest.mark.parametrize("name", [n for n in modules() if layer(n) in ("core", "models")])
def test_the_core_is_pure(name: str) -> None:
    """No clock, no environment, no logging, no output, no unseeded randomness."""
    assert not imports(name) & {"time", "logging", "os", "random", "secrets", "uuid", "asyncio"}
    nodes = list(ast.walk(modules()[name]))
    mentioned = {dotted(node) for node in nodes if isinstance(node, ast.Attribute)}
    tails = {".".join(path.split(".")[-2:]) for path in mentioned}
    assert not (mentioned | tails) & CLOCKS
    called = {dotted(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not called & {"print", "input", "breakpoint", "np.random.default_rng"}


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """From `def` to the end, without the docstring."""
    assert function.end_lineno is not None
    body = function.body
    first = body[0].value if isinstance(body[0], ast.Expr) else None
    documented = isinstance(first, ast.Constant) and isinstance(first.value, str)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if first and documented else 0
    return function.end_lineno - function.lineno + 1 - docstring


@pytest.mark.parametrize("name", modules())
def test_modules_and_functions_are_short(name: str) -> None:
    if not is_package(name):
        source = (ROOT / Path(*name.split("."))).with_suffix(".py").read_text(encoding="utf-8")
        size = len(source.splitlines())
        assert size <= MODULE_LINES_MAX
    long = {f.name: lines(f) for f in functions(modules()[name]) if lines(f) > FUNCTION_LINES_MAX}
    assert not long


def test_most_functions_are_very_short() -> None:
    sizes = [lines(function) for tree in modules().values() for function in functions(tree)]
    assert statistics.median(sizes) < FUNCTION_LINES_MEDIAN


DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def is_package(name: str) -> bool:
    return (ROOT / Path(*name.split("."))).is_dir()


def bound(tree: ast.Module) -> set[str]:
    """Names that a module binds at its top."""
    found = {n.name for n in tree.body if isinstance(n, DEFINITIONS)}
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("name", [n for n in modules() if not is_package(n)])
def test_what_is_public_is_said(name: str) -> None:
    """`__all__` is there, sorted (capitals, classes, the rest), and names what there is."""
    tree = modules()[name]
    (said,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and dotted(node.targets[0]) == "__all__"
    ]
    assert said == sorted(said, key=lambda n: (not n.isupper(), not n[:1].isupper(), n))
    assert len(set(said)) == len(said)
    assert set(said) <= bound(tree)
