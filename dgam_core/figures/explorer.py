"""The interactive time line: choose a test video, drag the threshold, and see how the segments change."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from dgam_core.evaluation.module_analysis import contrast, snippet_kinds
from dgam_core.figures.style import KINDS, MODELS
from dgam_core.localize import Outputs
from dgam_core.segments import SegmentTable, runs
from dgam_core.snippets import DataSet, Video

OutputsOf = Mapping[str, Mapping[str, Mapping[str, Outputs]]]

STYLE = """
#time-line { color: var(--pst-color-text-base, var(--jp-content-font-color1, currentColor)); margin: 1em 0; }
#time-line .controls { display: flex; flex-wrap: wrap; gap: 0.5em 1.5em; margin-bottom: 0.8em; }
#time-line :is(.controls, .legend, p) { font-size: 0.9em; }
#time-line select { max-width: 16em; color: inherit; background: transparent; font: inherit; }
#time-line option { color: black; background: white; }
#time-line .threshold-control { display: flex; flex: 1 1 20em; gap: 0.8em; align-items: center; }
#time-line input { flex: 1; min-width: 6em; }
#time-line p { margin: 0.8em 0 0; }
#time-line .legend span::before {
  content: ""; display: inline-block; width: 0.9em; height: 0.9em; margin: 0 0.4em; vertical-align: -0.1em;
  background: var(--kind); border: 1px solid;
}
#time-line svg { display: block; overflow: hidden; font-family: inherit; }
#time-line text { fill: currentColor; font-size: 13px; }
#time-line path { fill: none; }
#time-line .axis { stroke: currentColor; }
#time-line .threshold { cursor: ns-resize; touch-action: none; }
#time-line .threshold .seen { stroke: currentColor; stroke-width: 1.5; stroke-dasharray: 6 4; }
#time-line .threshold .grip { stroke: transparent; stroke-width: 20; pointer-events: stroke; }
#time-line .threshold circle { fill: currentColor; }
"""
STRIP = """
<p><b>{model} <i>L</i><sub>re</sub></b>: <span data-part="{model}-result"></span></p>
<svg data-part="{model}" height="154" role="group" aria-label="Attention and segments {model} L_re"><g></g>
<g class="threshold"><path class="grip"/><path class="seen"/><circle r="5"/></g></svg>
"""
PAGE = """
<style>{style}</style>
<div id="time-line" role="group" aria-label="Time line of a test video, {provenance}">
<div class="controls">
<label>Class <select data-part="class"><option value="">all</option></select></label>
<label>Order <select data-part="order"><option value="name">as in the data</option>
<option value="change">largest change first</option></select></label>
<label>Test video <select data-part="video"></select></label>
<label>Stream <select data-part="stream"></select></label>
<div class="threshold-control"><label for="time-line-threshold">Threshold t on attention</label>
<input id="time-line-threshold" data-part="threshold" type="range" min="0" max="1" step="0.01">
<span data-part="threshold-value" aria-hidden="true"></span></div>
</div>
<p class="legend">{provenance}: {kinds}</p>
<svg data-part="truth" height="22" role="group" aria-label="Truth"></svg>
{strips}
<svg data-part="time" height="40" role="img" aria-label="Axis of time in seconds"></svg>
</div>
<script>{script}timeLine.draw(document.getElementById("time-line"), {content});</script>
"""


def time_line(
    data: DataSet, outputs: OutputsOf, detections: Mapping[str, SegmentTable], threshold: float
) -> dict[str, Any]:
    """Return what the time line of the test videos shows; the reader chooses video, stream and threshold.

    The segments are the runs of snippets whose attention exceeds the threshold, each with its highest tIoU
    with a segment of the ground truth, of any class. They and their average precision are computed in the
    browser, which has neither `find_segments` nor `mean_average_precision`; a test holds the results equal.

    Args:
        data: the data set.
        outputs: model ("without" or "with") → stream → test video → outputs.
        detections: model → its detections at the settings of the run.
        threshold: initial value of the threshold.
    """
    videos = [_video(data, video, outputs, detections) for video in data.subset("test")]
    return {
        "provenance": data.provenance,
        "colours": KINDS | MODELS,
        "models": list(MODELS),
        "streams": list(data.streams),
        "threshold": threshold,
        "videos": videos,
    }


def as_html(content: Mapping[str, Any]) -> str:
    """Return a time line as a piece of HTML that needs no network."""
    kinds = dict.fromkeys(kind for video in content["videos"] for kind, *_ in video["truth"])
    legend = (f'<span style="--kind: {content["colours"][kind]}">{kind}</span>' for kind in kinds)
    return PAGE.format(
        style=STYLE,
        provenance=escape(content["provenance"]),
        kinds=" ".join(legend),
        strips="".join(STRIP.format(model=model) for model in content["models"]),
        script=Path(__file__).with_name("time_line.js").read_text(encoding="utf-8"),
        content=json.dumps(content).replace("</", "<\\/"),  # "</" would end the script
    )


def _video(
    data: DataSet, video: Video, outputs: OutputsOf, detections: Mapping[str, SegmentTable]
) -> dict[str, Any]:
    """What the time line shows of a test video."""
    changes = [
        contrast(data, video, outputs["with"][stream][video.name].attention)
        - contrast(data, video, outputs["without"][stream][video.name].attention)
        for stream in data.streams
    ]
    change = float(np.mean(changes))
    return {
        "name": video.name,
        "labels": list(video.labels),
        "duration_s": video.duration_s,
        "change": round(change, 4) if np.isfinite(change) else None,  # of the contrast, None without action
        "truth": _truth(data, video),
        "actions": [(segment.start_s, segment.end_s) for segment in video.segments],
        "attention": {
            stream: {model: _attention(data, video, outputs[model][stream][video.name]) for model in MODELS}
            for stream in data.streams
        },
        "detections": {
            model: [
                (round(start_s, 3), round(end_s, 3), score)
                for _, _, start_s, end_s, score in table.of_video(video.name).rows()
            ]
            for model, table in detections.items()
        },
    }


def _attention(data: DataSet, video: Video, outputs: Outputs) -> dict[str, Any]:
    """The attention of all snippets, and how many seconds each stands for."""
    lam = outputs.attention
    return {
        "cell_s": video.num_snippets * data.snippet_s / len(lam),
        "lam": [round(float(value), 4) for value in lam],
    }


def _truth(data: DataSet, video: Video) -> list[tuple[str, float, float]]:
    """The runs of snippets of a kind, with start and end in seconds."""
    kinds = snippet_kinds(data, video, video.num_snippets)
    bounds_s = np.minimum(runs(kinds) * data.snippet_s, video.duration_s).round(3)
    return [
        (str(kinds[first]), start_s, end_s)
        for (first, _), (start_s, end_s) in zip(runs(kinds), bounds_s.tolist(), strict=True)
    ]
