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
# # Figure 1: action and context
#
# With video labels alone, a classifier learns whatever comes with a class: the track field and the sandpit, while the
# athlete prepares and when it is over, as well as the long jump. The paper calls it action-context confusion, and claims that attention which a generative model of the features
# has taught leaves the context out: context features differ from action features, whatever the class. Here is what
# attention does on action, context and background, and on one test video over time.

# %% tags=["parameters", "hide-input"]
# Parameters are read from params/<profile>/figure1_confusion.yaml; each can also be set here, or by papermill
profile = "demo"

# %% tags=["hide-cell"]
from itertools import product

import numpy as np
from IPython.display import HTML, Markdown
from scipy.special import softmax

from dgam_core.evaluation import module_analysis
from dgam_core.experiments.inference import load_test_features
from dgam_core.experiments.mechanism import (
    attention_by_kind,
    divergence_per_dimension,
    errors_over_attention,
)
from dgam_core.experiments.study import open_study
from dgam_core.figures import explorer, over_time, tables
from dgam_core.localize import detect
from dgam_core.model import restore

study = open_study(globals(), "figure1_confusion")

# %% tags=["hide-cell"]
models = study.train()
outputs = {
    (variant, seed): study.outputs(model, variant)
    for (variant, seed), model in models.items()
}

# %% [markdown]
# ## Attention by what a snippet shows
#
# Mean attention over all test snippets of a kind. Simulated data knows its context; on real features, where only the action
# is annotated, everything else is one kind.

# %% tags=["hide-input"]
records = []
for (variant, seed), streams in outputs.items():
    for stream, videos in streams.items():
        attention = {name: video.attention for name, video in videos.items()}
        means = module_analysis.mean_by_kind(study.data, attention)
        records += [
            (kind, variant, stream, seed, mean) for kind, mean in means.items()
        ]
values = study.table(records, ["kind", "model", "stream", "seed", "value"])
study.save_table(values)
figure = over_time.by_kind(
    values, study.provenance, "mean attention λ", "Attention", limits=(0, 1)
)
means = values.groupby(["kind", "model"], sort=False)["value"].mean().unstack()
alt = "; ".join(
    f"on {kind} {row['without']:.2f} without, {row['with']:.2f} with"
    for kind, row in means.iterrows()
)
study.save_figure(
    figure,
    f"Mean attention, {study.provenance}: {alt} generative modeling.",
    "by_kind",
)

# %% [markdown]
# ## A video over time
#
# A rule decides which video to show. For each test video, the contrast of attention is its mean within action less
# that outside; generative modeling changes the contrast, on average over the streams. Of the videos with at least two
# actions, the one of the median change is shown, by the models of the first seed.

# %% tags=["hide-input"]
shown = {
    variant: outputs[variant, study.experiment.seeds[0]]
    for variant in study.variants
}
video = module_analysis.video_of_median_change(
    study.data, shown["without"], shown["with"]
)
class_idx = 1 + study.data.classes.index(video.labels[0])  # 0 is the background
attention, tcam = {}, {}
for stream in study.data.streams:
    attention[stream] = {
        variant: shown[variant][stream][video.name].attention for variant in shown
    }
    logits = shown["with"][stream][video.name].logits.astype(float)
    tcam[stream] = softmax(logits, axis=1)[:, class_idx]
detections = {
    variant: detect(study.data, streams, study.experiment)
    for variant, streams in shown.items()
}
figure = over_time.of_video(
    video,
    study.data.snippet_s,
    module_analysis.snippet_kinds(study.data, video, len(logits)),
    attention,
    tcam,
    {variant: table.of_video(video.name) for variant, table in detections.items()},
    study.provenance,
)
counts = ", ".join(
    f"{len(table.of_video(video.name))} {variant}"
    for variant, table in detections.items()
)
alt = (
    f"{video.name} over time, {study.provenance}: {len(video.segments)} actions, the attention of two models, "
    f"and their detections, {counts} generative modeling."
)
study.save_figure(figure, alt)

# %% [markdown]
# From top to bottom: what the snippets show; for each stream the attention of both models, and the probability of the
# video's first class; and the detections, of any class; a stronger colour means more confident.

# %% [markdown]
# ## Explore
#
# Choose a test video and a stream, and drag the dashed line: attention above the threshold makes segments, of the model
# without and of the one with $\mathcal{L}_{re}$, where a stronger colour means a better match with an action (tIoU). AP is the average
# precision of these segments in this video, at tIoU 0.5, whatever their class, ranked by their mean attention. Below them
# stand the detections from both streams at the threshold of this run. The number beside a video is by how much
# $\mathcal{L}_{re}$ raises the contrast of its attention, on average over the streams. Point at a bar to read it; the address
# of the page keeps what you chose.

