"""The two presets, `paper` and `released`, and every difference between them.

The authors' released code departs from the paper's text in ways that the text does not mention. Each
departure has a number and the settings that switch it; `released` is `paper` with all of them but two: a bug,
which the published numbers carry (23), and a rate of frames that is assumed whatever the data (31).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dgam_core.settings import Settings, Strict

Benchmark = Literal["thumos14", "activitynet12"]
Preset = Literal["paper", "released"]


@dataclass(frozen=True)
class Departure:
    """One row of the comparison.

    Attributes:
        number: its number.
        title: what differs, in a few words.
        paper: what the paper says; "unstated" where it says nothing.
        released: what the released code does.
        where: where it does it: file, and function or class.
        settings: setting → its value in the released code, of those that differ from the paper's or
            from the default where the paper is silent; empty where both agree.
        activitynet12: the same on ActivityNet1.2 where it differs from THUMOS14.
        in_preset: whether the preset `released` has it; without it are a bug and what is right for one data
            set alone.
    """

    number: int
    title: str
    paper: str
    released: str
    where: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    activitynet12: Mapping[str, Any] | None = None
    in_preset: bool = True

    def values(self, benchmark: Benchmark) -> Mapping[str, Any]:
        """Return setting → value in the released code on a benchmark."""
        if benchmark == "activitynet12" and self.activitynet12 is not None:
            return self.activitynet12
        return self.settings


# What section 4.2 says of ActivityNet1.2, and the measure of Table 5.
PAPER_ACTIVITYNET12 = {
    "max_snippets": 200,
    "main_tiou": (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95),
    "test_without": (),
}

# Numbers of departures that are not like the others: the choice of a checkpoint, which trains nothing else;
# a bug, and an assumption on the data, which neither preset has.
CHOICE, CLASS0_BUG, ASSUMED_RATE = 14, 23, 31

DEPARTURES = (
    Departure(
        1,
        "pooling offset",
        "the weighted means of Eq. (4, 5) divide by Σλ and Σ(1 − λ)",
        "in training they divide by Σλ + 1 and Σ(1 − λ) + 1e-6",
        "lib/core/function.py, train and test_final",
        {"pool_offset_fg": 1.0, "pool_offset_bg": 1e-6},
    ),
    Departure(
        2,
        "background's place",
        "the background is class 0",
        "the background is the last class",
        "lib/core/loss.py, loss_fg and loss_bg",
        {"background": "last"},
    ),
    Departure(
        3,
        "prior shift r",
        "r of the prior N(rλ·1, I) is varied in Fig. 4; its default is unstated",
        "r = 1",
        "lib/core/loss.py, loss_cvae",
    ),
    Departure(
        4,
        "scale of L_CVAE",
        "Eq. (10) is −log p + β KL of a snippet",
        "mean over features of the squared error + 0.1 × mean over latent dimensions of the KL",
        "lib/core/loss.py, loss_cvae",
        {"cvae_per": "element"},
    ),
    Departure(
        5,
        "scale of L_re",
        "Eq. (12) sums over the snippets and features of a video",
        "mean over both",
        "lib/core/function.py, train",
        {"gamma_re_per": "element"},
    ),
    Departure(
        6,
        "warm-up",
        "L_CVAE and L_re are warmed up over 300 epochs",
        "the factor rises in steps of 10 epochs, and L_CVAE weighs 10",
        "lib/core/function.py, train",
        {"warmup_step": 10, "cvae_weight": 10.0},
    ),
    Departure(
        7,
        "loss weights",
        "γ1 is 0.5 for RGB and 0.3 for flow, γ2 0.1, α 0.03; ActivityNet1.2 is not mentioned",
        "the same on THUMOS14; on ActivityNet1.2 α is 1, L_fg of flow weighs 0.3, γ1 is 0.1, and L_re "
        "is not warmed up",
        "lib/core/function.py, train",
        {},
        {"alpha": 1.0, "fg_weight": {"rgb": 1.0, "flow": 0.3}, "gamma_re": 0.1, "warmup_re": False},
    ),
    Departure(
        8,
        "filter of the TCAM",
        "σ of the filter G is unstated",
        "one snippet, ends mirrored, cut at 4σ",
        "lib/core/loss.py, loss_guide",
    ),
    Departure(
        9,
        "bias, detached guide",
        "TCAMs come from w_cᵀx, and L_guide trains attention and classifier",
        "the classifier has a bias, left out of the TCAMs, and L_guide trains the attention alone",
        "lib/core/loss.py, loss_guide; lib/models/model.py, Clf_Head",
        {"classifier_bias": True, "guide_detach": True},
    ),
    Departure(
        10,
        "alternation",
        "both stages are repeated for several iterations",
        "one epoch each, in turn",
        "lib/core/function.py, train",
    ),
    Departure(
        11,
        "optimizer",
        "Adam at 1e-3; everything else is unstated",
        "Adam's β1 is 0.8, the batch 32, 6000 epochs, no schedule",
        "lib/utils/utils.py, create_optimizer",
        {"adam_beta1": 0.8, "epochs": 6000},
    ),
    Departure(
        12,
        "crops and batches",
        "T snippets are drawn from each video in training",
        "one draw serves 10 epochs, from parts that overlap, and an incomplete mini-batch is left out",
        "train_all.py, main; lib/utils/utils.py, random_perturb",
        {"crops": "overlapping", "crop_epochs": 10, "drop_last": True},
    ),
    Departure(
        13,
        "repeated crops",
        "unstated",
        "every draw repeats the same random numbers, and each four batches of a draw share them",
        "train_all.py, main; lib/utils/utils.py, random_perturb",
        {"repeat_draws": True},
    ),
    Departure(
        CHOICE,
        "choice on the test set",
        "the mean of five runs",
        "the best on the test set of up to 1200 checkpoints, one every 10 epochs",
        "train_all.py, main",
        {"evaluation_interval": 10, "model_choice": "test_oracle"},
    ),
    Departure(
        15,
        "test set",
        "212 test videos without the wrongly annotated 0000270",
        "0000270 and 0001496 are left out",
        "lib/core/config.py, DATASET.VIDEONUM_TEST",
        {"test_without": ("video_test_0000270", "video_test_0001496")},
        {},
    ),
    Departure(
        16,
        "proposals",
        "segments are runs of λ > t_att",
        "runs of 0.8·λσ(TCAM_c) + 0.2·λ² above 0.03 (RGB) and 0.08 (flow); on ActivityNet1.2 above 0.01 "
        "after a Gaussian of 25 cells",
        "lib/utils/utils.py, get_tempseg_list",
        {"proposals": "class_aware", "attention_threshold": {"rgb": 0.03, "flow": 0.08}},
        {"proposals": "class_aware", "attention_threshold": 0.01, "proposal_sigma": 25.0},
    ),
    Departure(
        17,
        "segment score",
        "Eq. (17) scores by the class score of attention-pooled features, before the softmax",
        "by the mean of λ·(a·λσ(TCAM_c) + (1 − a)·λσ(TCAM_c of the other stream)), a = 0.35 for RGB, 0.65 "
        "for flow; 0.5 on ActivityNet1.2",
        "lib/utils/utils.py, get_wtCAM",
        {"score": "cross_stream", "score_mix": {"rgb": 0.35, "flow": 0.65}},
        {"score": "cross_stream"},
    ),
    Departure(
        18,
        "surroundings",
        "the surroundings are a quarter of the length; η is unstated",
        "⌊cells / 4⌋ + 1 cells; η is 0.3",
        "lib/utils/utils.py, get_temp_proposal",
        {"context": "cells"},
    ),
    Departure(
        19,
        "interpolation",
        "unstated",
        "attention, λσ(TCAM_c) and the score of each snippet are interpolated × 20",
        "lib/utils/utils.py, upgrade_resolution",
        {"upsampling": 20},
    ),
    Departure(
        20,
        "classes of a video",
        "unstated",
        "classes of a probability above 0.1, else the likeliest",
        "lib/core/function.py, test_final",
    ),
    Departure(
        21,
        "short test videos",
        "all snippets of a test video, up to T_max",
        "but at least 50 on THUMOS14, 2 on ActivityNet1.2",
        "lib/dataset/dataset.py, __getitem__",
        {"min_snippets": 50},
        {"min_snippets": 2},
    ),
    Departure(
        22,
        "fusion",
        "the streams' proposals are combined by NMS",
        "NMS at a tIoU above 0.5, only for classes that both streams propose",
        "lib/utils/utils.py, integrated_prop and nms_prop",
        {"nms_classes": "shared"},
    ),
    Departure(
        CLASS0_BUG,
        "bug of class 0",
        "unstated",
        "a video whose only class is that of index 0 emits nothing, nor does a class whose only cell above "
        "the threshold is the first",
        "lib/core/function.py, test_final; lib/utils/utils.py, get_temp_proposal",
        {"released_class0_bug": True},
        in_preset=False,
    ),
    Departure(
        24,
        "layer sizes",
        "layer sizes are unstated",
        "1024-256-1, 1025-128-128-256 and 129-128-128-1024",
        "lib/models/model.py, Att_Head, CEncoder and CDecoder",
    ),
    Departure(
        26,
        "guide of several labels",
        "Eq. (13) is that of the video's class; of several, unstated",
        "the TCAM of each class is filtered, then the largest counts",
        "lib/core/loss.py, loss_guide",
    ),
    Departure(
        27,
        "attention at its limits",
        "unstated",
        "no margin keeps λ from 0 and 1",
        "lib/models/model.py, Att_Head",
    ),
    Departure(
        28,
        "NMS at its threshold",
        "unstated",
        "a detection whose tIoU with a better one is exactly 0.5 is dropped",
        "lib/utils/utils.py, nms_prop",
        {"nms_drops_equal": True},
    ),
    Departure(
        29,
        "draws of the streams",
        "unstated",
        "each stream draws its own initial weights, crops and order",
        "train_all.py, main",
    ),
    Departure(
        30,
        "first choice on the test set",
        "there is no such choice",
        "it begins from untrained models of both streams",
        "train_all.py, main",
    ),
    Departure(
        ASSUMED_RATE,
        "assumed rate",
        "unstated",
        "a snippet lasts 16/25 s, whatever the data",
        "lib/utils/utils.py, get_temp_proposal",
        {"assumed_snippet_s": 16 / 25},
        in_preset=False,
    ),
)


def preset(name: Preset, benchmark: Benchmark) -> Settings:
    """Return the settings of a preset on a benchmark.

    Args:
        name: "paper" or "released".
        benchmark: "thumos14" or "activitynet12".
    """
    values: dict[str, Any] = dict(PAPER_ACTIVITYNET12 if benchmark == "activitynet12" else {})
    if name == "released":
        for departure in DEPARTURES:
            if departure.in_preset:
                values |= departure.values(benchmark)
    return Settings(**values)


def difference(settings: Strict, other: Strict) -> dict[str, tuple[Any, Any]]:
    """Return setting of `other` → (its value here, its value there) where the two differ."""
    pairs = {name: (getattr(settings, name), getattr(other, name)) for name in type(other).model_fields}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def effective_beta(settings: Settings, dim: int) -> float:
    """Return the β of Eq. (10) that gives the same optimum as these settings, for features of size D.

    Means over D features and Z latent dimensions make it β·D / Z: 0.1 is 0.8 at D = 1024 and Z = 128,
    and a sweep of Z (Table 6) is then a sweep of β (Table 7) as well.
    """
    if settings.cvae_per == "snippet":
        return settings.beta
    return settings.beta * dim / settings.latent_dim
