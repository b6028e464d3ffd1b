"""Layout E (ActionFormer, OpenTAD): one file per video, both streams side by side."""

from collections.abc import Iterable
from pathlib import Path

from dgam_core.data.activitynet_json import read_annotations, train_and_test
from dgam_core.data.faults import refuse
from dgam_core.data.layouts.common import (
    VideoFile,
    check_files,
    joint_data_set,
    only_match,
    rates_of,
    warn_left_over,
)
from dgam_core.snippets import DataSet
from dgam_core.system.files import read_names

USUAL_STRIDE_FRAMES = 4  # of the THUMOS14 features in circulation


def read_actionformer(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read layout E (ActionFormer, OpenTAD).

    `<root>/annotations/*.json` and `<root>/*features*/<prefix><video>{.npy,.npz,.pt}`. A snippet lasts as
    long as the stride from one to the next; the files do not tell it. Videos that OpenTAD's
    `missing_files.txt` names are left out.

    Args:
        fps: frames per second; without it, what the annotations say, video by video, else 25.
        snippet_frames: the stride in frames; without it 4.
    Raises:
        InputError: a file is missing or cannot be read, or a video lacks annotations or features.
    """
    annotation_file = only_match(root / "annotations", "*.json")
    folder = only_match(root, "*features*")
    files = [file for file in folder.iterdir() if file.suffix in (".npy", ".npz", ".pt")]
    missing_files = root / "missing_files.txt"
    left_out = set(read_names(missing_files)) if missing_files.is_file() else set()
    annotated = read_annotations(annotation_file)
    of_videos = train_and_test(
        {name: annotated[name] for name in annotated if name not in left_out}, annotation_file
    )
    # Training videos come first, and the digest covers the order.
    annotations = dict(sorted(of_videos.items(), key=lambda item: item[1].subset == "test"))
    matches = {name: _files_of(name, files) for name in annotations}
    refuse(
        (
            name,
            f"{folder}: has {len(found)} files for the video {name!r}; it should have one; list videos "
            "without features in missing_files.txt",
        )
        for name, found in matches.items()
        if len(found) != 1
    )
    check_files([VideoFile(name, folder, file) for name, (file,) in matches.items()])
    paths = {name: folder / file for name, (file,) in matches.items()}
    warn_left_over(folder, "features", {file.stem for file in files} - {path.stem for path in paths.values()})
    stride = snippet_frames or USUAL_STRIDE_FRAMES
    layout, rates = "the ActionFormer layout", rates_of(annotations)
    return joint_data_set(root, layout, annotations, paths, fps, stride, [rates])


def _files_of(name: str, files: Iterable[Path]) -> list[str]:
    """Return the files called as the video, or else those whose name ends so, after a prefix."""
    return [file.name for file in files if file.stem == name] or [
        file.name for file in files if file.stem.endswith(name)
    ]
