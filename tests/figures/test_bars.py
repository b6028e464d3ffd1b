import pandas as pd
from pytest import approx

from dgam_core.figures import bars


def test_set_statistics_show_both_models_of_ours_and_the_papers():
    values = {"without": 1, "with": 2}
    rows = [
        (name, model, seed, value + seed)
        for name in "ab"
        for model, value in values.items()
        for seed in (0, 1)
    ]
    ours = pd.DataFrame(rows, columns=["row", "model", "seed", "value"])
    theirs = ours[ours["seed"] == 0].drop(columns="seed")
    figure = bars.set_statistics(ours, "simulated", theirs, "THUMOS14")
    left, right = figure.axes
    # the mean of v and v + 1, for both statistics without and then with
    assert [bar.get_width() for bar in left.patches if bar.get_width()] == approx([1.5, 1.5, 2.5, 2.5])
    assert [bar.get_width() for bar in right.patches if bar.get_width()] == approx([1, 1, 2, 2])
    assert "simulated" in left.get_title()
    assert "Published" in right.get_title()
    (legend,) = figure.legends  # below the panels, whose bars it would hide
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["without generative modeling", "with generative modeling"]
    assert left.get_legend() is right.get_legend() is None
    assert left.get_xlabel() == right.get_xlabel() == "share of the action snippets"
