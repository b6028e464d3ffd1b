"""The places of an experiment's results."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments.parameters import Experiment
from dgam_core.system.files import whole_file, write_text


def project_root() -> Path:
    """Return the project's folder, at or above the working directory.

    Raises:
        InputError: the working directory is outside a checkout of the project.
    """
    working = Path.cwd()
    for folder in (working, *working.parents):
        if (folder / "params").is_dir() and (folder / "dgam_core").is_dir():
            return folder
    raise InputError(f"{working}: is not inside a checkout of this project; run notebooks from within it")


def subfolder_of(dataset: str, results: Path) -> str:
    """Return the subfolder of `figures` and `sweeps` for a data set; "" for a simulated one.

    It is called as the store's file; for another store of that name, which has other contents than the one
    that came first, digits of its digest follow.

    Args:
        dataset: the file of a store, or the name of a simulated data set.
        results: `results/<profile>`.
    """
    if dataset.startswith("simulated:"):
        return ""
    name, digest, first = Path(dataset).stem, store.digest(Path(dataset)), _first_store(dataset, results)
    if digest is None or not first.is_file() or first.read_text(encoding="utf-8") == digest:
        return name
    return f"{name}-{digest[:8]}"


def _first_store(dataset: str, results: Path) -> Path:
    """Return the file with the digest of the store to which the results of this name belong."""
    return results / ".stores" / Path(dataset).stem


@dataclass(frozen=True)
class Results:
    """The places of an experiment's results: `results/<profile>` in the project.

    Attributes:
        runs: the run store, shared by all notebooks of a profile.
        scores: cache of the chosen checkpoints and their scores.
        figures: tables and figures; those of a store given by its file go to a subfolder of its own, see
            `subfolder_of`, so that a run on other data overwrites nothing.
        sweeps: tables and figures of sweeps, in the same way.
    """

    runs: Path
    scores: Path
    figures: Path
    sweeps: Path

    @classmethod
    def of(cls, experiment: Experiment) -> Self:
        """Return the places of an experiment's results, made where they are missing.

        Raises:
            InputError: they cannot be made or written to, as in a checkout of somebody else.
        """
        root = project_root() / "results" / experiment.profile
        runs, scores = _made(root / "runs"), _made(root / "scores")
        first = _first_store(experiment.dataset, root)
        if (digest := store.digest(Path(experiment.dataset))) and not first.is_file():
            write_text(_made(first.parent) / first.name, digest)
        subfolder = subfolder_of(experiment.dataset, root)
        return cls(runs, scores, _made(root / "figures" / subfolder), _made(root / "sweeps" / subfolder))

    def save_table(self, name: str, csv: str, folder: Path | None = None) -> None:
        """Write a table as <name>.csv, into `figures` or another folder."""
        write_text((folder or self.figures) / f"{name}.csv", csv)

    def save_figure(self, name: str, figure: Any, folder: Path | None = None) -> None:
        """Write a Matplotlib figure as <name>.svg and <name>.png, into `figures` or another folder."""
        for kind in ("svg", "png"):
            with whole_file((folder or self.figures) / f"{name}.{kind}") as temporary:
                figure.savefig(temporary, format=kind)


def _made(folder: Path) -> Path:
    """Return a folder of results that can be written to, made where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, str(error.strerror)) from None
    if not os.access(folder, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise _not_writable(folder, "it is somebody else's or read-only")
    return folder


def _not_writable(folder: Path, reason: str) -> InputError:
    return InputError(
        f"{folder}: cannot be written: {reason}; results go there, so run this in a checkout of your own"
    )
