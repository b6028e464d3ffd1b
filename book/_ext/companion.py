"""Equations beside their code, tests and settings; claims beside their verdicts; mended pages."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from html import escape
from itertools import takewhile
from pathlib import Path
from typing import Any

import links
import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from pylatexenc.latex2text import LatexNodes2Text
from settings_page import settings_of
from sources import Test, find, in_words, numbers, source, tests_of_equations
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.search.en import SearchEnglish
from sphinx.util.docutils import SphinxDirective

from dgam_core import __version__
from dgam_core.experiments.claims import verdicts
from dgam_core.experiments.places import subfolder_of
from dgam_core.experiments.records import glued
from dgam_core.experiments.study import ALT

ROOT = Path(__file__).resolve().parents[2]
MADE = "## How it was made"
# What formulas need of MathJax, each part after those that it needs itself.
MATHJAX = (
    "core", "input/tex", "[tex]/boldsymbol", "output/chtml", "output/chtml/fonts/tex", "a11y/assistive-mml",
)  # fmt: skip
# Files that pages load, and what they are joined from.
JOINED = {
    "_static/mathjax/joined.js": [
        f"_static/mathjax/{part.replace('[tex]', 'input/tex/extensions')}.js"
        for part in ("startup", *MATHJAX)
    ]
}


class EquationBox(SphinxDirective):
    """An equation with the code that computes it, and links to its tests."""

    has_content = True
    option_spec = {"code": directives.unchanged_required}  # noqa: RUF012, as docutils declares it

    def box(
        self, latex: Sequence[str], tests: Sequence[Test], label: Callable[[str], str] = str
    ) -> nodes.container:
        """Return the equation, the code that the option names, and what checks it.

        Args:
            latex: lines of an equation.
            tests: its tests.
            label: name of a test → the label of its source.
        """
        text = "\n".join([r"\begin{equation}", *latex, r"\end{equation}"])
        found = nodes.container(classes=["equation"])
        found += nodes.math_block(text, text, nowrap=True, number=None, label=None)
        for name in self.options.get("code", "").split():
            found += self._code(name)
        for path, _ in tests:
            self.env.note_dependency(str(path))
        if tests:
            parts = [links.to_label(in_words(t), label(t.name), self.env.docname) for _, t in tests]
            found += self.line("Checked by", parts, "; ", "checked-by")
        return found

    def line(self, head: str, parts: list[nodes.Node], by: str, name: str) -> nodes.Node:
        """Return a line of links."""
        return nodes.paragraph("", f"{head}: ", *links.separated(parts, by), classes=[name])

    def _code(self, name: str) -> list[nodes.Node]:
        path, node = find(name)
        self.env.note_dependency(str(path))
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        inner = f"dgam_core.{name}".removeprefix(f"{module}.")
        kind = "class" if isinstance(node, ast.ClassDef) else ("meth" if "." in inner else "func")
        parts = [
            links.to_reference(f"dgam_core.{name}", kind, self.env.docname),
            links.to_source(module, inner, self.env.docname),
        ]
        text = source(path, node, docstring=False)
        return [
            nodes.paragraph("", "", *links.separated(parts, " "), classes=["code-name"]),
            nodes.literal_block(text, text, language="python"),
        ]


class Equation(EquationBox):
    """An equation of the paper under its number, with its code, tests and settings."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        number = int(self.arguments[0])
        target = links.target(f"eq-{number}")
        self.state.document.note_explicit_target(target)
        box = self.box([*self.content, rf"\tag{{{number}}}"], tests_of_equations().get(number, []))
        if names := settings_of("equations", number):
            self.env.note_dependency(str(ROOT / "dgam_core" / "settings.py"))
            box += self.line("Settings", links.to_settings(names, self.env.docname), ", ", "set-by")
        return [target, box]


