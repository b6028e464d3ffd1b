"""The API reference, a page per room: all modules that the room has, and the help of the `dgam` command."""

from __future__ import annotations

import ast
import re
from collections import namedtuple
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "dgam_core"
FIELD = type(vars(namedtuple("FIELD", "field"))["field"])


def module_name(path: Path) -> str:
    """Return the dotted name of a module of the package."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def rooms() -> list[Path]:
    """Return the folders of the package that have a page: the method, which is the package's own, first."""
    return [PACKAGE, *sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))]


def room_name(room: Path) -> str:
    """Return the name of a room, and of its page."""
    return "method" if room == PACKAGE else room.name


def first_line(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def modules(room: Path) -> list[Path]:
    """Return the modules of a room, without its own `__init__`: those of the paper in the paper's order.

    What a module is in the paper says the first line of its docstring, as in "(sections 3.2 and 3.4)".
    """
    paths = room.glob("*.py") if room == PACKAGE else room.rglob("*.py")
    return sorted((path for path in paths if path != room / "__init__.py"), key=_in_the_papers_order)


def _in_the_papers_order(path: Path) -> tuple[bool, list[str], str]:
    cited = re.search(r"\bsections? ([\d., and to]+)", first_line(path))
    sections = re.findall(r"\d(?:\.\d)?", cited[1]) if cited else []
    return not sections, sections, module_name(path)


class Room(SphinxDirective):
    """What all modules of a room offer, a section per module."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the sections."""
        (room,) = (room for room in rooms() if room_name(room) == self.arguments[0])
        prefix = f"{module_name(room / '__init__.py')}."
        sections = []
        for path in modules(room):
            name = module_name(path)
            section = nodes.section(ids=[nodes.make_id(f"module {name}")], names=[f"module {name}"])
            section += nodes.title("", "", nodes.literal("", name.removeprefix(prefix)))
            section += self._automodule(path)
            sections.append(section)
        return [*self._automodule(room / "__init__.py"), *sections]

    def _automodule(self, path: Path) -> list[nodes.Node]:
        self.env.note_dependency(str(path))
        options = [":members:", ":ignore-module-all:", ":show-inheritance:"]
        lines = [f".. automodule:: {module_name(path)}", *(f"   {option}" for option in options)]
        return self.parse_text_to_nodes("\n".join(["```{eval-rst}", *lines, "```"]))


class Rooms(SphinxDirective):
    """The rooms, each with a link to its page and what it says of itself."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        rows = [
            f"| [{room_name(room)}](/book/api/{room_name(room)}.md) | {first_line(room / '__init__.py')} |"
            for room in rooms()
        ]
        return self.parse_text_to_nodes("\n".join(["| room | |", "|---|---|", *rows]))


def commands(command: click.Command, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """Yield the name and the help text of each command, those of groups one by one."""
    name = command.name if parent else "dgam"
    context = click.Context(command, parent, info_name=name, terminal_width=74)
    if not isinstance(command, click.Group):
        yield context.command_path, command.get_help(context)
        return
    for inner in command.commands.values():
        yield from commands(inner, context)


class Commands(SphinxDirective):
    """The help text of each `dgam` command."""

    def run(self) -> list[nodes.Node]:
        """Make a section per command."""
        sections = []
        for name, text in commands(import_module(f"{PACKAGE.name}.cli.main").cli):
            section = nodes.section(ids=[nodes.make_id(name)], names=[name])
            section += [
                nodes.title("", "", nodes.literal("", name)),
                nodes.literal_block(text, text, language="text"),
            ]
            sections.append(section)
        return sections


def import_all(app: Sphinx) -> None:
    """Import the package before anything is documented.

    autodoc writes into a class that it documents; a class derived from it later would inherit that.
    """
    for room in rooms():
        for path in modules(room):
            import_module(module_name(path))


def skip_member(app: Sphinx, what: str, name: str, member: Any, skip: bool, options: Any) -> bool | None:
    """Leave out commands and fields of tuples: their help and their class say more of them."""
    return True if isinstance(member, click.Command | FIELD) else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.add_directive("room", Room)
    app.add_directive("rooms", Rooms)
    app.add_directive("commands", Commands)
    app.connect("builder-inited", import_all)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
