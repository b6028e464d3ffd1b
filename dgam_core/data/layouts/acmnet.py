"""Layout C (ACM-Net, ASM-Loc): one .npy file per video, both streams side by side."""

from pathlib import Path

from dgam_core.data.activitynet_json import read_annotations
from dgam_core.data.layouts.common import (
    USUAL_FPS,
    USUAL_SNIPPET_FRAMES,
    check_names,
    path_inside,
    read_split,
)
from dgam_core.data.layouts.joint import joint_data_set
from dgam_core.snippets import DataSet


def read_acmnet(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout C (ACM-Net, ASM-Loc).

    `<root>/{train,test}/<video>.npy`, (T, 2048), RGB before flow; `<root>/split_{train,test}.txt` and
    `<root>/gt.json`.

    Args:
        root: the folder.
        fps: frames per second; without it 25.
        snippet_frames: frames per snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    root = Path(root)
    annotations = read_annotations(root / "gt.json")
    names = {subset: read_split(root / f"split_{subset}.txt") for subset in ("train", "test")}
    with_features = {path.stem for subset in names for path in (root / subset).glob("*.npy")}
    check_names(root, names, annotations, with_features)
    paths = {
        name: path_inside(root / subset, f"{name}.npy") for subset, listed in names.items() for name in listed
    }
    fps, snippet_frames = fps or USUAL_FPS, snippet_frames or USUAL_SNIPPET_FRAMES
    return joint_data_set(root, "the ACM-Net layout", annotations, names, paths, fps, snippet_frames)
