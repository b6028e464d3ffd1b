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
# # Figure 3: two stages of training
#
# The paper trains in two alternating stages. In stage (b) attention and classifier are frozen, and the CVAE learns to
# model features given attention, by Eq. (10). In stage (a) the CVAE is frozen and teaches attention: attention should
# be what makes the features likely, by Eq. (11), beside what classifies best. A warm-up over the first epochs keeps the
# CVAE's early nonsense from the attention. Here are both stages' losses, the attention on its way, and what the trained
# CVAE reconstructs well.

# %% tags=["parameters", "hide-input"]
# `dataset` is a store's file or a simulated data set; what is not set here comes from the preset
profile = "demo"
preset = "paper"
dataset = "simulated:thumos14"
seeds = [0, 1, 2, 3, 4]
device = "auto"
workers = 2

# Eq. (12) gives L_re up to a factor (∝); this is the released code's, departure 5
gamma_re_per = "element"

# Sizes
attention_hidden = 32
cvae_hidden = 32
latent_dim = 8
num_snippets = 32

# Optimization: D is a sixteenth of the real one, so a step has to be 16 times as long to move w_cᵀx as far;
# the warm-up lasts until L_fg alone has done most of its fall
learning_rate = 0.016
epochs = 50
warmup_epochs = 30
evaluation_interval = 17

# %%
from dgam_core.experiments import parameters

experiment = parameters.read_parameters(globals())

# %% tags=["hide-input"]
import numpy as np
import pandas as pd
from IPython.display import Markdown

from dgam_core.data import store
from dgam_core.evaluation import module_analysis
from dgam_core.experiments import obtain, places, regression
from dgam_core.experiments.inference import load_test_features, reconstruction_error
from dgam_core.experiments.model_choice import Scorer
from dgam_core.figures import over_time
from dgam_core.model import restore
from dgam_core.system.machine import choose_device

data = store.open_data_set(experiment.dataset)
results = places.Results.of(experiment)
Markdown(data.summary + "\n\n" + experiment.summary)

# %% [markdown]
# ## Training
#
# The whole method; the last row of [Table 4](table4_ablation.ipynb).

# %%
models = obtain.obtain_models(results.runs, data, {"": experiment}, experiment)
device = choose_device(experiment.device)
scorer = Scorer(data, results.scores, device, [0.5])

# %% [markdown]
# ## Losses and attention over the epochs
#
# Each curve is the mean over the batches of an epoch. It is also the mean over streams. L_re is a sum over
# the snippets and features of a video and contains a constant, so it may be large, or negative.

# %% tags=["hide-input"] mystnb={"image": {"alt": "The losses of both stages over the epochs, and a histogram of attention"}}
stages = {
    "log_likelihood": "b",
    "kl": "b",
    "cvae": "b",
    "fg": "a",
    "bg": "a",
    "guide": "a",
    "re": "a",
}
curves = pd.concat(
    [
        pd.DataFrame(
            {"epoch": np.arange(1, len(values) + 1), "value": values}
        ).assign(loss=loss, stage=stages[loss], seed=seed, stream=stream)
        for (_, seed), model in models.items()
        for stream, run in model.items()
        for loss, values in run.trained.curves.items()
    ]
)
curves["loss"] = pd.Categorical(curves["loss"], list(stages))
curves["provenance"] = data.provenance
ends = ["loss", "stage", "stream", "seed", "epoch", "value", "provenance"]
results.save_table("figure3_training", curves[ends].to_csv(index=False))
first = models["", experiment.seeds[0]]
epochs = next(iter(first.values())).trained.checkpoints.epochs
looks = []
for look, epoch in enumerate(epochs):
    seen = scorer.outputs(first, dict.fromkeys(first, look), experiment)
    values = [
        outputs.attention for videos in seen.values() for outputs in videos.values()
    ]
    looks.append((int(epoch), np.concatenate(values)))
figure = over_time.of_training(
    curves.sort_values("loss"), looks, experiment.warmup_epochs, data.provenance
)
results.save_figure("figure3_training", figure)

# %% [markdown]
# ## What the CVAE reconstructs
#
# The mean of ‖x − f(λ, z)‖² / D over 16 samples of z from the prior, at the attention that the model gives a test snippet,
# by what the snippet shows. A model that tells the kinds apart reconstructs them alike; one that knows only the most
# frequent leaves the others with larger errors.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Bars: error of reconstruction by kind of snippet"}}
records = []
for (_, seed), model in models.items():
    for stream, run in model.items():
        network = restore(run.trained.weights, run.settings).to(device)
        features = load_test_features(data, stream, experiment, device)
        errors = reconstruction_error(network, features, run.settings, seed)
        records += [
            (kind, "with", stream, seed, value)
            for kind, value in module_analysis.mean_by_kind(data, errors).items()
        ]
errors = pd.DataFrame(records, columns=["kind", "model", "stream", "seed", "value"])
figure = over_time.by_kind(
    errors, data.provenance, "squared error a feature", "Reconstruction"
)
results.save_figure("figure3_training_reconstruction", figure)

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
ends = (
    curves[curves["epoch"] == experiment.epochs]
    .groupby("loss", observed=True)["value"]
    .mean()
)
starts = curves[curves["epoch"] == 1].groupby("loss", observed=True)["value"].mean()
means = errors.groupby("kind")["value"].mean()
parts = ", ".join(f"{value:.3f} on {kind}" for kind, value in means.items())
flat = np.concatenate([looks[0][1]]), np.concatenate([looks[-1][1]])
middle = [100 * float(((part > 0.1) & (part < 0.9)).mean()) for part in flat]
Markdown(
    f"From the first epoch to the last, {data.provenance}: L_fg goes from {starts['fg']:.2f} to {ends['fg']:.2f}, the "
    f"log-likelihood of a snippet from {starts['log_likelihood']:.1f} to {ends['log_likelihood']:.1f}, the KL divergence "
    f"from {starts['kl']:.2f} to {ends['kl']:.2f}. Between 0.1 and 0.9 lies the attention of {middle[0]:.0f} % of the test "
    f"snippets at the first look and of {middle[1]:.0f} % at the last. The error of reconstruction is {parts}."
)

# %% [markdown]
# ## Checks

# %% tags=["keep_output"]
# NBVAL_CHECK_OUTPUT
print("losses:", ", ".join(stages))
print("every loss is finite:", bool(np.isfinite(curves["value"]).all()))
print(
    "the KL divergence is never negative:",
    bool((curves[curves["loss"] == "kl"]["value"] >= 0).all()),
)
last = curves[curves["epoch"] == experiment.epochs]
by_seed = last.groupby(["loss", "seed"], observed=True)["value"].mean()
numbers = {f"{loss}, last epoch": by_seed[loss] for loss in stages}
numbers |= {
    f"reconstruction error, {kind}": errors[errors["kind"] == kind]
    .groupby("seed")["value"]
    .mean()
    for kind in means.index
}
print(*regression.compare("figure3_training", experiment, data, numbers), sep="\n")
