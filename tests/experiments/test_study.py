import json
from dataclasses import replace

import pandas as pd
import pytest
from pytest import approx

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import claims, grid
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.places import Results
from dgam_core.experiments.study import map_by_seed, open_study
from dgam_core.system.checked import parse


def test_a_study_trains_and_scores_what_its_notebook_is_about(project, tmp_path):
    study = open_study(project, "table2_attention_statistics")
    models = study.train()
    assert list(models) == [("without", 0), ("without", 1), ("with", 0), ("with", 1)]
    scores = study.score(models, [0.3, 0.5])
    # the settings of the test hold out videos, and choose nothing on the test set
    assert study.choices("with") == ("last", "label_only")
    assert study.num_scores == 2 * 2 * 2  # variants, seeds, choices
    assert len(scores) == study.num_scores * 2  # thresholds
    assert study.seeds == {"paper": 2}
    study.save_table(scores)
    path = tmp_path / "results/p/figures/tiny/table2_attention_statistics.csv"
    pd.testing.assert_frame_equal(pd.read_csv(path), scores)
    for choice in study.choices("with"):
        outputs = study.outputs(models["with", 0], "with", choice)
        assert {stream: set(videos) for stream, videos in outputs.items()} == {
            "flow": {"v2", "v3"},
            "rgb": {"v2", "v3"},
        }
    by_seed = map_by_seed(scores)
    assert list(by_seed) == ["without", "with"]
    last = scores[(scores["choice"] == "last") & (scores["tiou"] == 0.5) & (scores["row"] == "with")]
    assert by_seed["with"].to_list() == approx((100 * last["map"]).to_list())


def test_a_study_of_both_presets_has_a_row_of_each(project, tmp_path):
    given = {name: value for name, value in project.items() if name not in ("model_choice", "held_out")}
    given |= {"preset": "both", "seeds": {"paper": 2, "released": [1, 3, 4]}}
    study = open_study(given, "table1_module_swap")
    assert study.presets == ("paper", "released")
    assert study.seeds == {"paper": 2, "released": 3}
    # `released` chooses on the test set, and nothing is held out
    assert study.choices(("paper", "N")) == ("last",)
    assert study.choices(("released", "N")) == ("last", "test_oracle")
    assert study.num_scores == 2 * (2 * 1 + 3 * 2)  # O and N: seeds and choices of each preset
    models = study.train()
    seeds = [("paper", 0), ("paper", 1), ("released", 1), ("released", 3), ("released", 4)]
    assert set(models) == {((name, row), seed) for name, seed in seeds for row in "ON"}
    scores = study.score_and_save(models)
    assert len(scores) == study.num_scores
    assert list(scores)[:4] == ["preset", "row", "seed", "choice"]
    path = tmp_path / "results/p/figures/tiny/table1_module_swap.csv"
    pd.testing.assert_frame_equal(pd.read_csv(path), scores)
    alone = study.score(models, choices=["last"])
    assert len(alone) == 2 * (2 + 3)
    for name, numbers in (("paper", [0, 1]), ("released", [1, 3, 4])):
        by_seed = map_by_seed(scores, preset=name)
        assert (list(by_seed), list(by_seed.index)) == (["O", "N"], numbers)
        of_preset = alone[(alone["preset"] == name) & (alone["row"] == "N")]
        assert by_seed["N"].to_list() == approx((100 * of_preset["map"]).to_list())


def test_the_map_by_seed_is_that_of_one_preset():
    rows = [
        (preset, row, seed, choice, 0.5, value + seed / 10 + (choice == "test_oracle"))
        for preset, value in (("paper", 0.1), ("released", 0.5))
        for row in ("b", "a")
        for seed in (0, 1)
        for choice in ("last", "test_oracle")
    ]
    scores = pd.DataFrame(rows, columns=["preset", "row", "seed", "choice", "tiou", "map"])
    assert map_by_seed(scores, preset="paper").to_dict("list") == {
        "b": approx([10, 20]),
        "a": approx([10, 20]),
    }
    assert map_by_seed(scores, preset="released")["a"].tolist() == approx([50, 60])