class EquationTests(SphinxDirective):
    """The source of every test that is marked with an equation, under the first it names."""

    def run(self) -> list[nodes.Node]:
        """Make a section per equation."""
        shown: set[str] = set()
        sections = []
        for number, tests in sorted(tests_of_equations().items()):
            section = nodes.section(ids=[f"tests-of-eq-{number}"], names=[f"tests of eq {number}"])
            section += nodes.title("", f"Eq. ({number})")
            for path, test in tests:
                if test.name in shown:
                    section += self._again(test)
                else:
                    section += self._source(path, test)
                shown.add(test.name)
            sections.append(section)
        return sections

    def _again(self, test: ast.FunctionDef) -> nodes.Node:
        link = links.to_label(in_words(test), test.name, self.env.docname)
        return nodes.paragraph("", "Also, above: ", link)

    def _source(self, path: Path, test: ast.FunctionDef) -> list[nodes.Node]:
        self.env.note_dependency(str(path))
        target = links.target(test.name)
        self.state.document.note_explicit_target(target)
        equations = links.to_equations(numbers(test), self.env.docname)
        file = nodes.literal("", path.relative_to(ROOT).as_posix())
        where = nodes.paragraph("", "", file, nodes.Text(" checks Eq. "), *equations, classes=["code-name"])
        text = source(path, test)
        return [target, where, nodes.literal_block(text, text, language="python")]


class Claims(SphinxDirective):
    """The claims of the paper with the verdicts of this build: of the notebooks named, or of all.

    Verdicts are corrected for the number of claims of all notebooks, wherever they are shown; with all, what
    each would say alone stands beside it.
    """

    optional_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Make the table of what the notebooks have glued under the name `claims`."""
        names = self.arguments[0].split() if self.arguments else None
        found = claims_of_build(self.env)
        said = verdicts([claim["evidence"] for _, claim in found])
        rows = []
        for (name, claim), (corrected, alone) in zip(found, said, strict=True):
            if names is None or name in names:
                where = f"[{in_paper(name)}](/book/notebooks/{name}.ipynb), {claim['preset']}"
                said_of_data = f"**{corrected}** ({claim['data']})"
                said_of_data += f"; alone: {alone}" if names is None else ""
                cells = [where, claim["claim"], said_of_data, claim["measured"], claim["published"]]
                rows.append("| " + " | ".join(cells) + " |")
        head = ["| where | claim of the paper | on the data of this build | this build | published |"]
        text = "\n".join(
            [*head, "|---|---|---|---|---|", *rows] if rows else ["*This build has no such results.*"]
        )
        return self.parse_text_to_nodes(with_minus(text))


def with_minus(text: str) -> str:
    """Return a table's text with minus signs before its numbers, and no line break before a per cent sign."""
    return re.sub(r"(?<=\d) (?=%)", "\N{NO-BREAK SPACE}", re.sub(r"(?<=[ |(])-(?=\d)", "−", text))


def claims_of_build(env: BuildEnvironment) -> list[tuple[str, dict[str, Any]]]:
    """Return the claims that the notebooks of this build have glued, each with the notebook's name."""
    found = []
    for name in claiming_notebooks():
        path = ROOT / "book" / "notebooks" / f"{name}.ipynb"
        if path.is_file():
            env.note_dependency(str(path))
            text = glued(json.loads(path.read_text(encoding="utf-8")), "claims")
            found += [(name, claim) for claim in json.loads(text or "[]")]
    return found


def claiming_notebooks() -> list[str]:
    """Return the notebooks of the paper's figures and tables, figures first, by number."""
    stems = [path.stem for path in (ROOT / "notebooks").glob("*[0-9]_*.ipynb")]
    return sorted(stems, key=kind_and_number)


def kind_and_number(stem: str) -> tuple[str, str]:
    """Return what a notebook is named after: table4_ablation → ("table", "4")."""
    kind, number, *_ = re.findall(r"[a-z]+|\d+", stem)
    return kind, number


def in_paper(stem: str) -> str:
    """Return what the paper calls a notebook's figure or table: table4_ablation → Table 4."""
    kind, number = kind_and_number(stem)
    return f"{kind.capitalize()} {number}"


def results_of(notebook: dict[str, Any]) -> Path | None:
    """Return the folder of an executed notebook's tables and figures; None for one that has not run."""
    parameters = notebook["metadata"].get("papermill", {}).get("parameters")
    if parameters is None:
        return None
    results: Path = ROOT / "results" / parameters["profile"]
    return results / "figures" / subfolder_of(parameters["dataset"], results)


