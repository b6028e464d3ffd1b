"""Recorded runs on the pages: the paper's claims on every data set, and what each notebook found on them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from companion import (
    ROOT,
    claiming_notebooks,
    claims_of_build,
    in_paper,
    kind_and_number,
    results_of,
    with_minus,
)
from docutils import nodes
from docutils.parsers.rst import directives
from links import pipe_table
from matplotlib.figure import Figure
from settings_page import show
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective

from dgam_core.evaluation.intervals import Summary, summarize
from dgam_core.experiments.claims import NOT_COMPARABLE, verdicts
from dgam_core.experiments.grid import ranking
from dgam_core.experiments.published import read_published
from dgam_core.experiments.records import Recipe, Record, read_record, recipe_of, recipes
from dgam_core.experiments.variants import CEILING
from dgam_core.figures import forest

RECIPES = ROOT / "params" / "records.yaml"
FIGURES = Path("book/_build/figures")
# Columns of a table: those that are columns here too, and those that are measured; all others make its rows.
COLUMNS = ("preset", "model", "epoch")
MEASURED = ("seed", "choice", "tiou", "map", "main", "collapsed", "value")
EPOCHS_SHOWN = 4  # beside the first
TABLE4, LEVELS = "table4_ablation", ("+ L_guide", CEILING)  # how well models do at all
Key = tuple[str, str, str]  # notebook, preset, claim


@dataclass(frozen=True)
class Source:
    """A column of the page: claims, checked on a data set.

    Attributes:
        about: words for the data set.
        claims: notebook, preset and claim → the claim and its verdict, corrected for all of the column.
        levels: preset and row of Table 4 → mAP in percent, a mean over seeds with its deviation.
    """

    about: str
    claims: dict[Key, tuple[dict[str, Any], str]]
    levels: dict[tuple[str, str], str]

    @classmethod
    def of(
        cls, about: str, found: list[tuple[str, dict[str, Any]]], table4: pd.DataFrame | None = None
    ) -> Source:
        """Judge the claims of a build or of a record, whose Table 4 says how well its models do at all."""
        said = verdicts([claim["evidence"] for _, claim in found])
        keyed = {
            (name, claim["preset"], claim["claim"]): (claim, verdict)
            for (name, claim), (verdict, _) in zip(found, said, strict=True)
        }
        return cls(about, keyed, {} if table4 is None else _levels(table4))

    def cell(self, key: Key) -> str:
        """Return effect, interval and verdict of a claim."""
        if key not in self.claims:
            return "–"
        claim, verdict = self.claims[key]
        if verdict == NOT_COMPARABLE:
            return verdict
        digits = 1 if claim["unit"] in ("points", "%") else 3
        mean, low, high = (f"{value:+.{digits}f}" for value in claim["effect"])
        return f"{mean} ({low} to {high})<br>**{verdict}**"


def note_records(env: BuildEnvironment) -> None:
    """Let a page depend on all records."""
    for path in (RECIPES, *sorted(RECIPES.with_suffix("").glob("*/*"))):
        env.note_dependency(str(path))


def columns() -> dict[str, tuple[Recipe, Record | None]]:
    """Return name → recipe and record, of those that check claims."""
    claiming = {*claiming_notebooks()}
    return {
        name: (recipe, read_record(name))
        for name, recipe in recipes().items()
        if not claiming.isdisjoint(recipe.files())
    }


def records_of(notebook: str) -> dict[str, tuple[Recipe, Record]]:
    """Return name → recipe and record, of those that have a notebook."""
    return {
        name: (recipe, record)
        for name, recipe in recipes().items()
        if (record := read_record(name)) and notebook in record.content["parameters"]
    }


def sentence(name: str, recipe: Recipe, record: Record | None) -> str:
    """Return how a record came about, or how it would, and whether it can still be relied on, in Markdown."""
    how = (f"`{recipe.data}`, then " if recipe.data else "") + f"`make record RECORD={name}`"
    if record is None:
        return f"**{recipe.about}**: not recorded yet: {how}."
    about, data = record.content, record.content["data"]
    parts = [
        f"**{recipe.about}**: {record.provenance}; recorded on {about['date']} by {how}:",
        f"{about['runs']} runs, {_duration(about['training_s'])} of training on {about['machine']},",
        f"torch {about['versions']['torch']}. Data set `{data['name']}`, {data['source']}, digest",
        f"`{data['digest'][:12]}`.",
    ]
    if damage := record.damage():
        parts.append(f"**Damaged: {'; '.join(damage)}.** Make it again.")
    if recipe.outdated or not record.is_of():
        parts.append(f"**The code of the method has changed since.** {recipe.outdated}".strip())
    return " ".join(parts)


def _duration(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{seconds / 3600:.1f} hours" if seconds >= 3600 else f"{minutes} minute{'s' * (minutes > 1)}"


class Reproduction(SphinxDirective):
    """The paper's claims on every data set, as a table."""

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        return self.parse_text_to_nodes(
            "\n".join([":::{div} full-width", *_table(all_sources(self.env)), ":::"])
        )


