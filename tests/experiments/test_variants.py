import pytest

from dgam_core.data.store import open_data_set
from dgam_core.departures import DEPARTURES, difference, preset
from dgam_core.errors import InputError
from dgam_core.experiments import variants
from dgam_core.experiments.parameters import Experiment
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


@pytest.mark.parametrize("name", ["thumos14", "activitynet12"])
def test_departures_one_by_one_keep_the_length_of_training(experiment, name):
    experiment = experiment.model_copy(update={"benchmark": name})
    rows = variants.departures_one_by_one(experiment)
    assert rows["base"] == experiment
    lengths = {(s.epochs, s.evaluation_interval) for s in rows.values()}
    assert lengths == {(experiment.epochs, experiment.evaluation_interval)}
    switched, released = rows["all but 23"], preset("released", name)
    for departure in DEPARTURES:
        for field in departure.values(name):
            if field not in ("epochs", "evaluation_interval", "released_class0_bug"):
                assert getattr(switched, field) == getattr(released, field)
    assert difference(rows["all and 23"], switched) == {"released_class0_bug": (True, False)}


def test_the_phase_diagram_has_a_data_set_for_each_point(experiment, tiny):
    grid = (("confusion", (0.3, 0.7)), ("separation", (0.0, 1, 2.0)))
    swept = experiment.model_copy(update={"sweep": grid})
    opened = variants.NOTEBOOKS["confusion_phase"].data_sets(swept, lambda name, appearance: tiny)
    points = [(appearance.confusion, appearance.separation) for appearance in opened]
    assert points == [(0.3, 0.0), (0.3, 1.0), (0.3, 2.0), (0.7, 0.0), (0.7, 1.0), (0.7, 2.0)]
    assert {data.streams for data in opened.values()} == {("rgb",)}


def test_a_grid_of_data_sets_needs_the_simulator(experiment):
    swept = experiment.model_copy(update={"dataset": "x.h5", "sweep": (("confusion", (0.3,)),)})
    with pytest.raises(InputError, match="only simulated features can be made otherwise"):
        variants.NOTEBOOKS["confusion_phase"].data_sets(swept, open_data_set)
