"""What the book's own extension makes of code, tests and records."""

import ast
import json
import platform
import re

import benchmarks
import companion
import pandas as pd
import pytest
import records_page
import rooms
import settings_page
import sources
import yaml
from sphinx.errors import ExtensionError

from dgam_core.cli.main import cli
from dgam_core.departures import DEPARTURES
from dgam_core.experiments.claims import SEEN
from dgam_core.experiments.records import CODE, Recipe, Record
from dgam_core.experiments.run_store import code_digest
from dgam_core.rivals import rival
from dgam_core.settings import Settings
from tests.conftest import ROOT

PAGES = sorted((ROOT / "book" / "method").glob("*.md"))
DIRECTIVE = re.compile(r"^```\{equation\} (\d+)\n(?::code: (.+)\n)?", re.MULTILINE)


@pytest.fixture(scope="module")
def equations():
    """Number → names of the code that computes it, as the pages say."""
    found = [match for page in PAGES for match in DIRECTIVE.findall(page.read_text(encoding="utf-8"))]
    assert len(found) == len(dict(found))
    return {int(number): code.split() for number, code in found}


def test_every_equation_of_the_paper_has_its_place(equations):
    assert sorted(equations) == list(range(1, 18))


@pytest.mark.parametrize("number", range(4, 18))
def test_every_equation_has_code_and_a_test_of_that_code(equations, number):
    assert equations[number]
    functions = {sources.find(name)[1].name for name in equations[number]}
    tests = sources.tests_of_equations()[number]
    called = {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for _, test in tests
        for node in ast.walk(test)
        if isinstance(node, ast.Attribute | ast.Name)
    }
    assert called & functions


def test_tests_are_marked_with_equations_of_the_paper():
    assert set(sources.tests_of_equations()) <= set(range(4, 18))


def test_source_is_taken_without_its_docstring():
    path, node = sources.find("attention.pool_background")
    assert sources.source(path, node, docstring=False).splitlines() == [
        "def pool_background(x: Tensor, lam: Tensor, offset: float = 0.0) -> Tensor:",
        "    return pool_foreground(x, 1 - lam, offset)",
    ]
    assert '"""Temporal mean weighted by 1 − attention' in sources.source(path, node)
    method = sources.source(*sources.find("cvae.CVAE.decode"), docstring=False)
    assert method.startswith("def decode(self")


@pytest.mark.parametrize("name", ["attention.pool", "nowhere.pool", "attention"])
def test_code_that_is_not_there_stops_the_build(name):
    with pytest.raises(ExtensionError, match=rf"dgam_core has no {name}: "):
        sources.find(name)


def test_a_tests_name_reads_as_a_sentence():
    (test,) = ast.parse("def test_the_mean_is_weighted_eq_13_and_14(): pass").body
    assert sources.in_words(test) == "the mean is weighted"


def test_what_is_glued_is_found():
    data = {"application/papermill.record/text/plain": ['\'[{"claim": ', '"β"}]\'']}
    output = {"metadata": {"scrapbook": {"name": "claims"}}, "data": data}
    notebook = {"cells": [{"cell_type": "markdown"}, {"outputs": [{"output_type": "stream"}, output]}]}
    assert json.loads(companion.glued(notebook, "claims")) == [{"claim": "β"}]
    assert companion.glued(notebook, "other") is None


def test_claims_stand_in_the_papers_order():
    names = companion.claiming_notebooks()
    assert [companion.in_paper(name) for name in names] == [
        "Figure 1", "Figure 3", "Figure 4", *(f"Table {number}" for number in range(1, 8)),
    ]  # fmt: skip


def test_every_room_has_its_page_in_the_reference():
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "book" / "api").glob("*.md")}
    assert set(pages) == {rooms.room_name(room) for room in rooms.rooms()}
    for name, text in pages.items():
        assert f"```{{room}} {name}\n" in text
    assert rooms.room_name(rooms.rooms()[0]) == "method"


def test_no_module_is_left_out_of_the_reference():
    documented = {path for room in rooms.rooms() for path in (*rooms.modules(room), room / "__init__.py")}
    assert documented == set((ROOT / "dgam_core").rglob("*.py"))