class Forest(SphinxDirective):
    """The claims about differences of mAP on every data set, of all notebooks or of one, as a forest plot."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the figure."""
        name = self.arguments[0] if self.arguments else ""
        sources = all_sources(self.env)
        found = _effects(sources, name)
        if not found:
            return []
        path = saved(forest.effects(found, [source.about for source in sources]), f"forest_{name}")
        spans = [
            f"{e.data}, {e.preset}, {e.claim}: {e.mean:+.1f} ({e.low:+.1f} to {e.high:+.1f})" for e in found
        ]
        alt = "Forest plot of changes of mAP@0.5 in points, means and 95 % intervals. " + "; ".join(spans)
        return [nodes.image(uri=f"/{path.as_posix()}", alt=alt)]


def saved(figure: Figure, name: str) -> Path:
    """Write a figure of a page; return its path in the project."""
    path = FIGURES / f"{name}.svg"
    (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(ROOT / path)
    return path


def all_sources(env: BuildEnvironment) -> list[Source]:
    """Return this build and the records that check claims, each with its verdicts."""
    note_records(env)
    built, sources = claims_of_build(env), []
    if built:
        sources.append(Source.of(f"{_data(built)}, this build", built, _table4_of_build()))
    for recipe, record in columns().values():
        claims = record.claims if record else {}
        found = [(name, claim) for name, of_notebook in claims.items() for claim in of_notebook]
        table4 = record.table(TABLE4) if record else None
        sources.append(Source.of(recipe.about, found, table4))
    return sources


def _table4_of_build() -> pd.DataFrame | None:
    page = ROOT / "book" / "notebooks" / f"{TABLE4}.ipynb"
    folder = results_of(json.loads(page.read_text(encoding="utf-8"))) if page.is_file() else None
    path = folder / f"{TABLE4}.csv" if folder else None
    return pd.read_csv(path) if path and path.is_file() else None


class Columns(SphinxDirective):
    """How the columns of recorded runs came about, or would."""

    def run(self) -> list[nodes.Node]:
        """Make the list."""
        note_records(self.env)
        lines = [f"- {sentence(name, *pair)}" for name, pair in columns().items()]
        return self.parse_text_to_nodes("\n".join(lines))


def _data(built: list[tuple[str, dict[str, Any]]]) -> str:
    """Return the provenance of a build's claims."""
    return ", ".join(dict.fromkeys(str(claim["data"]).rpartition(", ")[2] for _, claim in built))


def _table(sources: list[Source]) -> list[str]:
    keys = list(dict.fromkeys(key for source in sources for key in source.claims))
    rows = []
    printed = read_published("table4").values[0.5]
    for preset, row in sorted({key for source in sources for key in source.levels}):
        first = f"[Table 4](/book/notebooks/{TABLE4}.ipynb), `{preset}`<br>*mAP@0.5 in %, {row}*"
        cells = [first, f"{printed[row]:.1f}" if row in printed else "–"]
        cells += [source.levels.get((preset, row), "–") for source in sources]
        rows.append(cells)
    keys.sort(key=lambda key: kind_and_number(key[0]))
    for key in keys:
        name, preset, text = key
        claim = next(source.claims[key][0] for source in sources if key in source.claims)
        where = f"[{in_paper(name)}](/book/notebooks/{name}.ipynb), `{preset}`"
        cells = [f"{where}<br>{text}", claim["published"], *(source.cell(key) for source in sources)]
        rows.append(cells)
    heads = ["claim of the paper", "published", *(source.about for source in sources)]
    return [with_minus(line) for line in pipe_table(heads, rows)]


def _levels(table4: pd.DataFrame) -> dict[tuple[str, str], str]:
    """Return preset and row → mAP of the last epoch: of the model to which L_re is added, of the ceiling."""
    at_half = table4[(table4["choice"] == "last") & (table4["tiou"] == 0.5)]
    return {
        (str(preset), row): _in_words(summarize(100 * of_preset[of_preset["row"] == row]["map"]), 1)
        for preset, of_preset in at_half.groupby("preset")
        for row in LEVELS
        if (of_preset["row"] == row).any()
    }


def _effects(sources: list[Source], notebook: str = "") -> list[forest.Effect]:
    """Return the claims about differences of mAP, in the paper's order, of all notebooks or of one."""
    found = []
    for source in sources:
        for (name, preset, text), (claim, _) in source.claims.items():
            if claim["unit"] == "points" and notebook in ("", name):
                printed = re.fullmatch(r"[+-]\d+\.\d+", claim["published"])
                published = float(printed[0]) if printed else None
                effect = preset, f"{in_paper(name)}: {text}", source.about, *claim["effect"], published
                found.append((kind_and_number(name), forest.Effect(*effect)))
    found.sort(key=lambda pair: pair[0])
    return [effect for _, effect in found]


class Recorded(SphinxDirective):
    """What recorded runs of a notebook found: how they came about, and their tables."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the list and the tables."""
        name = self.arguments[0]
        note_records(self.env)
        records = records_of(name)
        lines = [f"- {sentence(key, *pair)}" for key, pair in records.items()]
        for key, (recipe, record) in records.items():
            lines += ["", f"**{recipe.about}**, {record.provenance}, recorded:", ""]
            lines += [":::{div} full-width", *means(record.table(name)), ":::", ""]
            lines += [f"{{download}}`{key}/{name}.csv </params/records/{key}/{name}.csv>`", ""]
        text = "[What the paper claims, on all data sets](/book/reproduction.md)."
        return self.parse_text_to_nodes("\n".join([*lines, text]))


def means(table: pd.DataFrame) -> list[str]:
    """Return mean ± standard deviation over the seeds of a table, of the last epoch, in Markdown."""
    if "choice" in table:
        table = table[table["choice"] == "last"]
    if "tiou" in table:
        table = table[table["tiou"] == table["tiou"].min()]
    if "epoch" in table:
        epochs = table["epoch"].unique()
        table = table[table["epoch"].isin(epochs[:: len(epochs) // EPOCHS_SHOWN])]
    if is_map := "map" in table:
        table = table.assign(value=100 * table["main" if "main" in table else "map"])
    index = [name for name in table.columns.astype(str) if name not in (*COLUMNS, *MEASURED)]
    columns = [name for name in COLUMNS if name in table]
    digits, unit = (1, "mAP (%)") if is_map else (3, "value")
    summaries = table.groupby([*index, *columns], sort=False)["value"].agg(summarize)
    cells = summaries.map(lambda summary: _in_words(summary, digits))
    wide = cells.unstack(columns, sort=False) if columns else cells.to_frame()
    heads = [f"{_head(columns, head)}, {unit}" if columns else unit for head in wide.columns]
    rows = [
        [", ".join(map(str, _tuple(key))).replace("|", "\\|"), *row]
        for key, row in zip(wide.index, wide.fillna("–").to_numpy(), strict=True)
    ]
    return pipe_table([", ".join(index), *heads], rows)


def _head(columns: list[str], values: Any) -> str:
    """Return the head of a column, such as "released" or "epoch 25"."""
    named = zip(columns, _tuple(values), strict=True)
    return " ".join(f"epoch {value}" if name == "epoch" else str(value) for name, value in named)


def _in_words(summary: Summary, digits: int) -> str:
    digits = digits if abs(summary.mean) < 100 else 0
    spread = f" ± {summary.sd:.{digits}f}" if summary.count > 1 else ""
    return f"{summary.mean:.{digits}f}{spread}".replace("-", "−")


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


class Ranking(SphinxDirective):
    """The points of a recorded sweep, best first, by the loss on held-out training videos, or else by mAP."""

    required_arguments = 1
    option_spec = {"first": directives.positive_int}  # noqa: RUF012, as docutils declares it

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        name = self.arguments[0]
        note_records(self.env)
        record = read_record(name)
        lines = [sentence(name, recipe_of(name), record)]
        if record:
            lines += ["", *ranks(record, name, self.options.get("first"))]
        return self.parse_text_to_nodes("\n".join(lines))


def ranks(record: Record, name: str, first: int | None = None) -> list[str]:
    """Return the best points of a recorded sweep, all of them if `first` is None, in Markdown."""
    names = [setting for setting, _ in record.content["parameters"][name]["sweep"]]
    table = record.table(name)
    digits, head = (3, "held-out loss") if "held_out" in table else (1, "mAP (%)")
    rows = [
        [*map(show, _tuple(point)), _in_words(summary, digits)]
        for point, summary in list(ranking(table, names).items())[:first]
    ]
    return pipe_table([*(f"`{setting}`" for setting in names), head], rows)


def add_recorded(app: Sphinx, docname: str, content: list[str]) -> None:
    """Let the page of a notebook that has been recorded say so, before its downloads."""
    stem = docname.removeprefix("book/notebooks/")
    if stem == docname or not records_of(stem):
        return
    notebook = json.loads(content[0])
    text = f"## Recorded runs\n\n```{{recorded}} {stem}\n```"
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": text, "id": "recorded"})
    content[0] = json.dumps(notebook)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.add_directive("reproduction", Reproduction)
    app.add_directive("forest", Forest)
    app.add_directive("columns", Columns)
    app.add_directive("recorded", Recorded)
    app.add_directive("ranking", Ranking)
    app.connect("source-read", add_recorded, priority=400)  # before the downloads are added
    return {"parallel_read_safe": True, "parallel_write_safe": True}
