"""The methods that Tables 3 and 5 compare with: equations beside code and tests, settings, and reruns."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path

import links
import pandas as pd
from docutils import nodes
from records_page import FIGURES, note_records, records_of, sentence
from settings_page import docstrings, show
from sources import find as find_source
from sources import in_words, parsed, source
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from dgam_core.experiments.grid import ranking
from dgam_core.experiments.published import read_published
from dgam_core.experiments.records import read_record, recipe_of
from dgam_core.experiments.study import TABLE_OF
from dgam_core.figures import rerun
from dgam_core.rivals.rival import find, read_settings
from dgam_core.system.checked import read_yaml

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = "rivals"
DETECTIONS = ROOT / "params" / "published_detections.yaml"
# Benchmark → the notebook of the table that compares methods on it.
COMPARING = {"thumos14": "table3_thumos14", "activitynet12": "table5_activitynet12"}

CONCLUSION = "## What to conclude"  # the section that reruns stand before
RERUN = """## The other methods, rerun

All methods on the same features, by the same protocol, over the same seeds; [Rivals](/book/rivals.md) says
what each does and what all share. The simulated data was calibrated on DGAM's own baselines alone; nothing
was done to put the other methods in any order. Below are the number to compare by with its 95 % interval over
the seeds (Student's t), at the last epoch and at the checkpoint that labels choose, and mAP at each tIoU."""


@cache
def tests_of_rivals() -> dict[tuple[str, str], list[tuple[Path, ast.FunctionDef]]]:
    """Return method and number → the tests marked so, `@pytest.mark.rival_equation("stpn", "2")`."""
    tests: dict[tuple[str, str], list[tuple[Path, ast.FunctionDef]]] = {}
    for path in sorted((ROOT / "tests" / "rivals").glob("test_*.py")):
        for node in (n for n in parsed(path)[1].body if isinstance(n, ast.FunctionDef)):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.rival_equation":
                    method, *numbers = map(ast.literal_eval, mark.args)
                    for number in numbers:
                        tests.setdefault((method, number), []).append((path, node))
    return tests


class RivalEquation(SphinxDirective):
    """An equation of another paper under its number there, the code that computes it, and its tests."""

    required_arguments = 2
    has_content = True
    option_spec = {"code": str}  # noqa: RUF012, as docutils declares it

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        method, number = self.arguments
        # A section, where its paper numbers no equation, or a name.
        tag = rf"\tag{{{f'§ {number}' if '.' in number else number}}}" if number[0].isdigit() else r"\notag"
        gathered = [r"\begin{gathered}", *self.content, r"\end{gathered}"]
        latex = "\n".join([r"\begin{equation}", *gathered, tag, r"\end{equation}"])
        box = nodes.container(classes=["equation"])
        box += nodes.math_block(latex, latex, nowrap=True, number=None, label=None)
        lines = []
        for name in self.options["code"].split():
            path, node = find_source(name)
            self.env.note_dependency(str(path))
            text = source(path, node, docstring=False)
            lines += [f"{{any}}`dgam_core.{name}`", "", "```python", text, "```", ""]
        tests = tests_of_rivals().get((method, number), [])
        if not tests:
            raise ExtensionError(f"{method}: no test is marked with {number}")
        box += self.parse_text_to_nodes("\n".join(lines))
        for path, _ in tests:
            self.env.note_dependency(str(path))
        found = [links.to_label(in_words(test), _label(method, test), self.env.docname) for _, test in tests]
        box += nodes.paragraph("", "Checked by: ", *links.separated(found, "; "), classes=["checked-by"])
        return [box]


def _label(method: str, test: ast.FunctionDef) -> str:
    return f"{method}-{test.name}"


class RivalTests(SphinxDirective):
    """The source of every test that is marked with an equation of a rival."""

    def run(self) -> list[nodes.Node]:
        """Make a section per method."""
        sections: dict[str, nodes.section] = {}
        shown = set()
        for (method, _), tests in tests_of_rivals().items():
            title = find(method).title
            if method not in sections:
                sections[method] = nodes.section(ids=[f"tests-of-{method}"], names=[f"tests of {method}"])
                sections[method] += nodes.title("", title)
            for path, test in tests:
                if (label := _label(method, test)) in shown:
                    continue
                shown.add(label)
                self.env.note_dependency(str(path))
                target = links.target(label)
                self.state.document.note_explicit_target(target)
                text = source(path, test)
                sections[method] += [target, nodes.literal_block(text, text, language="python")]
        return list(sections.values())


class RivalSettingsTable(SphinxDirective):
    """A method's own settings, with their values and what they are."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        (method,) = self.arguments
        path = ROOT / "dgam_core" / "rivals" / f"{method}.py"
        self.env.note_dependency(str(path))
        settings = read_settings(method, {})
        rows = [
            f"| `{name}` | {show(getattr(settings, name))} | {' '.join(meaning.split())} |"
            for name, meaning in docstrings(type(settings)).items()
        ]
        text = ["| setting | value | meaning, and where it is from |", "|---|---|---|", *rows]
        return self.parse_text_to_nodes("\n".join(text))


class Rerun(SphinxDirective):
    """What recorded runs of all methods found, of a benchmark: table, figure, and how they came about."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make them."""
        (benchmark,) = self.arguments
        note_records(self.env)
        published = read_published(TABLE_OF[benchmark])
        lines = []
        for name, (recipe, record) in records_of(NOTEBOOK).items():
            if record.content["parameters"][NOTEBOOK]["benchmark"] != benchmark:
                continue
            provenance, scores = record.provenance, record.table(NOTEBOOK)
            figure = rerun.published_against_rerun(scores, published, provenance)
            path = FIGURES / f"rerun_{name}.svg"
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(ROOT / path)
            alt = rerun.in_words(scores, published, provenance)
            table = _as_markdown(rerun.table(scores, published, provenance))
            lines += [f"**{recipe.about}**, {provenance}, recorded, in %:", ""]
            lines += [":::{div} full-width", *table, ":::", ""]
            lines += [rerun.beside_baselines(scores, published), "", f"![{alt}](/{path.as_posix()})", ""]
            lines += [f"- {sentence(name, recipe, record)}", ""]
            file = f"{name}/{NOTEBOOK}.csv"
            lines += [f"{{download}}`{file} </params/records/{file}>`", ""]
        return self.parse_text_to_nodes("\n".join(lines or ["*Not recorded yet.*"]))


def _as_markdown(table: pd.DataFrame) -> list[str]:
    """Return the table of `rerun.table` with one line of heads."""
    groups, names = (map(str, table.columns.get_level_values(level)) for level in (0, 1))
    heads = [
        name if name[0].isdigit() else f"{group.partition(',')[0]} {name}"
        for group, name in zip(groups, names, strict=True)
    ]
    lines = [f"| | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    rows = zip(table.index, table.to_numpy(dtype=str), strict=True)
    return lines + [f"| {row} | {' | '.join(cells)} |" for row, cells in rows]


class Rates(SphinxDirective):
    """The loss of each method on held-out training videos by learning rate, of a recorded sweep."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table; the least loss of a method, by which its rate was chosen, is bold."""
        (name,) = self.arguments
        note_records(self.env)
        record = read_record(name)
        lines = [sentence(name, recipe_of(name), record), ""]
        if record:
            found = ranking(record.table(name), ["method", "learning_rate"])
            losses = found.map(lambda summary: summary.mean).unstack()
            lines += [f"| loss at the rate | {' | '.join(f'{rate:g}' for rate in losses)} |"]
            lines += ["|---" * (len(losses.columns) + 1) + "|"]
            for method in dict(record.content["parameters"][name]["sweep"])["method"]:
                of_method = losses.loc[method]
                cells = [f"**{v:.3f}**" if v == of_method.min() else f"{v:.3f}" for v in of_method]
                lines += [f"| {find(method).title} | {' | '.join(cells)} |"]
        return self.parse_text_to_nodes("\n".join(lines))


class PublishedDetections(SphinxDirective):
    """What detections that others have published come to when they are measured here."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        self.env.note_dependency(str(DETECTIONS))
        rows = []
        for method, found in read_yaml(DETECTIONS).items():
            printed = read_published("table3").values.loc[method]
            rows.append((f"{method}, published", [f"{printed[tiou]:.1f}" for tiou in found["columns"]]))
            for protocol, values in found["protocols"].items():
                about = f"{method}, detections of {found['from']}"
                about += f", measured here by `{protocol}`, {found['date']}"
                rows.append((about, [f"{value:.1f}" for value in values]))
            heads = [f"{tiou:g}" for tiou in found["columns"]]
        lines = [f"| mAP (%) at tIoU | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        lines += [f"| {about} | {' | '.join(cells)} |" for about, cells in rows]
        return self.parse_text_to_nodes("\n".join([":::{div} full-width", *lines, ":::"]))


def add_reruns(app: Sphinx, docname: str, content: list[str]) -> None:
    """Let the pages of the tables that compare methods show them rerun."""
    stem = docname.removeprefix("book/notebooks/")
    for benchmark, name in COMPARING.items():
        if stem == name:
            notebook = json.loads(content[0])
            text = f"{RERUN}\n\n```{{rerun}} {benchmark}\n```"
            texts = ["".join(cell["source"]) for cell in notebook["cells"]]
            place = next(i for i, of_cell in enumerate(texts) if of_cell.startswith(CONCLUSION))
            cell = {"cell_type": "markdown", "metadata": {}, "source": text, "id": "rerun"}
            notebook["cells"].insert(place, cell)
            content[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.add_directive("rival-equation", RivalEquation)
    app.add_directive("rival-tests", RivalTests)
    app.add_directive("rival-settings", RivalSettingsTable)
    app.add_directive("rerun", Rerun)
    app.add_directive("rates", Rates)
    app.add_directive("published-detections", PublishedDetections)
    app.connect("source-read", add_reruns, priority=300)  # before recorded runs and downloads
    return {"parallel_read_safe": True, "parallel_write_safe": True}
