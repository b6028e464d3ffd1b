"""Links within the book, and tables that have them, as nodes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.ext.viewcode import viewcode_anchor

Cell = str | Sequence[nodes.Node]


def to_label(text: str | nodes.Node, label: str, docname: str) -> nodes.Node:
    """Return a link to a label anywhere in the book, such as eq-4."""
    inside = nodes.inline("", text) if isinstance(text, str) else text
    return pending_xref(
        "", inside, refdomain="std", reftype="ref", reftarget=label, refexplicit=True, refdoc=docname,
        refwarn=True,
    )  # fmt: skip


def to_equations(numbers: Iterable[int], docname: str) -> list[nodes.Node]:
    """Return links to equations: (4), (5)."""
    return separated([to_label(f"({number})", f"eq-{number}", docname) for number in numbers], ", ")


def to_settings(names: Iterable[str], docname: str) -> list[nodes.Node]:
    """Return links to the rows of settings in their table."""
    return [to_label(nodes.literal("", name), f"setting-{name}", docname) for name in names]


def to_reference(full: str, kind: str, docname: str, text: str = "") -> nodes.Node:
    """Return a link to what the API reference says of a `kind` such as func, meth, class or attr."""
    return pending_xref(
        "", nodes.literal("", text or full), refdomain="py", reftype=kind, reftarget=full, refexplicit=True,
        refdoc=docname,
    )  # fmt: skip


def to_source(module: str, name: str, docname: str) -> nodes.Node:
    """Return a link to the page that shows the source of a function or class."""
    return viewcode_anchor(reftarget=f"_modules/{module.replace('.', '/')}", refid=name, refdoc=docname)


def separated(parts: Sequence[nodes.Node], by: str) -> list[nodes.Node]:
    """Return nodes with text between them."""
    return [node for part in parts for node in (nodes.Text(by), part)][1:]


def with_code(text: str) -> list[nodes.Node]:
    """Return text whose `backquoted` parts are code."""
    parts = re.split(r"`+([^`]+)`+", text)
    return [nodes.literal("", part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts)]


def target(label: str) -> nodes.target:
    """Return what a label leads to; a directive gives it to `note_explicit_target`."""
    return nodes.target("", "", names=[label], ids=[nodes.make_id(label)])


def wide_table(heads: Sequence[str], rows: Iterable[Sequence[Cell]]) -> nodes.container:
    """Return a table as wide as the page; cells are texts, in which `…` is code, or inline nodes."""

    def row(cells: Sequence[Cell]) -> nodes.row:
        inline = [with_code(cell) if isinstance(cell, str) else cell for cell in cells]
        return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *parts)) for parts in inline))

    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
    group += [nodes.thead("", row(heads)), nodes.tbody("", *map(row, rows))]
    return nodes.container("", nodes.table("", group, classes=["colwidths-auto"]), classes=["full-width"])


def pipe_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown, of which the cells are."""
    return [
        f"| {' | '.join(heads)} |",
        "|---" * len(heads) + "|",
        *(f"| {' | '.join(cells)} |" for cells in rows),
    ]
