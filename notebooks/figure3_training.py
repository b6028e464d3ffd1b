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
# Parameters are read from params/<profile>/figure3_training.yaml; each can also be set here, or by papermill
profile = "demo"

# %% tags=["hide-cell"]
import numpy as np
import pandas as pd

from dgam_core.evaluation import module_analysis
from dgam_core.experiments.inference import load_test_features, reconstruction_error
from dgam_core.experiments.study import open_study
from dgam_core.figures import over_time
from dgam_core.model import restore

study = open_study(globals(), "figure3_training")

# %% tags=["hide-cell"]
models = study.train()
whole = {seed: model for (row, seed), model in models.items() if row == "with"}

# %% [markdown]
# ## Losses and attention over the epochs
#
# Each curve is the mean over the mini-batches of an epoch and over the streams. The curve of L_re is Eq. (12), a sum over
# the snippets and features of a video, whatever its weight in the loss; it contains a constant, so it may be large, or
# negative.

# %% tags=["hide-input"]
stages = {
    "log_likelihood": "b",
    "kl": "b",
    "cvae": "b",
    "fg": "a",
    "bg": "a",
    "guide": "a",
    "re": "a",
}
records = []
for seed, model in whole.items():
    for stream, run in model.items():
        for loss, means in run.trained.curves.items():
            records += [
                (loss, stages[loss], stream, seed, epoch, mean)
                for epoch, mean in enumerate(means, start=1)
            ]
curves = study.table(records, ["loss", "stage", "stream", "seed", "epoch", "value"])
curves["loss"] = pd.Categorical(curves["loss"], list(stages))
study.save_table(curves)

first = whole[study.experiment.seeds[0]]
checkpoints = next(iter(first.values())).trained.checkpoints
attention_at = []
for index, epoch in enumerate(checkpoints.epochs):
    at_checkpoint = dict.fromkeys(first, index)
    outputs = study.scorer.outputs(first, at_checkpoint, study.experiment)
    attention = [
        video.attention for videos in outputs.values() for video in videos.values()
    ]
    attention_at.append((int(epoch), np.concatenate(attention)))
warmup = study.experiment.warmup_epochs
by_loss = curves.sort_values("loss")
figure = over_time.of_training(by_loss, attention_at, warmup, study.provenance)
by_epoch = curves.groupby(["epoch", "loss"], observed=True)["value"].mean()
start, end = by_epoch[1], by_epoch[study.experiment.epochs]
alt = ", ".join(
    f"{loss} from {start[loss]:.2f} to {end[loss]:.2f}" for loss in stages
)
study.save_figure(
    figure, f"From the first epoch to the last, {study.provenance}: {alt}."
)

# %% [markdown]
# ## Localization over the epochs
#
# mAP on the test videos at each checkpoint, of the method without and with $\mathcal{L}_{re}$. Nothing is chosen by it.

# %% tags=["hide-input"]
maps = study.over_epochs(models)
figure = over_time.of_map(maps, warmup, study.provenance)
means = maps.groupby(["row", "epoch"])["value"].mean().unstack()
alt = "; ".join(
    f"{row} "
    + ", ".join(f"{value:.1f} at {epoch}" for epoch, value in of_row.items())
    for row, of_row in means.iterrows()
)
study.save_figure(
    figure, f"mAP@0.5 in percent by epoch, {study.provenance}: {alt}.", "map"
)

# %% [markdown]
# ## What the CVAE reconstructs
#
# The mean of ‖x − f(λ, z)‖² / D over 16 samples of z from the prior, at the attention that the model gives a test snippet,
# by what the snippet shows. A model that tells the kinds apart reconstructs them alike; one that knows only the most
# frequent leaves the others with larger errors.

# %% tags=["hide-input"]
records = []
for seed, model in whole.items():
    for stream, run in model.items():
        network = restore(run.trained.weights, run.settings).to(study.device)
        features = load_test_features(
            study.data, stream, study.experiment, study.device
        )
        distances = reconstruction_error(network, features, run.settings, seed)
        means = module_analysis.mean_by_kind(study.data, distances)
        records += [
            (kind, "with", stream, seed, mean) for kind, mean in means.items()
        ]
errors = study.table(records, ["kind", "model", "stream", "seed", "value"])
figure = over_time.by_kind(
    errors, study.provenance, "squared error per feature", "Reconstruction"
)
error_of = errors.groupby("kind")["value"].mean()
per_kind = ", ".join(f"{value:.3f} on {kind}" for kind, value in error_of.items())
study.save_figure(
    figure,
    f"Error of reconstruction, {study.provenance}: {per_kind}.",
    "reconstruction",
)

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
undecided = [
    100 * float(((lam > 0.1) & (lam < 0.9)).mean()) for _, lam in attention_at
]
likely = [f"{of['log_likelihood']:.1f}".replace("-", "−") for of in (start, end)]
study.conclude(
    f"From the first epoch to the last, {study.provenance}: L_fg goes from {start['fg']:.2f} to {end['fg']:.2f}, the "
    f"log-likelihood of a snippet from {likely[0]} to {likely[1]}, the KL divergence "
    f"from {start['kl']:.2f} to {end['kl']:.2f}. Between 0.1 and 0.9 lies the attention of {undecided[0]:.0f} % of the test "
    f"snippets at the first checkpoint and of {undecided[-1]:.0f} % at the last. The error of reconstruction is {per_kind}."
)

# %% [markdown]
# ## How it was made
#
# The whole method, the last row of [Table 4](table4_ablation.ipynb), and the same without $\mathcal{L}_{re}$.

# %% tags=["hide-input"]
study.summary

# %% [markdown]
# ## Checks

# %% tags=["keep_output", "hide-input"]
# NBVAL_CHECK_OUTPUT
kl = curves[curves["loss"] == "kl"]["value"]
print("losses:", ", ".join(stages))
print("every loss is finite:", bool(np.isfinite(curves["value"]).all()))
print("the KL divergence is never negative:", bool((kl >= 0).all()))
last = curves[curves["epoch"] == study.experiment.epochs]
loss_by_seed = last.groupby(["loss", "seed"], observed=True)["value"].mean()
error_by_seed = errors.groupby(["kind", "seed"])["value"].mean()
study.check(
    {f"{loss}, last epoch": loss_by_seed[loss] for loss in stages}
    | {
        f"reconstruction error, {kind}": error_by_seed[kind]
        for kind in error_of.index
    }
)
