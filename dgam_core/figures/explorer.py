"""The interactive time line: choose a test video, drag the threshold, and see how the segments change."""

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import vl_convert

from dgam_core.evaluation.module_analysis import snippet_kinds
from dgam_core.figures.style import KINDS, MODELS
from dgam_core.localize import Outputs
from dgam_core.segments import SegmentTable, runs
from dgam_core.snippets import DataSet

Rows = list[dict[str, Any]]

# Attention fills 0 to 1 of the vertical axis; the centres of the other rows lie above and below.
TRUTH_Y, SEGMENTS_Y, DETECTIONS_Y = 1.25, {"without": -0.3, "with": -0.7}, {"without": -1.15, "with": -1.4}
HALF_BAR = 0.08
HEIGHT_PX = 400


def time_line(
    data: DataSet,
    outputs: Mapping[str, Mapping[str, Mapping[str, Outputs]]],
    detections: Mapping[str, SegmentTable],
    threshold: float,
) -> alt.LayerChart:
    """Draw the time line of one test video; the reader chooses video, stream and threshold.

    The segments are the runs of snippets whose attention exceeds the threshold, each with its highest tIoU
    with a segment of the ground truth, of any class. Both are computed in the browser, where neither
    `find_segments` nor `tiou` exists; a test holds the results equal.

    Args:
        data: the data set.
        outputs: model ("without" or "with") → stream → test video → outputs.
        detections: model → its detections at the settings of the run.
        threshold: initial value of the threshold.
    """
    names, streams = [video.name for video in data.subset("test")], list(data.streams)
    controls = (
        alt.param(name="video", value=names[0], bind=alt.binding_select(options=names, name="Test video: ")),
        alt.param(name="stream", value=streams[0], bind=alt.binding_select(options=streams, name="Stream: ")),
        alt.param(
            name="threshold",
            value=threshold,
            bind=alt.binding_range(min=0, max=1, step=0.01, name="Threshold t on attention: "),
        ),
    )
    attention = alt.Chart(alt.NamedData("attention"))
    fixed = alt.Chart(alt.NamedData("fixed"))  # whatever the threshold
    rule = alt.Chart(alt.Data(values=[{}])).transform_calculate(t="threshold").mark_rule(strokeDash=[4, 3])
    segments = _segments(attention)
    curves = _snippets(attention).transform_calculate(time_s="(datum.i - 0.5) * datum.cell_s")
    layers = (
        _bars(fixed.transform_filter("datum.video == video"), alt.value(0.9),
              "(isValid(datum.score) ? ', score ' + format(datum.score, '.3f') : '')"),
        curves.mark_line(interpolate="step", strokeWidth=1.5).encode(x="time_s:Q", y="lam:Q", color="what:N"),
        rule.encode(y="t:Q"),
        _bars(segments, alt.Opacity("tIoU:Q", legend=None, scale=alt.Scale(domain=[0, 1], range=[0.25, 1])),
              "', tIoU ' + format(datum.tIoU, '.2f')"),
        _counts(segments),
    )  # fmt: skip
    kinds = _truth(data)
    rows = {"attention": _attention(data, outputs), "truth": _ground_truth(data)}
    rows["fixed"] = kinds + _detected(detections)
    chart = alt.layer(*layers, datasets=rows).add_params(*controls)
    return _with_axes(chart, {bar["what"] for bar in kinds}).properties(
        width="container", height=HEIGHT_PX, title=f"Attention and segments, {data.provenance}"
    )


def as_html(chart: alt.LayerChart) -> str:
    """Return a chart as a piece of HTML that needs no network: it contains the library that draws it."""
    spec = json.dumps(chart.to_dict()).replace("</", "<\\/")  # "</" would end the script
    options = json.dumps({"actions": False, "renderer": "svg"})
    library = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    style = (
        "#time-line { display: flex; flex-direction: column; width: 100%; background: white; color: black;"
        " padding: 0.5em; } "
        "#time-line .vega-bindings { order: -1; }"
    )
    script = f"(() => {{ {library} vegaEmbed('#time-line', {spec}, {options}); }})();"
    return f"<style>{style}</style><div id='time-line'></div><script>{script}</script>"


def _with_axes(chart: alt.LayerChart, kinds: set[str]) -> alt.LayerChart:
    colours = {**{kind: KINDS[kind] for kind in KINDS if kind in kinds}, **MODELS}
    label = "datum.label in {without: 1, with: 1} ? datum.label + ' L_re' : datum.label"
    return chart.encode(
        x=alt.X(title="time (s)", axis=alt.Axis(grid=False)),
        y=alt.Y(title=None, scale=alt.Scale(domain=[-1.55, 1.4], nice=False), axis=_rows()),
        color=alt.Color(
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
            legend=alt.Legend(title=None, orient="top", columns=3, labelExpr=label),
        ),
    )


def _rows() -> alt.Axis:
    """Axis with the names of the rows and, within the attention, its values."""
    names = {TRUTH_Y: "truth", 1: "λ = 1", 0.5: "0.5", 0: "0"}
    names |= {y: f"λ > t, {model}" for model, y in SEGMENTS_Y.items()}
    names |= {y: f"detected {model}" for model, y in DETECTIONS_Y.items()}
    label = " : ".join(f"datum.value == {y} ? '{name}'" for y, name in names.items()) + " : ''"
    return alt.Axis(values=list(names), labelExpr=label, grid=False, ticks=False, domain=False)


