from dataclasses import replace

import pytest

from dgam_core.data.store import open_data_set
from dgam_core.departures import DEPARTURES, difference, preset
from dgam_core.errors import InputError
from dgam_core.experiments import variants
from dgam_core.experiments.parameters import Experiment
from dgam_core.system.checked import parse, read_yaml
from tests.conftest import ROOT


@pytest.fixture
def experiment(settings):
    return Experiment(**settings.model_dump(), profile="p", dataset="d", seeds=(0, 1))


def test_every_notebook_says_what_it_trains():
    assert set(variants.NOTEBOOKS) == {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


def test_table_4_adds_a_term_at_a_time(experiment):
    weights = {row: (s.alpha, s.gamma_guide, s.gamma_re) for row, s in variants.ablation(experiment).items()}
    alpha, guide, re = experiment.alpha, experiment.gamma_guide, experiment.gamma_re
    assert list(weights.items()) == [
        ("L_fg", (0, 0, 0)),
        ("+ L_bg", (alpha, 0, 0)),
        ("+ L_guide", (alpha, guide, 0)),
        ("+ L_re", (alpha, guide, re)),
    ]
    baseline = variants.ablation(experiment)["+ L_guide"]
    assert variants.without_and_with(experiment) == {"without": baseline, "with": experiment}
    assert variants.old_and_new(experiment) == {"O": baseline, "N": experiment}


GIVEN = {"profile": "p", "dataset": "d", "seeds": [0, 1]}
NAMED = {departure.number: f"{departure.number} {departure.title}" for departure in DEPARTURES}
LENGTH = {"epochs", "evaluation_interval"}
each_preset = pytest.mark.parametrize("name", ["paper", "released"])
each_benchmark = pytest.mark.parametrize("data", ["thumos14", "activitynet12"])


def one_by_one(name, data, **given):
    experiment = parse(Experiment, GIVEN | {"preset": name, "benchmark": data} | given, "here")
    return variants.departures_one_by_one(experiment)


@each_preset
@each_benchmark
def test_each_row_of_the_departures_switches_one_alone(name, data):
    rows = one_by_one(name, data)
    base = rows.pop("base")
    assert difference(base, preset(name, data)) == {}
    # What differs on the benchmark, but for the choice on the test set and the assumed rate.
    switched = [d for d in DEPARTURES if d.values(data) and d.number not in (14, 31)]
    assert list(rows) == [NAMED[departure.number] for departure in switched]
    for departure, row in zip(switched, rows.values(), strict=True):
        assert set(difference(row, base)) == set(departure.values(data)) - LENGTH
        assert (row.epochs, row.evaluation_interval) == (base.epochs, base.evaluation_interval)


@each_benchmark
def test_departures_are_switched_on_in_paper_and_back_in_released(data):
    on, back = one_by_one("paper", data), one_by_one("released", data)
    text, code = preset("paper", data), preset("released", data)
    for departure in DEPARTURES:
        row = NAMED[departure.number]
        if row in on and departure.number != 23:
            for setting in set(departure.values(data)) - LENGTH:
                assert getattr(on[row], setting) == getattr(code, setting)
                assert getattr(back[row], setting) == getattr(text, setting)


@each_preset
@each_benchmark
def test_the_bug_of_class_0_is_switched_on_in_both_presets(name, data):
    rows = one_by_one(name, data)
    assert difference(rows[NAMED[23]], rows["base"]) == {"released_class0_bug": (True, False)}


def test_departures_by_number():
    numbers = [1, 2, 4, 5, 6, 9, 11, 12, 13, 15, 16, 17, 18, 19, 21, 22, 23, 28]
    assert list(one_by_one("paper", "thumos14")) == ["base", *(NAMED[number] for number in numbers)]
    # there the loss weights differ, and no test video is left out
    numbers = sorted({7, *numbers} - {15})
    assert list(one_by_one("released", "activitynet12")) == ["base", *(NAMED[number] for number in numbers)]


@each_preset
def test_a_given_length_of_training_stays_in_every_row(name):
    rows = one_by_one(name, "thumos14", epochs=7, evaluation_interval=3, latent_dim=5)
    assert {(row.epochs, row.evaluation_interval, row.latent_dim) for row in rows.values()} == {(7, 3, 5)}
    assert rows[NAMED[11]].adam_beta1 == {"paper": 0.8, "released": 0.9}[name]


def test_no_file_of_the_departures_gives_a_setting_that_a_row_would_switch():
    for path in ROOT.glob("params/*/departures.yaml"):
        experiment = parse(Experiment, read_yaml(path), str(path))
        rows = variants.NOTEBOOKS["departures"].variants(experiment)
        assert {name for name, _ in rows} == {"paper", "released"}
        for (name, row), settings in rows.items():
            assert bool(difference(settings, rows[name, "base"])) == (row != "base"), (path, name, row)


def test_rows_of_a_notebook_of_both_presets_are_those_of_each():
    both = parse(Experiment, GIVEN | {"preset": "both", "seeds": {"paper": 3, "released": 1}}, "here")
    rows = variants.NOTEBOOKS["table4_ablation"].variants(both)
    terms = ["L_fg", "+ L_bg", "+ L_guide", "+ L_re"]
    assert list(rows) == [(name, term) for name in ("paper", "released") for term in terms]
    assert {key: len(settings.seeds) for key, settings in rows.items()} == {
        key: {"paper": 3, "released": 1}[key[0]] for key in rows
    }
    for (name, term), settings in rows.items():
        text = {"L_fg": {"alpha", "gamma_guide", "gamma_re"}, "+ L_bg": {"gamma_guide", "gamma_re"}}
        zero = text | {"+ L_guide": {"gamma_re"}, "+ L_re": set()}
        assert set(difference(settings, preset(name, "thumos14"))) == zero[term]
    alone = both.by_preset()["released"]
    assert list(variants.NOTEBOOKS["table4_ablation"].variants(alone)) == list(rows)[4:]


@pytest.mark.parametrize("name", [n for n, notebook in variants.NOTEBOOKS.items() if not notebook.by_preset])
def test_a_notebook_that_shows_one_preset_refuses_both(name):
    both = parse(Experiment, GIVEN | {"preset": "both"}, "here")
    with pytest.raises(InputError) as error:
        variants.NOTEBOOKS[name].variants(both)
    assert str(error.value) == (
        "parameters: preset = 'both': this notebook shows one; give paper or released"
    )


def test_the_phase_diagram_has_a_data_set_for_each_point(experiment, tiny):
    grid = (("confusion", (0.3, 0.7)), ("separation", (0.0, 1, 2.0)))
    swept = experiment.model_copy(update={"sweep": grid})
    opened = variants.NOTEBOOKS["confusion_phase"].data_sets(swept, lambda name, appearance: tiny)
    points = [(appearance.confusion, appearance.separation) for appearance in opened]
    assert points == [(0.3, 0.0), (0.3, 1.0), (0.3, 2.0), (0.7, 0.0), (0.7, 1.0), (0.7, 2.0)]
    assert {data.streams for data in opened.values()} == {("flow", "rgb")}


def test_a_grid_of_data_sets_needs_the_simulator(experiment):
    swept = experiment.model_copy(update={"dataset": "x.h5", "sweep": (("confusion", (0.3,)),)})
    with pytest.raises(InputError, match="only simulated features can be made otherwise"):
        variants.NOTEBOOKS["confusion_phase"].data_sets(swept, open_data_set)


def test_the_ceiling_is_a_row_where_all_training_videos_are_annotated(experiment, tiny):
    notebook = variants.NOTEBOOKS["table4_ablation"]
    assert variants.CEILING not in {row for _, row in notebook.variants(experiment)}
    rows = notebook.variants(experiment, tiny)
    told = rows["paper", variants.CEILING]
    assert list(rows)[-1] == ("paper", variants.CEILING)
    assert (told.supervision, told.gamma_re, told.model_choice) == ("times", 0.0, "last")
    without = replace(tiny, videos=tuple(replace(video, segments=()) for video in tiny.videos))
    assert variants.CEILING not in {row for _, row in notebook.variants(experiment, without)}
    # and no row of a notebook that does not show it
    assert list(variants.NOTEBOOKS["figure3_training"].variants(experiment, tiny)) == ["without", "with"]


def test_a_departure_takes_the_value_that_is_given_for_the_other_preset():
    offsets = {"pool_offset_fg": {"paper": 0.0, "released": 0.08}, "preset": "both"}
    both = parse(Experiment, GIVEN | offsets, "here").by_preset()
    name = NAMED[1]
    switched = {
        preset_name: variants.departures_one_by_one(one)[name].pool_offset_fg
        for preset_name, one in both.items()
    }
    assert switched == {"paper": 0.08, "released": 0.0}
