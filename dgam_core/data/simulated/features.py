"""Simulated data of the shape of THUMOS14 and of ActivityNet1.2, with the truth known for every snippet.

When actions and context happen is the matter of `schedule`. A snippet's features are

    x_t = scale · max(0, offset + g_scene·s_v + g_class·e_t·S_y + separation·(a_t·A + c_t·K)
                         + g_motion·a_t·M_y + drift·d_t + noise·n_t)

with the video's scene s_v, the scene S_y that a class's action and its context share, the appearance of
any action A and of any context K, the class's motion M_y, slow drift d_t and noise n_t of unit variance;
a_t and c_t say whether t is action or context, and e_t is 1 in action, `confusion` in context, 0 in
background. The gains g differ between the streams. Patterns are sparse Gaussian vectors.

Offset and scale give a video, on average, the mean 0.27 and the standard deviation 0.21 that the I3D
network's RGB features have in a real clip (22 snippets of 1024 values, none negative). With these, the norm
is that of the clip as well, 0.34·√D; but 13 % of the values are zero, where the clip has 0.5 %, and 25 % are
below 0.1, where it has 19 %. Flow gets the same mean and standard deviation: the two networks are alike up
to their input, and no real features of flow were at hand.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dgam_core.data.lazy_features import LazyFeatures
from dgam_core.data.simulated.schedule import (
    FPS,
    PART_OF,
    SNIPPET_FRAMES,
    THUMOS14_CLASSES,
    Schedule,
    draw_activitynet12,
    draw_thumos14,
)
from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Kind, Segment, Video


@dataclass(frozen=True)
class Appearance:
    """How features are made; the defaults are argued, not tuned (see the module's formula).

    Attributes:
        confusion: class evidence in a context snippet as a share of that in an action snippet. The
            paper's premise is that context "could significantly encourage the recognition of the
            action": most of it, but not all.
        separation: strength of the class-agnostic appearance of action and of context, relative to the
            class's scene. The paper calls the difference "obvious": as strong as the scene.
        noise: standard deviation of the noise, relative to a pattern's non-zero entries.
        drift: standard deviation of the slow drift within a video.
    """

    confusion: float = 0.7
    separation: float = 1.0
    noise: float = 0.5
    drift: float = 0.3


@dataclass(frozen=True)
class _Gains:
    """The gains of a stream; offset and scale as in the module's formula."""

    scene: float
    class_scene: float
    agnostic: float
    motion: float
    offset: float
    scale: float


# Flow sees motion and little of the scene, RGB the reverse.
GAINS = {
    "flow": _Gains(0.3, 0.4, 1.0, 1.0, offset=0.80, scale=0.30),
    "rgb": _Gains(1.0, 1.0, 1.0, 0.4, offset=0.95, scale=0.255),
}


@dataclass(frozen=True)
class _Scale:
    """The size of a data set: classes C, training videos, test videos, D."""

    num_classes: int
    num_train: int
    num_test: int
    dim: int


THUMOS14_SCALES = {"demo": _Scale(20, 96, 96, 64), "paper": _Scale(20, 200, 210, 1024)}
# At paper scale, the videos that are still available; the paper used 4819 and 2383.
ACTIVITYNET12_SCALES = {"demo": _Scale(10, 96, 96, 64), "paper": _Scale(100, 4441, 2198, 1024)}


def thumos14(scale: str = "demo", seed: int = 0, appearance: Appearance | None = None) -> DataSet:
    """Simulate a data set of THUMOS14's shape; features are made when they are read.

    Args:
        scale: "demo" (96 + 96 videos, D 64) or "paper" (200 + 210 videos, D 1024); 20 classes.
        seed: the same seed gives the same data set.
        appearance: how features are made.
    Raises:
        InputError: the scale is unknown.
    """
    size = _size(THUMOS14_SCALES, scale)
    source = f"simulated in the shape of THUMOS14: {scale} scale, seed {seed}"
    classes = tuple(THUMOS14_CLASSES)
    return _data_set("thumos14", source, classes, size, draw_thumos14, seed, appearance or Appearance())


def activitynet12(scale: str = "demo", seed: int = 0, appearance: Appearance | None = None) -> DataSet:
    """Simulate a data set of ActivityNet1.2's shape, as `thumos14` does of THUMOS14's.

    At "demo" scale it has 96 + 96 videos of 10 classes, D 64; at "paper" scale 4441 + 2198 of 100, D 1024.
    """
    size = _size(ACTIVITYNET12_SCALES, scale)
    source = f"simulated in the shape of ActivityNet1.2: {scale} scale, seed {seed}"
    classes = tuple(f"activity_{i + 1:03d}" for i in range(size.num_classes))
    draw = partial(draw_activitynet12, num_classes=size.num_classes)
    return _data_set("activitynet12", source, classes, size, draw, seed, appearance or Appearance())


# By their names on the command line and in the parameter `dataset`.
DATA_SETS: dict[str, Callable[..., DataSet]] = {"thumos14": thumos14, "activitynet12": activitynet12}


def _size(scales: Mapping[str, _Scale], scale: str) -> _Scale:
    if scale not in scales:
        raise InputError(f"scale {scale!r} is unknown; there are {', '.join(scales)}")
    return scales[scale]


def _data_set(
    name: str,
    source: str,
    classes: tuple[str, ...],
    size: _Scale,
    draw: Callable[..., Schedule],
    seed: int,
    appearance: Appearance,
) -> DataSet:
    random = np.random.default_rng([seed, 0])
    schedules: dict[str, Schedule] = {}
    videos = []
    for subset, count in (("train", size.num_train), ("test", size.num_test)):
        for i in range(count):
            video = f"simulated_{subset}_{i:04d}"
            # Classes in turn: the real data sets have about as many videos of each.
            schedules[video] = draw(i % len(classes), random=random)
            videos.append(_video(video, subset, schedules[video], classes))
    return DataSet(
        name=f"simulated_{name}",
        source=f"{source}, {appearance}",
        simulated=True,
        fps=FPS,
        snippet_frames=SNIPPET_FRAMES,
        classes=classes,
        videos=tuple(videos),
        features={
            stream: LazyFeatures(
                _StreamSimulator(stream, classes, size.dim, seed, appearance).features,
                {video: (i, schedule) for i, (video, schedule) in enumerate(schedules.items())},
            )
            for stream in GAINS
        },
        kinds={video: schedule.kinds for video, schedule in schedules.items()},
        snippet_classes={video: schedule.class_idx for video, schedule in schedules.items()},
    )


def _video(name: str, subset: str, schedule: Schedule, classes: tuple[str, ...]) -> Video:
    segments = []
    for action in schedule.actions:
        label = classes[action.class_idx]
        for annotated in (label, PART_OF.get(label)):
            if annotated:
                segments.append(Segment(annotated, action.start_s, action.end_s))
    labels = tuple(sorted({segment.label for segment in segments}))
    return Video(name, subset, schedule.duration_s, len(schedule.kinds), labels, tuple(segments))


class _StreamSimulator:
    """Makes the features of one stream from the seed."""

    def __init__(
        self, stream: str, classes: tuple[str, ...], dim: int, seed: int, appearance: Appearance
    ) -> None:
        self._appearance, self._dim = appearance, dim
        self._gains = GAINS[stream]
        self._seed = [seed, 1 + sorted(GAINS).index(stream)]
        random = np.random.default_rng(self._seed)
        self._class_scenes, self._motions = (_patterns(random, len(classes), dim) for _ in range(2))
        for part, whole in PART_OF.items():
            if part in classes:  # it looks half like what it is part of
                for patterns in (self._class_scenes, self._motions):
                    patterns[classes.index(part)] += patterns[classes.index(whole)]
                    patterns[classes.index(part)] /= np.sqrt(2)
        self._any_action, self._any_context = _patterns(random, 2, dim)

    def features(self, numbered_schedule: tuple[int, Schedule]) -> NDArray[np.float32]:
        """Return the features of a video, (T, D), given its number in the data set and its schedule."""
        number, schedule = numbered_schedule
        appearance, gains = self._appearance, self._gains
        random = np.random.default_rng([*self._seed, 1 + number])
        action = (schedule.kinds == Kind.ACTION).astype(np.float32)[:, None]
        context = (schedule.kinds == Kind.CONTEXT).astype(np.float32)[:, None]
        evidence = action + np.float32(appearance.confusion) * context
        agnostic = action * self._any_action + context * self._any_context
        x: NDArray[np.float32] = gains.offset + gains.scene * _patterns(random, 1, self._dim)
        x = x + gains.class_scene * evidence * self._class_scenes[schedule.class_idx]
        x += gains.agnostic * appearance.separation * agnostic
        x += gains.motion * action * self._motions[schedule.class_idx]
        x += appearance.drift * _drift(random, len(x), self._dim)
        x += appearance.noise * random.standard_normal(x.shape, dtype=np.float32)
        np.maximum(x, 0, out=x)
        x *= gains.scale
        return x


def _patterns(random: np.random.Generator, count: int, dim: int) -> NDArray[np.float32]:
    """Return sparse Gaussian vectors, (count, dim): one entry in four is not zero."""
    values = random.standard_normal((count, dim), dtype=np.float32)
    values *= random.random((count, dim)) < 0.25
    return values


def _drift(random: np.random.Generator, length: int, dim: int) -> NDArray[np.float32]:
    """Return slow drift of unit variance, (length, dim): random values 20 snippets apart, joined by lines."""
    knots = random.standard_normal((length // 20 + 2, dim), dtype=np.float32)
    position = np.arange(length) / 20
    left, share = position.astype(int), (position % 1)[:, None].astype(np.float32)
    norm = np.sqrt((1 - share) ** 2 + share**2)
    values: NDArray[np.float32] = (1 - share) / norm * knots[left]
    values += share / norm * knots[left + 1]
    return values
