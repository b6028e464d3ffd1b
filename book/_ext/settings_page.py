"""Every setting: what it means, its unit, its equations, its value in presets and profiles, its departure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import links
from docutils import nodes
from pydantic_core import PydanticUndefined
from sources import reader, test_file
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from dgam_core.departures import DEPARTURES, Benchmark, Departure, Preset, preset
from dgam_core.experiments.parameters import BENCHMARKS, Experiment
from dgam_core.settings import LocalizationSettings, Strict, TrainingSettings
from dgam_core.system.checked import read_as

ROOT = Path(__file__).resolve().parents[2]
GROUPS: dict[str, type[Strict]] = {
    "training": TrainingSettings, "localization": LocalizationSettings, "experiment": Experiment,
}  # fmt: skip


@dataclass(frozen=True)
class Documented:
    """What the docstring of a setting says.

    Attributes:
        meaning: its first paragraph, without the rest.
        unit: as in "in snippets"; empty for a plain number or a choice.
        equations: that it enters, as in "Eq. (10, 11)".
        departures: that are about it, as in "departure 4".
        unstated: whether the paper leaves its value open.
    """

    meaning: str
    unit: str
    equations: tuple[int, ...]
    departures: tuple[int, ...]
    unstated: bool

    @classmethod
    def read(cls, docstring: str) -> Documented:
        """Read the docstring of a field."""
        first = " ".join(docstring.partition("\n\n")[0].split()).rstrip(".")
        unit = re.search(r", in ([^,;]+)", first)
        meaning = first.replace(unit[0], "") if unit else first
        meaning = re.sub(r", Eq\. \([\d, ]+\)|; departure \d+", "", meaning)
        return cls(
            meaning=re.sub(r"; unstated$", "", re.sub(r"; unstated[^,;]*, ", "; the default is ", meaning)),
            unit=unit[1] if unit else "",
            equations=_numbers(re.findall(r"Eq\. \(([\d,\s]+)\)", docstring)),
            departures=_numbers(re.findall(r"departure (\d+)", first)),
            unstated="; unstated" in first,
        )


def _numbers(texts: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted({int(number) for text in texts for number in re.findall(r"\d+", text)}))


@cache
def documented(group: str) -> dict[str, Documented]:
    """Return setting → what is documented of it, of those that a group does not inherit."""
    model = GROUPS[group]
    own = docstrings(model)
    return {name: Documented.read(own[name]) for name in model.model_fields if name in own}


def docstrings(model: type[Strict]) -> dict[str, str]:
    """Return setting → its docstring, of those that a group of settings does not inherit."""
    found = ModuleAnalyzer.for_module(model.__module__).find_attr_docs()
    return {name: "\n".join(lines) for (scope, name), lines in found.items() if scope == model.__name__}


def settings_of(kind: Literal["equations", "departures"], number: int) -> list[str]:
    """Return the settings that name an equation or a departure."""
    entries = documented("training") | documented("localization")
    return [name for name, entry in entries.items() if number in getattr(entry, kind)]


def show(value: Any) -> str:
    """Return a value much as a YAML file would have it."""
    if value is None or value in ((), ""):
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return re.sub(r"e([+-])0", r"e\1", f"{value:.4g}")
    if isinstance(value, dict):
        return ", ".join(f"{name} {show(inner)}" for name, inner in value.items())
    if isinstance(value, tuple):
        texts = [show(inner) for inner in value]
        return ", ".join(texts if len(texts) < 5 else [*texts[:2], "…", texts[-1]])
    return str(value)


def in_preset(name: Preset, setting: str) -> str:
    """Return the value of a setting in a preset."""
    return on_benchmarks(
        *(show(getattr(preset(name, benchmark), setting)) for benchmark in get_args(Benchmark))
    )


def on_benchmarks(thumos14: str, activitynet12: str) -> str:
    """Return a value on THUMOS14, and on ActivityNet1.2 where it differs."""
    name = BENCHMARKS["activitynet12"]
    return thumos14 if thumos14 == activitynet12 else f"{thumos14}; {name}: {activitynet12}"


@cache
def demo() -> list[Experiment]:
    """Return the parameters of all notebooks in the profile `demo`."""
    return [read_as(Experiment, path) for path in parameter_files()]


def parameter_files() -> list[Path]:
    """Return the parameter files of the profile `demo`."""
    return sorted((ROOT / "params" / "demo").glob("*.yaml"))


def in_demo(setting: str) -> str:
    """Return the value of a setting in the profile `demo`; where notebooks differ, all that are short."""

    def alternatives(benchmark: Benchmark) -> str:
        here = [experiment for experiment in demo() if experiment.benchmark == benchmark]
        text = " or ".join(dict.fromkeys(show(getattr(experiment, setting)) for experiment in here))
        return text if len(text) < 60 else "varies"

    return on_benchmarks(alternatives("thumos14"), alternatives("activitynet12"))


class Table(SphinxDirective):
    """A directive that makes a table with places to link to."""

    def place(self, label: str) -> nodes.Node:
        """Return what a label leads to."""
        target = links.target(label)
        self.state.document.note_explicit_target(target)
        return target


class SettingsTable(Table):
    """All settings of a group: training, localization, or experiment, what notebooks take besides."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        (group,) = self.arguments
        for path in parameter_files():
            self.env.note_dependency(str(path))
        if group == "experiment":
            heads = ["parameter", "meaning", "default", "`demo`"]
            rows = [self._parameter(name, entry) for name, entry in documented(group).items()]
        else:
            heads = ["setting", "meaning", "unit", "Eq.", "`paper`", "`released`", "`demo`", "departure"]
            rows = [self._setting(group, name, entry) for name, entry in documented(group).items()]
        table = links.wide_table(heads, rows)
        table["classes"] += ["settings"] if group != "experiment" else []
        return [table]

    def _name(self, group: str, name: str) -> list[nodes.Node]:
        full = f"{GROUPS[group].__module__}.{GROUPS[group].__name__}.{name}"
        return [self.place(f"setting-{name}"), links.to_reference(full, "attr", self.env.docname, name)]

    def _parameter(self, name: str, entry: Documented) -> list[links.Cell]:
        default = Experiment.model_fields[name].default
        shown = "to be given" if default is PydanticUndefined else show(default)
        return [self._name("experiment", name), entry.meaning, shown, in_demo(name)]

    def _setting(self, group: str, name: str, entry: Documented) -> list[links.Cell]:
        paper, released, here = in_preset("paper", name), in_preset("released", name), in_demo(name)
        return [
            self._name(group, name),
            [*links.with_code(entry.meaning), self._uses(name)],
            entry.unit,
            links.to_equations(entry.equations, self.env.docname),
            f"unstated: {paper}" if entry.unstated else paper,
            _marked(released, paper),
            _marked(here, paper),
            [links.to_label(str(n), f"departure-{n}", self.env.docname) for n in entry.departures],
        ]

    def _uses(self, name: str) -> nodes.Node:
        """Say where a setting is read first, and which file names it most among the tests."""
        said: list[nodes.Node] = []
        if found := reader(name):
            module, inner = found
            code = nodes.literal("", f"{module.rpartition('.')[2]}.{inner}")
            said += [nodes.Text("read by "), code, nodes.Text(" ")]
            said += [links.to_source(module, inner, self.env.docname)]
        if path := test_file(name):
            said += [nodes.Text(", tested in " if said else "tested in "), nodes.literal("", path.name)]
        return nodes.inline("", "", *said, classes=["uses"])


