"""Time line figures of videos, their values by kind of snippet, and curves over the epochs of a training."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dgam_core.evaluation.intervals import summarize
from dgam_core.figures.style import (
    KIND_LINES,
    KINDS,
    MODELS,
    OURS,
    PERCENT,
    WIDTH_IN,
    drawable,
    sd_within,
    set_style,
    stream_colour,
    within,
)
from dgam_core.localize import Outputs
from dgam_core.segments import SegmentTable, runs
from dgam_core.snippets import DataSet, Video
from dgam_core.system.files import whole_file


def of_video(
    video: Video,
    snippet_s: float,
    kinds: NDArray[np.str_],
    attention: Mapping[str, Mapping[str, NDArray[np.floating]]],
    class_score: Mapping[str, NDArray[np.floating]],
    detections: Mapping[str, SegmentTable],
    provenance: str,
) -> Figure:
    """Draw the time line of a video: what it shows, attention, class scores and detections (Fig. 1).

    Args:
        video: the video.
        snippet_s: length of a snippet in seconds, which tells where each snippet lies.
        kinds: what each snippet shows, as `module_analysis.snippet_kinds` returns it.
        attention: stream → model ("without" or "with") → λ, (N,).
        class_score: stream → probability of the video's class by the model "with", (N,).
        detections: model → detections in the video.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    heights = [0.5, *[1.2] * len(attention), 0.35 * len(detections)]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(WIDTH_IN, 1.5 * sum(heights)), sharex=True, height_ratios=heights
    )
    extent_s = video.num_snippets * snippet_s
    _kinds(axes[0], extent_s, kinds)
    for panel, (stream, models) in zip(axes[1:], attention.items(), strict=False):
        for model, values in models.items():
            _steps(panel, extent_s, values, MODELS[model], f"attention {model}")
        _steps(panel, extent_s, class_score[stream], "black", "class score (with)", linestyle=":")
        panel.set(ylim=(-0.05, 1.05), ylabel=stream)
    axes[1].legend(fontsize="x-small", ncols=3, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    _detections(axes[-1], detections)
    axes[-1].set(xlabel="time (s)", xlim=(0, video.duration_s))
    figure.suptitle(drawable(f"{video.name}: {', '.join(video.labels)} ({provenance})"))
    return figure


def _kinds(axes: Axes, extent_s: float, kinds: NDArray[np.str_]) -> None:
    edges_s = np.linspace(0, extent_s, len(kinds) + 1)
    first, end = runs(kinds).T
    spans = np.stack([edges_s[first], edges_s[end] - edges_s[first]], axis=1)
    for kind in np.unique(kinds).tolist():
        axes.broken_barh(spans[kinds[first] == kind], (0, 1), color=KINDS[kind], label=kind, linewidth=0)
    axes.set_yticks([0.5], ["truth"])
    axes.legend(fontsize="x-small", ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0)


def _steps(
    axes: Axes, extent_s: float, values: NDArray[np.floating], colour: str, label: str, linestyle: str = "-"
) -> None:
    """Draw values of all snippets, which cover `extent_s` seconds, in steps; a video may last longer."""
    edges_s = np.linspace(0, extent_s, len(values) + 1)
    axes.stairs(values, edges_s, color=colour, label=label, linewidth=1.2, linestyle=linestyle, baseline=None)


def _detections(axes: Axes, detections: Mapping[str, SegmentTable]) -> None:
    """One row per model; the higher the score of a detection, the darker."""
    for y, (model, table) in enumerate(detections.items()):
        _shaded(axes, table, (y - 0.4, 0.8), MODELS[model], table.score.max(initial=0.0))
    axes.set_yticks(range(len(detections)), [f"detected {model}" for model in detections])
    axes.set_ylim(len(detections) - 0.5, -0.5)


def _shaded(
    axes: Axes, detections: SegmentTable, row: tuple[float, float], colour: str, highest: float
) -> None:
    """Detections as bars in one row, given by its bottom and height; the highest score is the darkest."""
    for _, _, start_s, end_s, score in detections.rows():
        shade = 0.15 + 0.85 * max(score, 0.0) / highest if highest > 0 else 0.15
        axes.broken_barh([(start_s, end_s - start_s)], row, color=colour, alpha=shade)


def of_detections(
    video: Video,
    snippet_s: float,
    attention: Mapping[str, NDArray[np.floating]],
    detections: SegmentTable,
    provenance: str,
) -> Figure:
    """Draw the time line of a video: attention, and detections above annotations, a row per class.

    Args:
        video: the video.
        snippet_s: length of a snippet in seconds, which tells where each snippet lies.
        attention: stream → λ, (N,).
        detections: detections in the video.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    labels = sorted({*map(str, detections.label), *(segment.label for segment in video.segments)})
    rows = [drawable(label) for label in labels]
    height_in = 0.35 * max(len(labels), 1)
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(WIDTH_IN, 2.2 + height_in), sharex=True, height_ratios=[1.3, height_in + 0.2]
    )
    for stream, values in sorted(attention.items()):
        _steps(above, video.num_snippets * snippet_s, values, stream_colour(stream), stream)
    above.set(ylim=(-0.05, 1.05), ylabel="attention λ")
    above.legend(fontsize="x-small", ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    highest = detections.score.max(initial=0.0)
    for y, label in enumerate(labels):
        of_class = detections.take(np.flatnonzero(detections.label == label))
        _shaded(below, of_class, (y - 0.35, 0.7), OURS, highest)
        spans = [(s.start_s, s.end_s - s.start_s) for s in video.segments if s.label == label]
        below.broken_barh(spans, (y + 0.35, 0.12), color=KINDS["action"])
    below.set_yticks(range(len(labels)), rows)
    below.set(ylim=(max(len(labels), 1) - 0.45, -0.5), xlim=(0, video.duration_s))
    below.set_xlabel("time (s); blue: detected, darker means more confident; green line: annotated")
    figure.suptitle(drawable(f"{video.name} ({provenance})"))
    return figure


def save_detections(
    folder: Path, data: DataSet, outputs: Mapping[str, Mapping[str, Outputs]], detections: SegmentTable
) -> None:
    """Write the time line figure of each test video as <folder>/<video>.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for video in data.subset("test"):
        attention = {stream: videos[video.name].attention for stream, videos in outputs.items()}
        figure = of_detections(
            video, data.snippet_s, attention, detections.of_video(video.name), data.provenance
        )
        save(folder / f"{video.name}.png", figure)


def save(path: Path, figure: Figure) -> None:
    """Write a figure to a file, whole or not at all."""
    with whole_file(path) as temporary:
        figure.savefig(temporary)
    plt.close(figure)


def of_norms(data: DataSet, count: int = 4) -> Figure:
    """Draw the norm of the features, ‖x_t‖, over time for a few videos, evenly chosen; gaps and jumps show.

    Args:
        data: the data set.
        count: number of videos.
    """
    set_style()
    video_idx = np.unique(np.linspace(0, len(data.videos) - 1, count).round().astype(int))
    videos = [data.videos[i] for i in video_idx]
    titles = [drawable(f"{video.name} ({video.subset})") for video in videos]
    figure, rows = plt.subplots(len(videos), 1, figsize=(WIDTH_IN, 1.5 * len(videos) + 0.5), squeeze=False)
    for axes, video, title in zip(rows[:, 0], videos, titles, strict=True):
        for stream in data.streams:
            norms = np.linalg.norm(data.load(stream, video.name).astype(np.float32), axis=1)
            _steps(axes, video.num_snippets * data.snippet_s, norms, stream_colour(stream), stream)
        for segment in video.segments:
            axes.axvspan(segment.start_s, segment.end_s, color=KINDS["action"], alpha=0.2, linewidth=0)
        axes.set_title(title, fontsize="small")
        axes.set(xlim=(0, video.duration_s), ylim=(0, None), ylabel="‖x‖")
    rows[0, 0].legend(fontsize="x-small", ncols=2, loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0)
    rows[-1, 0].set_xlabel("time (s); green: annotated")
    figure.suptitle(drawable(f"Norms of the features of {data.name} ({data.provenance})"))
    return figure


def by_kind(
    values: pd.DataFrame, provenance: str, ylabel: str, title: str, limits: tuple[float, float] = (0, np.inf)
) -> Figure:
    """Mean value of the snippets of each kind: bars per model in a panel per stream, ±1 sd over seeds.

    Args:
        values: columns kind, model, stream, seed and value.
        provenance: "simulated" or "measured on real features".
        ylabel: the quantity.
        title: the quantity, as a title.
        limits: lowest and highest possible value; the standard deviation is drawn up to there.
    """
    set_style()
    streams, kinds = sorted(values["stream"].unique()), [k for k in KINDS if k in set(values["kind"])]
    figure, panels = plt.subplots(1, len(streams), figsize=(WIDTH_IN, 3.0), sharey=True, squeeze=False)
    last = panels[0, -1]
    for axes, stream in zip(panels[0], streams, strict=True):
        sns.barplot(
            values[values["stream"] == stream],
            x="kind",
            y="value",
            order=kinds,
            hue="model",
            hue_order=[model for model in MODELS if model in set(values["model"])],
            palette=MODELS,
            errorbar=sd_within(limits),
            err_kws={"color": "black", "linewidth": 1},
            capsize=0.2,
            legend=axes is last and values["model"].nunique() > 1,
            ax=axes,
        )
        axes.set(title=stream, xlabel="", ylabel=ylabel)
    if last.get_legend():
        last.set_ylim(top=1.35 * last.get_ylim()[1])  # room for the legend
        last.legend(
            title="generative modeling", ncols=2, loc="upper right", fontsize="small", title_fontsize="small"
        )
    figure.suptitle(f"{title}, {provenance}; mean and ±1 sd over seeds")
    return figure


# Loss → its title, and its unit.
LOSSES = {
    "log_likelihood": ("log-likelihood", "nats per snippet"),
    "kl": ("KL divergence", "nats per snippet"),
    "cvae": (r"$\mathcal{L}_{CVAE}$", "loss"),
    "fg": (r"$\mathcal{L}_{fg}$", "nats per video"),
    "bg": (r"$\mathcal{L}_{bg}$", "nats per video"),
    "guide": (r"$\mathcal{L}_{guide}$", "per snippet"),
    "re": (r"$\mathcal{L}_{re}$", "nats per video"),
}


def of_training(
    losses: pd.DataFrame, attention: Sequence[tuple[int, NDArray[np.floating]]], warmup: int, provenance: str
) -> Figure:
    """Losses of both stages over the epochs, and histograms of the test snippets' attention.

    Args:
        losses: columns loss, stage ("a" or "b"), epoch (from 1), seed and value.
        attention: epoch of each checkpoint, and λ of all test snippets then, (N,).
        warmup: epochs of the warm-up, shaded.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    names = list(dict.fromkeys(losses["loss"]))
    num_rows = -(-(len(names) + 1) // 4)
    figure, panels = plt.subplots(num_rows, 4, figsize=(WIDTH_IN, 2.1 * num_rows))
    for axes, name in zip(panels.flat, names, strict=False):
        curve = losses[losses["loss"] == name]
        sns.lineplot(curve, x="epoch", y="value", errorbar="sd", color=OURS, ax=axes)
        axes.axvspan(0, warmup, color="black", alpha=0.07, linewidth=0)
        title, unit = LOSSES[str(name)]
        axes.set_title(f"({curve['stage'].iloc[0]}) {title}", fontsize="small")
        axes.set_ylabel(unit, fontsize="small")
    last = panels.flat[len(names)]
    shades = sns.color_palette("mako_r", len(attention))
    for shade, (epoch, lam) in zip(shades, attention, strict=True):
        last.hist(lam, bins=20, range=(0, 1), histtype="step", density=True, color=shade, label=f"{epoch}")
    last.set_title("attention at an epoch", fontsize="small")
    last.set(xlabel="λ of a test snippet", yscale="log")
    last.set_ylabel("density", fontsize="small")
    figure.legend(*last.get_legend_handles_labels(), loc="outside lower center", ncols=10, title="epoch")
    for axes in panels.flat[len(names) + 1 :]:
        axes.set_visible(False)
    title = f"Losses, {provenance}: mean and ±1 sd over seeds, warm-up shaded; attention of one seed"
    figure.suptitle(title)
    return figure


def of_map(values: pd.DataFrame, warmup: int, provenance: str) -> Figure:
    """mAP over the epochs, without and with generative attention modeling.

    Args:
        values: columns row ("without" or "with"), seed, epoch and value, mAP at tIoU 0.5 in percent.
        warmup: epochs of the warm-up, shaded.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH_IN, 3.2))
    for row, of_row in values.groupby("row", sort=False):
        summaries = of_row.groupby("epoch")["value"].agg(summarize)
        low, high = within(PERCENT, [[getattr(s, end) for s in summaries] for end in ("low", "high")])
        means, colour = [summary.mean for summary in summaries], MODELS[str(row)]
        axes.plot(summaries.index, means, "o-", color=colour, label=f"{row} generative modeling")
        axes.fill_between(summaries.index, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.axvspan(0, warmup, color="black", alpha=0.07, linewidth=0)
    axes.set(xlabel="epoch", ylabel="mAP at tIoU 0.5 (%)", ylim=(0, None), xlim=(0, None))
    count = values["seed"].nunique()
    axes.set_title(
        f"{provenance}, mean and 95 % interval over {count} seeds, warm-up shaded", fontsize="small"
    )
    axes.legend(fontsize="small")
    return figure


def mechanism(errors: pd.DataFrame, attention: pd.DataFrame, provenance: str) -> Figure:
    """Draw, for each stream, what reconstruction asks of attention, and where attention lies.

    Args:
        errors: columns stream, kind (of snippet), seed, lam (λ) and value, the squared error per feature at
            that λ less its mean over λ.
        attention: columns stream, kind, model ("without" or "with") and value, λ of a snippet.
        provenance: "simulated" or "measured on real features".
    """
    set_style()
    streams = sorted(errors["stream"].unique())
    figure, panels = plt.subplots(
        2, len(streams), figsize=(WIDTH_IN, 5.4), sharex=True, sharey="row", squeeze=False
    )
    for column, stream in zip(panels.T, streams, strict=True):
        sns.lineplot(
            errors[errors["stream"] == stream],
            x="lam",
            y="value",
            hue="kind",
            palette=KIND_LINES,
            errorbar="sd",
            ax=column[0],
            legend=stream == streams[-1],
        )
        column[0].axhline(0, color="black", linewidth=0.6)
        column[0].set_title(f"{stream}, {provenance}")
        column[0].set_ylabel("squared error per feature,\nless its mean over λ")
        of_stream = attention[attention["stream"] == stream]
        bins = np.linspace(0, 1, 26)
        for (kind, model), values in of_stream.groupby(["kind", "model"])["value"]:
            density, _ = np.histogram(values, bins, density=True)
            style = {"without": "--", "with": "-"}[str(model)]
            column[1].stairs(
                density, bins, color=KIND_LINES[str(kind)], linestyle=style, label=f"{kind}, {model}"
            )
        column[1].set(xlabel="attention λ", ylabel="density of snippets", yscale="log", xlim=(0, 1))
    handles, labels = panels[1, -1].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize="x-small", ncols=3, loc="outside lower center")
    return figure
