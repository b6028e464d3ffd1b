"""The methods that Tables 3 and 5 compare with: equations beside code and tests, settings, and reruns."""

from __future__ import annotations

import json
from pathlib import Path

import links
import pandas as pd
from companion import EquationBox
from docutils import nodes
from records_page import note_records, records_of, saved, sentence
from settings_page import docstrings, show
from sources import source, tests_of_rivals
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from dgam_core.experiments.grid import ranking
from dgam_core.experiments.published import read_published
from dgam_core.experiments.records import RERUN, read_record, recipe_of
from dgam_core.experiments.study import TABLE_OF
from dgam_core.figures import rerun
from dgam_core.rivals.rival import find, read_settings
from dgam_core.system.checked import read_yaml

ROOT = Path(__file__).resolve().parents[2]
DETECTIONS = ROOT / "params" / "published_detections.yaml"
CONCLUSION = "## What to conclude"  # the section that reruns stand before
INTRODUCTION = """## The other methods, rerun

All methods on the same features, by the same protocol, over the same seeds; [Rivals](/book/rivals.md) says
what each does and what all share. The simulated data was calibrated on DGAM's own baselines alone; nothing
was done to put the other methods in any order. Below are the number to compare by with its 95 % interval over
the seeds (Student's t), at the last epoch and at the checkpoint that labels choose, and mAP at each tIoU."""


class RivalEquation(EquationBox):
    """An equation of another paper under its number there, with its code and tests."""

    required_arguments = 2

    def run(self) -> list[nodes.Node]:
        """Make the nodes."""
        method, number = self.arguments
        tests = tests_of_rivals().get((method, number), [])
        if not tests:
            raise ExtensionError(f"{method}: no test is marked with {number}")
        # A section, where its paper numbers no equation, or a name.
        tag = rf"\tag{{{f'§ {number}' if '.' in number else number}}}" if number[0].isdigit() else r"\notag"
        gathered = [r"\begin{gathered}", *self.content, r"\end{gathered}"]
        return [self.box([*gathered, tag], tests, lambda name: f"{method}-{name}")]


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
                if (label := f"{method}-{test.name}") in shown:
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
            (f"`{name}`", show(getattr(settings, name)), " ".join(meaning.split()))
            for name, meaning in docstrings(type(settings)).items()
        ]
        heads = ["setting", "value", "meaning, and where it is from"]
        return self.parse_text_to_nodes("\n".join(links.pipe_table(heads, rows)))


class Rerun(SphinxDirective):
    """What recorded runs of all methods found, of a benchmark: table, figure, and how they came about."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make them."""
        (benchmark,) = self.arguments
        note_records(self.env)
        published = read_published(TABLE_OF[benchmark])
        lines = []
        for name, (recipe, record) in records_of(RERUN).items():
            if record.content["parameters"][RERUN]["benchmark"] != benchmark:
                continue
            provenance, scores = record.provenance, record.table(RERUN)
            path = saved(rerun.published_against_rerun(scores, published, provenance), f"rerun_{name}")
            alt = rerun.in_words(scores, published, provenance)
            table = _as_markdown(rerun.table(scores, published, provenance))
            lines += [f"**{recipe.about}**, {provenance}, recorded, in %:", ""]
            lines += [":::{div} full-width", *table, ":::", ""]
            lines += [rerun.beside_baselines(scores, published), "", f"![{alt}](/{path.as_posix()})", ""]
            lines += [f"- {sentence(name, recipe, record)}", ""]
            file = f"{name}/{RERUN}.csv"
            lines += [f"{{download}}`{file} </params/records/{file}>`", ""]
        return self.parse_text_to_nodes("\n".join(lines or ["*Not recorded yet.*"]))


def _as_markdown(table: pd.DataFrame) -> list[str]:
    """Return the table of `rerun.table` with one line of heads."""
    groups, names = (map(str, table.columns.get_level_values(level)) for level in (0, 1))
    heads = [
        name if name[0].isdigit() else f"{group.partition(',')[0]} {name}"
        for group, name in zip(groups, names, strict=True)
    ]
    rows = zip(table.index, table.to_numpy(dtype=str), strict=True)
    return links.pipe_table(["", *heads], ([row, *cells] for row, cells in rows))


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
            rows = []
            for method in dict(record.content["parameters"][name]["sweep"])["method"]:
                of_method = losses.loc[method]
                cells = [f"**{v:.3f}**" if v == of_method.min() else f"{v:.3f}" for v in of_method]
                rows.append([find(method).title, *cells])
            lines += links.pipe_table(["loss at the rate", *(f"{rate:g}" for rate in losses)], rows)
        return self.parse_text_to_nodes("\n".join(lines))


class PublishedDetections(SphinxDirective):
    """What detections that others have published come to when they are measured here."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        self.env.note_dependency(str(DETECTIONS))
        rows = []
        for method, measured in read_yaml(DETECTIONS).items():
            printed = read_published("table3").values.loc[method]
            rows.append([f"{method}, published", *(f"{printed[tiou]:.1f}" for tiou in measured["columns"])])
            for protocol, values in measured["protocols"].items():
                about = f"{method}, detections of {measured['from']}"
                about += f", measured here by `{protocol}`, {measured['date']}"
                rows.append([about, *(f"{value:.1f}" for value in values)])
            heads = ["mAP (%) at tIoU", *(f"{tiou:g}" for tiou in measured["columns"])]
        lines = [":::{div} full-width", *links.pipe_table(heads, rows), ":::"]
        return self.parse_text_to_nodes("\n".join(lines))


def add_reruns(app: Sphinx, docname: str, content: list[str]) -> None:
    """Let the pages of the tables that compare methods show them rerun."""
    stem = docname.removeprefix("book/notebooks/")
    for benchmark, table in TABLE_OF.items():
        if stem.startswith(f"{table}_"):
            notebook = json.loads(content[0])
            text = f"{INTRODUCTION}\n\n```{{rerun}} {benchmark}\n```"
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