def test_a_study_of_one_preset_refuses_both(project):
    with pytest.raises(InputError, match="preset = 'both': this notebook shows one; give paper or released"):
        open_study(project | {"preset": "both"}, "table2_attention_statistics")


def test_a_study_says_what_its_numbers_are_of(project):
    study = open_study(project | {"epochs": 7}, "table3_thumos14")
    summary = study.summary._repr_markdown_()
    assert summary.startswith("**Every number of this run is simulated.** Data set: `tiny`")
    assert "`epochs` 7 instead of 1000" in summary
    table = study.table([("rgb", 1)], ["stream", "value"])
    assert table.to_dict("records") == [{"stream": "rgb", "value": 1, "provenance": "simulated"}]


def test_parameters_that_a_notebook_does_not_set_are_those_of_its_profile(project, tmp_path):
    """And of no other profile: a learning rate of the demo once remained where another profile gave none."""
    (tmp_path / "params/q").mkdir(parents=True)
    (tmp_path / "params/q/table3_thumos14.yaml").write_text("epochs: 7\nalpha: 0.5\n")
    given = {"dataset": "tiny.h5", "seeds": [0]}
    experiment = open_study(given | {"profile": "q", "alpha": 0.25}, "table3_thumos14").experiment
    assert (experiment.epochs, experiment.alpha) == (7, 0.25)
    other = open_study(given | {"profile": "p"}, "table3_thumos14").experiment
    assert (other.epochs, other.alpha) == (1000, 0.03)


def test_a_study_tries_only_what_its_notebook_can(project):
    with pytest.raises(InputError, match="parameters: sweep: should name beta, not eta"):
        open_study(project | {"sweep": {"eta": [0.1]}}, "table7_beta")
    with pytest.raises(InputError, match="sweep: this notebook tries no values"):
        open_study(project | {"sweep": {"beta": [0.1]}}, "table3_thumos14")


def test_nothing_is_left_behind_by_a_study_that_cannot_be_opened(project, tmp_path):
    with pytest.raises(InputError, match=r"none.h5: no such file"):
        open_study(project | {"dataset": "none.h5"}, "table3_thumos14")
    assert not any(path.is_file() for path in tmp_path.glob("results/**/*"))


def test_a_notebook_can_be_run_twice_in_a_kernel(project):
    with pytest.raises(InputError, match="unknown parameter 'title'"):
        open_study(project | {"title": "x"}, "table3_thumos14")
    study = open_study(project, "table3_thumos14")
    later = project | {"study": study, "title": "x", "epochs": 9}
    assert open_study(later, "table3_thumos14").experiment.epochs == 9


def test_claims_are_glued_with_their_provenance(project, monkeypatch):
    glued = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: glued.update({name: value}))
    study = open_study(project, "table3_thumos14")
    claim = claims.Claim("it is", "1 point", "2 points", {"seen here": 0.01}, (1.0, 0.5, 1.5), "points")
    text = study.conclude("So *it* is.", {"paper": [claim], "released": [claim, claim]})
    assert text._repr_markdown_() == "So *it* is."
    found = json.loads(glued["claims"])
    assert [row["preset"] for row in found] == ["paper", "released", "released"]
    assert found[0] == {
        "claim": "it is",
        "measured": "1 point",
        "published": "2 points",
        "evidence": {"seen here": 0.01},
        "effect": [1.0, 0.5, 1.5],
        "unit": "points",
        "preset": "paper",
        "data": "tiny, simulated",
    }
    glued.clear()
    assert study.conclude("So.")._repr_markdown_() == "So."
    assert glued == {}


def test_checks_print_what_is_the_same_everywhere(project, capsys):
    study = open_study(project, "table3_thumos14")
    study.check({"mAP": [0.1, 0.2]}, pd.DataFrame({"map": [0.0, 1.2]}))
    assert capsys.readouterr().out == "mAP lies in [0, 1]: False\nno reference for these parameters\n"


def test_figures_of_one_notebook_have_names_of_their_own(project, tmp_path):
    import matplotlib.pyplot as plt

    study = open_study(project, "table3_thumos14")
    figure = plt.figure()
    study.save_figure(figure, "What it shows.")
    study.save_figure(figure, "Why.", "causes")
    names = {path.name for path in (tmp_path / "results/p/figures/tiny").iterdir()}
    assert names == {f"table3_thumos14{part}.{kind}" for part in ("", "_causes") for kind in ("svg", "png")}


