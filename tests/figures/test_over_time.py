from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from dgam_core.figures import over_time
from dgam_core.segments import SegmentTable


def test_a_video_has_its_truth_its_attention_and_its_detections(tiny):
    video = tiny.videos[2]
    kinds = np.array(
        ["background", "context", "action", "action", "context", "background", "background", "action"]
    )
    attention = {s: {"without": np.full(8, 0.2), "with": np.full(8, 0.9)} for s in ("flow", "rgb")}
    table = SegmentTable.from_rows([("v2", "jump", 2, 4, 0.8), ("v2", "jump", 5, 6, 0.4)])
    detections = {"without": SegmentTable.from_rows([]), "with": table}
    class_score = {"flow": np.full(8, 0.5), "rgb": np.full(8, 0.6)}
    figure = over_time.of_video(video, 1.0, kinds, attention, class_score, detections, "simulated")
    truth, flow, rgb, detected = figure.axes
    assert [t.get_text() for t in truth.get_legend().get_texts()] == ["action", "background", "context"]
    spans = [path.get_extents() for path in truth.collections[0].get_paths()]
    assert [(span.x0, span.x1) for span in spans] == [(2, 4), (7, 8)]  # two actions, of 1 s per snippet
    labels = [patch.get_label() for patch in flow.patches]
    assert labels == ["attention without", "attention with", "class score (with)"]
    assert rgb.get_ylabel() == "rgb"
    assert len(detected.collections) == 2
    sure, unsure = (bars.get_alpha() for bars in detected.collections)
    assert sure > unsure
    assert detected.get_xlabel() == "time (s)"
    assert "jump" in figure.get_suptitle()
    assert "simulated" in figure.get_suptitle()


def test_features_shorter_than_the_video_end_where_their_snippets_do(tiny):
    video = replace(tiny.videos[2], duration_s=16.0)  # 8 snippets of 1 s
    kinds, values = np.array(["background"] * 7 + ["action"]), np.linspace(0, 1, 8)
    models = {"rgb": {"with": values}}
    nothing = SegmentTable.from_rows([])
    figure = over_time.of_video(video, 1.0, kinds, models, {"rgb": values}, {"with": nothing}, "simulated")
    truth, rgb, _ = figure.axes
    (action,) = (path.get_extents() for path in truth.collections[0].get_paths())
    assert (action.x0, action.x1) == (7, 8)
    assert rgb.patches[0].get_data().edges.tolist() == list(range(9))
    assert rgb.get_xlim() == (0, 16)
    below = over_time.of_detections(video, 1.0, {"rgb": values}, nothing, "simulated")
    assert below.axes[0].patches[0].get_data().edges.tolist() == list(range(9))


@pytest.mark.parametrize("models", [["without", "with"], ["with"]])
def test_values_by_kind_are_bars_per_stream(models):
    rows = [
        (kind, model, stream, seed, len(kind) + seed)
        for kind in ("action", "not action")
        for model in models
        for stream in ("flow", "rgb")
        for seed in (0, 1)
    ]
    values = pd.DataFrame(rows, columns=["kind", "model", "stream", "seed", "value"])
    figure = over_time.by_kind(values, "measured on real features", "λ", "Attention")
    flow, rgb = figure.axes
    assert [bar.get_height() for bar in flow.patches if bar.get_height()] == [6.5, 10.5] * len(models)
    assert flow.get_ylabel() == "λ"
    assert (rgb.get_legend() is None) == (len(models) == 1)
    assert "measured on real features" in figure.get_suptitle()


@pytest.mark.parametrize(
    ("limits", "ends"),
    [
        # Seeds of 0 and 0.8 have the sd 0.8 / √2 = 0.566, seeds of 0.6 and 1 have 0.283.
        ((0, 1), [[0, 0.4 + 0.566], [0.8 - 0.283, 1]]),
        ((0, np.inf), [[0, 0.4 + 0.566], [0.8 - 0.283, 0.8 + 0.283]]),
    ],
)
def test_the_spread_of_a_value_ends_where_the_value_can(limits, ends):
    rows = [
        (kind, "with", "rgb", seed, value)
        for kind, values in (("action", (0.0, 0.8)), ("background", (0.6, 1.0)))
        for seed, value in enumerate(values)
    ]
    values = pd.DataFrame(rows, columns=["kind", "model", "stream", "seed", "value"])
    (axes,) = over_time.by_kind(values, "simulated", "λ", "Attention", limits).axes
    drawn = [[min(line.get_ydata()), max(line.get_ydata())] for line in axes.lines]
    assert drawn == [pytest.approx(pair, abs=1e-3) for pair in ends]


def test_one_seed_has_no_spread_by_kind():
    values = pd.DataFrame(
        [("action", "with", "rgb", 0, 0.5)], columns=["kind", "model", "stream", "seed", "value"]
    )
    (axes,) = over_time.by_kind(values, "simulated", "λ", "Attention", (0, 1)).axes
    assert all(np.isnan(line.get_ydata()).all() for line in axes.lines)


