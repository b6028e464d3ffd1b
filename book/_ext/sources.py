"""The source of the package and its tests: what computes an equation, checks it, or reads a setting."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

ROOT = Path(__file__).resolve().parents[2]
Definition = ast.FunctionDef | ast.ClassDef


@cache
def parsed(path: Path) -> tuple[str, ast.Module]:
    """Return a Python file's text and syntax tree."""
    text = path.read_text(encoding="utf-8")
    return text, ast.parse(text)


def find(name: str) -> tuple[Path, Definition]:
    """Find a function, class or method of the package by its name: cvae.CVAE.decode, rivals.stpn.pool.

    Raises:
        ExtensionError: the package has nothing of that name.
    """
    module, *parts = name.split(".")
    folder = ROOT / "dgam_core"
    if parts and (folder / module).is_dir():
        folder, (module, *parts) = folder / module, parts
    path = folder / f"{module}.py"
    node: ast.Module | Definition | None = parsed(path)[1] if path.is_file() else None
    for part in parts:
        inside = node.body if node is not None else []
        node = next((n for n in inside if isinstance(n, Definition) and n.name == part), None)
    if not isinstance(node, Definition):
        raise ExtensionError(f"dgam_core has no {name}: name a function as module.function")
    return path, node


def source(path: Path, node: Definition, docstring: bool = True) -> str:
    """Return the source of a function or class, with its decorators."""
    lines = parsed(path)[0].splitlines()
    first = min(part.lineno for part in (node, *node.decorator_list))
    indices = list(range(first - 1, node.end_lineno or first))
    if not docstring and ast.get_docstring(node):
        text = node.body[0]
        indices = [i for i in indices if not text.lineno <= i + 1 <= (text.end_lineno or 0)]
    return textwrap.dedent("\n".join(lines[i] for i in indices))


Test = tuple[Path, ast.FunctionDef]


@cache
def tests_of_equations() -> dict[int, list[Test]]:
    """Return the tests of each equation: those marked with its number, `@pytest.mark.equation(4)`."""
    tests: dict[int, list[Test]] = {}
    for path, node in _tests():
        for number in numbers(node):
            tests.setdefault(number, []).append((path, node))
    return tests


@cache
def tests_of_rivals() -> dict[tuple[str, str], list[Test]]:
    """Return method and number → the tests marked so, `@pytest.mark.rival_equation("stpn", "2")`."""
    tests: dict[tuple[str, str], list[Test]] = {}
    for path, node in _tests():
        for method, *of_paper in _marks(node, "rival_equation"):
            for number in of_paper:
                tests.setdefault((method, number), []).append((path, node))
    return tests


def numbers(node: ast.FunctionDef) -> Iterator[int]:
    """Yield the equations that a test is marked with."""
    for marked in _marks(node, "equation"):
        yield from marked


def _tests() -> Iterator[Test]:
    """Yield all functions of the files of tests."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in parsed(path)[1].body:
            if isinstance(node, ast.FunctionDef):
                yield path, node


def _marks(node: ast.FunctionDef, name: str) -> Iterator[list[Any]]:
    """Yield the arguments of each of a test's marks of a name."""
    for mark in node.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == f"pytest.mark.{name}":
            yield [ast.literal_eval(argument) for argument in mark.args]


def in_words(test: ast.FunctionDef) -> str:
    """Return a test's name as a sentence would have it."""
    return re.sub(r" eq \d+( and \d+)*$", "", test.name.removeprefix("test_").replace("_", " "))


@cache
def reader(attribute: str) -> tuple[str, str] | None:
    """Return the first public function that reads an attribute, in the method or else in a room.

    Returns:
        Module, and name within it.
    """
    package = ROOT / "dgam_core"
    paths = sorted(package.rglob("*.py"), key=lambda path: (path.parent != package, path))
    for path in paths:
        # These hold settings and compute nothing, and the reference shows commands in another way.
        if path.stem in ("settings", "departures") or path.parent.name == "cli":
            continue
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if f".{attribute}" in parsed(path)[0]:
            for name, node in functions(parsed(path)[1]):
                if _reads(node, attribute):
                    return module, name
    return None


def functions(node: ast.AST, within: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the public functions and methods of a module or class, without properties, with their names."""
    for child in ast.iter_child_nodes(node):
        if getattr(child, "name", "_").startswith("_"):
            continue
        if isinstance(child, ast.FunctionDef) and not child.decorator_list:
            yield within + child.name, child
        elif isinstance(child, ast.ClassDef):
            yield from functions(child, f"{within}{child.name}.")


def _reads(function: ast.FunctionDef, attribute: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == attribute for node in ast.walk(function))


@cache
def test_file(word: str) -> Path | None:
    """Return the file of tests that names something most; None where none does."""
    paths = sorted((ROOT / "tests").rglob("test_*.py"))
    counts = {path: len(re.findall(rf"\b{word}\b", parsed(path)[0])) for path in paths}
    most = max(paths, key=counts.__getitem__)
    return most if counts[most] else None
