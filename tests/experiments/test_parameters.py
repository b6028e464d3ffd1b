import pytest

from dgam_core.departures import difference, preset
from dgam_core.errors import InputError
from dgam_core.experiments import variants
from dgam_core.experiments.parameters import BENCHMARKS, Experiment, read_parameters
from dgam_core.experiments.published import read_published
from dgam_core.system.checked import parse, read_yaml
from tests.conftest import ROOT

FILES = sorted(path for path in (ROOT / "params").rglob("*.yaml") if path.parent.name != "params")
GIVEN = {"profile": "demo", "dataset": "x.h5", "seeds": [0, 1]}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_file_under_params_is_valid_and_belongs_to_a_notebook_or_is_a_sweep(path):
    experiment = parse(Experiment, read_yaml(path), str(path))
    if path.parent.name == "sweeps":
        assert experiment.grid()
        return
    assert experiment.profile == path.parent.name
    assert (ROOT / "notebooks" / f"{path.stem}.ipynb").is_file()


@pytest.mark.parametrize(("name", "epochs"), [("paper", 1000), ("released", 6000)])
def test_thumos14_has_the_papers_sizes(name, epochs):
    both = parse(Experiment, read_yaml(ROOT / "params/thumos14/table4_ablation.yaml"), "")
    experiment = both.by_preset()[name]
    assert experiment.epochs == epochs
    assert (experiment.num_snippets, experiment.max_snippets, experiment.latent_dim) == (400, 400, 128)
    assert (experiment.learning_rate, experiment.batch_size, len(experiment.seeds)) == (1e-3, 32, 5)
    assert (experiment.alpha, experiment.beta, experiment.gamma_guide) == (0.03, 0.1, 0.1)
    assert experiment.for_stream("rgb").gamma_re == 0.5
    assert experiment.for_stream("flow").gamma_re == 0.3
    assert experiment.warmup_epochs == 300


@pytest.mark.parametrize("name", ["paper", "released"])
def test_settings_that_are_not_given_are_those_of_the_preset(name):
    values = GIVEN | {"preset": name, "benchmark": "activitynet12"}
    experiment = parse(Experiment, values, "here")
    start = preset(name, "activitynet12")
    assert {field: getattr(experiment, field) for field in type(start).model_fields} == start.model_dump()
    assert parse(Experiment, values | {"alpha": 0.7}, "here").alpha == 0.7


def test_the_files_of_the_papers_sizes_are_the_preset_and_say_the_scale_of_l_re():
    for path in FILES:
        if path.parent.name in BENCHMARKS:
            experiment = parse(Experiment, read_yaml(path), str(path))
            assert experiment.benchmark == path.parent.name
            for name, one in experiment.by_preset().items():
                changed = difference(one, preset(name, path.parent.name))
                says = name == "paper" and path.stem != "departures"  # `released` has it anyway
                assert changed == ({"gamma_re_per": ("element", "video")} if says else {}), path


def test_files_ask_for_both_presets_where_their_notebook_shows_both():
    for path in FILES:
        if path.parent.name != "sweeps":
            experiment = parse(Experiment, read_yaml(path), str(path))
            both = variants.NOTEBOOKS[path.stem].by_preset
            only = "released"  # at paper scale a run takes too long for both
            expected = "both" if both and path.parent.name != "paper_scale" else only
            assert experiment.preset == expected, path
            assert variants.NOTEBOOKS[path.stem].variants(experiment)


def test_the_summary_shows_the_difference_from_the_preset():
    plain = parse(Experiment, GIVEN, "here")
    assert plain.summary == "Settings: the preset `paper` for THUMOS14."
    values = GIVEN | {"alpha": 0.5, "preset": "released", "benchmark": "activitynet12"}
    assert parse(Experiment, values, "here").summary == (
        "Settings: the preset `released` for ActivityNet1.2, but `alpha` 0.5 instead of 1."
    )
    both = GIVEN | {"epochs": 1000, "preset": "both"}
    assert parse(Experiment, both, "here").summary == (
        "Settings: the preset `paper` for THUMOS14.\n\n"
        "Settings: the preset `released` for THUMOS14, but `epochs` 1000 instead of 6000."
    )


