"""Recorded runs: results of batches that are too long, or need data or hardware that a reader may not have.

`params/records.yaml` says what is run; `make record RECORD=<name>` runs it, and writes the folder
`params/records/<name>`: the tables as CSV, `claims.json`, and `record.json`, which says how they came about.
A record is whole or absent.
"""

import ast
import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import nbformat
import numpy as np
import pandas as pd
import torch
from pydantic import Field, model_validator

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments.jobs import digests_of
from dgam_core.experiments.model_choice import SCORING
from dgam_core.experiments.parameters import DGAM, Experiment
from dgam_core.experiments.places import Results, project_root
from dgam_core.experiments.run_store import PACKAGE, TRAINING, code_digest
from dgam_core.settings import Strict
from dgam_core.system import machine
from dgam_core.system.checked import parse, read_as, read_yaml
from dgam_core.system.files import unreadable, whole_folder

CODE = tuple(dict.fromkeys((*TRAINING, *SCORING)))  # what the numbers of a record depend on
# And what those of a record that reruns other methods depend on too.
RERUN, OF_RIVALS = "rivals", ("rivals/**/*.py", "experiments/rival_inference.py")
HOW = {"device", "workers"}  # parameters that say how a batch is run, and not what it is about
DIGITS = 5  # of numbers in the tables
NUM_EPOCHS = 25  # of curves over the epochs, evenly spaced; all would be a megabyte


class Recipe(Strict):
    """What a record is of: the notebooks of a profile, or a sweep of params/sweeps.

    Attributes:
        about: the words above its column.
        data: the command that makes its data set; "" where none is needed.
        profile: folder of `params/` with the parameters; "" for a sweep.
        sweep: name of a file of `params/sweeps`; "" for notebooks.
        notebooks: those that are recorded; all of the profile if there are none.
        parameters: name → value, for all notebooks, instead of what their files say.
        outdated: what has changed in the code since, in words, where the numbers are kept all the same.
    """

    about: str
    data: str
    profile: str = ""
    sweep: str = ""
    notebooks: tuple[str, ...] = Field((), strict=False)
    parameters: dict[str, Any] = {}  # noqa: RUF012, pydantic copies it
    outdated: str = ""

    @model_validator(mode="after")
    def _is_of_one_thing(self) -> Self:
        if bool(self.profile) == bool(self.sweep) or (self.sweep and (self.notebooks or self.parameters)):
            raise ValueError("should name a profile, with notebooks and parameters, or a sweep alone")
        return self

    def files(self) -> dict[str, Path]:
        """Return the name of each notebook, or of the sweep, and the file of its parameters."""
        if self.sweep:
            return {self.sweep: Path("params/sweeps", f"{self.sweep}.yaml")}
        folder = Path("params", self.profile)
        names = self.notebooks or sorted(path.stem for path in (project_root() / folder).glob("*.yaml"))
        return {name: folder / f"{name}.yaml" for name in names}

    def experiments(self) -> dict[str, Experiment]:
        """Return the parameters of each notebook, or of the sweep."""
        return {
            name: read_as(Experiment, project_root() / path, self.parameters)
            for name, path in self.files().items()
        }


