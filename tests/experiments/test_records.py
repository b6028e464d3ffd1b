import json
import re
import shutil

import nbformat
import pandas as pd
import pytest
import yaml

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.evaluation.intervals import paired_difference
from dgam_core.experiments import obtain, records, variants
from dgam_core.experiments.parameters import Experiment
from dgam_core.experiments.places import Results
from dgam_core.experiments.records import Recipe, read_record, recipes, write_record
from dgam_core.experiments.run_store import PACKAGE
from dgam_core.system.checked import parse
from tests.conftest import ROOT

RECORDED = [name for name in recipes() if (ROOT / "params/records" / name).is_dir()]
CLAIMS = [
    {"claim": "it helps", "preset": "paper", "evidence": {}, "effect": [1.0, 0.5, 1.5], "unit": "points"}
]


@pytest.fixture
def finished(project, tmp_path):
    """A project whose recipe `mine` has been run: parameters, runs, an executed notebook, its table."""
    (tmp_path / "params/p").mkdir()
    (tmp_path / "params/p/table3_thumos14.yaml").write_text(yaml.safe_dump(project | {"seeds": [0, 1, 2]}))
    recipe = {"about": "mine", "data": "dgam import", "profile": "p", "parameters": {"seeds": [0, 1]}}
    (tmp_path / "params/records.yaml").write_text(yaml.safe_dump({"mine": recipe}))
    experiment = parse(Experiment, project, "here")
    data, results = store.open_data_set("tiny.h5"), Results.of(experiment)
    rows = variants.NOTEBOOKS["table3_thumos14"].variants(experiment, data)
    obtain.obtain_models(results.runs, data, rows, experiment)
    write_executed(tmp_path, project)
    table = pd.DataFrame({"row": ["a", "b"], "map": [1 / 3, 0.5], "provenance": "simulated"})
    results.save_table("table3_thumos14", table.to_csv(index=False))
    return tmp_path


def write_executed(folder, parameters):
    data = {"application/papermill.record/text/plain": repr(json.dumps(CLAIMS))}
    output = nbformat.v4.new_output("display_data", data, metadata={"scrapbook": {"name": "claims"}})
    cell = nbformat.v4.new_code_cell(outputs=[output])
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"parameters": parameters}})
    path = folder / "results/p/notebooks/table3_thumos14.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def test_a_record_says_how_it_came_about(finished):
    write_record("mine")
    record = read_record("mine")
    assert sorted(path.name for path in record.folder.iterdir()) == [
        *("claims.json", "record.json", "table3_thumos14.csv")
    ]
    about = record.content
    assert about["command"] == "make record RECORD=mine"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", about["date"])
    assert re.match(r"\d+ cores of .", about["machine"])
    assert about["data"]["name"] == "tiny"
    assert about["data"]["provenance"] == "simulated"
    assert about["data"]["digest"] == store.open_data_set("tiny.h5").digest
    assert about["parameters"]["table3_thumos14"]["seeds"] == [0, 1]
    runs = [json.loads(path.read_text()) for path in finished.glob("results/p/runs/*/record.json")]
    assert about["runs"] == len(runs)
    assert about["training_s"] == round(sum(run["train_s"] for run in runs))
    assert record.claims == {"table3_thumos14": CLAIMS}
    assert record.damage() == []
    assert record.is_of()


def test_tables_are_short_and_keep_their_rows(finished):
    write_record("mine")
    assert read_record("mine").table("table3_thumos14").to_dict("list") == {
        "row": ["a", "b"],
        "map": [0.33333, 0.5],
    }


def test_curves_keep_a_few_epochs(finished):
    table = pd.DataFrame({"loss": "fg", "epoch": range(1, 601), "value": 0.5, "provenance": "simulated"})
    table.to_csv(finished / "results/p/figures/tiny/table3_thumos14.csv", index=False)
    write_record("mine")
    epochs = list(read_record("mine").table("table3_thumos14")["epoch"])
    assert len(epochs) == 25
    assert (epochs[0], epochs[12], epochs[-1]) == (1, 300, 600)  # evenly: 1 + 12 · 599 / 24 = 300.5


