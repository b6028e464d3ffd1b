"""Names of videos and classes in any script, in pictures."""

import warnings

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from dgam_core.figures import over_time, style
from dgam_core.snippets import Segment, Video
from tests.evaluation import table


def forget():
    style._family_with.cache_clear()
    style._warn_of_escapes.cache_clear()
    del style._families[1:]


@pytest.fixture
def no_other_fonts(monkeypatch):
    """A machine that has the fonts of Matplotlib alone."""
    own = [font for font in fontManager.ttflist if font.fname.startswith(mpl.get_data_path())]
    monkeypatch.setattr(fontManager, "ttflist", own)
    forget()
    yield
    forget()


@pytest.fixture
def font_of_a_letter(no_other_fonts, tmp_path):
    """An installed font that has 跳 alone, as a square."""
    pen = TTGlyphPen(None)
    for i, corner in enumerate([(100, 0), (100, 700), (800, 700), (800, 0)]):
        (pen.lineTo if i else pen.moveTo)(corner)
    pen.closePath()
    square, empty = pen.glyph(), TTGlyphPen(None).glyph()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "jump"])
    builder.setupCharacterMap({ord("跳"): "jump"})
    builder.setupGlyf({".notdef": empty, "jump": square})
    builder.setupHorizontalMetrics({".notdef": (900, 0), "jump": (900, 100)})
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Jumping", "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(tmp_path / "jumping.ttf")
    fontManager.addfont(tmp_path / "jumping.ttf")
    forget()


def time_line(label):
    video = Video("v", "test", 4.0, 4, (label,), (Segment(label, 1.0, 2.0),))
    found = table(("v", label, 1.0, 2.0, 1.0))
    return over_time.of_detections(video, 1.0, {"rgb": np.full(4, 0.5)}, found, "simulated")


def test_letters_of_the_usual_font_stay(no_other_fonts, recwarn):
    for name in ("Long jump", "lancer à l'été", "Прыжок", "άλμα"):
        assert style.drawable(name) == name
    assert not recwarn
    assert style._families == ["sans-serif"]


def test_letters_that_no_font_has_are_written_as_escapes_with_a_warning(no_other_fonts, tmp_path):
    with pytest.warns(
        UserWarning, match=r"no installed font has all letters .* show \\u8df3\\u3076; install"
    ):
        assert style.drawable("跳ぶ") == r"\u8df3\u3076"
    with warnings.catch_warnings(action="error"):  # once, and no missing glyph
        figure = time_line("跳ぶ")
        over_time.save(tmp_path / "v.png", figure)
    assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [r"\u8df3\u3076"]


def test_letters_that_another_font_has_are_drawn_with_it(font_of_a_letter, tmp_path):
    with warnings.catch_warnings(action="error"):
        figure = time_line("跳")
        over_time.save(tmp_path / "v.png", figure)
        (label,) = figure.axes[1].get_yticklabels()
        assert label.get_text() == "跳"
        assert label.get_fontfamily() == ["sans-serif", "Jumping"]
        style.set_style()  # of the next figure
        assert mpl.rcParams["font.family"] == ["sans-serif", "Jumping"]
    with pytest.warns(UserWarning, match="show \\\\u8df3\\\\u3076"):
        assert style.drawable("跳ぶ") == r"跳\u3076"


def test_what_shows_nothing_and_what_would_be_a_formula_are_written_out(no_other_fonts, recwarn):
    assert style.drawable("a\nb\x1b") == r"a\nb\x1b"
    assert style.drawable(r"5$ and $\frac") == r"5\$ and \$\frac"
    figure, axes = plt.subplots()
    axes.set_title(style.drawable(r"5$ and $\frac"))
    figure.canvas.draw()  # raises for a formula that is none
    assert not recwarn
