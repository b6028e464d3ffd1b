"""Settings of the method: frozen, strict, one field per choice, each with its source (sections 3 and 4.2).

The defaults are the paper's. A docstring gives a field's meaning, its unit ("in snippets"), its equations,
where the default is from if the paper leaves the value open ("unstated"), and the number of the departure
that is about it. The book's table of settings is made of these.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dgam_core.errors import InputError

Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
# One or several, tried side by side.
Thresholds = float | Annotated[tuple[float, ...], Field(strict=False, min_length=1)]

# Settings by the names that they had before; both are read.
RENAMED = {"look_epochs": "evaluation_interval"}


class Strict(BaseModel):
    """A frozen group of settings that refuses unknown names, wrong types and values out of range."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, values: Any) -> Any:
        """Read a setting under its old name; where both names are given, the old one was asked for."""
        if not isinstance(values, dict):
            return values
        old = {new: values[name] for name, new in RENAMED.items() if name in values}
        return {name: value for name, value in values.items() if name not in RENAMED} | old

    def for_stream(self, stream: str) -> Self:
        """Return these settings with every per-stream value replaced by that of `stream`.

        Raises:
            InputError: a per-stream setting has no value for `stream`.
        """
        chosen: dict[str, Any] = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if isinstance(value, dict):
                if stream not in value:
                    known = ", ".join(sorted(value))
                    raise InputError(
                        f"{name}: no value for the stream {stream!r}, only for {known}; "
                        f"add one, or give one number for all streams"
                    )
                chosen[name] = value[stream]
        return self.model_copy(update=chosen)


def scalar(value: float | dict[str, float]) -> float:
    """Return a setting that `for_stream` has resolved."""
    assert not isinstance(value, dict), "resolve per-stream settings with `for_stream` first"
    return value


class TrainingSettings(Strict):
    """Everything that training depends on, apart from the data, the stream and the seed."""

    supervision: Literal["labels", "times"] = "labels"
    """What training is told, a video's labels or when its actions happen, a ceiling for labels alone."""
    attention_hidden: Count = 256
    """Hidden units of the attention module; unstated, the released code's; departure 24."""
    cvae_hidden: Count = 128
    """Hidden units of the encoder and of the decoder; unstated, the released code's; departure 24."""
    latent_dim: Count = 128
    """Z, size of the latent code, Eq. (9); the peak of Table 6; departure 24."""
    background: Literal["first", "last"] = "first"
    """Place of the background among the classifier's weights, Eq. (6); departure 2."""
    classifier_bias: bool = False
    """Whether p_θ has a bias beside w_c, Eq. (6); it never enters a TCAM; departure 9."""

    pool_offset_fg: Weight = 0.0
    """Added to the denominator in training, Eq. (4); departure 1."""
    pool_offset_bg: Weight = 0.0
    """Added to the denominator in training, Eq. (5); departure 1."""
    fg_weight: Weight | dict[str, Weight] = 1.0
    """Weight of L_fg, which the paper does not have, Eq. (6); departure 7."""
    alpha: Weight = 0.03
    """α, weight of L_bg, Eq. (6); departure 7."""
    beta: Weight = 0.1
    """β, weight of the KL divergence, Eq. (10)."""
    cvae_per: Literal["snippet", "element"] = "snippet"
    """Whether both terms are those of a snippet or means over features and latent code, Eq. (10);
    departure 4."""
    gamma_re: Weight | dict[str, Weight] = {"rgb": 0.5, "flow": 0.3}
    """γ1, weight of L_re, Eq. (16); departure 7."""
    gamma_re_per: Literal["video", "element"] = "video"
    """Whether γ1 weighs the sum over a video or the mean over its snippets and features, Eq. (11, 12, 16);
    departure 5."""
    gamma_guide: Weight = 0.1
    """γ2, weight of L_guide, Eq. (16); departure 7."""
    guide_detach: bool = False
    """Whether L_guide takes the TCAMs as constants and trains the attention alone, Eq. (15); departure 9."""
    prior_shift: float = 1.0
    """r of the prior N(rλ·1, I), Eq. (9); unstated outside Fig. 4, the released code's; departure 3."""
    sigma: float = Field(default=0.5**0.5, gt=0)
    """σ of the decoder's Gaussian, in units of the features, Eq. (9); unstated.

    At √½, −log p is ‖x − f(λ, z)‖² plus a constant: Eq. (12) holds with equality."""
    sigma_tcam: float = Field(default=1.0, gt=0)
    """σ_s of the filter G, in snippets, Eq. (13, 14); unstated, the released code's; departure 8."""
    num_samples: Count = 1
    """L, Monte-Carlo samples of the latent code, Eq. (10, 11)."""

    num_snippets: Count = 400
    """T, length of what is drawn from a training video, in snippets."""
    crops: Literal["stratified", "overlapping"] = "stratified"
    """How snippets are drawn, one from each of T equal parts or by the released code's rule; departure 12."""
    crop_epochs: Count = 1
    """How long a draw of snippets and mini-batches is used, in epochs; departure 12."""
    repeat_draws: bool = False
    """Whether every draw of snippets repeats the random numbers of the first, and each four batches of a draw
    share them; departure 13."""
    batch_size: Count = 32
    """Size of a mini-batch, in videos; unstated, the released code's; departure 11."""
    drop_last: bool = False
    """Whether an incomplete mini-batch is left out; departure 12."""
    stage_passes: Count = 1
    """Length of a stage before the other's turn, in passes over the training videos;
    "several iterations", the released code's; departure 10."""
    epochs: Count = 1000
    """Length of training, an epoch being a round of both stages, in epochs; unstated; departure 11."""
    learning_rate: float = Field(default=0.001, gt=0)
    """Learning rate of Adam."""
    matmul: Literal["float32", "tf32", "bfloat16"] = "float32"
    """Precision of matrix products.

    With tf32 they are rounded, on CUDA alone; with bfloat16, features and the weights that meet them are.
    Both are faster."""
    adam_beta1: float = Field(default=0.9, ge=0, lt=1)
    """Decay of Adam's first moment; unstated, the usual value; departure 11."""
    warmup_epochs: int = Field(default=300, ge=0)
    """How long the factor of L_CVAE and L_re rises from 0 to 1, in epochs, Eq. (10, 16)."""
    warmup_step: Count = 1
    """How long that factor stays the same, in epochs, Eq. (10, 16); departure 6."""
    warmup_re: bool = True
    """Whether L_re is warmed up too, Eq. (16); departure 7."""
    cvae_weight: float = Field(default=1.0, gt=0)
    """Weight of L_CVAE, which the paper does not have, Eq. (10); departure 6."""

    evaluation_interval: Count = 50
    """Distance between the checkpoints from which `model_choice` chooses, in epochs; departure 14."""
    held_out: float = Field(default=0.0, ge=0, lt=1)
    """Share of the training videos that a second model is trained without, for `label_only`; 0 for none.

    It doubles the length of the training."""

    @property
    def checkpoint_epochs(self) -> tuple[int, ...]:
        """Epochs after which the model is kept as a checkpoint; the last of them ends the training."""
        return (*range(self.evaluation_interval, self.epochs, self.evaluation_interval), self.epochs)

    @property
    def total_epochs(self) -> int:
        """Epochs of both models, of which the second is there if videos are held out."""
        return self.epochs * (2 if self.held_out else 1)