def test_both_presets_are_an_experiment_each():
    experiments = parse(Experiment, GIVEN | {"preset": "both"}, "here").by_preset()
    assert list(experiments) == ["paper", "released"]
    for name, one in experiments.items():
        assert one.preset == name
        assert difference(one, preset(name, "thumos14")) == {}
        assert list(one.by_preset().values()) == [one]
    alone = parse(Experiment, GIVEN | {"preset": "released"}, "here")
    assert alone.by_preset() == {"released": alone}


@pytest.mark.parametrize(
    ("setting", "of_paper", "of_released"),
    [
        ("gamma_re_per", "video", "element"),
        ("epochs", 1000, 6000),
        ("model_choice", "last", "test_oracle"),
        ("adam_beta1", 0.9, 0.8),
    ],
)
def test_a_setting_that_is_given_reaches_both_presets_though_it_is_one_ones_own(
    setting, of_paper, of_released
):
    plain = parse(Experiment, GIVEN | {"preset": "both"}, "here").by_preset()
    assert [getattr(one, setting) for one in plain.values()] == [of_paper, of_released]
    for value in (of_paper, of_released):
        given = parse(Experiment, GIVEN | {"preset": "both", setting: value}, "here").by_preset()
        assert [getattr(one, setting) for one in given.values()] == [value, value]
        # and nothing else changes
        changed = [set(difference(given[name], plain[name])) for name in given]
        assert changed == [set() if value == own else {setting} for own in (of_paper, of_released)]


def test_presets_by_themselves_keep_what_was_changed_afterwards():
    alone = parse(Experiment, GIVEN, "here").model_copy(update={"epochs": 7})
    assert alone.by_preset()["paper"].epochs == 7


def test_seeds_are_a_list_or_their_number_or_either_by_preset():
    def seeds(value, name="both"):
        experiment = parse(Experiment, GIVEN | {"seeds": value, "preset": name}, "here")
        return [one.seeds for one in experiment.by_preset().values()]

    assert seeds([4, 2]) == [(4, 2), (4, 2)]
    assert seeds(3) == [(0, 1, 2), (0, 1, 2)]
    assert seeds({"paper": 3, "released": [5]}) == [(0, 1, 2), (5,)]
    assert seeds({"paper": 3, "released": [5]}, "paper") == [(0, 1, 2)]
    assert seeds({"paper": 3, "released": [5]}, "released") == [(5,)]
    assert seeds({"released": 2}, "released") == [(0, 1)]
    text = read_parameters(GIVEN | {"preset": "both", "seeds": "{paper: 2, released: 1}"})
    assert [one.seeds for one in text.by_preset().values()] == [(0, 1), (0,)]


def test_any_parameter_can_be_given_by_preset():
    by_preset = {"pool_offset_fg": {"paper": 0.25, "released": 0.5}, "gamma_re": {"rgb": 0.1, "flow": 0.2}}
    both = parse(Experiment, GIVEN | by_preset | {"preset": "both"}, "here")
    found = {name: (one.pool_offset_fg, one.gamma_re) for name, one in both.by_preset().items()}
    # what is given by stream is no preset's
    assert found == {"paper": (0.25, by_preset["gamma_re"]), "released": (0.5, by_preset["gamma_re"])}
    # the other preset's value is what these parameters give for it, or else its own
    names = ("pool_offset_fg", "adam_beta1")
    assert both.values_in("paper", names) == {"pool_offset_fg": 0.25, "adam_beta1": 0.9}
    assert both.values_in("released", names) == {"pool_offset_fg": 0.5, "adam_beta1": 0.8}
    with pytest.raises(InputError, match="pool_offset_fg"):
        parse(Experiment, GIVEN | {"pool_offset_fg": {"released": 0.5}, "preset": "paper"}, "here")


