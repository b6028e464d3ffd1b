"""Layout C (ACM-Net, ASM-Loc): one .npy file per video, both streams side by side."""

from pathlib import Path

from dgam_core.data.layouts.common import (
    VideoFile,
    check_files,
    joint_data_set,
    read_splits,
    told_or_usual,
)
from dgam_core.snippets import DataSet


def read_acmnet(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout C (ACM-Net, ASM-Loc).

    `<root>/{train,test}/<video>.npy`, (T, 2048), RGB before flow; `<root>/split_{train,test}.txt` and
    `<root>/gt.json`.

    Args:
        fps: frames per second; without it, what gt.json says, video by video, else 25; also 25 where the
            durations agree with that alone, for files in circulation tell the rate of the video.
        snippet_frames: frames per snippet; without it 16.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    annotations = read_splits(root, [*root.glob("train/*.npy"), *root.glob("test/*.npy")])
    files = [VideoFile(name, root / a.subset, f"{name}.npy") for name, a in annotations.items()]
    check_files(files)
    paths = {file.video: file.path for file in files}
    rates = told_or_usual(annotations)
    return joint_data_set(root, "the ACM-Net layout", annotations, paths, fps, snippet_frames, rates)
