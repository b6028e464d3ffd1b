"""Simulated data of THUMOS14's shape, with action, context and background known for every snippet.

Time follows the statistics of the real annotations. A snippet's features are

    x_t = max(0, g_scene·s_v + g_class·e_t·S_y + separation·(a_t·A + c_t·K) + g_motion·a_t·M_y + d_t + n_t)

with the video's scene s_v, the scene S_y that a class's action and its context share, the appearance of
any action A and of any context K, the class's motion M_y, slow drift d_t and noise n_t; a_t and c_t
say whether t is action or context, and e_t is 1 in action, `confusion` in context, 0 in background.
The gains g differ between the streams. Patterns are sparse Gaussian vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dgam_core.errors import InputError
from dgam_core.snippets import DataSet, Kind, Segment, Video

FPS, SNIPPET_FRAMES = 25.0, 16

# Class → mean and standard deviation of its segments' log length in seconds: THUMOS14, training videos.
CLASSES: dict[str, tuple[float, float]] = {
    "BaseballPitch": (1.25, 0.34),
    "BasketballDunk": (0.54, 0.54),
    "Billiards": (1.01, 0.74),
    "CleanAndJerk": (2.41, 0.64),
    "CliffDiving": (0.91, 0.60),
    "CricketBowling": (0.20, 0.59),
    "CricketShot": (0.20, 0.51),
    "Diving": (0.93, 0.54),
    "FrisbeeCatch": (0.75, 0.70),
    "GolfSwing": (1.55, 1.21),
    "HammerThrow": (1.92, 0.31),
    "HighJump": (1.38, 0.50),
    "JavelinThrow": (1.80, 0.32),
    "LongJump": (1.85, 0.48),
    "PoleVault": (1.98, 0.40),
    "Shotput": (1.45, 0.57),
    "SoccerPenalty": (1.08, 0.45),
    "TennisSwing": (0.46, 0.80),
    "ThrowDiscus": (0.79, 1.06),
    "VolleyballSpiking": (0.29, 0.77),
}
LOG_VIDEO_S = (4.94, 0.92)  # mean, standard deviation
VIDEO_S = (20.0, 900.0)  # bounds; the longest real video has 26 minutes and would dominate a small data set
LOG_GAP_S = (1.16, 1.56)  # from the quartiles 1.0 and 8.6 s: log 3.2 and (log 8.6 − log 1.0) / 1.35
TWO_CLASSES = 27 / 200  # share of videos with two classes
SCALES = {"demo": (100, 105, 64), "paper": (200, 210, 1024)}  # training videos, test videos, D


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


# Stream → gains of (the video's scene, the class's scene, action and context, the class's motion):
# flow sees motion and little of the scene, RGB the reverse.
GAINS = {"flow": (0.3, 0.4, 1.0, 1.0), "rgb": (1.0, 1.0, 1.0, 0.4)}


@dataclass(frozen=True)
class _Timeline:
    """A video's snippets: kind and class index, (T,) each."""

    kinds: NDArray[np.uint8]
    class_idx: NDArray[np.int64]


def thumos14(scale: str = "demo", seed: int = 0, appearance: Appearance | None = None) -> DataSet:
    """Simulate a data set of THUMOS14's shape; features are made when they are read.

    Args:
        scale: "demo" (100 + 105 videos, D 64) or "paper" (200 + 210 videos, D 1024).
        seed: the same seed gives the same data set.
        appearance: how features are made.
    """
    if scale not in SCALES:
        raise InputError(f"scale {scale!r} is unknown; there are {', '.join(SCALES)}")
    num_train, num_test, dim = SCALES[scale]
    random = np.random.default_rng([seed, 0])
    videos: list[Video] = []
    timelines: dict[str, _Timeline] = {}
    for i in range(num_train + num_test):
        subset = "train" if i < num_train else "test"
        name = f"simulated_{subset}_{i:04d}"
        video, timelines[name] = _draw_video(name, subset, random)
        videos.append(video)
    appearance = appearance or Appearance()
    features = {stream: _Stream(stream, timelines, dim, seed, appearance) for stream in sorted(GAINS)}
    return DataSet(
        name="simulated_thumos14",
        source=f"simulated in the shape of THUMOS14: {scale} scale, seed {seed}, {appearance}",
        simulated=True,
        fps=FPS,
        snippet_frames=SNIPPET_FRAMES,
        classes=tuple(CLASSES),
        videos=tuple(videos),
        features=features,
        kinds={name: timeline.kinds for name, timeline in timelines.items()},
    )


