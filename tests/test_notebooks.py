"""Notebooks as files, and as papermill runs them."""

import ast
import contextlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import pytest
from click.testing import CliRunner
from papermill import cli

from dgam_core.data import store
from dgam_core.experiments.parameters import Experiment
from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_a_notebook_and_its_twin_say_the_same(path):
    notebook, twin = jupytext.read(path), jupytext.read(path.with_suffix(".py"))
    assert [(c.cell_type, c.source, c.metadata.get("tags")) for c in notebook.cells] == [
        (c.cell_type, c.source, c.metadata.get("tags")) for c in twin.cells
    ]


@each
def test_only_checked_cells_keep_their_output(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert bool(cell.outputs) == ("NBVAL_CHECK_OUTPUT" in cell.source)


@each
def test_notebooks_define_no_functions(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            kinds = {type(node) for node in ast.walk(ast.parse(cell.source))}
            assert not kinds & {ast.FunctionDef, ast.ClassDef, ast.Lambda}


def code_cells(path, tag=""):
    """The syntax trees of a notebook's code cells, or of those with a tag."""
    return [
        ast.parse(cell.source)
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and (not tag or tag in cell.metadata.get("tags", []))
    ]


@each
def test_no_variable_takes_the_name_of_an_import_or_of_a_parameter(path):
    """Otherwise a cell that is run twice would find something else the second time."""
    nodes = [node for cell in code_cells(path) for node in ast.walk(cell)]
    assigned = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {alias.asname or alias.name for node in imports for alias in node.names}
    assert imported
    assert not assigned & imported
    assert assigned & set(Experiment.model_fields) == {"profile"}


def test_little_stands_in_many_notebooks():
    """Of the lines of code, however statements are broken, at most 15 % stand in half of the notebooks."""
    lines, notebooks_with = [], Counter()
    for path in NOTEBOOKS:
        code = "\n".join(ast.unparse(cell) for cell in code_cells(path))
        stripped = [line.strip() for line in code.splitlines() if line.strip()]
        lines += stripped
        notebooks_with.update(set(stripped))
    common = [line for line in lines if notebooks_with[line] >= len(NOTEBOOKS) / 2]
    assert len(common) <= 0.15 * len(lines)


@each
def test_a_notebook_leaves_its_parameters_to_its_profile(path):
    """So that no value of the demo remains where another profile does not give one."""
    (cell,) = code_cells(path, tag="parameters")
    assert ast.unparse(cell) == "profile = 'demo'"
    assert (ROOT / "params" / "demo" / path.with_suffix(".yaml").name).is_file()


@pytest.fixture
def checkout(tmp_path):
    """A folder that is a checkout to a notebook: results go to it and not to this one."""
    for name in ("params", "dgam_core", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def arguments_of(name: str, *arguments: str) -> list[str]:
    notebook = [f"notebooks/{name}.ipynb", "out.ipynb", "--no-progress-bar"]
    return [*notebook, "-f", f"params/demo/{name}.yaml", *arguments]


def papermill(checkout: Path, name: str, *arguments: str):
    """Run papermill's command in this process; the notebook has a kernel of its own."""
    with contextlib.chdir(checkout):
        return CliRunner().invoke(cli.papermill, arguments_of(name, *arguments))


QUICK_VALUES = {
    **{"epochs": 2, "warmup_epochs": 1, "evaluation_interval": 1, "batch_size": 1},
    **{"num_snippets": 4, "latent_dim": 2, "seeds": [0, 1], "workers": 1},
}
QUICK = [word for name, value in QUICK_VALUES.items() for word in ("-p", name, str(value))]
# Models that a notebook trains per seed and stream, and lines of its table per seed. A row of `paper` has one
# model choice, the last epoch, and one of `released` two, with that on the test set; where videos are held
# out, which Table 3 alone does, both have one more.
SIZES = {
    # In each preset the base and nine departures that train something else; in both presets the base and 18
    # departures by the last epoch, and the choice on the test set.
    "departures": (2 * (1 + 9), 2 * (1 + 18 + 1)),
    "figure1_confusion": (2, 2 * 2 * 2),  # kinds, models, streams
    "figure3_training": (2, 7 * 2 * 2),  # losses, streams, epochs
    "figure4_prior_discrepancy": (4, 4 * 2),  # values, choices
    "table1_module_swap": (2 * 2, 4 * 5 * (1 + 2)),  # pairs of modules, thresholds, choices of each preset
    "table2_attention_statistics": (2, 4 * 2 * 2 * 2),  # statistics, models, streams, choices
    # In the next three, each preset has one model more, the ceiling, of one choice.
    "table3_thumos14": (2 + 2, 9 * (2 + 3 + 2)),  # thresholds, choices of each preset
    "table4_ablation": (2 * 5, 7 * (4 * (1 + 2) + 2)),  # rows, thresholds, choices of each preset
    "table5_activitynet12": (2 + 2, 10 * (1 + 2 + 2)),  # thresholds, choices of each preset
    "table6_latent_dimension": (3, 3 * 2),  # values, choices
    "table7_beta": (3, 3 * 2),  # values, choices
}


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem in SIZES], ids=lambda p: p.stem)
def test_a_notebook_runs_on_a_store(path, checkout, tiny):
    trained, lines = SIZES[path.stem]
    store.write(checkout / "tiny.h5", tiny)
    done = papermill(checkout, path.stem, "-p", "dataset", "tiny.h5", *QUICK)
    assert done.exit_code == 0, done.output
    figures = checkout / "results/demo/figures/tiny"
    files = {file.name for file in figures.iterdir()}
    assert files >= {f"{path.stem}.{kind}" for kind in ("csv", "svg", "png")}
    assert all(name.startswith(path.stem) for name in files)
    header, *table = (figures / f"{path.stem}.csv").read_text().splitlines()
    assert header.endswith(",provenance")
    assert len(table) == lines * 2  # seeds
    assert all(line.endswith(",simulated") for line in table)
    assert len(list((checkout / "results/demo/runs").glob("[!.]*"))) == trained * 2 * 2  # seeds, streams
    assert "Every number of this run is simulated." in (checkout / "out.ipynb").read_text()
    assert "no reference for these parameters" in (checkout / "out.ipynb").read_text()


def test_what_varies_the_simulator_refuses_a_store(checkout, tiny):
    store.write(checkout / "tiny.h5", tiny)
    done = papermill(checkout, "confusion_phase", "-p", "dataset", "tiny.h5", *QUICK)
    assert done.exit_code == 1
    assert "only simulated features can be made otherwise; give simulated:thumos14" in str(done.exception)


def test_the_phase_diagram_has_a_pair_of_models_at_each_point(checkout):
    quick = ["-p", "sweep", "{confusion: [0.5], separation: [0.0, 1.0]}", *QUICK, "-p", "batch_size", "48"]
    done = papermill(checkout, "confusion_phase", *quick)
    assert done.exit_code == 0, done.output
    header, *table = (checkout / "results/demo/figures/confusion_phase.csv").read_text().splitlines()
    assert header == "confusion,separation,row,seed,map,provenance"
    assert len(table) == 2 * 2 * 2  # points, models, seeds


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-p", "epohcs", "3"], "parameters: unknown parameter 'epohcs'; did you mean 'epochs'?"),
        (["-p", "epochs", "0"], "parameters: epochs = 0: should be greater than or equal to 1"),
        (["-p", "dataset", "none.h5"], "none.h5: no such file"),
    ],
)
def test_a_wrong_parameter_stops_the_run_with_a_sentence(checkout, arguments, sentence):
    command = [Path(sys.executable).parent / "papermill", *arguments_of("table4_ablation", *arguments)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    assert f"InputError: {sentence}" in done.stderr
    assert not (checkout / "results").exists()
