"""When things happen in a simulated video: its length, its actions, the context around them.

The numbers come from the annotations of THUMOS14 and ActivityNet1.2; lengths are in seconds.

THUMOS14, a window on a renewal process: gap, action, gap, action, … Four traits of the annotations shape it.

- Videos have a pace. Of the variance of the log gaps half lies between videos, so each has a factor of
  its own; likewise for the log lengths of one class's actions. Without a pace no video would be dense.
- The window opens within a gap and closes within one, as who cuts a video leaves some time around the
  actions. Long gaps are the likelier to be met; this is why the gaps at the two ends are the longest.
- The longer a video's actions, the longer the video (correlation 0.3 of the logarithms).
- Two classes in a video are not a coincidence: every CliffDiving is annotated as a Diving too, and bowling
  and batting occur together. Any other pair is rare.

ActivityNet1.2, a division of the video: the share of action is drawn, then divided among the actions,
and the rest among the gaps. Where the share is high there tends to be one action only.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dgam_core.snippets import Kind

FPS, SNIPPET_FRAMES = 25.0, 16
SNIPPET_S = SNIPPET_FRAMES / FPS

# Class → mean and standard deviation of its segments' log length: THUMOS14, training videos.
THUMOS14_CLASSES: dict[str, tuple[float, float]] = {
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
PART_OF = {"CliffDiving": "Diving"}  # every segment of the first is annotated as the second too
TOGETHER = {"CricketBowling": "CricketShot", "CricketShot": "CricketBowling"}
TOGETHER_SHARE, ANY_PAIR_SHARE = 13 / 20, 4 / 160  # of the cricket videos; of the others

LOG_VIDEO_S = (4.94, 0.92)  # mean, standard deviation
VIDEO_S = (20.0, 1600.0)  # the longest real video has 26 minutes
PACE = 0.3  # correlation of a video's log length with the mean log length of its actions: 0.29, 0.35
BETWEEN = 0.5  # share of the variance of log lengths and log gaps that lies between videos
LOG_GAP_SD = 1.53  # within and between videos 1.08 each: 1.08² + 1.08² = 1.53²
# The only fitted number, to 15 segments per video. The measured one, 1.48 between two actions, leaves out the
# long gaps: those that an end of the video cuts, and those that leave it with one action.
LOG_GAP_MEAN = 1.9

# ActivityNet1.2's training videos at these percentiles; the ends are ours.
_PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
_VIDEO_S = (5, 18, 62, 111, 171, 225, 240)
_ACTION_SHARE = (0.02, 0.12, 0.44, 0.70, 0.88, 1.0, 1.0)
_ONE_ACTION = 0.756  # of the videos; the others have two and, on average, 0.98 more
_MORE_ACTIONS = 0.98
_SHORTEST_S = 1.0  # an action; one real segment in a hundred is shorter than 1.06 s
_CLASS_WEIGHT = 0.38  # the classes' mean shares of action spread by 0.106, the videos' by 0.28
_SINGLE_WEIGHT = 0.35  # the share of action is 0.68 on average in videos of one action, 0.56 in those of two

# Each side's context as a multiple of its action's length: uniform, the longest three times the shortest.
# THUMOS14: such that context covers 1.52 times as much as action. In published Table 2 the classifier without
# generative modelling takes at least that much, |(cls − gt) ∩ not att| / |gt| = 1.522, for action.
THUMOS14_SIDES = (2.0, 6.0)
# ActivityNet1.2, of which no such statistic is published: the same share of the time without action.
ACTIVITYNET12_SIDES = (0.5, 1.5)

_NORMAL = NormalDist()


@dataclass(frozen=True)
class Action:
    """One action: its class as an index, start and end in seconds."""

    class_idx: int
    start_s: float
    end_s: float


@dataclass(frozen=True)
class Schedule:
    """What happens in a video, and what each snippet shows.

    Attributes:
        actions: in the order of time; they do not overlap.
        kinds: `Kind` of each snippet, by its middle, (T,) uint8.
        class_idx: class of each snippet of action or context, −1 in the background, (T,) int16.
    """

    actions: tuple[Action, ...]
    kinds: NDArray[np.uint8]
    class_idx: NDArray[np.int16]

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds, a whole number of snippets."""
        return len(self.kinds) * SNIPPET_S