def test_a_study_measures_on_test_videos_with_segments_and_says_so(project, tmp_path, tiny):
    v0, v1, v2, v3 = tiny.videos
    store.write(tmp_path / "part.h5", replace(tiny, videos=(v0, v1, v2, replace(v3, segments=()))))
    study = open_study(project | {"dataset": "part.h5"}, "table4_ablation")
    said = "Of the 2 test videos, 1 have labels and no segments, such as `v3`: no measure"
    assert said in study.summary
    assert "one class" not in study.summary
    assert "no segments" not in open_study(project, "table4_ablation").summary
    only = (v0, replace(v1, labels=("jump",), segments=()), v2, v3)
    store.write(tmp_path / "one.h5", replace(tiny, videos=only))
    assert "Every training video shows 'jump': with one class alone" in (
        open_study(project | {"dataset": "one.h5"}, "table4_ablation").summary
    )


@pytest.mark.parametrize("sweep", [None, {"beta": [0.1, 1.0]}])
def test_what_cannot_be_measured_is_not_trained(project, tmp_path, tiny, sweep):
    videos = tuple(replace(v, segments=()) if v.subset == "test" else v for v in tiny.videos)
    store.write(tmp_path / "none.h5", replace(tiny, videos=videos))
    given = project | {"dataset": "none.h5"}
    with pytest.raises(InputError, match="no test video has an annotated segment, so that localization"):
        if sweep is None:
            open_study(given, "table4_ablation")
        else:
            experiment = parse(Experiment, given | {"sweep": sweep}, "here")
            grid.sweep(store.open_data_set("none.h5"), experiment, Results.of(experiment))
    assert not any(path.is_file() for path in tmp_path.glob("results/*/runs/*"))


MISSED = (
    "tiny: all segments of the test videos miss the middle of every snippet, so that no snippet counts as "
    "action, and {} has nothing to count; check the segments, and whether snippets of 1 s are short enough "
    "for them"
)
ONE_KIND = (
    "tiny: no test video has snippets both within actions and outside, which figure1_confusion compares; "
    "check the segments, and whether snippets of 1 s are short enough for them"
)


@pytest.mark.parametrize(
    ("segment", "refused"),
    [
        # Snippets of 1 s have their middles at 2.5 s, 3.5 s, …
        (
            (2.6, 3.4),
            {
                "table2_attention_statistics": MISSED.format("table2_attention_statistics"),
                "calibration": MISSED.format("calibration"),
                "figure1_confusion": ONE_KIND,
            },
        ),
        ((2.5, 2.6), {}),
        ((0.0, 9.0), {"figure1_confusion": ONE_KIND}),
    ],
)
def test_what_needs_snippets_within_actions_is_refused_without_any(project, tmp_path, tiny, segment, refused):
    videos = [
        replace(v, segments=(replace(v.segments[0], start_s=segment[0], end_s=segment[1]),))
        if v.subset == "test"
        else v
        for v in tiny.videos
    ]
    store.write(tmp_path / "short.h5", replace(tiny, videos=tuple(videos)))
    said = {}
    for name in ("table1_module_swap", "table2_attention_statistics", "figure1_confusion", "calibration"):
        try:
            open_study(project | {"dataset": "short.h5"}, name)
        except InputError as error:
            said[name] = str(error)
    assert said == refused


def test_thinning_can_leave_no_snippet_within_an_action(project, tmp_path, tiny):
    # Of 8 or 9 snippets, 4 are taken: the middles of their times are 1, 3, 5 and 7 eighths of the video.
    videos = [replace(v, segments=(replace(v.segments[0], start_s=4.0, end_s=4.9),)) for v in tiny.videos]
    store.write(tmp_path / "short.h5", replace(tiny, videos=tuple(videos)))
    given = project | {"dataset": "short.h5"}
    open_study(given, "table2_attention_statistics")
    with pytest.raises(InputError, match="no snippet counts as action"):
        open_study(given | {"max_snippets": 4}, "table2_attention_statistics")