def test_modules_stand_in_the_papers_order():
    names = [path.stem for path in rooms.modules(ROOT / "dgam_core")]
    of_equations = [name for name in names if name in ("attention", "classifier", "cvae", "localize")]
    assert of_equations == ["attention", "classifier", "cvae", "localize"]  # 3.1, 3.2, 3.3, 3.5
    assert names.index("settings") < names.index("attention") < names.index("errors")  # 3; 3.1; none


def test_each_command_has_its_help():
    text = dict(rooms.commands(cli))
    assert text["dgam evaluate"].startswith("Usage: dgam evaluate [OPTIONS]")
    assert "dgam checkpoint import" in text


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_meaning_and_equations_and_departures_that_there_are(name, equations):
    setting = (settings_page.documented("training") | settings_page.documented("localization"))[name]
    assert len(setting.meaning) > 5
    assert not re.search(r"\bEq\.|departure|unstated", setting.meaning)
    assert set(setting.equations) <= set(equations) - {1, 2, 3}
    assert set(setting.departures) <= {departure.number for departure in DEPARTURES}


NO_SETTING = (26, 27, 29, 30)  # departures from a silent text, in which both presets do as the released code


@pytest.mark.parametrize(
    "departure",
    [departure for departure in DEPARTURES if departure.number not in NO_SETTING],
    ids=lambda departure: departure.title,
)
def test_the_settings_of_a_departure_name_it(departure):
    switched = {*departure.values("thumos14"), *departure.values("activitynet12")}
    assert switched <= set(settings_page.settings_of("departures", departure.number))
    assert settings_page.settings_of("departures", departure.number)


def test_a_settings_docstring_is_taken_apart():
    docstring = """σ_s of the filter G, in snippets, Eq. (13,
    14); unstated, the released code's; departure 8.

    Beyond 4σ the filter is cut, Eq. (15)."""
    assert settings_page.Documented.read(docstring) == settings_page.Documented(
        "σ_s of the filter G; the default is the released code's", "snippets", (13, 14, 15), (8,), True
    )
    plain = settings_page.Documented.read("Whether it rains, in units of the features; unstated.")
    assert plain == settings_page.Documented("Whether it rains", "units of the features", (), (), True)
    assert not settings_page.Documented.read("β, Eq. (10).").unstated


def test_every_equation_with_a_setting_leads_to_it():
    assert settings_page.settings_of("equations", 4) == ["pool_offset_fg"]
    assert settings_page.settings_of("equations", 17) == ["score", "score_mix", "context", "eta"]
    assert settings_page.settings_of("equations", 1) == []


def test_values_are_those_of_presets_and_parameter_files():
    assert settings_page.in_preset("paper", "max_snippets") == "400; ActivityNet1.2: 200"
    assert settings_page.in_preset("released", "pool_offset_bg") == "1e-6"
    assert settings_page.in_preset("released", "warmup_re") == "true; ActivityNet1.2: false"
    assert settings_page.in_demo("latent_dim") == "8"
    assert settings_page.in_demo("held_out") == "0 or 0.2; ActivityNet1.2: 0"
    assert settings_page.in_demo("sweep") == "varies; ActivityNet1.2: none"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"), ((), "none"), (True, "true"), (0.5**0.5, "0.7071"), (1e-6, "1e-6"),
        ({"rgb": 0.5, "flow": (0.1, 0.2)}, "rgb 0.5, flow 0.1, 0.2"),
        ((0.1, 0.2, 0.3, 0.4, 0.5), "0.1, 0.2, …, 0.5"),
    ],
)  # fmt: skip
def test_values_read_as_in_yaml(value, text):
    assert settings_page.show(value) == text


def test_every_page_and_notebook_is_in_the_table_of_contents():
    contents = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?:file|root): (\S+)", contents))
    pages = {f"book/{path.relative_to(ROOT / 'book').with_suffix('')}" for path in ROOT.glob("book/**/*.md")}
    notebooks = {f"book/notebooks/{path.stem}" for path in ROOT.glob("notebooks/*.ipynb")}
    assert listed == {page for page in pages if "_build" not in page} | notebooks


def test_who_publishes_a_copy_gets_launch_buttons_by_naming_the_repository():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["launch_buttons"]["binderhub_url"] == "https://mybinder.org"
    assert "repository" not in config
    assert not any(config["html"][f"use_{name}_button"] for name in ("issues", "repository", "edit_page"))


