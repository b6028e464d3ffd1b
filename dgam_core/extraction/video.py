"""Frames of a video file, decoded by PyAV at an even rate."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from dgam_core.errors import InputError
from dgam_core.system.files import read_names, unreadable

SHORTER_SIDE, CROP_SIDE = 256, 224  # pixels of a scaled frame, and of the square in its middle that I3D sees
MAX_MISSING_SHARE = 0.1  # of the duration in the header
# How files are called that a folder is searched for.
ENDINGS = (
    *(".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"),
    *(".ogv", ".ts", ".vob", ".webm", ".wmv"),
)

Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class VideoFile:
    """The header of a video file.

    Attributes:
        fps: frames per second on average.
        duration_s: its length, as the header says, or else its packets.
    """

    path: Path
    fps: Fraction
    duration_s: float


def find_videos(paths: Iterable[Path]) -> list[Path]:
    """Return video files: those given, those in folders, and those that lists name.

    Args:
        paths: videos; folders, searched to any depth for files that are called as videos are; lists, text
            files that end in .txt, which name a video or a folder per line, as seen from the list's folder or
            from the working directory.
    Raises:
        InputError: a folder or a list has no video, or a list cannot be read.
    """
    videos: list[Path] = []
    for path in paths:
        if path.suffix.lower() == ".txt":
            named = [_listed(path, name) for name in read_names(path)]
            if not named:
                raise InputError(f"{path}: names no video; write one per line")
        else:
            named = [path]
        for each in named:
            videos += _in_folder(each) if each.is_dir() else [each]
    return list({video.absolute(): video for video in videos}.values())


def _listed(path: Path, name: str) -> Path:
    beside = path.parent / name
    return beside if beside.exists() else Path(name)


def _in_folder(folder: Path) -> list[Path]:
    visible = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    videos = [path for path in visible if path.suffix.lower() in ENDINGS]
    if not videos:
        raise InputError(f"{folder}: has no file that is called as videos are, such as a.mp4")
    if others := [path.name for path in visible if path not in videos]:
        warnings.warn(
            f"{folder}: {len(others)} files that are not called as videos are, such as {others[0]!r}, are "
            "left out",
            stacklevel=2,
        )
    return videos


def open_video(path: Path) -> VideoFile:
    """Read the header of a video file.

    Raises:
        InputError: the file is missing, is not a video, or has a broken header.
    """
    with _container(path) as container:
        stream = container.streams.video[0]
        fps = stream.average_rate or stream.guessed_rate
        if not fps:
            raise InputError(f"{path}: does not say its frames per second; convert it, for instance to .mp4")
        if stream.duration and stream.time_base is not None:
            duration_s = float(stream.duration * stream.time_base)
        else:
            duration_s = (container.duration or 0) / av.time_base
        if duration_s <= 0:  # as in the files of a live stream or a browser's recorder
            duration_s = _length_of_packets(container, stream, Fraction(fps))
        return VideoFile(Path(path), Fraction(fps), duration_s)


def _length_of_packets(container: Any, stream: Any, fps: Fraction) -> float:
    """Return how long a video lasts, in seconds, by the times of its packets, which are not decoded."""
    times = [
        None if packet.pts is None else packet.pts * packet.time_base
        for packet in container.demux(stream)
        if packet.size
    ]
    known = [time for time in times if time is not None]
    return float(max(known) - min(known) + 1 / fps if known else len(times) / fps)


def frames(video: VideoFile, fps: Fraction) -> Iterator[Frame]:
    """Decode a video at an even rate: every 1/fps seconds, the frame that is nearest in time.

    Each frame is turned upright and scaled so that its shorter side has 256 pixels.

    Args:
        fps: frames per second; at the rate of the file, each of its frames comes once.
    Yields:
        Frames, (H, W, 3) RGB, the smaller of H and W 256.
    Raises:
        InputError: the file cannot be decoded, or ends long before the duration in its header.
    """
    count, now, shown = 0, Fraction(0), None
    for seconds, frame in _decoded(video.path, video.fps):
        while shown is not None and count / fps <= (now + seconds) / 2:
            yield shown
            count += 1
        now, shown = seconds, _scaled(frame)
    if shown is None:
        raise InputError(f"{video.path}: has no frames")
    if now + 1 / video.fps < (1 - MAX_MISSING_SHARE) * video.duration_s:
        raise InputError(
            f"{video.path}: ends after {float(now):.1f} s, but says that it lasts {video.duration_s:.1f} s; "
            "it is damaged, copy it again"
        )
    # The last frame stays as long as the others.
    while (count + Fraction(1, 2)) / fps < now + 1 / video.fps:
        yield shown
        count += 1


def _decoded(path: Path, fps: Fraction) -> Iterator[tuple[Fraction, Any]]:
    """Yield frames with their time in seconds; without a rising time, 1/fps after the last frame."""
    with _container(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        first, now = None, -1 / fps
        for frame in container.decode(stream):
            stamp = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            if stamp is not None and first is None:
                first = stamp - now - 1 / fps
            stamp_s = now if stamp is None or first is None else stamp - first
            now = stamp_s if stamp_s > now else now + 1 / fps
            yield now, frame


@contextmanager
def _container(path: Path) -> Iterator[Any]:
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no pictures, only {container.format.long_name}")
            yield container
    except av.error.PermissionError as error:
        raise unreadable(path, error) from None
    except av.error.FFmpegError as error:
        raise InputError(f"{path}: cannot be decoded as a video: {error.strerror}") from None


def _scaled(frame: Any) -> Frame:
    image = np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90)
    height, width = image.shape[:2]
    scale = SHORTER_SIDE / min(height, width)
    size = max(SHORTER_SIDE, round(width * scale)), max(SHORTER_SIDE, round(height * scale))
    # Averaging over areas keeps fine patterns from flickering where pictures shrink.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.ascontiguousarray(image), size, interpolation=how), dtype=np.uint8)


def crop(picture: NDArray[Any]) -> NDArray[Any]:
    """Cut a picture to the square in its middle that I3D sees, (H, W, channels) → (224, 224, channels)."""
    top, left = (picture.shape[0] - CROP_SIDE) // 2, (picture.shape[1] - CROP_SIDE) // 2
    return picture[top : top + CROP_SIDE, left : left + CROP_SIDE]
