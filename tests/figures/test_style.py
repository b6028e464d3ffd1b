import matplotlib as mpl

from dgam_core.figures import style


def test_every_figure_has_the_same_style_and_the_same_bytes_each_time():
    style.set_style()
    assert mpl.rcParams["figure.constrained_layout.use"]
    assert mpl.rcParams["svg.hashsalt"] == "dgam"
    assert not mpl.rcParams["axes.spines.top"]


def test_different_things_have_different_colours():
    assert len({style.OURS, style.WITHOUT, style.PUBLISHED, style.SEED}) == 4
    assert len({style.KINDS[kind] for kind in ("action", "context", "background")}) == 3
    assert style.MODELS["with"] == style.OURS