@pytest.mark.parametrize(
    "given", [0, -1, True, 2.0, "3", {"paper": 2}, {"paper": 2, "released": 0}, {"paper": 0, "released": 2}]
)
def test_seeds_that_are_none_or_of_one_preset_alone_are_refused(given):
    with pytest.raises(InputError, match="seeds"):
        parse(Experiment, GIVEN | {"seeds": given, "preset": "both"}, "here").by_preset()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"epohcs": 3}, "here: unknown parameter 'epohcs'; did you mean 'epochs'?"),
        ({"zzz": 3}, "here: unknown parameter 'zzz'; known are adam_beta1, alpha, "),
        ({"epochs": 0}, "here: epochs = 0: should be greater than or equal to 1"),
        ({"epochs": "9"}, "here: epochs = '9': should be a valid integer"),
        ({"epochs": 2.5}, "here: epochs = 2.5: should be a valid integer"),
        ({"learning_rate": "1e-3"}, "here: learning_rate = '1e-3': should be a valid number"),
        ({"alpha": float("nan")}, "here: alpha = nan: should be a finite number"),
        ({"gamma_re": {"rgb": -1.0}}, "here: gamma_re = {'rgb': -1.0}: should be greater than or equal to 0"),
        ({"gamma_re_per": "snippet"}, "here: gamma_re_per = 'snippet': should be 'video' or 'element'"),
        ({"gamma_re": "x"}, "here: gamma_re = 'x': should be a valid number"),
        ({"attention_threshold": []}, "here: attention_threshold = []: "),
        ({"main_tiou": [0.5, 1.5]}, "here: main_tiou = [0.5, 1.5]: should be less than or equal to 1"),
        ({"preset": "ours"}, "here: preset = 'ours': should be 'paper' or 'released'"),
        ({"benchmark": "hacs"}, "here: benchmark = 'hacs': should be 'thumos14' or 'activitynet12'"),
        ({"held_out": 1.0}, "here: held_out = 1.0: should be less than 1"),
        ({"seeds": []}, "here: seeds = []: "),
        ({"seeds": [1, 1]}, "here: seeds = [1, 1]: should be different whole numbers, none of them negative"),
        ({"profile": "../x"}, "here: profile = '../x': "),
        ({"device": "tpu"}, "here: device = 'tpu': should be 'auto', 'cpu' or 'cuda'"),
    ],
)
def test_wrong_parameters_get_a_sentence(change, sentence):
    with pytest.raises(InputError) as error:
        parse(Experiment, GIVEN | change, "here")
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_a_notebooks_parameters_are_its_plain_variables():
    namespace = GIVEN | {
        "epochs": 7,
        "_": 1,
        "In": [],
        "Out": {},
        "pytest": pytest,
        "__name__": "x",
        "print": print,
    }
    assert read_parameters(namespace).epochs == 7
    text = namespace | {"seeds": "[3, 4]", "gamma_re": "{rgb: 0.25}"}
    assert read_parameters(text).seeds == (3, 4)
    assert read_parameters(text).gamma_re == {"rgb": 0.25}
    with pytest.raises(InputError, match=r"parameters: seeds = '\[3, 4'"):
        read_parameters(namespace | {"seeds": "[3, 4"})
    with pytest.raises(InputError, match="parameters: unknown parameter 'epoch'; did you mean 'epochs'"):
        read_parameters(namespace | {"epoch": 7})