def test_without_a_repository_there_are_no_launch_buttons(monkeypatch):
    groups = [{"label": "launch-buttons", "buttons": []}, {"label": "download-buttons", "buttons": []}]
    monkeypatch.setattr(companion, "names_repository", lambda: False)
    context = {"header_buttons": groups}
    companion.launch_sources(None, "", "", context, None)
    assert context["header_buttons"] == groups[1:]


def test_launch_buttons_open_the_notebook_that_the_repository_has(monkeypatch):
    monkeypatch.setattr(companion, "names_repository", lambda: True)
    hub = "https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/"
    download = "../../_sources/book/notebooks/table4_ablation.ipynb"
    buttons = [{"url": hub + "book/notebooks/table4_ablation.ipynb"}, {"url": download}, {"label": "no link"}]
    companion.launch_sources(None, "", "", {"header_buttons": [{}, {"buttons": buttons}]}, None)
    assert buttons[0]["url"] == hub + "notebooks/table4_ablation.ipynb"
    assert buttons[1]["url"] == download
    assert (ROOT / "notebooks" / "table4_ablation.ipynb").is_file()


def claim_of(effect, evidence, unit="points"):
    words = {
        "claim": "it helps",
        "preset": "paper",
        "published": "+2.1",
        "measured": "",
        "data": "x, simulated",
    }
    return words | {"effect": effect, "evidence": evidence, "unit": unit}


def test_a_cell_has_effect_interval_and_corrected_verdict():
    key = ("table4_ablation", "paper", "it helps")
    alone = records_page.Source.of("x", [("table4_ablation", claim_of([1.25, 0.5, 2.0], {SEEN: 0.03}))])
    assert alone.cell(key) == "+1.2 (+0.5 to +2.0)<br>**seen here**"
    assert alone.cell(("table4_ablation", "released", "it helps")) == "–"
    others = [("table1_module_swap", claim_of([0, -1, 1], {SEEN: 0.9}) | {"claim": f"{i}"}) for i in range(3)]
    # Of four claims, p = 0.03 is 0.12 after Holm's correction.
    among = records_page.Source.of(
        "x", [("table4_ablation", claim_of([1.25, 0.5, 2.0], {SEEN: 0.03})), *others]
    )
    assert among.cell(key).endswith("**undecided**")
    share = records_page.Source.of(
        "x", [("table4_ablation", claim_of([0.0125, 0, 0.1], {SEEN: 0.9}, "of it"))]
    )
    assert share.cell(key).startswith("+0.013 (+0.000 to +0.100)")
    rival = records_page.Source.of("x", [("table4_ablation", claim_of([20, 19, 21], {}, "%"))])
    assert rival.cell(key) == "not comparable"


def test_claims_of_all_data_stand_in_a_row():
    first = records_page.Source.of("a", [("table4_ablation", claim_of([1, 0, 2], {SEEN: 0.2}))])
    second = records_page.Source.of("b", [("table4_ablation", claim_of([-1, -3, 1], {SEEN: 0.5}))])
    head, _, row = records_page._table([first, second, records_page.Source("c", {}, {})])
    assert head == "| claim of the paper | published | a | b | c |"
    assert row.startswith("| [Table 4](/book/notebooks/table4_ablation.ipynb), `paper`<br>it helps | +2.1 | ")
    assert row.endswith("| +1.0 (+0.0 to +2.0)<br>**undecided** | −1.0 (−3.0 to +1.0)<br>**undecided** | – |")
    effects = records_page._effects([first, second])
    assert [(e.data, e.mean, e.published) for e in effects] == [("a", 1, 2.1), ("b", -1, 2.1)]