def edit_notebook(app: Sphinx, docname: str, content: list[str]) -> None:
    """Make a page of a notebook: figures in words, the result first, and downloads at its end."""
    if docname.startswith("book/notebooks/"):
        notebook = json.loads(content[0])
        add_alternatives(notebook)
        open_with_the_result(notebook)
        add_downloads(notebook, docname)
        content[0] = json.dumps(notebook)


def add_alternatives(notebook: dict[str, Any]) -> None:
    """Give figures the alternative texts that their cells have glued."""
    for cell in notebook["cells"]:
        if text := glued({"cells": [cell]}, ALT):
            cell["metadata"]["mystnb"] = {"image": {"alt": text}}
            # What is glued must have a name of its own on a page.
            cell["outputs"] = [
                output for output in cell["outputs"] if not glued({"cells": [{"outputs": [output]}]}, ALT)
            ]


def open_with_the_result(notebook: dict[str, Any]) -> None:
    """Fold the code that comes before the first section, and move it to how it was made."""
    title, *cells = notebook["cells"]
    folded = list(takewhile(lambda cell: cell["cell_type"] == "code", cells))
    for cell in folded:
        cell["metadata"]["tags"] = ["hide-cell"]
    rest = cells[len(folded) :]
    place = next(i for i, cell in enumerate(rest) if "".join(cell["source"]).startswith(MADE)) + 1
    notebook["cells"] = [title, *rest[:place], *folded, *rest[place:]]


def add_downloads(notebook: dict[str, Any], docname: str) -> None:
    """Append what can be downloaded of a notebook that has run: itself, its table and its figures."""
    results = results_of(notebook)
    if results is None:
        return
    stem = docname.rpartition("/")[2]
    files = [path for kind in ("csv", "svg", "png") for path in sorted(results.glob(f"{stem}*.{kind}"))]
    links = [f"{{download}}`{path.name} </{path.relative_to(ROOT).as_posix()}>`" for path in files]
    text = "## Downloads\n\n" + ", ".join([f"{{download}}`{stem}.ipynb </{docname}.ipynb>`", *links])
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": text, "id": "downloads"})


class Search(SearchEnglish):
    """Sphinx's search in English, which also finds t_att where a formula has t_{att}."""

    def split(self, input: str) -> list[str]:
        """Split text into words."""
        return super().split(re.sub(r"_\{(\w+)\}", r"_\1", input))


