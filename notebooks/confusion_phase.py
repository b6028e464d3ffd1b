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
# # Where generative attention helps
#
# The paper argues from one kind of data: context looks like the class, and action and context can be told apart from
# their appearance alone. Simulated data can have more or less of both. `confusion` says how much of the class evidence
# of an action its context has; `separation` says how strongly action and context look different whatever the class.
# This notebook adds $\mathcal{L}_{re}$ at every point of a grid of the two, everything else being equal, and shows
# where that helps, where it does nothing and where it harms. The paper has no such figure.

# %% tags=["parameters", "hide-input"]
# `dataset` is a simulated data set; what is not set here comes from the preset
profile = "demo"
preset = "paper"
dataset = "simulated:thumos14"
seeds = [0, 1, 2, 3]
device = "auto"
workers = 2

# The grid
sweep = {"confusion": [0.3, 0.7, 1.0], "separation": [0.0, 1.0, 2.0]}

# Eq. (12) gives L_re up to a factor (∝); this is the released code's, departure 5
gamma_re_per = "element"

# Sizes
attention_hidden = 32
cvae_hidden = 32
latent_dim = 8
num_snippets = 32

# Optimization: so much that L_fg alone converges; the warm-up keeps its share of the epochs. Only the last epoch counts here.
learning_rate = 0.016
epochs = 50
warmup_epochs = 30
evaluation_interval = 17
held_out = 0.0

# %%
from dgam_core.experiments import parameters

experiment = parameters.read_parameters(
    globals(), sweep=["confusion", "separation", "noise", "drift"]
)

# %% tags=["hide-input"]
import pandas as pd
from IPython.display import Markdown

from dgam_core.experiments import obtain, places, regression, variants
from dgam_core.experiments.model_choice import Scorer
from dgam_core.figures import curves, tables
from dgam_core.system.machine import choose_device

sweep = dict(experiment.sweep)
worlds = variants.worlds(experiment)
data = next(iter(worlds.values()))
results = places.Results.of(experiment)
Markdown(data.summary + "\n\n" + experiment.summary)

# %% [markdown]
# ## Training, localization and evaluation
#
# At each point of the grid two models a seed, without and with $\mathcal{L}_{re}$, from the same first weights and on
# the same snippets, of the RGB stream, which has the scenes. The other knobs of the simulator stay as they are by default, and so does its time line.

# %%
variants = variants.without_and_with(experiment)
device = choose_device(experiment.device)
found = []
for knobs, world in worlds.items():
    models = obtain.obtain_models(results.runs, world, variants, experiment)
    scorer = Scorer(
        world, results.scores, device, [0.5], experiment.workers, ["last"]
    )
    table = scorer.table(models, variants).drop(columns=["tiou", "choice", "main"])
    found.append(table.assign(**{name: getattr(knobs, name) for name in sweep}))
scores = pd.concat(found)
ends = [*sweep, "row", "seed", "map", "provenance"]
results.save_table("confusion_phase", scores[ends].to_csv(index=False))

# %% [markdown]
# ## Result

# %% tags=["hide-input"] mystnb={"image": {"alt": "Heat map of what L_re changes in mAP, over confusion and separation"}}
points = tables.phase(scores, list(sweep), ("without", "with"))
figure = curves.phase(
    points["step"],
    data.provenance,
    r"With $\mathcal{L}_{re}$ less without",
    "points of mAP@0.5",
)
results.save_figure("confusion_phase", figure)

# %% tags=["hide-input"]
tables.phase_text(points, data.provenance, "mAP@0.5 (%)")

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
lines = tables.phase_lines(points, "`L_re`")
Markdown(tables.seed_by_seed(lines, data.provenance, len(experiment.seeds)))

# %% [markdown]
# ## Checks

# %% tags=["keep_output"]
# NBVAL_CHECK_OUTPUT
print(
    "every point, model and seed has a value:",
    len(scores) == 2 * len(worlds) * len(experiment.seeds),
)
print("mAP lies in [0, 1]:", bool(scores["map"].between(0, 1).all()))
at_point = scores.groupby([*sweep, "row"])["map"].agg(list)
numbers = {
    f"mAP, {', '.join(map(str, where))}": values
    for where, values in at_point.items()
}
print(*regression.compare("confusion_phase", experiment, data, numbers), sep="\n")