def _bars(chart: alt.Chart, opacity: Any, more: str) -> alt.Chart:
    """Bars from start_s to end_s around y; `more` is an expression that continues the label of each."""
    times = "format(datum.start_s, '.2f') + ' s to ' + format(datum.end_s, '.2f') + ' s'"
    return (
        chart.transform_calculate(low=f"datum.y - {HALF_BAR}", high=f"datum.y + {HALF_BAR}")
        .transform_calculate(label=f"datum.what + ', ' + {times} + {more}")
        .mark_rect()
        .encode(
            x="start_s:Q", x2="end_s:Q", y="low:Q", y2="high:Q", color="what:N", opacity=opacity,
            tooltip="label:N", description="label:N",
        )
    )  # fmt: skip


def _snippets(attention: alt.Chart) -> alt.Chart:
    """A row per snippet of the chosen video and stream, numbered from 1, with the attention before it."""
    return (
        attention.transform_filter("datum.video == video && datum.stream == stream")
        .transform_flatten(["lam"])
        .transform_window(i="row_number()", previous="lag(lam)", groupby=["what"])
    )


def _segments(attention: alt.Chart) -> alt.Chart:
    """The runs of snippets above the threshold, with start_s, end_s and the best tIoU."""
    columns = ["video", "what", "segment", "cell_s", "duration_s"]
    y = " : ".join(f"datum.what == '{model}' ? {y}" for model, y in SEGMENTS_Y.items()) + " : 0"
    return (
        _snippets(attention)
        .transform_calculate(begins="datum.lam > threshold && !(datum.previous > threshold) ? 1 : 0")
        .transform_window(segment="sum(begins)", frame=[None, 0], groupby=["what"])
        .transform_filter("datum.lam > threshold")
        .transform_aggregate(first="min(i)", last="max(i)", groupby=columns)
        .transform_calculate(
            y=y,
            start_s="(datum.first - 1) * datum.cell_s",
            end_s="min(datum.last * datum.cell_s, datum.duration_s)",
        )
        .transform_lookup(
            "video", from_=alt.LookupData(alt.NamedData("truth"), "video", ["gt_start_s", "gt_end_s"])
        )
        .transform_flatten(["gt_start_s", "gt_end_s"])
        .transform_calculate(
            overlap="max(0, min(datum.end_s, datum.gt_end_s) - max(datum.start_s, datum.gt_start_s))",
            pair_tiou="datum.overlap / (datum.end_s - datum.start_s + datum.gt_end_s - datum.gt_start_s"
            " - datum.overlap)",
        )
        .transform_aggregate(tIoU="max(pair_tiou)", groupby=["what", "segment", "start_s", "end_s", "y"])
    )


def _counts(segments: alt.Chart) -> alt.Chart:
    """A line under each row of segments: how many there are, and how many reach a tIoU of one half."""
    return (
        segments.transform_calculate(hit="datum.tIoU >= 0.5 ? 1 : 0")
        .transform_aggregate(count="count()", hits="sum(hit)", groupby=["what", "y"])
        .transform_calculate(
            low=f"datum.y - {2.4 * HALF_BAR}",
            text="datum.count + (datum.count == 1 ? ' segment, ' : ' segments, ') + datum.hits"
            " + ' with tIoU of at least 0.5'",
        )
        .mark_text(align="left", fontSize=11)
        .encode(x=alt.value(4), y="low:Q", text="text:N")
    )


def _attention(data: DataSet, outputs: Mapping[str, Mapping[str, Mapping[str, Outputs]]]) -> Rows:
    """A row per model, stream and test video, with the attention of all snippets."""
    return [
        {
            "video": video.name,
            "stream": stream,
            "what": model,
            "cell_s": video.num_snippets * data.snippet_s / len(videos[video.name].attention),
            "duration_s": video.duration_s,
            "lam": [round(float(lam), 4) for lam in videos[video.name].attention],
        }
        for model, streams in outputs.items()
        for stream, videos in streams.items()
        for video in data.subset("test")
    ]


def _ground_truth(data: DataSet) -> Rows:
    """A row per test video; a video without actions gets an action before its start."""
    return [
        {
            "video": video.name,
            "gt_start_s": [s.start_s for s in video.segments] or [-1],
            "gt_end_s": [s.end_s for s in video.segments] or [-1],
        }
        for video in data.subset("test")
    ]


def _truth(data: DataSet) -> Rows:
    """A row per run of snippets of a kind."""
    rows: Rows = []
    for video in data.subset("test"):
        kinds = snippet_kinds(data, video, video.num_snippets)
        for first, end in runs(kinds):
            start_s, end_s = (min(float(i) * data.snippet_s, video.duration_s) for i in (first, end))
            rows.append(_bar(video.name, str(kinds[first]), start_s, end_s, TRUTH_Y))
    return rows


def _detected(detections: Mapping[str, SegmentTable]) -> Rows:
    return [
        {**_bar(video, model, start_s, end_s, DETECTIONS_Y[model]), "score": score}
        for model, table in detections.items()
        for video, _, start_s, end_s, score in table.rows()
    ]


def _bar(video: str, what: str, start_s: float, end_s: float, y: float) -> dict[str, Any]:
    return {"video": video, "what": what, "start_s": round(start_s, 3), "end_s": round(end_s, 3), "y": y}