def test_a_training_has_a_panel_per_loss_and_one_for_the_attention():
    losses = pd.DataFrame(
        [(loss, stage, epoch, seed, epoch + seed) for loss, stage in (("kl", "b"), ("fg", "a"), ("re", "a"))
         for epoch in (1, 2, 3) for seed in (0, 2)],
        columns=["loss", "stage", "epoch", "seed", "value"],
    )  # fmt: skip
    attention = [(1, np.full(10, 0.5)), (3, np.full(10, 0.9))]
    figure = over_time.of_training(losses, attention, 2, "simulated")
    kl, *_ = figure.axes
    assert kl.get_title() == "(b) KL divergence"
    assert kl.lines[0].get_ydata().tolist() == [2, 3, 4]  # the mean of both seeds
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["1", "3"]
    assert "simulated" in figure.get_suptitle()


def test_map_over_the_epochs_has_a_line_and_an_interval_per_model():
    values = pd.DataFrame(
        [(row, seed, epoch, base + epoch + 2 * seed) for row, base in (("without", 10), ("with", 20))
         for epoch in (1, 3) for seed in (0, 1)],
        columns=["row", "seed", "epoch", "value"],
    )  # fmt: skip
    (axes,) = over_time.of_map(values, 2, "simulated").axes
    without, with_it = axes.lines
    assert without.get_xydata().tolist() == [[1, 12], [3, 14]]  # the mean of both seeds
    assert with_it.get_xydata().tolist() == [[1, 22], [3, 24]]
    assert [line.get_label() for line in axes.lines] == [
        "without generative modeling", "with generative modeling",
    ]  # fmt: skip
    band = axes.collections[0].get_paths()[0].get_extents()
    # sd √2 of two seeds, t 12.706: ± 12.706, which from 12 would end below 0 %
    assert [band.y0, band.y1] == pytest.approx([0, 14 + 12.706], abs=1e-3)
    assert "simulated" in axes.get_title()


def test_detections_stand_above_the_annotations(tiny):
    video = tiny.videos[2]  # jump from 2 s to 4 s, of 8 s
    rows = [("v2", "jump", 2, 4, 0.8), ("v2", "jump", 5, 6, 0.4), ("v2", "throw", 0, 1, 0.1)]
    attention = {"flow": np.linspace(0, 1, 8), "rgb": np.full(8, 0.5)}
    figure = over_time.of_detections(video, 1.0, attention, SegmentTable.from_rows(rows), "simulated")
    above, below = figure.axes
    assert [patch.get_label() for patch in above.patches] == ["flow", "rgb"]
    assert [label.get_text() for label in below.get_yticklabels()] == ["jump", "throw"]
    boxes = [path.get_extents() for bars in below.collections for path in bars.get_paths()]
    assert [(box.x0, box.x1) for box in boxes] == [(2, 4), (5, 6), (2, 4), (0, 1)]
    alphas = [bars.get_alpha() for bars in below.collections if bars.get_alpha() is not None]
    assert alphas[0] > alphas[1] > alphas[2]
    assert below.get_xlim() == (0, 8)
    assert "simulated" in figure.get_suptitle()


def test_nothing_detected_is_a_picture_too(tiny):
    video = replace(tiny.videos[2], segments=(), labels=())
    figure = over_time.of_detections(
        video, 1.0, {"rgb": np.zeros(8)}, SegmentTable.from_rows([]), "simulated"
    )
    assert figure.axes[1].get_yticklabels() == []


def test_norms_of_a_few_videos_over_time(tiny, tmp_path):
    figure = over_time.of_norms(tiny, count=2)
    first, last = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["v0 (train)", "v3 (test)"]
    flow, rgb = first.patches[:2]
    assert flow.get_data().values == pytest.approx([np.sqrt((x**2).sum()) for x in tiny.load("flow", "v0")])
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["flow", "rgb"]
    assert rgb.get_label() == "rgb"
    assert last.get_xlim() == (0, 9)
    assert len(over_time.of_norms(replace(tiny, videos=tiny.videos[:1])).axes) == 1
    over_time.save(tmp_path / "n.png", figure)
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")


def test_the_mechanism_has_its_errors_above_the_densities():
    errors = pd.DataFrame(
        [
            (stream, kind, seed, lam, sign * (lam - 0.5))
            for stream in ("flow", "rgb")
            for kind, sign in (("action", -1), ("context", 1))
            for seed in (0, 1)
            for lam in (0.0, 0.5, 1.0)
        ],
        columns=["stream", "kind", "seed", "lam", "value"],
    )
    attention = pd.DataFrame(
        [
            (stream, kind, model, value)
            for stream in ("flow", "rgb")
            for kind, value in (("action", 0.9), ("context", 0.1))
            for model in ("without", "with")
        ],
        columns=["stream", "kind", "model", "value"],
    )
    figure = over_time.mechanism(errors, attention, "simulated")
    above, below = figure.axes[:2], figure.axes[2:]
    assert [axes.get_title() for axes in above] == ["flow, simulated", "rgb, simulated"]
    action, context = [line.get_ydata().tolist() for line in above[0].lines[:2]]
    assert (action, context) == ([0.5, 0.0, -0.5], [-0.5, 0.0, 0.5])
    labels = [patch.get_label() for patch in below[0].patches]
    assert labels == ["action, with", "action, without", "context, with", "context, without"]
    density, edges, _ = below[0].patches[0].get_data()
    assert (density * np.diff(edges)).sum() == pytest.approx(1)
