import numpy as np
import pytest
from pytest import approx

from dgam_core.errors import InputError
from dgam_core.experiments.published import read_published
from tests.conftest import ROOT

TABLES = [*(f"table{number}" for number in range(1, 8)), "figure4"]


def test_values_are_found_by_row_and_threshold(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT / "notebooks")
    assert read_published("table4").values[0.5].to_dict() == {
        "L_fg": 21.5,
        "+ L_bg": 24.8,
        "+ L_guide": 26.7,
        "+ L_re": 28.8,
    }
    methods = read_published("table3")
    assert methods.values.loc["W-TALC", 0.5] == 22.8
    assert np.isnan(methods.values.loc["W-TALC", 0.6])  # printed as a dash
    assert methods.details["W-TALC"] == "weak, I3D"
    assert methods.details["SSN"] == "full"
    assert (methods.classes, len(methods.values)) == (20, 19)
    with pytest.raises(InputError, match="has no 'table9'"):
        read_published("table9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not inside a checkout of this project"):
        read_published("table4")


def test_published_tables_agree_with_one_another():
    swapped, ablation = read_published("table1").values, read_published("table4").values
    # Table 1 at tIoU 0.5 repeats the last two rows of Table 4: without and with L_re
    assert swapped.loc["O / O", 0.5] == ablation.loc["+ L_guide", 0.5]
    assert swapped.loc["N / N", 0.5] == ablation.loc["+ L_re", 0.5]
    # and Table 3's last line, from 0.3 to 0.7
    dgam = read_published("table3").values.loc["DGAM"]
    assert swapped.loc["N / N"].equals(dgam[[0.3, 0.4, 0.5, 0.6, 0.7]])
    assert dgam[0.5] == 28.8
    for sweep, value in (("table6", 128), ("table7", 0.1)):
        printed = read_published(sweep).values.loc["DGAM"]
        assert (printed.idxmax(), printed.max()) == (value, 28.8)


def test_published_averages_are_those_of_the_thresholds_but_for_one():
    table5 = read_published("table5")
    assert table5.thresholds == approx([0.5 + 0.05 * i for i in range(10)])
    means = table5.values[table5.thresholds].mean(axis=1, skipna=False)
    printed = table5.values["average"]
    assert round(means["DGAM"], 2) == 24.39
    assert (round(means["W-TALC"], 2), printed["W-TALC"]) == (17.66, 18.0)  # as printed
    others = means.drop("W-TALC").dropna()
    assert ((others - printed[others.index]).abs() <= 0.0501).all()


@pytest.mark.parametrize("table", ["table3", "table5"])
def test_published_map_falls_with_the_threshold(table):
    published = read_published(table)
    for method, values in published.values[published.thresholds].iterrows():
        assert values.dropna().is_monotonic_decreasing, method


@pytest.mark.parametrize("table", TABLES)
def test_every_published_number_is_a_percentage(table):
    published = read_published(table)
    numbers = published.values.to_numpy()
    assert numbers.size or table == "figure4"  # whose values are not printed
    assert ((numbers >= 0) & (numbers <= 100) | np.isnan(numbers)).all()
    assert published.data.startswith(("THUMOS14", "ActivityNet1.2"))