def test_a_recorded_table_is_shown_as_means_of_the_last_epoch():
    rows = [
        ("paper", "L_fg", 0, "last", 0.1, 0.9, 0.2), ("paper", "L_fg", 0, "last", 0.5, 0.2, 0.2),
        ("paper", "L_fg", 1, "last", 0.1, 0.9, 0.3), ("paper", "L_fg", 1, "last", 0.5, 0.3, 0.3),
        ("paper", "L_fg", 1, "test_oracle", 0.1, 0.9, 0.9), ("released", "L_bg", 0, "last", 0.1, 0.9, 0.1),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["preset", "row", "seed", "choice", "tiou", "map", "main"])
    assert records_page.means(table) == [
        "| row | paper, mAP (%) | released, mAP (%) |",
        "|---|---|---|",
        "| L_fg | 25.0 ± 7.1 | – |",  # of 20 and 30
        "| L_bg | – | 10.0 |",
    ]
    losses = pd.DataFrame(
        {"loss": "fg", "seed": 0, "epoch": range(1, 26), "value": [e / 10 for e in range(25)]}
    )
    assert records_page.means(losses)[0] == (
        "| loss | epoch 1, value | epoch 7, value | epoch 13, value | epoch 19, value | epoch 25, value |"
    )
    assert records_page.means(losses)[2] == "| fg | 0.000 | 0.600 | 1.200 | 1.800 | 2.400 |"
    large = pd.DataFrame({"loss": ["re", "log"], "seed": 0, "value": [287250.4, -0.5]})
    assert records_page.means(large)[2:] == ["| re | 287250 |", "| log | −0.500 |"]
    shares = pd.DataFrame({"row": ["|a| / b"] * 2, "seed": [0, 1], "value": [0.5, 0.7], "choice": "last"})
    assert records_page.means(shares)[2] == "| \\|a\\| / b | 0.600 ± 0.141 |"


def test_the_page_says_what_is_missing_damaged_or_of_other_code(tmp_path):
    recipe = Recipe(about="gestures", data="dgam import", profile="p")
    assert records_page.sentence("mine", recipe, None) == (
        "**gestures**: not recorded yet: `dgam import`, then `make record RECORD=mine`."
    )
    content = {
        "date": "2026-01-01", "runs": 3, "training_s": 5400, "machine": "1 core",
        "versions": {"torch": "2", "python": platform.python_version()},
        "data": {"provenance": "measured on real features", "name": "d", "source": "s", "digest": "ab" * 32},
        "code": code_digest(CODE), "files": {"a.csv": "0"}, "parameters": {},
    }  # fmt: skip
    said = records_page.sentence("mine", recipe, Record(tmp_path, content | {"files": {}}))
    assert said == (
        "**gestures**: measured on real features; recorded on 2026-01-01 by `dgam import`, then `make "
        "record RECORD=mine`: 3 runs, 1.5 hours of training on 1 core, torch 2. Data set `d`, s, digest "
        "`abababababab`."
    )
    assert "**Damaged: " in records_page.sentence("mine", recipe, Record(tmp_path, content))
    other = Record(tmp_path, content | {"files": {}, "code": "0"})
    kept = recipe.model_copy(update={"outdated": "A name."})
    assert records_page.sentence("mine", kept, other).endswith(
        "**The code of the method has changed since.** A name."
    )


def test_points_of_a_sweep_stand_in_order_of_what_chooses_them(tmp_path):
    content = {"parameters": {"s": {"sweep": [["matmul", ["float32", "bfloat16"]]]}}}
    point = {"matmul": ["float32"] * 2 + ["bfloat16"] * 2, "seed": [0, 1] * 2, "choice": "last", "tiou": 0.5}
    table = pd.DataFrame(point | {"map": [0.2, 0.3, 0.3, 0.4], "main": [0.2, 0.3, 0.3, 0.4]})
    table.to_csv(tmp_path / "s.csv", index=False)
    assert records_page.ranks(Record(tmp_path, content), "s")[2:] == [
        "| bfloat16 | 35.0 ± 7.1 |",  # deviations of 5 points from the mean, divided by 1: √50
        "| float32 | 25.0 ± 7.1 |",
    ]
    table.assign(held_out=[0.1, 0.1, 0.2, 0.2]).to_csv(tmp_path / "s.csv", index=False)
    assert records_page.ranks(Record(tmp_path, content), "s", 1)[2:] == ["| float32 | 0.100 ± 0.000 |"]


PAIR = ("A pair of steps, paper scale", "package", 0.36)
ON_GPU = (
    "A pair of steps for each of 16 runs, paper scale, on a GPU",
    "package, stacked and recorded, float32",
    0.16,
)


