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
# # Calibration of the simulated data
#
# The simulated data should be as hard as the real one, and hard for the same reason. Published numbers of models *without*
# generative attention modeling say how hard: its knobs were moved until these baselines came near them, and were then frozen,
# before any model with $\mathcal{L}_{re}$ was run on it. What such models do on it is therefore a prediction. This page
# measures the baselines again, in every build.

# %% tags=["parameters", "hide-input"]
# Parameters are read from params/<profile>/calibration.yaml; each can also be set here, or by papermill
profile = "demo"

# %% tags=["hide-cell"]
from dataclasses import astuple, replace

import numpy as np
from myst_nb import glue

from dgam_core.evaluation import module_analysis
from dgam_core.experiments import calibration, variants
from dgam_core.experiments.study import open_study

study = open_study(globals(), "calibration")

# %% tags=["hide-cell"]
thresholds = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
models = study.train()
scores = study.score(models, thresholds)
study.save_table(scores)
by_row = 100 * scores.set_index(["choice", "row", "tiou"])["map"].sort_index()
chosen, told = by_row["test_oracle"], by_row["last", variants.CEILING]
measured = {
    f"Table 4, mAP@0.5, {row}": chosen[row, 0.5] for row in calibration.BASELINES
}
measured |= {
    f"Table 1, O/O, mAP@{tiou:g}": chosen["+ L_guide", tiou]
    for tiou in thresholds[2:]
}
measured |= {
    f"Ceiling, mAP@{tiou:g} (P-GCN)": told[tiou] for tiou in thresholds[:5]
}

# %% tags=["hide-cell"]
statistics = list(study.published("table2").values.index)
shares = [
    [
        astuple(module_analysis.set_statistics(study.data, outputs))
        for outputs in study.outputs(model, row).values()
    ]
    for (row, _), model in models.items()
    if row == "+ L_guide"
]
measured |= {
    f"Table 2, without, {name}": by_seed
    for name, by_seed in zip(statistics, np.mean(shares, axis=1).T, strict=True)
}

# %% tags=["hide-cell"]
activitynet = open_study({"profile": profile}, "table5_activitynet12")
released = activitynet.variants["released", "DGAM"]
baseline = {
    "gamma_re": 0.0,
    "alpha": 0.03,
    "model_choice": "last",
    "seeds": study.experiment.seeds,
}
rows = {
    ("released", "without"): released.model_copy(update=baseline),
    ("released", variants.CEILING): variants.ceiling(released),
}
activitynet = replace(activitynet, variants=rows)
of_activitynet = activitynet.score(
    activitynet.train(), study.published("table5").thresholds, ["last"]
)
averages = 100 * of_activitynet.groupby(["row", "seed"])["map"].mean()
measured["Table 5, average mAP (Liu et al.)"] = averages["without"]
measured["Table 5, ceiling, average mAP (SSN)"] = averages[variants.CEILING]

# %% [markdown]
# ## Result

# %% tags=["hide-input"]
table = calibration.compare(measured, study.provenance)
glue("calibration", table, display=False)
table

# %% [markdown]
# Two targets are out of reach. $\mathcal{L}_{fg}$ alone does better than published: what $\mathcal{L}_{bg}$ adds in the
# paper, 3.3 points, it did not add here with any knobs that were tried. And attention rescues more actions that the classifier misses;
# the published 0.001 means that there the classifier misses nothing that attention finds. Which score *cls* stands for
# the paper does not say: of the softmax probability, $\sigma(\mathrm{TCAM})$ and the TCAM scaled to [0, 1] in each
# video, only the second comes near 1.522, and averages over videos rather than over all snippets are the only reading by
# which published attention is better than chance.

# %% [markdown]
# ## How it was made
#
# Trained are the rows of Table 4 without $\mathcal{L}_{re}$, as the released code trains them and chooses their checkpoint, for so the
# published numbers were made; and a model that is told when the actions of the training videos happen, a ceiling,
# beside the best fully supervised method on I3D features.
#
# The statistics of Table 2 are those of the last epoch, mean over streams and seeds.
#
# Table 5 is the same in the shape of ActivityNet1.2, by the average mAP over tIoU 0.5 to 0.95, at the last epoch. The target is the best
# weakly supervised method before DGAM. $\mathcal{L}_{bg}$ weighs 0.03, as the paper says: with the released code's weight
# of 1 all models [collapse](../experiments/collapse.md) on this data.

# %% tags=["hide-input"]
study.summary

# %% [markdown]
# ## Checks

# %% tags=["keep_output", "hide-input"]
# NBVAL_CHECK_OUTPUT
print("targets:", len(measured), "of", len(calibration.targets()))
study.check(measured)