def link_equations(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make the equations that a docstring of the API reference names links."""
    for i, line in enumerate(lines):
        lines[i] = re.sub(r"Eq\. \((\d+)\)", r":ref:`Eq. (\1) <eq-\1>`", line)


def describe(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give a page a description, for search engines and previews: its first paragraph."""
    paragraphs = doctree.findall(nodes.paragraph) if doctree else []
    first = next((paragraph for paragraph in paragraphs if isinstance(paragraph.parent, nodes.section)), None)
    if first is None:
        return
    paragraph = first.deepcopy()
    for math in list(paragraph.findall(nodes.math)):
        math.parent.replace(math, nodes.Text(LatexNodes2Text().latex_to_text(math.astext())))
    text = textwrap.shorten(paragraph.astext(), 200, placeholder=" …")
    context["metatags"] += f'<meta name="description" content="{escape(text)}" />'


def make_accessible(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mend what an accessibility scan finds wrong with the theme's and the writer's HTML."""
    tree = context["generate_toctree_html"]

    def with_named_toggles(*args: Any, **options: Any) -> str:
        return str(tree(*args, **options)).replace("<summary>", '<summary aria-label="Pages within">')

    context["generate_toctree_html"] = with_named_toggles
    body = context.get("body", "")
    # A list by its role, of entries that are not list items by theirs.
    for role in ('role="list" class="citation-list"', 'role="doc-biblioentry"'):
        body = body.replace(role, role.partition('" ')[2])
    # A name that hides what the element says: "Show code cell source".
    body = body.replace(' aria-label="Toggle hidden content"', "")
    # The corner of a table is the head of nothing.
    context["body"] = re.sub(r"<th([^>]*)>(?:<p></p>|&nbsp;)?</th>", r"<td\1></td>", body)


# A server shows the page under the address that leads nowhere, which may lie deeper than the page itself.
BASE = """<script>
(() => {
  const within = location.pathname.match(/^(.*)\\/(?:book|_modules)\\//);
  if (!within || location.protocol === "file:") return;
  const base = document.createElement("base");
  base.href = `${within[1]}/404.html`;
  document.head.append(base);
})();
</script>"""
NOT_FOUND = """<h1>There is no such page</h1>
<p>It may have moved. The search finds what is here; so does
<a href="book/intro.html">the beginning</a>.</p>"""


def add_not_found(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Make the page 404.html, with addresses relative to the site's root, wherever that is."""
    title = "There is no such page"
    yield "404", {"title": title, "pagetitle": title, "body": NOT_FOUND, "metatags": BASE}, "page.html"


@cache
def names_repository() -> bool:
    """Return whether the configuration says where the project is published."""
    return "repository" in yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def launch_sources(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let launch buttons open a notebook where the repository has it, not its executed copy.

    Where the configuration names no repository there are none: Jupyter Book would open its own.
    """
    if "header_buttons" in context and not names_repository():
        context["header_buttons"] = [
            group for group in context["header_buttons"] if group.get("label") != "launch-buttons"
        ]
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            hub, _, notebook = button.get("url", "").partition("?urlpath=lab/tree/book/")
            if notebook:
                button["url"] = f"{hub}?urlpath=lab/tree/{notebook}"


def load_joined(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let a page load one style sheet and one script in place of each extension's own."""
    for kind, name in (("css_files", "_static/site.css"), ("script_files", "_static/site.js")):
        files = sorted(context[kind], key=lambda file: file.priority)
        parts = [file for file in files if file.filename and "defer" not in file.attributes]
        JOINED[name] = [file.filename for file in parts]  # the same on every page
        joined = type(parts[0])(name, priority=parts[0].priority)
        context[kind] = [joined, *(file for file in files if file not in parts)]


def load_joined_mathjax(app: Sphinx, config: Config) -> None:
    """Let pages with formulas load of MathJax what they need; its extension would load 0.4 MB more."""
    config.mathjax_path = "mathjax/joined.js"


def join(app: Sphinx, exception: Exception | None) -> None:
    """Write what pages load in one, after all extensions have copied their files."""
    if exception is not None:
        return
    for name, parts in JOINED.items():
        texts = [(app.outdir / part).read_text(encoding="utf-8") for part in parts]
        if "mathjax" in name:  # its loader is not to load these parts again
            texts.append(f"MathJax.loader.preLoad(...{json.dumps(MATHJAX)});")
        between = "\n;\n" if name.endswith("js") else "\n"  # some scripts end without their last semicolon
        (app.outdir / name).write_text(between.join(texts), encoding="utf-8")


def sign(app: Sphinx, config: Config) -> None:
    """Let every page end with what made it: version, commit, licence and date."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    version = f"Version {__version__}" + (f", commit {commit}" if commit else "")
    built = datetime.now(UTC).date().isoformat()
    config.html_theme_options["extra_footer"] = f"<p>{version}. MIT licence. Built on {built}.</p>"


def lighten_code(
    app: Sphinx, pagename: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave out marks of code that have the colour of plain text: names, punctuation and blanks."""
    context["body"] = re.sub(r'<span class="[npw]">([^<]*)</span>', r"\1", context.get("body", ""))


def lighten(app: Sphinx, exception: Exception | None) -> None:
    """Empty the theme's script of 1.5 MB that draws icons: its style sheet has them as a font."""
    script = app.outdir / "_static" / "scripts" / "fontawesome.js"
    if script.is_file():
        script.write_text("// The icons are those of the font.\n", encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.add_directive("equation", Equation)
    app.add_directive("equation-tests", EquationTests)
    app.add_directive("claims", Claims)
    app.connect("config-inited", sign)
    app.connect("config-inited", load_joined_mathjax)
    app.connect("build-finished", lighten)
    app.connect("build-finished", join, priority=900)
    app.connect("source-read", edit_notebook)
    app.connect("autodoc-process-docstring", link_equations)
    app.add_search_language(Search)
    app.connect("html-collect-pages", add_not_found)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", make_accessible, priority=900)  # after the theme
    app.connect("html-page-context", launch_sources, priority=900)
    app.connect("html-page-context", load_joined, priority=900)
    app.connect("html-page-context", lighten_code)
    return {"parallel_read_safe": True, "parallel_write_safe": False}  # `JOINED` is filled while writing
