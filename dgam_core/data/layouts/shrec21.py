"""SHREC 2021, skeleton-based hand gestures in the wild: the benchmark's own files, made into two streams.

A line of a sequence is a frame: 20 joints, the palm first, each x y z in metres and a rotation as a
quaternion. A line of the annotations is a sequence: its number, then label, first and last frame of each
gesture.
"""

import re
import sys
import warnings
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dgam_core.data.activitynet_json import Annotation
from dgam_core.data.layouts.common import make_data_set, only_match, warn_left_over
from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Segment
from dgam_core.system.files import read_text

FPS, SNIPPET_FRAMES = 50.0, 8  # the benchmark's rate; its files have no time stamps
NUM_JOINTS, VALUES_PER_JOINT = 20, 7
DECIMETRES = 10.0  # per metre: a hand's shape is then of the size of a rotation
SOURCE = "hand shape and palm rotation (rgb), velocity of the joints (flow), of SHREC 2021's hand gestures"

Gesture = tuple[str, int, int]  # label, first and last frame


@dataclass(frozen=True)
class _Sequence:
    """An annotated sequence: its name, its file, its gestures as annotated."""

    name: str
    path: Path
    gestures: tuple[Gesture, ...]


def read_shrec21(root: Path, fps: float | None = None, snippet_frames: int | None = None) -> DataSet:
    """Read the hand gestures of SHREC 2021 from the benchmark's own files.

    `<root>/{training,test}_set/sequences/<number>.txt`, and beside `sequences` the annotations,
    `annotations_revised*.txt`. A gesture that ends before it starts is left out, one that ends beyond the
    last frame is clipped, and a sequence without a file is left out; warnings list the gestures and count
    the sequences.

    Args:
        fps: frames per second; without it 50.
        snippet_frames: frames per snippet; without it 8.
    Returns:
        The data set, its stream `rgb` as `hand_shape`, its stream `flow` as `joint_velocity` make them.
    Raises:
        InputError: a file is missing or cannot be read, or a line is not as described above.
    """
    fps, snippet_frames = fps or FPS, snippet_frames or SNIPPET_FRAMES
    annotations, paths, counts = {}, {}, {}
    flaws: list[str] = []
    missing: list[str] = []
    for subset, part in (("train", "training"), ("test", "test")):
        for sequence in _sequences(root / f"{part}_set", subset):
            name, is_there = sequence.name, sequence.path.is_file()
            num_frames = len(read_frames(sequence.path)) if is_there else sys.maxsize
            gestures, odd = _sound(sequence.gestures, num_frames)
            flaws += [f"{name}: {flaw}" for flaw in odd]
            if not is_there:
                missing.append(name)
                continue
            segments = tuple(Segment(label, start / fps, end / fps) for label, start, end in gestures)
            labels = tuple(sorted({label for label, *_ in sequence.gestures}))
            annotations[name] = Annotation(subset, labels, segments, num_frames / fps, fps)
            paths[name], counts[name] = sequence.path, num_frames // snippet_frames
    if not paths:
        raise InputError(f"{root}: has none of the {len(missing)} annotated sequences, such as {missing[0]}")
    warn_left_over(root, "annotations", missing)
    if flaws:
        warnings.warn(f"{root}: {len(flaws)} annotations are flawed: {'; '.join(flaws)}", stacklevel=2)
    features = {
        "rgb": LazyFeatures(partial(_load_rgb, snippet_frames), paths),
        "flow": LazyFeatures(partial(_load_flow, snippet_frames, fps), paths),
    }
    data = make_data_set(root, "", fps, snippet_frames, annotations, counts, features)
    return replace(data, name="shrec21", source=f"{SOURCE}, {fps:g} fps, {snippet_frames} frames a snippet")


def _sequences(folder: Path, subset: str) -> list[_Sequence]:
    """Return the annotated sequences of a subset."""
    path = only_match(folder, "annotations_revised*.txt")
    found: dict[str, _Sequence] = {}
    for i, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        number, *fields = line.strip().rstrip(";").split(";")
        gestures = tuple(zip(fields[::3], fields[1::3], fields[2::3], strict=False))
        whole = number.isdigit() and fields and len(fields) % 3 == 0
        if not (whole and all(re.fullmatch(r"\d+;\d+", f"{start};{end}") for _, start, end in gestures)):
            raise InputError(f"{path}: line {i} should be a number, then label;start;end of each gesture")
        name = f"{subset}_{int(number):03d}"
        if name in found:
            raise InputError(f"{path}: line {i}: the sequence {number} is annotated twice; keep one line")
        frames = tuple((label, int(start), int(end)) for label, start, end in gestures)
        found[name] = _Sequence(name, folder / "sequences" / f"{int(number)}.txt", frames)
    return list(found.values())


