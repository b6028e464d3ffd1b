"""Settings: frozen, strict, one field a choice, each with its source (sections 3 and 4.2).

Values the paper leaves open are marked "unstated" and say what they rest on.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from dgam_core.errors import InputError

PerStream = float | dict[str, float]


class Strict(BaseModel):
    """A frozen group of settings that refuses unknown names, wrong types and values out of range."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def for_stream(self, stream: str) -> Self:
        """Return these settings with every per-stream value replaced by that of `stream`.

        Raises:
            InputError: a per-stream setting has no value for `stream`.
        """
        chosen: dict[str, float] = {}
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


class TrainingSettings(Strict):
    """Everything that training depends on, apart from the data, the stream and the seed."""

    # The model. Sizes are unstated; these are the released code's.
    attention_hidden: int = Field(256, ge=1, description="hidden units of the attention module")
    cvae_hidden: int = Field(128, ge=1, description="hidden units of the encoder and the decoder")
    latent_dim: int = Field(128, ge=1, description="size Z of the latent code; the peak of Table 6")

    # The losses.
    alpha: float = Field(0.03, ge=0, description="weight of L_bg, Eq. (6)")
    beta: float = Field(0.1, ge=0, description="weight of the KL divergence, Eq. (10)")
    gamma_re: PerStream = Field({"rgb": 0.5, "flow": 0.3}, description="γ1, weight of L_re, Eq. (16)")
    gamma_re_per: Literal["element", "video"] = Field(
        "element",
        description="what γ1 weighs: the mean over snippets and features, or Eq. (12)'s sum of a whole video; "
        "as a sum, γ1 = 0.5 would outweigh L_d by the factor T·D (400·1024)",
    )
    gamma_guide: float = Field(0.1, ge=0, description="γ2, weight of L_guide, Eq. (16)")
    prior_shift: float = Field(1.0, description="r of the prior N(rλ·1, I); unstated outside Fig. 4")
    sigma: float = Field(
        0.5**0.5,
        gt=0,
        description="σ of the decoder's Gaussian, Eq. (9); unstated; at √½, −log p is ‖x − f(λ, z)‖² "
        "plus a constant, so that Eq. (12) holds with equality",
    )
    sigma_tcam: float = Field(1.0, gt=0, description="σ_s of G in Eq. (13, 14), in snippets; unstated")
    num_samples: int = Field(1, ge=1, description="L, Monte-Carlo samples in Eq. (10) and (11)")

    # The optimization.
    num_snippets: int = Field(400, ge=1, description="T, snippets drawn from a training video")
    max_snippets: int = Field(400, ge=1, description="T_max, most snippets of a test video")
    batch_size: int = Field(32, ge=1, description="videos in a batch; unstated")
    epochs: int = Field(1000, ge=1, description="passes of both stages; unstated")
    warmup_epochs: int = Field(300, ge=0, description="epochs over which L_CVAE and L_re fade in")
    learning_rate: float = Field(0.001, gt=0, description="of Adam")

    @field_validator("gamma_re")
    @classmethod
    def _not_negative(cls, value: PerStream) -> PerStream:
        if min(value.values() if isinstance(value, dict) else [value], default=0.0) < 0:
            raise ValueError("Input should be greater than or equal to 0")
        return value


class LocalizationSettings(Strict):
    """How attention becomes detections (section 3.5); training does not depend on these."""

    attention_threshold: float = Field(0.5, ge=0, le=1, description="t_att; unstated")
    class_threshold: float = Field(
        0.1, ge=0, le=1, description="least video-level probability of a class that is localized; unstated"
    )
    eta: float = Field(0.3, ge=0, description="η, weight of the surroundings in Eq. (17); unstated")
    nms_tiou: float = Field(0.5, ge=0, le=1, description="tIoU above which NMS drops a detection; unstated")


class Settings(TrainingSettings, LocalizationSettings):
    """All settings of the method."""


class Experiment(Settings):
    """The parameters of a notebook: the settings, and what to run them on.

    Every field can be given to papermill, in a YAML file or by `-p`.
    """

    profile: str = Field(pattern=r"^[A-Za-z0-9_]+$", description="folder of params/ and of results/")
    dataset: str = Field(min_length=1, description="a store's file, or simulated:thumos14")
    seeds: tuple[int, ...] = Field(strict=False, min_length=1, description="one training of each stream a seed")
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 0 or len(set(value)) < len(value):
            raise ValueError("Input should be different whole numbers, none of them negative")
        return value


Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], values: Mapping[str, Any], where: str) -> Model:
    """Read `values` as `model`; `where` names their origin in the error.

    Raises:
        InputError: an unknown name, a missing one, a wrong type or a value out of range.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else model.__name__
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(model.model_fields))}"
        raise InputError(f"{where}: unknown parameter {name!r}; {hint}")
    if first["type"] == "missing":
        raise InputError(f"{where}: the parameter {name!r} is missing; give it a value")
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
    raise InputError(f"{where}: {name} = {values.get(name)!r}: {reason}")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of names and values.

    Raises:
        InputError: the file is missing, is no YAML, or holds something else than names and values.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise InputError(f"{path}: cannot be read: {reason}") from None
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML: {problem}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{path}: should hold names and values, one `name: value` a line")
    return values


def read_parameters(namespace: Mapping[str, Any]) -> Experiment:
    """Read a notebook's parameters from its `globals()`.

    papermill sets whatever it is given as a variable and only logs a name that the notebook
    does not know; here every variable that holds plain data counts as a parameter, so a
    misspelt one stops the run.
    """
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    values = {
        name: value
        for name, value in namespace.items()
        if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out")
    }
    return parse(Experiment, values, where="parameters")
