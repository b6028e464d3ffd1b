# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Confusion, separation and generative attention
#
# The paper argues from one kind of data: context looks like the class, and action and context can be told apart from
# their appearance alone. Simulated data can have more or less of both. `confusion` says how much of the class evidence
# of an action its context has; `separation` says how strongly action and context look different whatever the class.
# This notebook adds $\mathcal{L}_{re}$ at every point of a grid of the two around the
# [calibrated](calibration.ipynb) point, everything else being equal, and shows what that changes where it can be told. The
# paper has no such figure.

# %% tags=["parameters", "hide-input"]
# Parameters are read from params/<profile>/confusion_phase.yaml; each can also be set here, or by papermill
profile = "demo"

# %% tags=["hide-cell"]
from dataclasses import asdict

import pandas as pd

from dgam_core.experiments.records import read_record
from dgam_core.experiments.study import Markdown, open_study
from dgam_core.figures import curves, tables

study = open_study(globals(), "confusion_phase")

# %% tags=["hide-cell"]
parts = []
for appearance, data in study.data_sets.items():
    at_point = study.on(data)
    part = at_point.score(at_point.train(), choices=["last"])
    parts.append(part.assign(**asdict(appearance)))
scores = pd.concat(parts)
axes = [name for name, _ in study.experiment.sweep]
study.save_table(scores[[*axes, "row", "seed", "map", "provenance"]])

# %% [markdown]
# ## Result

# %% tags=["hide-input"]
points = tables.phase(scores, axes, ("without", "with"))
title = r"With $\mathcal{L}_{re}$ minus without"
figure = curves.phase(points["step"], study.provenance, title, "points of mAP@0.5")
lines = tables.phase_lines(points, "`L_re`")
study.save_figure(figure, f"Heat map, {study.provenance}. " + "; ".join(lines))

# %% [markdown]
# With the few seeds of the demo most points stay undecided.

# %% tags=["hide-input"]
tables.phase_text(points, study.provenance, "mAP@0.5 (%)")

# %% [markdown]
# ## The same with many seeds
#
# A recorded run, `make record RECORD=confusion_phase`, has more points and a hundred times as many seeds, so that most points
# are decided. Where the interval lies within half a point of zero, both are *practically equal*.

# %% tags=["hide-input"]
record = read_record("confusion_phase")
recorded_axes = [
    name for name, _ in record.content["parameters"]["confusion_phase"]["sweep"]
]
recorded = tables.phase(
    record.table("confusion_phase"), recorded_axes, ("without", "with")
)
figure = curves.phase(
    recorded["step"], f"{record.provenance}, recorded", title, "points of mAP@0.5"
)
recorded_lines = tables.phase_lines(recorded, "`L_re`")
alt = f"Heat map, {record.provenance}, recorded. " + "; ".join(recorded_lines)
study.save_figure(figure, alt, "recorded")

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
(preset_name,) = study.presets
Markdown(
    tables.seed_by_seed(
        {preset_name: recorded_lines},
        f"{record.provenance}, recorded",
        {preset_name: record.num_seeds("confusion_phase")},
    )
)

# %% tags=["hide-input"]
study.conclude(
    tables.seed_by_seed({preset_name: lines}, study.provenance, study.seeds)
)

# %% [markdown]
# ## How it was made
#
# At each point of the grid, two models per seed, without and with $\mathcal{L}_{re}$, from the same initial weights and on
# the same snippets. The other properties of the simulator keep their defaults, and the schedule of actions and context stays
# the same.

# %% tags=["hide-input"]
study.summary

# %% [markdown]
# ## Checks

# %% tags=["keep_output", "hide-input"]
# NBVAL_CHECK_OUTPUT
count = 2 * len(study.data_sets) * study.seeds[preset_name]
print("every point, model and seed has a value:", len(scores) == count)
by_row = scores.groupby("row")["map"]
study.check({f"mAP over the grid, {row}": maps for row, maps in by_row}, scores)
