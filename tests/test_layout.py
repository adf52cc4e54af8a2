"""The two walls of the house: the lesson stands alone, and imports only go downwards."""

import ast
from pathlib import Path

import pytest

import tinyunet

PACKAGE = Path(tinyunet.__file__).parent

# From the ground up: each line may import from those above it, never from those below.
ORDER = (
    "errors",
    "hints",
    "progress",
    "cuda",
    "backend",
    "memory",
    "nn",
    "fast",
    "atomic_io",
    "data",
    "checkpoint",
    "distributed",
    "inference",
    "plots",
    "data_checks",
    "training",
    "segmenter",
    "export",
    "course",
    "cli",
    "__main__",
)


def module_name(path):
    """Give a file's dotted name."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name):
    """List the modules of tinyunet that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            known = inside & MODULES.keys()
            found |= known or {node.module}
    return {target for target in found if target.split(".")[0] == "tinyunet"}


def part(name):
    """Give the part of the house that a module belongs to."""
    return name.split(".")[1] if "." in name else "tinyunet"


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) == "nn"])
def test_the_lesson_imports_only_backend_errors_and_itself(name):
    assert {part(target) for target in imports_of(name)} <= {"backend", "errors", "nn"}


@pytest.mark.parametrize("name", [name for name in MODULES if part(name) != "tinyunet"])
def test_no_module_imports_upwards(name):
    allowed = set(ORDER[: ORDER.index(part(name)) + 1]) | {"tinyunet"}
    assert {part(target) for target in imports_of(name)} <= allowed


def test_no_modules_import_each_other_in_a_circle():
    # The package itself is left out: it only gathers names for its users.
    graph = {name: imports_of(name) & MODULES.keys() - {"tinyunet"} for name in MODULES}
    done = set()

    def visit(name, path):
        assert name not in path, " imports ".join([*path, name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in graph:
        visit(name, [])


def test_an_operation_is_read_in_a_sitting():
    for path in (PACKAGE / "nn" / "functional").glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 120, path.name
