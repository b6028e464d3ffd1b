"""The parameters of a notebook: read, checked, and refused with a sentence where they are wrong."""

import difflib
from collections.abc import Collection, Mapping
from itertools import product
from typing import Any, Literal, Self, get_args

from pydantic import (
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from dgam_core import departures
from dgam_core.departures import Benchmark, Preset
from dgam_core.errors import InputError
from dgam_core.rivals.loop import streams_of
from dgam_core.rivals.rival import RivalSettings, names, read_settings
from dgam_core.settings import Settings
from dgam_core.snippets import DataSet
from dgam_core.system.checked import parse, value_of_text

Value = bool | int | float | str  # of a setting that is swept
DGAM = "dgam"  # the name of the paper's own method, beside those of rivals
BENCHMARKS = {"thumos14": "THUMOS14", "activitynet12": "ActivityNet1.2"}


def main_preset(preset: str) -> str:
    """Return the preset whose settings are used where one alone can be."""
    return "released" if preset == "both" else preset


class Experiment(Settings):
    """The parameters of a notebook: the settings, and what to run them on.

    Every field can be given to papermill, in a YAML file or by `-p`; where the presets need different values,
    as `{paper: …, released: …}`. Settings that are not given are those of the preset.
    """

    preset: Preset | Literal["both"] = "paper"
    """Source of the settings that are not given, the paper's text or the authors' released code; of both, a
    notebook shows one beside the other."""
    benchmark: Benchmark = "thumos14"
    """Benchmark of the preset, "thumos14" or "activitynet12"."""
    profile: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    """Folder of `params/` and of `results/`."""
    dataset: str = Field(min_length=1)
    """The file of a store, or the name of a simulated data set."""
    seeds: tuple[int, ...] = Field(strict=False, min_length=1)
    """Each stream is trained once per seed; a list of seeds, or the number N of the seeds 0 to N − 1."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes CUDA where there is one."""
    sweep: tuple[tuple[str, tuple[Value, ...]], ...] = Field((), strict=False)
    """Values to try, given as ``{name: [value, …]}``; most notebooks try none."""
    workers: int = Field(1, ge=1)
    """Processes that train side by side."""
    method: str = DGAM
    """What is trained, dgam or a rival; of the settings above, a rival has those that all methods share."""
    method_settings: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...] = Field((), strict=False)
    """Rivals' own settings where they are not their papers', given as ``{method: {name: value}}``."""
    methods: tuple[str, ...] = Field((), strict=False)
    """Rivals that are rerun beside DGAM, all of them where none is named."""

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def main(self) -> str:
        """Name of the number to compare by, the mAP at one threshold or its average over several."""
        ends = f"{self.main_tiou[0]:g}"
        if len(self.main_tiou) > 1:
            ends += f"–{self.main_tiou[-1]:g}"
        return ("average " if len(self.main_tiou) > 1 else "") + f"mAP@{ends}"

    @property
    def rival(self) -> RivalSettings | None:
        """Settings of the rival that is trained; None for DGAM."""
        if self.method == DGAM:
            return None
        return read_settings(self.method, dict(dict(self.method_settings).get(self.method, ())))

    def streams(self, data: DataSet) -> tuple[str, ...]:
        """Return the inputs that have a model of their own."""
        rival = self.rival
        return data.streams if rival is None else streams_of(rival, data)

    @property
    def summary(self) -> str:
        """The words with which a page introduces its settings, in Markdown."""
        lines = []
        for name, experiment in self.by_preset().items():
            changes = [
                f"`{setting}` {_show(value)} instead of {_show(usual)}"
                for setting, (value, usual) in departures.difference(
                    experiment, departures.preset(name, self.benchmark)
                ).items()
            ]
            but = f", but {', '.join(changes)}" if changes else ""
            lines.append(f"Settings: the preset `{name}` for {BENCHMARKS[self.benchmark]}{but}.")
        return "\n\n".join(lines)

    def by_preset(self) -> dict[Preset, Self]:
        """Return preset → these parameters with it; one, or `paper` and `released`."""
        if self.preset != "both":
            return {self.preset: self}
        names: tuple[Preset, ...] = get_args(Preset)
        return {name: parse(type(self), self._given | {"preset": name}, "parameters") for name in names}

    def values_in(self, preset: Preset, names: Collection[str]) -> dict[str, Any]:
        """Return setting → its value in a preset, or the value that these parameters give for that preset."""
        usual = departures.preset(preset, self.benchmark)
        by_preset = {name: value for name, value in self._given.items() if _is_by_preset(value)}
        return {name: by_preset.get(name, {}).get(preset, getattr(usual, name)) for name in names}

    def grid(self) -> dict[tuple[Value, ...], Self]:
        """Return values → parameters with them, for every combination of the values that `sweep` names.

        Raises:
            InputError: nothing is swept, a swept name is not a setting, or a value is refused.
        """
        names = [name for name, _ in self.sweep]
        if not names:
            raise InputError("sweep: should name settings, each with the values to try")
        if "model_choice" in names:
            raise InputError(
                "sweep: 'model_choice' need not be swept; with test_oracle the table has the other choices "
                "too"
            )
        for name in names:
            if name not in (known := [*Settings.model_fields, "method"]):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise InputError(f"sweep: {name!r} is not a setting{hint}")
        return {
            point: parse(type(self), self._given | dict(zip(names, point, strict=True)), "sweep")
            for point in product(*(values for _, values in self.sweep))
        }

    def tries(self) -> dict[Value, Self]:
        """Return value → parameters with that value, where one setting is swept.

        Raises:
            InputError: not exactly one setting is swept, a value is refused, or the base value is not tried.
        """
        if len(self.sweep) != 1:
            raise InputError("sweep: should name one setting, with the values to try")
        ((name, values),) = self.sweep
        tried = {value: experiment for (value,), experiment in self.grid().items()}
        if getattr(self, name) not in values:
            base = _show(getattr(self, name))
            raise InputError(
                f"sweep: {name} = {list(values)}: should hold {base}, to compare the others with"
            )
        return tried

    @model_validator(mode="wrap")
    @classmethod
    def _start_from_the_preset(cls, values: dict[str, Any], handler: ModelWrapValidatorHandler[Self]) -> Self:
        given = values
        name: Any = main_preset(values.get("preset", cls.model_fields["preset"].default))
        benchmark: Any = values.get("benchmark", cls.model_fields["benchmark"].default)
        values = {key: _value_in(name, value) for key, value in given.items()}
        if name in get_args(Preset) and benchmark in get_args(Benchmark):
            experiment = handler(departures.preset(name, benchmark).model_dump() | values)
        else:
            experiment = handler(values)  # refused as a wrong value of the field
        experiment._given = dict(given)
        return experiment

    @field_validator("sweep", mode="before")
    @classmethod
    def _sweep_from_map(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if not all(isinstance(values, list | tuple) and values for values in value.values()):
            raise ValueError("Input should be names, each with a list of values")
        if any(len(set(values)) < len(values) for values in value.values()):
            raise ValueError("Input should be names, each with different values")
        return tuple((name, tuple(values)) for name, values in value.items())

    @field_validator("method_settings", mode="before")
    @classmethod
    def _pairs_of_maps(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        if not all(isinstance(settings, Mapping) for settings in value.values()):
            raise ValueError("Input should be names of methods, each with a map of its settings")
        return tuple((method, tuple(settings.items())) for method, settings in value.items())

    @field_validator("*", mode="before")
    @classmethod
    def _name_each_preset(cls, value: Any) -> Any:
        if _is_by_preset(value):  # or else it has become the value of the preset
            raise ValueError("Input should name each preset that is shown, as {paper: …, released: …} does")
        return value

    @field_validator("method")
    @classmethod
    def _is_a_method(cls, value: str) -> str:
        if value != DGAM and value not in names():
            raise ValueError(f"Input should be {DGAM}, or one of {', '.join(names())}")
        return value

    @field_validator("methods")
    @classmethod
    def _are_rivals(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in names()]:
            raise ValueError(f"Input should be some of {', '.join(names())}, without {unknown[0]!r}")
        return value

    @field_validator("method_settings")
    @classmethod
    def _are_of_methods(cls, value: tuple[tuple[str, Any], ...]) -> tuple[tuple[str, Any], ...]:
        for method, settings in value:
            read_settings(method, dict(settings))
        return value

    @field_validator("held_out")
    @classmethod
    def _videos_to_choose_by(cls, value: float, info: ValidationInfo) -> float:
        if not value and info.data.get("model_choice") == "label_only":
            raise ValueError("Input should be above 0, such as 0.2, for the model_choice label_only")
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds_from_their_number(cls, value: Any) -> Any:
        return tuple(range(value)) if type(value) is int else value

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if min(value) < 0 or len(set(value)) < len(value):
            raise ValueError("Input should be different whole numbers, none of them negative")
        return value


def _is_by_preset(value: Any) -> bool:
    """Whether a parameter has a value for each preset."""
    return isinstance(value, Mapping) and not {*value}.isdisjoint(get_args(Preset))


def _value_in(preset: str, value: Any) -> Any:
    """Return the value of a parameter in a preset; the whole, which is refused, where it has none for it."""
    return value.get(preset, value) if _is_by_preset(value) else value


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_parameters(namespace: Mapping[str, Any], sweep: Collection[str] = ()) -> Experiment:
    """Read a notebook's parameters from its `globals()`.

    papermill sets every parameter as a variable and only logs a name that the notebook does not
    know. Therefore every variable that holds plain data counts as a parameter, so that a misspelt
    one stops the run. Lists and maps may come as text, as in `-p seeds '[0, 1, 2]'`, since
    papermill's `-p` passes neither.

    Args:
        namespace: the notebook's `globals()`.
        sweep: names of which the notebook can try values; most notebooks try none.
    Raises:
        InputError: a parameter is refused, or the parameter `sweep` names anything but these.
    """
    plain = (bool, int, float, str, list, tuple, dict, type(None))
    values = {
        name: _from_text(value)
        for name, value in namespace.items()
        if isinstance(value, plain) and not name.startswith("_") and name not in ("In", "Out")
    }
    experiment = parse(Experiment, values, "parameters")
    check_sweep(experiment, sweep)
    return experiment


def check_sweep(experiment: Experiment, sweep: Collection[str]) -> None:
    """Check that a notebook can try the values that its parameters name.

    Args:
        experiment: the parameters.
        sweep: names of which the notebook can try values; most notebooks try none.
    Raises:
        InputError: the parameter `sweep` names anything but these.
    """
    given = [name for name, _ in experiment.sweep]
    if given and not sweep:
        raise InputError(f"parameters: sweep: this notebook tries no values, of {', '.join(given)} or others")
    if sweep and not (given and set(given) <= set(sweep)):
        names = f"should name {' or '.join(sweep)}, not {', '.join(given) or 'nothing'}"
        raise InputError(f"parameters: sweep: {names}")


def _from_text(value: Any) -> Any:
    if not isinstance(value, str) or not value.startswith(("[", "{")):
        return value
    return value_of_text(value)
