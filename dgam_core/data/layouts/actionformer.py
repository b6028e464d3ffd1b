"""Layout E (ActionFormer, OpenTAD): one file per video, both streams side by side."""

from collections.abc import Iterable
from pathlib import Path

from dgam_core.data.activitynet_json import name_of_test_subset, read_annotations
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    annotated_fps,
    check_names,
    only_match,
    path_inside,
    read_split,
    warn_left_over,
)
from dgam_core.data.layouts.joint import joint_data_set
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet

USUAL_STRIDE_FRAMES = 4  # of the THUMOS14 features in circulation


def read_actionformer(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout E (ActionFormer, OpenTAD).

    `<root>/annotations/*.json` and `<root>/*features*/<prefix><video>{.npy,.npz,.pt}`. A snippet lasts as
    long as the stride from one to the next; the files do not tell it. Videos that OpenTAD's
    `missing_files.txt` names are left out.

    Args:
        root: the folder.
        fps: frames per second; without it, what the annotations say, else 25.
        snippet_frames: the stride in frames; without it 4.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    root = Path(root)
    annotation_file = only_match(root / "annotations", "*.json")
    folder = only_match(root, "*features*")
    files = [file for file in folder.iterdir() if file.suffix in (".npy", ".npz", ".pt")]
    missing_files = root / "missing_files.txt"
    left_out = set(read_split(missing_files)) if missing_files.is_file() else set()
    annotations = {
        name: annotation
        for name, annotation in read_annotations(annotation_file).items()
        if name not in left_out
    }
    test_subset = name_of_test_subset(annotation.subset for annotation in annotations.values())
    names: dict[str, list[str]] = {"train": [], "test": []}
    for name, annotation in annotations.items():
        names["test" if annotation.subset == test_subset else "train"].append(name)
    paths = {name: path_inside(folder, _file_of(name, files, folder)) for name in annotations}
    check_names(root, names, annotations)
    warn_left_over(folder, "features", {file.stem for file in files} - {path.stem for path in paths.values()})
    fps = fps or annotated_fps(annotation_file, annotations.values()) or USUAL_FPS
    snippet_frames = snippet_frames or USUAL_STRIDE_FRAMES
    return joint_data_set(root, "the ActionFormer layout", annotations, names, paths, fps, snippet_frames)


def _file_of(name: str, files: Iterable[Path], folder: Path) -> str:
    """Return the file called as the video, or else the one whose name ends so, after a prefix."""
    matches = [file for file in files if file.stem == name] or [
        file for file in files if file.stem.endswith(name)
    ]
    if len(matches) != 1:
        raise InputError(
            f"{folder}: has {len(matches)} files for the video {name!r}; it should have one; list videos "
            "without features in missing_files.txt"
        )
    return matches[0].name