# %% tags=["hide-input"]
settings = study.experiment.for_stream(study.data.streams[0])
threshold = float(np.ravel(settings.attention_threshold)[0])
HTML(explorer.as_html(explorer.time_line(study.data, shown, detections, threshold)))

# %% [markdown]
# ## The mechanism
#
# With the CVAE held fixed, $\mathcal{L}_{re}$ moves the attention of a snippet to where its reconstruction error is least. Above:
# the error at each $\lambda$, on average over the snippets of a kind and five seeds, with their standard deviation. A line that
# falls draws attention up, one that rises draws it down. Below: where attention lies, without (dashed) and with
# (solid) generative modeling.

# %% tags=["hide-input"]
levels = np.linspace(0, 1, 11)
errors, divergence = [], {stream: [] for stream in study.data.streams}
features = {
    stream: load_test_features(study.data, stream, study.experiment, study.device)
    for stream in study.data.streams
}
for stream, seed in product(features, study.experiment.seeds[:5]):
    run = models["with", seed][stream]
    network = restore(run.trained.weights, run.settings).to(study.device)
    by_video = errors_over_attention(
        network, features[stream], run.settings, levels, seed
    )
    divergence[stream].append(
        divergence_per_dimension(network, features[stream], run.settings)
    )
    for k, level in enumerate(levels):
        at_level = {name: values[k] for name, values in by_video.items()}
        means = module_analysis.mean_by_kind(study.data, at_level)
        errors += [
            (stream, kind, seed, level, error) for kind, error in means.items()
        ]
errors = study.table(errors, ["stream", "kind", "seed", "lam", "value"])
of_line = errors.groupby(["stream", "kind", "seed"])["value"]
errors["value"] -= of_line.transform("mean")
lying = [
    (stream, kind, variant, value)
    for variant, streams in shown.items()
    for stream, videos in streams.items()
    for kind, value in attention_by_kind(study.data, videos)
]
lying = study.table(lying, ["stream", "kind", "model", "value"])
least = (
    errors.groupby(["stream", "kind", "lam"])["value"]
    .mean()
    .unstack()
    .idxmin(axis=1)
)
alt = ", ".join(
    f"{stream}, {kind} at {lam:.1f}" for (stream, kind), lam in least.items()
)
figure = over_time.mechanism(errors, lying, study.provenance)
study.save_figure(
    figure, f"The error is least, {study.provenance}: {alt}.", "mechanism"
)

# %% tags=["hide-input"]
lines = []
for stream, by_seed in divergence.items():
    kl = np.mean(by_seed, axis=0)
    used = f"{(kl > 0.01).sum()} of {len(kl)} dimensions above 0.01"
    lines.append(f"- {stream}: {used}, the largest {kl.max():.2g} nats")
Markdown(
    "What the CVAE's code says of a snippet is the KL divergence of its posterior from the prior, here a mean over snippets "
    f"and five seeds, {study.provenance}. Where it is near 0, the posterior has collapsed: the decoder reconstructs from λ "
    "alone.\n\n" + "\n".join(lines)
)

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
by_seed = values.groupby(["kind", "model", "seed"])["value"].mean().unstack("model")
kinds = by_seed.index.unique("kind")
lines = [
    tables.compare(
        f"Attention on {kind}: generative modeling",
        by_seed.loc[kind, "with"],
        by_seed.loc[kind, "without"],
        "in λ",
        better=1 if kind == "action" else -1,
        digits=3,
        margin=0.005,
    )
    for kind in kinds
]
(preset_name,) = study.presets
study.conclude(
    "On action more is better, elsewhere less; less than 0.005 is practically nothing.\n\n"
    + tables.seed_by_seed({preset_name: lines}, study.provenance, study.seeds)
)

# %% [markdown]
# ## How it was made
#
# The models without and with generative attention modeling are rows of [Table 4](table4_ablation.ipynb), at the last
# epoch.

# %% tags=["hide-input"]
study.summary

# %% [markdown]
# ## Checks

# %% tags=["keep_output", "hide-input"]
# NBVAL_CHECK_OUTPUT
count = len(kinds) * 2 * len(study.data.streams) * len(study.experiment.seeds)
print("attention lies in [0, 1]:", bool(values["value"].between(0, 1).all()))
print("every kind, model, stream and seed has a value:", len(values) == count)
study.check(
    {
        f"mean attention on {kind}, {variant}": by_seed.loc[kind, variant]
        for kind in kinds
        for variant in study.variants
    }
)