def test_a_missing_row_is_noticed(finished):
    write_record("mine")
    path = finished / "params/records/mine/table3_thumos14.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    assert read_record("mine").damage() == ["mine/table3_thumos14.csv is not as it was written"]
    path.unlink()
    assert read_record("mine").damage() == ["mine/table3_thumos14.csv is not as it was written"]


@pytest.mark.parametrize("module", ["losses.py", "training/fused.py", "evaluation/mean_ap.py"])
def test_changed_code_is_noticed_and_changed_words_are_not(finished, tmp_path, module):
    write_record("mine")
    record = read_record("mine")
    for change, is_the_same in (("# a comment\n", True), ("CHANGED = 1\n", False)):
        package = tmp_path / str(is_the_same) / "dgam_core"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        with (package / module).open("a") as file:
            file.write(change)
        assert record.is_of(package) is is_the_same


def test_a_record_is_replaced_whole(finished, monkeypatch):
    write_record("mine")
    before = {path.name: path.read_bytes() for path in (finished / "params/records/mine").iterdir()}
    monkeypatch.setattr(records, "CODE", ("losses.py",))
    write_record("mine")
    after = {path.name: path.read_bytes() for path in (finished / "params/records/mine").iterdir()}
    assert after.keys() == before.keys()
    assert {name for name in before if before[name] != after[name]} == {"record.json"}
    assert [path.name for path in (finished / "params/records").iterdir()] == ["mine"]


def refused(sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        write_record("mine")


def test_what_has_not_been_run_is_not_recorded(finished, project):
    write_executed(finished, project | {"seeds": [0]})
    refused("table3_thumos14.ipynb: was run with other parameters; run `make record RECORD=mine`")
    write_executed(finished, project | {"workers": 7})  # which changes no number
    write_record("mine")
    shutil.rmtree(next((finished / "results/p/runs").glob("[!.]*")))
    notebooks = finished / "results/p/notebooks"
    refused(f"record.json: is missing or damaged; remove {notebooks}, and run `make record RECORD=mine`")
    (finished / "results/p/figures/tiny/table3_thumos14.csv").unlink()
    refused("table3_thumos14.csv: no such file; run `make record RECORD=mine`")
    (finished / "results/p/notebooks/table3_thumos14.ipynb").unlink()
    refused("table3_thumos14.ipynb: no such file; run `make record RECORD=mine`")
    assert read_record("mine").damage() == []  # the record of before stays


def test_a_recipe_that_is_not_there_gets_a_sentence(finished):
    with pytest.raises(InputError, match=r"params/records.yaml: has no 'other'; it has mine"):
        write_record("other")
    assert read_record("mine") is None


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"profile": "p", "sweep": "s"},
        {"sweep": "s", "parameters": {"seeds": 3}},
        {"sweep": "s", "notebooks": ["n"]},
    ],
)
def test_a_recipe_is_of_a_profile_or_of_a_sweep(values):
    with pytest.raises(
        InputError, match="should name a profile, with notebooks and parameters, or a sweep alone"
    ):
        parse(Recipe, {"about": "mine", "data": "none"} | values, "here")


@pytest.mark.parametrize("name", recipes())
def test_recipes_of_the_project_can_be_run(name):
    experiments = recipes()[name].experiments()
    assert experiments
    profiles = {experiment.profile for experiment in experiments.values()}
    assert len(profiles) == 1


@pytest.mark.parametrize("name", RECORDED)
def test_records_of_the_project_are_whole_small_and_of_this_code(name):
    record, recipe = read_record(name), recipes()[name]
    assert record.damage() == []
    assert sum(path.stat().st_size for path in record.folder.iterdir()) <= 200_000
    assert set(record.content["parameters"]) == set(recipe.experiments())
    # Whoever changes the code makes the record again, or says in the recipe why its numbers are kept.
    assert record.is_of() != bool(recipe.outdated)


def test_bfloat16_changes_map_by_less_than_a_point():
    """As the page on speed says of the record: the 95 % interval of the difference, seed by seed."""
    table = read_record("arithmetic").table("arithmetic")
    at_once = table[(table["choice"] == "last") & (table["tiou"] == 0.5)]
    maps = 100 * at_once.pivot(index="seed", columns="matmul", values="main")
    difference = paired_difference(maps["bfloat16"], maps["float32"])
    assert difference.count == 30
    assert -1 < difference.low < difference.high < 1
