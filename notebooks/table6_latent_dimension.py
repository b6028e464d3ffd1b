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
# # Table 6: the dimension of the latent space
#
# The latent code $\mathbf{z}_t$ of the CVAE has a dimension, and the paper tries 16 to 512. It finds that localization
# improves rapidly with it, is best at 128, and gets worse beyond, "partially because of the sparsity of limited data in
# high-dimensional latent space".

# %% tags=["parameters", "hide-input"]
# Parameters are read from params/<profile>/table6_latent_dimension.yaml; each can also be set here, or by papermill
profile = "demo"

# %% tags=["hide-cell"]
from dgam_core import departures
from dgam_core.experiments import claims
from dgam_core.experiments.study import map_by_seed, open_study
from dgam_core.figures import differences, tables

study = open_study(globals(), "table6_latent_dimension")

# %% tags=["hide-cell"]
scores = study.score_and_save(study.train())

# %% [markdown]
# ## Result

# %% tags=["hide-input"]
published = study.published("table6")
tables.sweep(scores, "dimension", published)

# %% [markdown]
# Mean ± standard deviation over the seeds. The published column was measured on THUMOS14, with features of D 1024;
# simulated features have a smaller D, and the dimensions tried on them are smaller as well.

# %% tags=["hide-input"]
base = study.experiment.latent_dim
found = study.differences_from(scores, base)
figure = differences.over_setting(
    found,
    base,
    study.provenance,
    published,
    departures.preset("paper", study.experiment.benchmark).latent_dim,
    "dimension of the latent code",
    log=True,
)
title = f"against {base:g}"
study.save_figure(figure, differences.in_words({title: found}, study.provenance))

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
by_seed = map_by_seed(scores)
(preset_name,) = study.presets
lines = [
    tables.compare(f"dimension {z}", by_seed[z], by_seed[base], "points of mAP@0.5")
    for z in by_seed
    if z != base
]
means = by_seed.mean()
printed = published.values.loc["DGAM"]
ends = (
    ("the smallest", min(by_seed), printed.index.min()),
    ("the largest", max(by_seed), printed.index.max()),
)
checked = [
    claims.differs(
        f"The base dimension is better than {which}",
        by_seed[base],
        by_seed[end],
        "points",
        f"{printed.max() - printed[printed_end]:+.1f}",
    )
    for which, end, printed_end in ends
    if end != base
]
study.conclude(
    f"Each value against dimension {base}.\n\n"
    + tables.seed_by_seed({preset_name: lines}, study.provenance, study.seeds)
    + f"\n\nThe means lie between {means.min():.1f} and {means.max():.1f}, the highest at "
    f"dimension {means.idxmax()}. The paper prints "
    f"{printed.min()} to {printed.max()}, the highest at {printed.idxmax()}.",
    {preset_name: checked},
)

# %% [markdown]
# ## How it was made
#
# A model per stream, value and seed; everything else stays as it is.

# %% tags=["hide-input"]
study.summary

# %% [markdown]
# ## Checks

# %% tags=["keep_output", "hide-input"]
# NBVAL_CHECK_OUTPUT
print("values:", ", ".join(f"{z}" for z in by_seed))
print("every value, seed and choice has a number:", len(scores) == study.num_scores)
study.check({f"mAP@0.5 at {z}": by_seed[z] for z in by_seed}, scores)
