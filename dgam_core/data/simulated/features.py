"""Simulated data of the shape of THUMOS14 and of ActivityNet1.2, with the truth known for every snippet.

When actions and context happen is the matter of `schedule`. What a snippet shows is a point in a space of
`LATENT_DIM` dimensions, in which the noise has unit variance in every direction:

    u_t = scene·g_s·s_v + evidence·g_c·m_1·e_t·(S_y + deviation·o_1)
          + motion·g_m·m_2·a_t·(M_y + deviation·o_2)
          + separation·(m_3·a_t·(A + deviation·o_3) + m_4·c_t·(K + deviation·o_4)) + drift·d_t + noise·n_t

with the scene s_v of the video, the scene S_y and the motion M_y of the class, the appearance A of any action
and K of any context, the video's own deviations o from them and strengths m, slow drift d_t and noise n_t;
a_t and c_t say whether t is action or context, and e_t is 1 in action, `confusion` in context and `venue`
elsewhere. Patterns are Gaussian directions of about unit length. So each factor is the distance d′ that it
makes, in standard deviations of the noise. The gains g differ between the streams.

Features are D rectified views of this point, x_d = scale_d·softplus(offset + width·√(D / LATENT_DIM)·(Qu)_d),
with orthonormal columns of Q: distances are the same at every D. Offset, width and the log-normal scales fit
the percentiles of the I3D network's RGB features in a real clip (22 snippets of 1024 values). Flow gets the
same: the two networks are alike up to their input.

All is computed in float64, and features are rounded to multiples of `GRID`: the last digits of a product
depend on the processor and on the number of threads, and the same seed is to give the same data everywhere.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

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

LATENT_DIM = 64
# Of the softplus; the width is that of a standard normal argument.
OFFSET, WIDTH, SCALE, SCALE_LOG_SD = 1.0, 1.275, 0.169, 0.4
# Of the features, whose standard deviation is 0.2: far below the noise, far above an error of float64.
GRID = 2.0**-12


@dataclass(frozen=True)
class Appearance:
    """How features are made, see the module's formula; calibrated on published baselines, see the book.

    Attributes:
        confusion: class evidence in a context snippet as a share of that in an action snippet.
        separation: d′ of what any action looks like, and of what any context looks like, whatever the class.
        evidence: d′ of the class's scene in action.
        motion: d′ of the class's motion in action.
        venue: class evidence in a background snippet as a share of that in an action snippet.
        scene: d′ of the video's own scene.
        deviation: a video's own deviation from a pattern, relative to the pattern.
        strength: standard deviation of the logarithm of the strength that a pattern has in a video.
        drift: root mean square d′ of the slow drift within a video.
        noise: standard deviation of the noise: 1, the unit of all d′, or 0 for none.
    """

    confusion: float = 1.09
    separation: float = 2.65
    evidence: float = 3.6
    motion: float = 4.6
    venue: float = 0.5
    scene: float = 2.0
    deviation: float = 0.85
    strength: float = 0.3
    drift: float = 4.0
    noise: float = 1.0


APPEARANCES = {
    "thumos14": Appearance(),
    "activitynet12": Appearance(confusion=0.9, separation=1.4, evidence=1.9, motion=2.4, deviation=1.2),
}


@dataclass(frozen=True)
class _Gains:
    """How much of scenes and motion a stream sees."""

    scene: float
    class_scene: float
    motion: float

    def spread(self, a: Appearance, shares: NDArray[np.float64]) -> float:
        """Return the root mean square of u along a direction.

        Args:
            a: how features are made.
            shares: share of the snippets of each `Kind`, (3,).
        """
        action, context = shares[Kind.ACTION], shares[Kind.CONTEXT]
        evidence = action + a.confusion**2 * context + a.venue**2 * shares[Kind.BACKGROUND]
        patterns = (
            (a.evidence * self.class_scene) ** 2 * evidence
            + (a.motion * self.motion) ** 2 * action
            + a.separation**2 * (action + context)
        )
        of_video = (a.scene * self.scene) ** 2 + a.drift**2
        squared = of_video + np.exp(a.strength**2) * (1 + a.deviation**2) * patterns
        return float(np.sqrt(a.noise**2 + squared / LATENT_DIM))


# Flow sees motion and less of the scene, RGB the reverse.
GAINS = {"flow": _Gains(0.5, 0.6, 1.0), "rgb": _Gains(1.0, 1.0, 0.5)}


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


def thumos14(
    scale: str = "demo", seed: int = 0, appearance: Appearance | None = None, dim: int | None = None
) -> DataSet:
    """Simulate a data set of THUMOS14's shape; features are made when they are read.

    Args:
        scale: "demo" (96 + 96 videos, D 64) or "paper" (200 + 210 videos, D 1024); 20 classes.
        seed: the same seed gives the same data set.
        appearance: how features are made.
        dim: D, at least `LATENT_DIM`; by default that of the scale.
    Raises:
        InputError: the scale is unknown.
    """
    size = _size(THUMOS14_SCALES, scale, dim)
    source = f"simulated in the shape of THUMOS14: {scale} scale, seed {seed}"
    classes = tuple(THUMOS14_CLASSES)
    return _data_set("thumos14", source, classes, size, draw_thumos14, seed, appearance)


def activitynet12(
    scale: str = "demo", seed: int = 0, appearance: Appearance | None = None, dim: int | None = None
) -> DataSet:
    """Simulate a data set of ActivityNet1.2's shape, as `thumos14` does of THUMOS14's.

    At "demo" scale it has 96 + 96 videos of 10 classes, D 64; at "paper" scale 4441 + 2198 of 100, D 1024.
    """
    size = _size(ACTIVITYNET12_SCALES, scale, dim)
    source = f"simulated in the shape of ActivityNet1.2: {scale} scale, seed {seed}"
    classes = tuple(f"activity_{i + 1:03d}" for i in range(size.num_classes))
    draw = partial(draw_activitynet12, num_classes=size.num_classes)
    return _data_set("activitynet12", source, classes, size, draw, seed, appearance)


# By their names on the command line and in the parameter `dataset`.
DATA_SETS: dict[str, Callable[..., DataSet]] = {"thumos14": thumos14, "activitynet12": activitynet12}


def _size(scales: Mapping[str, _Scale], scale: str, dim: int | None) -> _Scale:
    if scale not in scales:
        raise InputError(f"scale {scale!r} is unknown; there are {', '.join(scales)}")
    return replace(scales[scale], dim=dim or scales[scale].dim)


def _data_set(
    name: str,
    source: str,
    classes: tuple[str, ...],
    size: _Scale,
    draw: Callable[..., Schedule],
    seed: int,
    appearance: Appearance | None,
) -> DataSet:
    appearance = appearance or APPEARANCES[name]
    random = np.random.default_rng([seed, 0])
    schedules: dict[str, Schedule] = {}
    videos = []
    for subset, count in (("train", size.num_train), ("test", size.num_test)):
        for i in range(count):
            video = f"simulated_{subset}_{i:04d}"
            # Classes in turn: the real data sets have about as many videos of each.
            schedules[video] = draw(i % len(classes), random=random)
            videos.append(_video(video, subset, schedules[video], classes))
    kinds = np.concatenate([schedule.kinds for schedule in schedules.values()])
    shares = np.bincount(kinds, minlength=len(Kind)) / len(kinds)
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
                _StreamSimulator(stream, classes, size.dim, seed, appearance, shares).features,
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
        self,
        stream: str,
        classes: tuple[str, ...],
        dim: int,
        seed: int,
        appearance: Appearance,
        shares: NDArray[np.float64],
    ) -> None:
        self._appearance, self._gains = appearance, GAINS[stream]
        self._seed = [seed, 1 + sorted(GAINS).index(stream)]
        random = np.random.default_rng(self._seed)
        self._class_scenes, self._motions = (_patterns(random, len(classes)) for _ in range(2))
        for part, whole in PART_OF.items():
            if part in classes:  # it looks half like what it is part of
                for patterns in (self._class_scenes, self._motions):
                    patterns[classes.index(part)] += patterns[classes.index(whole)]
                    patterns[classes.index(part)] /= np.sqrt(2)
        self._any_action, self._any_context = _patterns(random, 2)
        views, _ = np.linalg.qr(random.standard_normal((dim, LATENT_DIM)))
        slope = WIDTH / self._gains.spread(appearance, shares) * np.sqrt(dim / LATENT_DIM)
        self._views = slope * views.T  # (LATENT_DIM, D)
        quantiles = norm.ppf((random.permutation(dim) + 0.5) / dim)
        self._scale = SCALE * np.exp(SCALE_LOG_SD * quantiles)

    def features(self, numbered_schedule: tuple[int, Schedule]) -> NDArray[np.float32]:
        """Return the features of a video, (T, D), given its number in the data set and its schedule."""
        x: NDArray[np.float64] = self._latent(*numbered_schedule) @ self._views
        x += OFFSET
        np.exp(x, out=x)
        np.log1p(x, out=x)
        x *= self._scale / GRID
        return (np.rint(x, out=x) * GRID).astype(np.float32)

    def _latent(self, number: int, schedule: Schedule) -> NDArray[np.float64]:
        """Return u of each snippet, (T, LATENT_DIM)."""
        a, gains = self._appearance, self._gains
        random = np.random.default_rng([*self._seed, 1 + number])
        kinds, class_idx = schedule.kinds, schedule.class_idx
        action, context, background = (
            (kinds == kind)[:, None].astype(np.float64)
            for kind in (Kind.ACTION, Kind.CONTEXT, Kind.BACKGROUND)
        )
        # The background has the class of the first action.
        class_idx = np.where(class_idx < 0, schedule.actions[0].class_idx, class_idx)
        strength = np.exp(a.strength * random.standard_normal(4) - a.strength**2 / 2)
        scene, *deviations = _patterns(random, 5)
        looks = (self._class_scenes[class_idx], self._motions[class_idx], self._any_action, self._any_context)
        class_scene, motion, any_action, any_context = (
            m * (look + a.deviation * o) for m, look, o in zip(strength, looks, deviations, strict=True)
        )
        u: NDArray[np.float64] = a.scene * gains.scene * scene + a.drift * _drift(random, len(kinds))
        evidence = action + a.confusion * context + a.venue * background
        u += a.evidence * gains.class_scene * evidence * class_scene
        u += a.motion * gains.motion * action * motion
        u += a.separation * (action * any_action + context * any_context)
        u += a.noise * random.standard_normal(u.shape, dtype=np.float32)
        return u


def _patterns(random: np.random.Generator, count: int) -> NDArray[np.float64]:
    """Return Gaussian directions of about unit length, (count, LATENT_DIM)."""
    drawn = random.standard_normal((count, LATENT_DIM), dtype=np.float32)
    patterns: NDArray[np.float64] = drawn.astype(np.float64) / np.sqrt(LATENT_DIM)
    return patterns


def _drift(random: np.random.Generator, length: int) -> NDArray[np.float64]:
    """Return slow drift of about unit length, (length, LATENT_DIM), through points 20 snippets apart."""
    knots = _patterns(random, length // 20 + 2)
    position = np.arange(length) / 20
    left, share = position.astype(int), (position % 1)[:, None]
    length_of_mix = np.sqrt((1 - share) ** 2 + share**2)
    values: NDArray[np.float64] = (1 - share) / length_of_mix * knots[left]
    values += share / length_of_mix * knots[left + 1]
    return values
