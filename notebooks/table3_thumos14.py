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
# # Table 3: THUMOS14
#
# The paper compares DGAM with fully and with weakly supervised methods on THUMOS14. It claims the best results of the
# weakly supervised, above all at high tIoU, "which means that our model could produce finer and more precise
# predictions", and results close to the fully supervised.

# %% tags=["parameters", "hide-input"]
# Parameters are read from params/<profile>/table3_thumos14.yaml; each can also be set here, or by papermill
profile = "demo"

# %%
from dgam_core.evaluation import module_analysis
from dgam_core.evaluation.intervals import paired_difference, summarize
from dgam_core.experiments import claims
from dgam_core.experiments.study import open_study
from dgam_core.figures import curves, errors, tables

study = open_study(globals(), "table3_thumos14")
study.summary

# %% [markdown]
# ## Training, localization and evaluation
#
# The whole method, a model per stream and seed.

# %%
published = study.published("table3")
models = study.train()
scores = study.score_and_save(models, published.thresholds)

# %% [markdown]
# ## Result
#
# mAP in percent at each tIoU. The published numbers were measured on THUMOS14; this run is the mean ± standard deviation
# over the seeds, by [model choice](../model_choice.md).

# %% tags=["hide-input"]
tables.methods(scores, published)

# %% tags=["hide-input"] mystnb={"image": {"alt": "mAP over tIoU: this run, and the published methods"}}
last = scores[scores["choice"] == "last"]
figure = curves.over_tiou(last, study.provenance, published, "Nguyen et al.")
study.save_figure(figure)

# %% [markdown]
# ## What is wrong, and what is missed
#
# The detections of each class in slices, each as large as the class has actions (G), and the actions by length.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Stacked bars: what detections are, by how sure they are; bars: recall by the length of an action"}}
diagnoses = [
    module_analysis.diagnose_detections(
        study.data, study.outputs(model), study.experiment, 0.5
    )
    for model in models.values()
]
figure = errors.causes_and_recall(diagnoses, study.provenance)
study.save_figure(figure, "causes")

# %% [markdown]
# Precision over recall of the first seed: each grey line is a class, the blue one their mean.

# %% tags=["hide-input"] mystnb={"image": {"alt": "Curves of precision over recall, one for each class, and their mean"}}
figure = errors.precision_over_recall(diagnoses[0], study.provenance)
study.save_figure(figure, "curves")

# %% [markdown]
# ## What to conclude

# %% tags=["hide-input"]
at_half = scores[scores["tiou"] == 0.5]
by_choice = 100 * at_half.pivot(index="seed", columns="choice", values="map")
printed = published.values[0.5]
ours = summarize(by_choice["last"])
oracle = paired_difference(by_choice["test_oracle"], by_choice["last"])
checked = claims.exceeds(
    "mAP@0.5 is above that of the best other weakly supervised method",
    by_choice["last"],
    printed["Nguyen et al."],
    f"{printed['DGAM']} against {printed['Nguyen et al.']}",
    comparable=not study.data.simulated
    and len(study.data.classes) == published.classes,
)
study.conclude(
    f"mAP@0.5 of this run, {study.provenance}: {ours.mean:.1f}, 95 % interval {ours.low:.1f} to {ours.high:.1f} over "
    f"{ours.count} seeds. Choosing the model on the test set adds {oracle.mean:.1f}. The paper prints "
    f"{printed['DGAM']} for DGAM and {printed['Nguyen et al.']} for Nguyen et al., the best of the other weakly supervised "
    "methods. These were measured on THUMOS14.",
    checked,
)

# %% [markdown]
# ## Checks

# %% tags=["keep_output"]
# NBVAL_CHECK_OUTPUT
by_threshold = last.pivot(index="tiou", columns="seed", values="map")
count = len(study.seeds) * len(study.choices) * len(published.thresholds)
print("every seed, choice and threshold has a value:", len(scores) == count)
falls = bool(by_threshold.diff().max().max() <= 0)
print("mAP never rises with the threshold:", falls)
study.check(
    {f"mAP@{tiou}": by_threshold.loc[tiou] for tiou in by_threshold.index}, scores
)
