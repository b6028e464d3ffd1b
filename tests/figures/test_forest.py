from pytest import approx

from dgam_core.figures.forest import Effect, effects
from dgam_core.figures.style import DATA


def test_each_effect_is_a_point_on_its_interval():
    found = [
        Effect("released", "it helps", "simulated", 1.0, 0.5, 1.5, 2.1),
        Effect("released", "it helps", "real", -1.0, -3.0, 1.0, 2.1),
        Effect("released", "r matters", "simulated", 0.2, -0.1, 0.5, None),
        Effect("paper", "it helps", "real", 4.0, 3.0, 5.0, 2.1),
    ]
    figure = effects(found, ["simulated", "not run", "real"])
    paper, released = figure.axes
    assert (paper.get_title(), released.get_title()) == ("paper", "released")
    assert [label.get_text() for label in paper.get_yticklabels()] == ["it helps", "r matters"]
    intervals = [
        line for line in released.get_lines() if len(line.get_xdata()) == 2 and line.get_color() in DATA
    ]
    assert [list(line.get_xdata()) for line in intervals] == [[0.5, 1.5], [-3.0, 1.0], [-0.1, 0.5]]
    assert [line.get_color() for line in intervals] == [DATA[0], DATA[2], DATA[0]]
    points = [line for line in released.get_lines() if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in points] == approx([1.0, -1.0, 0.2])
    # Two data sets of a claim stand apart, and both nearer to their claim than to the next.
    assert 0 - 0.5 < points[0].get_ydata()[0] < points[1].get_ydata()[0] < 0.5 < points[2].get_ydata()[0]
    published = {line.get_xdata()[0] for line in released.get_lines() if line.get_marker() == "D"}
    assert published == {2.1}
    wide = [Effect("paper", "it helps", "real", 20.0, -107.0, 147.0, None)]  # two seeds, t 12.706
    (axes,) = effects(wide, ["real"]).axes
    drawn = [list(line.get_xdata()) for line in axes.get_lines() if line.get_color() == DATA[0]]
    assert drawn == [[-100, 100], [20]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["simulated", "real", "published, THUMOS14"]