def _sound(gestures: tuple[Gesture, ...], num_frames: int) -> tuple[list[Gesture], list[str]]:
    """Return gestures within a sequence, and what was wrong with those that are left out or clipped."""
    kept, flaws = [], []
    for label, start, end in gestures:
        at = f"{label} {start} to {end}"
        if end < start:
            flaws.append(f"{at} ends before it starts; left out")
        elif start >= num_frames:
            flaws.append(f"{at} starts after the last frame; left out")
        else:
            kept.append((label, start, min(end, num_frames)))
            if end > num_frames:
                flaws.append(f"{at} is clipped to {num_frames}, the end of the sequence")
    return kept, flaws


def read_frames(path: Path) -> NDArray[np.float64]:
    """Read a sequence: position and quaternion of every joint in every frame, (F, 20, 7), in metres.

    Raises:
        InputError: the file cannot be read, a line has another number of values, a value is not finite, or
            the palm has no rotation.
    """
    lines = [line.rstrip().rstrip(";") for line in read_text(path).splitlines() if line.strip()]
    count = NUM_JOINTS * VALUES_PER_JOINT
    for i, line in enumerate(lines, 1):
        if line.count(";") != count - 1:
            raise InputError(f"{path}: line {i} has {line.count(';') + 1} values; a frame has {count}")
    try:
        values = np.loadtxt(lines, delimiter=";", ndmin=2, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: holds something that is not a number: {error}") from None
    frames = values.reshape(-1, NUM_JOINTS, VALUES_PER_JOINT)
    if not np.isfinite(frames).all():
        raise InputError(f"{path}: holds a value that is not finite")
    if not frames[:, 0, 3:].any(1).all():
        raise InputError(f"{path}: a frame's palm has no rotation, a quaternion of zeros")
    return frames


def hand_shape(frames: NDArray[np.float64], snippet_frames: int) -> NDArray[np.float32]:
    """Return mean and standard deviation over each snippet of the hand's pose, (T, 132).

    The pose of a frame is the positions of the 19 other joints in the palm's frame, in decimetres, and the
    palm's rotation matrix, row by row.

    Args:
        frames: what `read_frames` returns, (F, 20, 7).
        snippet_frames: frames per snippet; the last, incomplete snippet is dropped.
    """
    palm = Rotation.from_quat(frames[:, 0, 3:]).as_matrix()  # (F, 3, 3)
    from_palm = frames[:, 1:, :3] - frames[:, :1, :3]
    in_palm = DECIMETRES * from_palm @ palm  # Rᵀv of each joint's v, a row
    pose = np.concatenate([in_palm.reshape(len(frames), -1), palm.reshape(len(frames), -1)], axis=1)
    snippets = _snippets(pose, snippet_frames)
    return np.concatenate([snippets.mean(1), snippets.std(1)], axis=1, dtype=np.float32)


def joint_velocity(frames: NDArray[np.float64], snippet_frames: int, fps: float) -> NDArray[np.float32]:
    """Return mean and mean absolute velocity over each snippet of the 20 joints, in m/s, (T, 120).

    Args:
        frames: what `read_frames` returns, (F, 20, 7).
        snippet_frames: frames per snippet; the last, incomplete snippet is dropped.
        fps: frames per second. The velocity of the first frame is zero.
    """
    positions = frames[:, :, :3].reshape(len(frames), -1)
    velocity = fps * np.diff(positions, axis=0, prepend=positions[:1])
    snippets = _snippets(velocity, snippet_frames)
    return np.concatenate([snippets.mean(1), np.abs(snippets).mean(1)], axis=1, dtype=np.float32)


def _snippets(values: NDArray[np.float64], snippet_frames: int) -> NDArray[np.float64]:
    """Cut values of frames, (F, K), into snippets, (T, snippet_frames, K)."""
    num_snippets = len(values) // snippet_frames
    return values[: num_snippets * snippet_frames].reshape(num_snippets, snippet_frames, -1)


def _load_rgb(snippet_frames: int, path: Path) -> NDArray[np.float32]:
    return hand_shape(read_frames(path), snippet_frames)


def _load_flow(snippet_frames: int, fps: float, path: Path) -> NDArray[np.float32]:
    return joint_velocity(read_frames(path), snippet_frames, fps)
