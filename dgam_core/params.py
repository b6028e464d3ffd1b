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

    attention_hidden: int = Field(256, ge=1)
    """Hidden units of the attention module; unstated, the released code's."""
    cvae_hidden: int = Field(128, ge=1)
    """Hidden units of the encoder and the decoder; unstated, the released code's."""
    latent_dim: int = Field(128, ge=1)
    """Size Z of the latent code; the peak of Table 6."""

    alpha: float = Field(0.03, ge=0)
    """α, weight of L_bg, Eq. (6)."""
    beta: float = Field(0.1, ge=0)
    """β, weight of the KL divergence, Eq. (10)."""
    gamma_re: PerStream = {"rgb": 0.5, "flow": 0.3}
    """γ1, weight of L_re, Eq. (16)."""
    gamma_re_per: Literal["element", "video"] = "element"
    """Whether γ1 weighs the mean over snippets and features or, as in Eq. (12), the sum over a video.

    As the weight of a sum, γ1 = 0.5 would make L_re outweigh L_d by the factor T·D = 400·1024."""
    gamma_guide: float = Field(0.1, ge=0)
    """γ2, weight of L_guide, Eq. (16)."""
    prior_shift: float = 1.0
    """r of the prior N(rλ·1, I); unstated outside Fig. 4, the released code's."""
    sigma: float = Field(0.5**0.5, gt=0)
    """σ of the decoder's Gaussian, Eq. (9), in units of the features; unstated.

    At √½, −log p is ‖x − f(λ, z)‖² plus a constant: Eq. (12) holds with equality."""
    sigma_tcam: float = Field(1.0, gt=0)
    """σ_s of G in Eq. (13, 14), in snippets; unstated, the released code's."""
    num_samples: int = Field(1, ge=1)
    """L, Monte-Carlo samples in Eq. (10, 11)."""

    num_snippets: int = Field(400, ge=1)
    """T, snippets drawn from a training video."""
    max_snippets: int = Field(400, ge=1)
    """T_max, most snippets of a test video."""
    batch_size: int = Field(32, ge=1)
    """Videos in a batch; unstated, the released code's."""
    epochs: int = Field(1000, ge=1)
    """Passes of both stages over the training videos; unstated."""
    warmup_epochs: int = Field(300, ge=0)
    """Epochs over which the factor of L_CVAE and L_re rises to 1."""
    learning_rate: float = Field(0.001, gt=0)
    """Of Adam."""

    @field_validator("gamma_re")
    @classmethod
    def _not_negative(cls, value: PerStream) -> PerStream:
        if min(value.values() if isinstance(value, dict) else [value], default=0.0) < 0:
            raise ValueError("Input should be greater than or equal to 0")
        return value


class LocalizationSettings(Strict):
    """How attention becomes detections (section 3.5); training does not depend on these."""

    attention_threshold: float = Field(0.5, ge=0, le=1)
    """t_att; unstated, the threshold t* of section 4.3."""
    class_threshold: float = Field(0.1, ge=0, le=1)
    """Least video-level probability of a class that is localized; unstated, the released code's."""
    eta: float = Field(0.3, ge=0)
    """η, weight of the surroundings in Eq. (17); unstated, the released code's."""
    nms_tiou: float = Field(0.5, ge=0, le=1)
    """tIoU above which NMS drops a detection; unstated, the released code's."""


class Settings(TrainingSettings, LocalizationSettings):
    """All settings of the method."""


class Experiment(Settings):
    """The parameters of a notebook: the settings, and what to run them on.

    Every field can be given to papermill, in a YAML file or by `-p`.
    """

    profile: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    """Folder of `params/` and of `results/`."""
    dataset: str = Field(min_length=1)
    """The file of a store, or the name of a simulated data set."""
    seeds: tuple[int, ...] = Field(strict=False, min_length=1)
    """One training of each stream a seed."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes CUDA where there is one."""

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
    misspelt one stops the run. Lists and maps may come as text, as in `-p seeds '[0, 1, 2]'`:
    papermill's `-p` knows none.
    """
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    values = {
        name: _from_text(value)
        for name, value in namespace.items()
        if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out")
    }
    return parse(Experiment, values, where="parameters")


def _from_text(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError:
        return value  # refused as text, with the text in the sentence


def read_published(table: str) -> dict[str, Any]:
    """Read what the paper prints in a table: `data`, `columns` and `rows`, mAP in percent.

    Raises:
        InputError: the file or the table is missing.
    """
    path = project_root() / "params" / "published.yaml"
    tables = read_yaml(path)
    if table not in tables:
        raise InputError(f"{path}: has no {table!r}; it has {', '.join(tables)}")
    content: dict[str, Any] = tables[table]
    return content


def project_root() -> Path:
    """Return the project's folder, at or above the working directory.

    Raises:
        InputError: the working directory is outside a checkout of the project.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "params").is_dir() and (folder / "dgam_core").is_dir():
            return folder
    raise InputError(f"{here}: is not inside a checkout of this project; run notebooks from within it")