@dataclass(frozen=True)
class Record:
    """A record as it was written.

    Attributes:
        folder: its files.
        content: `record.json`.
    """

    folder: Path
    content: Mapping[str, Any]

    @property
    def claims(self) -> dict[str, list[dict[str, Any]]]:
        """Return notebook → claims of the paper, as the notebook glued them."""
        claims: dict[str, list[dict[str, Any]]] = json.loads(self._text("claims.json"))
        return claims

    @property
    def provenance(self) -> str:
        """Return the words that stand beside every number of the record."""
        return str(self.content["data"]["provenance"])

    def num_seeds(self, name: str) -> int:
        """Return the number of seeds of a notebook or sweep."""
        return len(self.content["parameters"][name]["seeds"])

    def table(self, name: str) -> pd.DataFrame:
        """Return the table of a notebook or sweep."""
        return pd.read_csv(self.folder / f"{name}.csv")

    def damage(self) -> list[str]:
        """Return which files are not as they were written, in words."""
        return [
            f"{self.folder.name}/{name} is not as it was written"
            for name, digest in self.content["files"].items()
            if not (self.folder / name).is_file() or _sha256((self.folder / name).read_bytes()) != digest
        ]

    def is_of(self, package: Path = PACKAGE) -> bool:
        """Return whether the method, its training and its evaluation are still those of the record."""
        return bool(self.content["code"] == self.digest(package))

    def digest(self, package: Path = PACKAGE) -> str:
        """Return the digest of the code that the numbers of the record depend on."""
        return code_digest(_code(self.content["parameters"]), package)

    def _text(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


def recipes() -> dict[str, Recipe]:
    """Return name → recipe, in the order of `params/records.yaml`."""
    path = project_root() / "params" / "records.yaml"
    return {name: parse(Recipe, values, f"{path}: {name}") for name, values in read_yaml(path).items()}


def recipe_of(name: str) -> Recipe:
    """Return the recipe of a record.

    Raises:
        InputError: there is none of that name.
    """
    known = recipes()
    if name not in known:
        raise InputError(f"params/records.yaml: has no {name!r}; it has {', '.join(known)}")
    return known[name]


def read_record(name: str) -> Record | None:
    """Read a record; None where it has not been made."""
    folder = project_root() / "params" / "records" / name
    return Record(folder, _read_json(folder / "record.json", "make it again")) if folder.is_dir() else None


def write_record(name: str) -> Record:
    """Write what a finished batch has found as a record; an older one is replaced.

    Raises:
        InputError: there is no such recipe, or something has not been run with its parameters.
    """
    recipe = recipe_of(name)
    experiments = recipe.experiments()
    again = f"run `make record RECORD={name}`"
    files = _tables_and_claims(recipe, experiments, again)
    content = _how(name, recipe, experiments, again) | {
        "files": {file: _sha256(text) for file, text in sorted(files.items())}
    }
    about = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    folder = project_root() / "params" / "records" / name
    folder.parent.mkdir(exist_ok=True)
    with whole_folder(folder, replace=True) as temporary:
        for file, text in (files | {"record.json": about.encode()}).items():
            (temporary / file).write_bytes(text)
    return Record(folder, content)


def _tables_and_claims(recipe: Recipe, experiments: Mapping[str, Experiment], again: str) -> dict[str, bytes]:
    """Return file → contents; `again` says what to do where something has not been run."""
    files, claims = {}, {}
    for what, experiment in experiments.items():
        results = Results.of(experiment)
        if not recipe.sweep:
            notebooks = project_root() / "results" / experiment.profile / "notebooks"
            claims[what] = _claims_of(notebooks / f"{what}.ipynb", experiment, again)
        folder = results.sweeps if recipe.sweep else results.figures
        files[f"{what}.csv"] = _table(folder / f"{what}.csv", again)
    return files | {"claims.json": json.dumps(claims, ensure_ascii=False, indent=1).encode()}


def _how(name: str, recipe: Recipe, experiments: Mapping[str, Experiment], again: str) -> dict[str, Any]:
    """Return what `record.json` says of how a record came about."""
    parameters = {
        what: experiment.model_dump(mode="json", exclude=HOW) for what, experiment in experiments.items()
    }
    first = next(iter(experiments.values()))
    data, runs = store.open_data_set(first.dataset), Results.of(first).runs
    # Where results came from elsewhere, Snakemake does not see that they are those of other code.
    outdated = runs.parent / ("sweeps" if recipe.sweep else "notebooks")
    train_s = [
        _read_json(runs / digest / "record.json", f"remove {outdated}, and {again}")["train_s"]
        for digest in sorted(digests_of(experiments))
    ]
    return {
        "command": f"make record RECORD={name}",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine.describe(),
        "training_s": round(sum(train_s)),
        "runs": len(train_s),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "code": code_digest(_code(parameters)),
        "data": {
            "name": data.name,
            "source": data.source,
            "provenance": data.provenance,
            "digest": data.digest,
            "command": recipe.data,
        },
        "parameters": parameters,
    }


def _code(parameters: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return patterns of the modules that numbers depend on, given notebook or sweep → its parameters."""
    has_rivals = any(
        name == RERUN or of_name.get("method", DGAM) != DGAM or "method" in dict(of_name.get("sweep", ()))
        for name, of_name in parameters.items()
    )
    return (*CODE, *OF_RIVALS) if has_rivals else CODE


def glued(notebook: Mapping[str, Any], name: str) -> str | None:
    """Return the text that an executed notebook has glued under a name; None where it has not."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            if output.get("metadata", {}).get("scrapbook", {}).get("name") == name:
                value = next(value for mime, value in output["data"].items() if mime.endswith("/plain"))
                return str(ast.literal_eval("".join(value)))
    return None


def _read_json(path: Path, advice: str) -> Any:
    """Read a file that was written whole.

    Raises:
        InputError: it cannot be read, or is missing or damaged; then the sentence ends with `advice`.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        raise InputError(f"{path}: is missing or damaged; {advice}") from None
    except OSError as error:
        raise unreadable(path, error) from None


def _claims_of(path: Path, experiment: Experiment, again: str) -> Any:
    """Return the claims of an executed notebook, once it is sure that it ran with these parameters."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {again}")
    notebook: Any = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    ran = parse(Experiment, notebook["metadata"]["papermill"]["parameters"], str(path))
    if ran.model_dump(exclude=HOW) != experiment.model_dump(exclude=HOW):
        raise InputError(f"{path}: was run with other parameters; {again}")
    return json.loads(glued(notebook, "claims") or "[]")


def _table(path: Path, again: str) -> bytes:
    """Return a table of results without what `record.json` says of all its lines, its provenance."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; {again}")
    table = pd.read_csv(path).drop(columns="provenance")
    if "epoch" in table:
        kept = np.linspace(1, table["epoch"].max(), NUM_EPOCHS).round()
        table = table[table["epoch"].isin(kept)]
    return table.to_csv(index=False, float_format=f"%.{DIGITS}g", lineterminator="\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
