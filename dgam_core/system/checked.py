"""YAML and settings from outside: checked by their types, refused with a sentence."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from dgam_core.errors import InputError
from dgam_core.system.files import read_text

Model = TypeVar("Model", bound=BaseModel)


def parse(model: type[Model], values: Mapping[str, Any], origin: str) -> Model:
    """Read `values` as `model`; `origin` names where they come from in the error.

    Raises:
        InputError: an unknown name, a missing one, a wrong type or a value out of range.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems = error.errors()
        # Where a field allows several types, a problem of the right type says more than the wrong types.
        problem = next((p for p in problems if not p["type"].endswith("_type")), problems[0])
        name = str(problem["loc"][0]) if problem["loc"] else model.__name__
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, model.model_fields, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(model.model_fields))}"
        raise InputError(f"{origin}: unknown parameter {name!r}; {hint}")
    if problem["type"] == "missing":
        raise InputError(f"{origin}: the parameter {name!r} is missing; give it a value")
    reason = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    raise InputError(f"{origin}: {name} = {values.get(name)!r}: {reason}")


def read_as(model: type[Model], path: Path, overrides: Mapping[str, Any] | None = None) -> Model:
    """Read a YAML file as `model`, some of its values replaced; errors as of `read_yaml` and `parse`."""
    return parse(model, read_yaml(path) | dict(overrides or {}), str(path))


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of names and values.

    Raises:
        InputError: the file is missing, is not YAML, or holds something else than names and values.
    """
    text = read_text(path)
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML: {problem}") from None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputError(f"{path}: should hold names and values, one `name: value` per line")
    return values


def value_of_text(text: str) -> Any:
    """Return the value that a text has in YAML, or the text itself where it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