def _draw_video(name: str, subset: str, random: np.random.Generator) -> tuple[Video, _Timeline]:
    """Draw a video's length, then gaps, context and actions in turn until it is full."""
    snippet_s = SNIPPET_FRAMES / FPS
    num_snippets = int(np.clip(random.lognormal(*LOG_VIDEO_S), *VIDEO_S) / snippet_s)
    duration_s = num_snippets * snippet_s
    classes = random.choice(len(CLASSES), size=1 + (random.random() < TWO_CLASSES), replace=False)
    kinds = np.full(num_snippets, Kind.BACKGROUND, dtype=np.uint8)
    class_idx = np.full(num_snippets, classes[0])
    middle_s = (np.arange(num_snippets) + 0.5) * snippet_s
    segments: list[Segment] = []
    # A first gap longer than the whole video would leave it without action.
    time_s = min(random.lognormal(*LOG_GAP_S), duration_s / 2)
    while time_s < duration_s and (not segments or time_s + snippet_s < duration_s):
        label_idx = random.choice(classes)
        length_s = random.lognormal(*list(CLASSES.values())[label_idx])
        end_s = min(time_s + length_s, duration_s)
        segments.append(Segment(list(CLASSES)[label_idx], float(time_s), float(end_s)))
        # Preparing and finishing: around the action, each about half as long as it.
        before_s, after_s = length_s * random.uniform(0.25, 0.75, size=2)
        around = (middle_s > time_s - before_s) & (middle_s < end_s + after_s)
        inside = (middle_s >= time_s) & (middle_s < end_s)
        class_idx[(around & (kinds != Kind.ACTION)) | inside] = label_idx
        kinds[around & (kinds != Kind.ACTION)] = Kind.CONTEXT
        kinds[inside] = Kind.ACTION
        time_s = end_s + random.lognormal(*LOG_GAP_S)
    labels = tuple(sorted({segment.label for segment in segments}))
    return Video(name, subset, duration_s, num_snippets, labels, tuple(segments)), _Timeline(kinds, class_idx)


class _Stream(Mapping[str, NDArray[np.float32]]):
    """Video name → features of one stream, made from the seed whenever they are read."""

    def __init__(
        self, stream: str, timelines: dict[str, _Timeline], dim: int, seed: int, appearance: Appearance
    ) -> None:
        self._timelines, self._appearance, self._dim = timelines, appearance, dim
        self._scene, self._class, self._agnostic, self._motion = GAINS[stream]
        self._seed = [seed, 1 + sorted(GAINS).index(stream)]
        random = np.random.default_rng(self._seed)
        self._class_scenes, self._motions = (_patterns(random, len(CLASSES), dim) for _ in range(2))
        self._any_action, self._any_context = _patterns(random, 2, dim)
        self._index = {name: i for i, name in enumerate(timelines)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._timelines)

    def __len__(self) -> int:
        return len(self._timelines)

    def __getitem__(self, video: str) -> NDArray[np.float32]:
        look, timeline = self._appearance, self._timelines[video]
        random = np.random.default_rng([*self._seed, 1 + self._index[video]])
        action = (timeline.kinds == Kind.ACTION)[:, None]
        context = (timeline.kinds == Kind.CONTEXT)[:, None]
        evidence = action + look.confusion * context
        x = self._scene * _patterns(random, 1, self._dim)
        x = x + self._class * evidence * self._class_scenes[timeline.class_idx]
        x += self._agnostic * look.separation * (action * self._any_action + context * self._any_context)
        x += self._motion * action * self._motions[timeline.class_idx]
        x += look.drift * _drift(random, len(x), self._dim)
        x += look.noise * random.standard_normal(x.shape)
        features: NDArray[np.float32] = np.maximum(x, 0.0).astype(np.float32)
        return features


def _patterns(random: np.random.Generator, count: int, dim: int) -> NDArray[np.float64]:
    """Sparse Gaussian vectors, (count, dim): one entry in four is not zero."""
    values: NDArray[np.float64] = random.standard_normal((count, dim)) * (random.random((count, dim)) < 0.25)
    return values


def _drift(random: np.random.Generator, length: int, dim: int) -> NDArray[np.float64]:
    """A slow change of unit variance, (length, dim): random values 20 snippets apart, joined by lines."""
    knots = random.standard_normal((length // 20 + 2, dim))
    position = np.arange(length) / 20
    left, share = position.astype(int), (position % 1)[:, None]
    values: NDArray[Any] = (1 - share) * knots[left] + share * knots[left + 1]
    return values / np.sqrt((1 - share) ** 2 + share**2)