def draw_thumos14(class_idx: int, random: np.random.Generator) -> Schedule:
    """Draw a video of a THUMOS14 class.

    Args:
        class_idx: index of the class in `THUMOS14_CLASSES`; the video can have another class beside it.
    """
    all_means, all_sds = np.array(list(THUMOS14_CLASSES.values())).T
    classes = _classes_of_video(class_idx, random)
    log_s = all_means[classes] + np.sqrt(BETWEEN) * all_sds[classes] * random.standard_normal()
    log_sd = np.sqrt(1 - BETWEEN) * all_sds[classes]
    # How long this video's actions are among all videos', in standard deviations.
    slowness = (log_s.mean() - all_means.mean()) / np.sqrt(all_means.var() + BETWEEN * (all_sds**2).mean())
    mean, sd = LOG_VIDEO_S
    video_s = np.exp(mean + sd * _mix(PACE, slowness, random))
    duration_s = _whole_snippets(float(np.clip(video_s, *VIDEO_S)))

    def draw() -> list[Action]:
        log_gap = random.normal(LOG_GAP_MEAN, np.sqrt(BETWEEN) * LOG_GAP_SD)
        gap_sd = np.sqrt(1 - BETWEEN) * LOG_GAP_SD
        # A gap that a random moment falls into has a mean log length larger by the variance.
        time_s = random.random() * random.lognormal(log_gap + gap_sd**2, gap_sd)
        actions: list[Action] = []
        while True:
            which = random.integers(len(classes))
            end_s = time_s + random.lognormal(log_s[which], log_sd[which])
            if end_s > duration_s:
                return actions
            actions.append(Action(classes[which], time_s, end_s))
            time_s = end_s + random.lognormal(log_gap, gap_sd)

    while True:
        schedule = _label(draw(), duration_s, THUMOS14_SIDES, random)
        if (schedule.kinds == Kind.ACTION).any():  # every real video has an action
            return schedule


def _classes_of_video(class_idx: int, random: np.random.Generator) -> list[int]:
    names = list(THUMOS14_CLASSES)
    partner = TOGETHER.get(names[class_idx])
    if partner and random.random() < TOGETHER_SHARE:
        return [class_idx, names.index(partner)]
    if not partner and random.random() < ANY_PAIR_SHARE:
        return [class_idx, (class_idx + int(random.integers(1, len(names)))) % len(names)]
    return [class_idx]


def draw_activitynet12(class_idx: int, num_classes: int, random: np.random.Generator) -> Schedule:
    """Draw a video of one of ActivityNet1.2's classes.

    Args:
        class_idx: index of the class; the higher it is, the more of its videos is action.
        num_classes: number of classes, C.
    """
    duration_s = _whole_snippets(float(np.interp(100 * random.random(), _PERCENTILES, _VIDEO_S)))
    fullness = _mix(_CLASS_WEIGHT, _NORMAL.inv_cdf((class_idx + 0.5) / num_classes), random)
    action_s = duration_s * float(np.interp(100 * _NORMAL.cdf(fullness), _PERCENTILES, _ACTION_SHARE))
    count = min(_num_actions(_NORMAL.cdf(_mix(-_SINGLE_WEIGHT, fullness, random))), int(duration_s))
    spare_s = max(action_s - count * _SHORTEST_S, 0.0)
    # In videos of two actions the longer has 0.69 of their time, and each gap a third of the rest.
    lengths_s = _SHORTEST_S + spare_s * random.dirichlet(np.full(count, 2.0))
    gaps_s = (duration_s - lengths_s.sum()) * random.dirichlet(np.ones(count + 1))
    ends_s = np.cumsum(gaps_s[:-1]) + np.cumsum(lengths_s)
    # Sums of the parts can be off the whole by a rounding error.
    actions = [
        Action(class_idx, max(float(end_s - length_s), 0.0), min(float(end_s), duration_s))
        for end_s, length_s in zip(ends_s, lengths_s, strict=True)
    ]
    return _label(actions, duration_s, ACTIVITYNET12_SIDES, random)


def _num_actions(position: float) -> int:
    """Number of actions at a position in [0, 1) of its distribution: one, or two and a geometric number."""
    if position < _ONE_ACTION:
        return 1
    more = np.log((1 - position) / (1 - _ONE_ACTION)) / np.log(_MORE_ACTIONS / (1 + _MORE_ACTIONS))
    return 2 + int(more)


def _mix(weight: float, known: float, random: np.random.Generator) -> float:
    """Draw a standard normal number that is correlated with a known one by `weight`."""
    return float(weight * known + np.sqrt(1 - weight**2) * random.standard_normal())


def _whole_snippets(duration_s: float) -> float:
    return int(duration_s / SNIPPET_S) * SNIPPET_S


def _label(
    actions: list[Action], duration_s: float, sides: tuple[float, float], random: np.random.Generator
) -> Schedule:
    """Label each snippet by what its middle shows; context belongs to the nearest action."""
    num_snippets = round(duration_s / SNIPPET_S)
    kinds = np.full(num_snippets, Kind.BACKGROUND, dtype=np.uint8)
    class_idx = np.full(num_snippets, -1, dtype=np.int16)
    nearest_s = np.full(num_snippets, np.inf)
    middle_s = (np.arange(num_snippets) + 0.5) * SNIPPET_S
    for action in actions:
        before_s, after_s = (action.end_s - action.start_s) * random.uniform(*sides, size=2)
        distance_s = np.maximum(action.start_s - middle_s, middle_s - action.end_s)
        around = (middle_s >= action.start_s - before_s) & (middle_s < action.end_s + after_s)
        around &= distance_s < nearest_s
        inside = (middle_s >= action.start_s) & (middle_s < action.end_s)
        kinds[around] = Kind.CONTEXT
        kinds[inside] = Kind.ACTION
        class_idx[around | inside] = action.class_idx
        nearest_s[around] = distance_s[around]
    return Schedule(tuple(actions), kinds, class_idx)