def test_one_setting_is_swept_and_its_values_are_checked():
    values = GIVEN | {"latent_dim": 8, "sweep": {"latent_dim": [2, 8]}}
    swept = parse(Experiment, values, "here").tries()
    assert [(value, one.latent_dim) for value, one in swept.items()] == [(2, 2), (8, 8)]
    # what is not swept stays, so that the run store has the base's runs already
    base = parse(Experiment, GIVEN, "here")
    assert parse(Experiment, GIVEN | {"sweep": {"beta": [0.01, 0.1]}}, "here").tries()[0.1].training == (
        base.training
    )
    for sweep, sentence in (
        ({}, "sweep: should name one setting"),
        ({"beta": [0.2, 0.7]}, r"sweep: beta = \[0.2, 0.7\]: should hold 0.1, to compare the others with"),
        ({"beta": [0.1], "alpha": [0.1]}, "sweep: should name one setting"),
        ({"latent_dims": [2]}, "sweep: 'latent_dims' is not a setting; did you mean 'latent_dim'"),
        ({"beta": [-1.0]}, "sweep: beta = -1.0: should be greater than or equal to 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            parse(Experiment, GIVEN | {"sweep": sweep}, "here").tries()
    for values, sentence in ((0.1, "a list of values"), ([0.1, 0.1], "different values")):
        with pytest.raises(InputError, match=f"should be names, each with {sentence}"):
            parse(Experiment, GIVEN | {"sweep": {"beta": values}}, "here")


@pytest.mark.parametrize(
    ("given", "known", "sentence"),
    [
        ({"beta": [0.1]}, [], "parameters: sweep: this notebook tries no values, of beta or others"),
        ({}, ["beta"], "parameters: sweep: should name beta, not nothing"),
        ({"alpha": [0.1]}, ["beta", "eta"], "parameters: sweep: should name beta or eta, not alpha"),
    ],
)
def test_a_notebook_refuses_a_sweep_that_is_not_its_own(given, known, sentence):
    with pytest.raises(InputError) as error:
        read_parameters(GIVEN | {"sweep": given}, sweep=known)
    assert str(error.value) == sentence
    assert read_parameters(GIVEN | {"sweep": {"beta": [0.1]}}, sweep=["beta"]).sweep == (("beta", (0.1,)),)


SWEEPS = {"table6": "latent_dim", "table7": "beta", "figure4": "prior_shift"}


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.split("_")[0] in SWEEPS], ids=str)
def test_the_sweeps_of_the_papers_sizes_are_the_papers(path):
    table = path.stem.split("_")[0]
    experiment = parse(Experiment, read_yaml(path), str(path))
    values = list(experiment.tries())
    assert [name for name, _ in experiment.sweep] == [SWEEPS[table]]
    if path.parent.name in BENCHMARKS:
        assert values == list(read_published(table).values)


OF_NOTEBOOKS = {
    "demo/table3_thumos14.yaml": {"held_out", "evaluation_interval"},  # it shows the choice by video labels
    "demo/figure3_training.yaml": {"evaluation_interval"},  # and this, mAP over the epochs
}


def test_notebooks_of_a_profile_share_their_runs():
    particular = {"sweep", "benchmark", "dataset", "preset", "seeds"}  # of a table or figure
    for path in FILES:
        if path.stem.startswith(("table", "figure")):
            values, shared = (read_yaml(p) for p in (path, path.with_name("table4_ablation.yaml")))
            own = particular | OF_NOTEBOOKS.get("/".join(path.parts[-2:]), set())
            assert {k: v for k, v in values.items() if k not in own} == (
                {k: v for k, v in shared.items() if k not in own}
            ), path
            of_table4 = parse(Experiment, shared, str(path)).by_preset()
            for name, one in parse(Experiment, values, str(path)).by_preset().items():
                assert set(one.seeds) <= set(of_table4[name].seeds), path


def test_the_number_to_compare_by_has_a_name():
    assert parse(Experiment, GIVEN, "here").main == "mAP@0.5"
    averaged = parse(Experiment, GIVEN | {"benchmark": "activitynet12"}, "here")
    assert averaged.main == "average mAP@0.5–0.95"
