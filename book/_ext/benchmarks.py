"""What `make bench` measured, as tables: times and ratios, and what the notebooks of a profile cost."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from docutils import nodes
from links import pipe_table
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

from dgam_core.data.simulated import features
from dgam_core.experiments.jobs import num_batches
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.variants import NOTEBOOKS
from dgam_core.system.checked import read_as

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "params" / "records" / "speed"  # one per machine
NOT = "*not measured*; `make bench` on a machine that has one adds it"
Record = dict[str, Any]


def machine(record: Record) -> str:
    """Return a sentence on where and how all was measured."""
    return (
        f"Measured on {record['machine']}, torch {record['torch']}, {record['date']}; the shortest of "
        "several rounds, the ratio to the first form of each."
    )


def table(record: Record, about: str) -> str:
    """Return what was measured about something, each form beside the first of its group, in Markdown.

    Raises:
        ExtensionError: nothing of that name is measured.
    """
    chosen = [row for row in record["rows"] if row["about"] == about]
    if not chosen and about == "gpu":
        return f"On a GPU: {NOT}."
    if not chosen:
        raise ExtensionError(f"nothing is measured about {about!r}; run `make bench`")
    cells = []
    for group, rows in groupby(chosen, key=lambda row: row["group"]):
        first = 0.0
        for row in rows:
            what, ratio = ("", f"{row['seconds'] / first:.3g}") if first else (group, "")
            first = first or row["seconds"]
            cells.append([what, row["name"], f"{row['seconds']:.3g}", ratio, row["note"]])
    return "\n".join(pipe_table(["measured", "form", "seconds", "ratio", "beside"], cells))


def sizes(record: Record) -> str:
    """Return the time of the fused form, relative to the direct one, over sizes of the data, in Markdown."""
    rows = [row for row in record["rows"] if row["about"] == "sizes"]
    if not rows:
        return "*not measured*; `make bench` adds it."
    names = list(dict.fromkeys(row["name"] for row in rows))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for group, own in groupby(rows, key=lambda row: row["group"]):
        lines.append(f"| {group} | {' | '.join(row['note'] for row in own)} |")
    return "\n".join(lines)


def pair_s(record: Record) -> dict[str, float]:
    """Return the seconds that a pair of steps of a run takes on a CPU and, if it was measured, on a GPU."""
    found = {(row["group"], row["name"]): float(row["seconds"]) for row in record["rows"]}
    seconds = {"CPU": found["A pair of steps, paper scale", "package"]}
    stacked = "A pair of steps for each of 16 runs, paper scale, on a GPU"
    if of_16 := found.get((stacked, "package, stacked and recorded, float32")):
        seconds["GPU"] = of_16 / 16
    return seconds


def trainings(profile: str) -> dict[str, tuple[int, int, int]]:
    """Return notebook → its runs, how many of them no notebook before it has, the pairs of steps of those."""
    videos = len(features.DATA_SETS[profile]("paper").subset("train"))
    found: dict[str, tuple[int, int, int]] = {}
    seen: set[Any] = set()
    for name in sorted(NOTEBOOKS, key=lambda name: (name != "table4_ablation", name)):
        path = ROOT / "params" / profile / f"{name}.yaml"
        if not path.is_file():
            continue
        experiment = read_as(Experiment, path)
        runs = [
            (seed, stream, settings.training.for_stream(stream))
            for settings in NOTEBOOKS[name].variants(experiment).values()
            for seed in settings.seeds
            for stream in ("rgb", "flow")
        ]
        new = [settings for run in runs if run not in seen and (settings := run[2])]
        seen |= set(runs)
        pairs = sum(s.total_epochs * num_batches(videos, s) for s in new)
        found[name] = (len(runs), len(new), pairs)
    return found


def costs(record: Record, profile: str) -> str:
    """Return what the notebooks of a profile cost at the paper's sizes, in Markdown."""
    each = pair_s(record)
    heads = ["", "runs", "not in a table above", *(f"hours, {where}" for where in each)]
    rows = (
        [f"`{name}`", str(runs), str(new), *(f"{pairs * s / 3600:,.3g}" for s in each.values())]
        for name, (runs, new, pairs) in trainings(profile).items()
    )
    lines = [
        *pipe_table(heads, rows),
        "",
        f"Hours on {record['machine']}, at most: projected from the seconds that a pair of steps of one run "
        f"was measured to take there, {each['CPU']:.2g} on the CPU. Nothing of it was run whole."
        + ("" if "GPU" in each else f" On a GPU: {NOT}."),
    ]
    return "\n".join(lines)


class Benchmarks(SphinxDirective):
    """What was measured about training, sizes, gpu, evaluation or extraction; without that, where and how."""

    optional_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the sentence or the table."""
        records = read(self)
        if not self.arguments:
            return self.parse_text_to_nodes("\n\n".join(map(machine, records)))
        (about,) = self.arguments
        measured = [record for record in records if any(row["about"] == about for row in record["rows"])]
        parts = []
        for record in measured or records[:1]:
            parts += [f"**{record['machine']}**"] if len(measured) > 1 else []
            parts.append(sizes(record) if about == "sizes" else table(record, about))
        return self.parse_text_to_nodes("\n\n".join(parts))


class Costs(SphinxDirective):
    """What the notebooks of a profile train, and how long that takes where `make bench` was run."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make the table."""
        parts = [costs(record, self.arguments[0]) for record in read(self)]
        return self.parse_text_to_nodes("\n\n".join(parts))


def read(directive: SphinxDirective) -> list[Record]:
    """Read the record of each machine, on which the directive's page then depends."""
    paths = sorted(RECORDS.glob("*.json"))
    for path in paths:
        directive.env.note_dependency(str(path))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all with Sphinx."""
    app.add_directive("benchmarks", Benchmarks)
    app.add_directive("costs", Costs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