def _marked(text: str, paper: str) -> links.Cell:
    """Return a value, in bold face where it is not the paper's."""
    return text if text == paper else [nodes.strong("", text)]


class DeparturesTable(Table):
    """Every departure of the released code, with the settings that switch it."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        heads = ["", "departure", "paper", "released code", "settings"]
        return [links.wide_table(heads, map(self._row, DEPARTURES))]

    def _row(self, departure: Departure) -> list[links.Cell]:
        number = [self.place(f"departure-{departure.number}"), nodes.Text(str(departure.number))]
        names = links.to_settings(settings_of("departures", departure.number), self.env.docname)
        return [number, departure.title, departure.paper, departure.released, links.separated(names, ", ")]


def link_settings(app: Sphinx, doctree: nodes.document) -> None:
    """Make a setting's name in the text of a page a link to its row."""
    docname = app.env.docname
    if not docname.startswith("book/") or docname.startswith(("book/settings", "book/api/")):
        return
    names = {name for group in GROUPS for name in documented(group)}
    for literal in list(doctree.findall(nodes.literal)):
        if literal.astext() in names and isinstance(literal.parent, nodes.paragraph):
            (link,) = links.to_settings([literal.astext()], docname)
            literal.parent.replace(literal, link)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.connect("doctree-read", link_settings)
    app.add_directive("settings", SettingsTable)
    app.add_directive("departures", DeparturesTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
