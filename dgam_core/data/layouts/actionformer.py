"""Layout E (ActionFormer, OpenTAD): one file per video, both streams side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dgam_core.data.annotations import read_annotations, subset_to_test
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    check_names,
    inside,
    read_split,
    the_fps,
    the_one,
    warn_left_over,
)
from dgam_core.data.layouts.joint import annotated
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet


def read_actionformer(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout E (ActionFormer, OpenTAD).

    `<root>/annotations/*.json` and `<root>/*features*/<prefix><video>{.npy,.npz,.pt}`. A snippet lasts as
    long as the stride from one to the next; the files do not tell it. Videos that OpenTAD's
    `missing_files.txt` names are left out.

    Args:
        root: the folder.
        fps: frames a second; without it, what the annotations say.
        snippet_frames: the stride in frames; without it 4, as of the THUMOS14 features in circulation.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    root = Path(root)
    path = the_one(root / "annotations", "*.json")
    folder = the_one(root, "*features*")
    files = {file.stem: file for file in folder.iterdir() if file.suffix in (".npy", ".npz", ".pt")}
    absent = root / "missing_files.txt"
    left_out = set(read_split(absent)) if absent.is_file() else set()
    known = {name: own for name, own in read_annotations(path).items() if name not in left_out}
    test = subset_to_test(own.subset for own in known.values())
    names: dict[str, list[str]] = {"train": [], "test": []}
    for name, own in known.items():
        names["test" if own.subset == test else "train"].append(name)
    arrays = {name: inside(folder, _file_of(files, name, folder)) for name in known}
    check_names(root, names, known)
    warn_left_over(folder, "features", set(files) - {array.stem for array in arrays.values()})
    rate = fps or the_fps(path, known.values()) or USUAL_FPS
    return annotated(root, "the ActionFormer layout", known, names, arrays, rate, snippet_frames or 4)


def _file_of(files: Mapping[str, Path], name: str, folder: Path) -> str:
    """The file whose name ends in the video's; a prefix is the same for all."""
    found = [file for stem, file in files.items() if stem == name] or [
        file for stem, file in files.items() if stem.endswith(name)
    ]
    if len(found) != 1:
        raise InputError(
            f"{folder}: has {len(found)} files for the video {name!r}; it should have one; list videos "
            "without features in missing_files.txt"
        )
    return found[0].name