def record_of(*rows):
    """A record of benchmarks about training."""
    names = ("group", "name", "seconds")
    own = [{"about": "training", "note": ""} | dict(zip(names, row, strict=True)) for row in rows]
    return {"machine": "a machine", "torch": "2", "date": "today", "rows": own}


def test_times_stand_beside_the_first_form_of_their_group():
    found = benchmarks.table(
        record_of(("a", "plain", 2.0), ("a", "fast", 0.5), ("b", "alone", 1.0)), "training"
    )
    assert found.splitlines()[2:] == [
        "| a | plain | 2 |  |  |",
        "|  | fast | 0.5 | 0.25 |  |",
        "| b | alone | 1 |  |  |",
    ]
    assert benchmarks.table(record_of(PAIR), "gpu").startswith("On a GPU: *not measured*; ")
    with pytest.raises(ExtensionError, match="nothing is measured about 'trainings'; run `make bench`"):
        benchmarks.table(record_of(PAIR), "trainings")


def test_ratios_stand_in_a_table_of_sizes():
    names = ("about", "group", "name", "note")
    cells = [("T = 32", "D = 64", "0.7"), ("T = 32", "D = 128", "0.6"), ("T = 400", "D = 64", "0.5")]
    rows = [
        dict(zip(names, ("sizes", *cell), strict=True)) for cell in [*cells, ("T = 400", "D = 128", "0.4")]
    ]
    assert benchmarks.sizes({"rows": rows}).splitlines() == [
        "| | D = 64 | D = 128 |",
        "|---|---|---|",
        "| T = 32 | 0.7 | 0.6 |",
        "| T = 400 | 0.5 | 0.4 |",
    ]
    assert benchmarks.sizes({"rows": []}).startswith("*not measured*")


def test_costs_count_each_run_once():
    """Table 4, 4 rows of both presets, and Table 1, 2 of these: 5 seeds, 2 streams.

    `paper` has 1000 epochs of 7 batches, `released` 6000 of 6, since 200 videos leave a batch incomplete.
    """
    runs = benchmarks.trainings("thumos14")
    pairs = 40 * 1000 * 7 + 40 * 6000 * 6
    assert runs["table4_ablation"] == (80, 80, pairs)
    assert runs["table1_module_swap"] == (40, 0, 0)
    lines = benchmarks.costs(record_of(PAIR), "thumos14").splitlines()
    hours = pairs * 0.36 / 3600
    assert lines[2] == f"| `table4_ablation` | 80 | 80 | {hours:.3g} |"
    assert "On a GPU: *not measured*" in lines[-1]
    lines = benchmarks.costs(record_of(PAIR, ON_GPU), "thumos14").splitlines()
    assert lines[2] == f"| `table4_ablation` | 80 | 80 | {hours:.3g} | {hours / 36:.3g} |"  # 0.16 s / 16 runs
    assert "not measured" not in lines[-1]


RIVAL = re.compile(r"^```\{rival-equation\} (\w+) (\S+)\n:code: (.+)\n", re.MULTILINE)


@pytest.fixture(scope="module")
def of_rivals():
    """Method and number → names of the code that computes the equation, as the page says."""
    page = (ROOT / "book" / "rivals.md").read_text(encoding="utf-8")
    return {(method, number): code.split() for method, number, code in RIVAL.findall(page)}


@pytest.mark.parametrize("name", sorted({*rival.names()} - {"uniform", "random_segments"}))
def test_every_rival_has_its_section_with_equations_code_and_tests(of_rivals, name):
    page = (ROOT / "book" / "rivals.md").read_text(encoding="utf-8")
    assert f"\n## {rival.find(name).title}\n" in page
    numbers = [number for method, number in of_rivals if method == name]
    assert numbers
    for number in numbers:
        for code in of_rivals[name, number]:
            assert code.startswith(f"rivals.{name}.")
            assert sources.find(code)
        assert sources.tests_of_rivals()[name, number]


def test_every_setting_of_a_rival_says_what_it_is():
    for name in rival.names():
        settings = rival.find(name).settings_class
        groups = [group for group in settings.__mro__ if issubclass(group, rival.RivalSettings)]
        said = set().union(*(settings_page.docstrings(group) for group in groups))
        assert said == set(settings.model_fields)