class LocalizationSettings(Strict):
    """How attention becomes detections (section 3.5); training does not depend on these."""

    model_choice: Literal["last", "label_only", "test_oracle"] = "last"
    """Which checkpoint of a training localizes; departure 14."""
    main_tiou: tuple[Share, ...] = Field(default=(0.5,), strict=False, min_length=1)
    """tIoU thresholds whose mean mAP is the number to compare by; `test_oracle` maximizes it."""
    test_without: tuple[str, ...] = Field(default=("video_test_0000270",), strict=False)
    """Test videos that are left out, where the data set has them; departure 15."""
    max_snippets: Count = 400
    """T_max, greatest length of a test video, in snippets."""
    min_snippets: Count = 1
    """Least length of a test video, in snippets; a shorter one repeats some; departure 21."""

    proposals: Literal["attention", "class_aware"] = "attention"
    """What is thresholded, λ or 0.8·λσ(TCAM_c) + 0.2·λ² for each class c; departure 16."""
    attention_threshold: Thresholds | dict[str, Thresholds] = 0.5
    """t_att, one or several; unstated, the threshold t* of section 4.3; departure 16."""
    proposal_sigma: Weight = 0.0
    """Standard deviation of the Gaussian that smooths what is thresholded, in cells; departure 16."""
    score: Literal["attention_pooled", "cross_stream"] = "attention_pooled"
    """s, the class score of attention-pooled features or the mean of λ·(a·λσ(TCAM_c) + (1 − a)·λσ(TCAM_c of
    the other stream)), Eq. (17); departure 17."""
    score_mix: Share | dict[str, Share] = 0.5
    """a of the released code's score, the share of the stream that proposes, Eq. (17); departure 17."""
    context: Literal["quarter", "cells"] = "quarter"
    """Surroundings of a segment, a quarter of its length or the released code's ⌊cells / 4⌋ + 1 cells,
    Eq. (17); departure 18."""
    eta: Weight = 0.3
    """η, weight of the surroundings, Eq. (17); unstated, the released code's; departure 18."""
    upsampling: Count = 1
    """Resolution to which attention and scores are interpolated, in cells per snippet; departure 19."""
    assumed_snippet_s: float | None = Field(None, gt=0)
    """Length of a snippet that the released code assumes, in seconds; refused where the data set has another;
    departure 31."""
    class_threshold: Share = 0.1
    """Least video-level probability of a class that is localized; unstated, the released code's;
    departure 20."""
    nms_tiou: Share = 0.5
    """tIoU above which NMS drops a detection; unstated, the released code's; departure 22."""
    nms_drops_equal: bool = False
    """Whether NMS drops a detection at exactly that tIoU too; departure 28."""
    nms_classes: Literal["all", "shared"] = "all"
    """Whether NMS thins all classes, or only those that two streams propose; departure 22."""
    released_class0_bug: bool = False
    """Whether the class of index 0 is lost as in the released code; departure 23."""


class Settings(TrainingSettings, LocalizationSettings):
    """All settings of the method."""

    @property
    def training(self) -> TrainingSettings:
        """The settings that training depends on."""
        return TrainingSettings(**{name: getattr(self, name) for name in TrainingSettings.model_fields})

    @property
    def localization(self) -> LocalizationSettings:
        """The settings that localization depends on."""
        return LocalizationSettings(
            **{name: getattr(self, name) for name in LocalizationSettings.model_fields}
        )
