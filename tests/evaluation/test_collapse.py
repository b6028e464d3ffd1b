import numpy as np
import pytest

from dgam_core.evaluation.collapse import LEAST_SPREAD, collapse, collapses
from dgam_core.settings import LocalizationSettings
from tests.conftest import outputs_of

NOWHERE, EVERYWHERE = (
    "attention is above the threshold nowhere",
    "attention is above the threshold everywhere",
)
SETTINGS = LocalizationSettings(attention_threshold=0.5)


def video(attention, tcam=(0.0, 3.0, -3.0)):
    """A video whose snippets all have the same TCAM: background, then the classes."""
    return outputs_of(attention, np.tile(tcam, (len(attention), 1)))


def test_a_healthy_model_has_not_collapsed():
    assert collapse({"a": video([0.1, 0.9]), "b": video([0.2, 0.8, 0.3])}, SETTINGS) is None


def test_attention_can_be_above_the_threshold_nowhere():
    low = video([0.1, 0.4, 0.5])  # 0.5 is not above 0.5
    assert collapse({"a": low, "b": video([0.3, 0.2])}, SETTINGS) == NOWHERE
    assert collapse({"a": low, "b": video([0.3, 0.51])}, SETTINGS) is None  # one snippet of one video is
    assert collapse({"a": low}, SETTINGS.model_copy(update={"attention_threshold": 0.3})) is None


def test_attention_can_be_above_the_threshold_everywhere():
    high = video([0.6, 0.9])
    assert collapse({"a": high, "b": video([0.7, 1.0])}, SETTINGS) == EVERYWHERE
    assert collapse({"a": high, "b": video([0.7, 0.5])}, SETTINGS) is None  # one snippet of one video is not
    assert collapse({"a": high}, SETTINGS.model_copy(update={"attention_threshold": 0.7})) is None


def test_attention_can_be_constant_on_both_sides_of_the_threshold():
    """Of as many values d above as below 0.5 the standard deviation is d."""
    for spread, found in ((0.9 * LEAST_SPREAD, "attention is constant"), (1.1 * LEAST_SPREAD, None)):
        outputs = {"a": video([0.5 - spread, 0.5 + spread]), "b": video([0.5 + spread, 0.5 - spread])}
        assert collapse(outputs, SETTINGS) == found


def test_constant_in_each_video_is_not_constant():
    assert collapse({"a": video([0.2, 0.2]), "b": video([0.8, 0.8])}, SETTINGS) is None


def test_every_video_can_be_classified_as_background():
    background, action = (3.0, 1.0, 2.0), (1.0, 1.0, 2.0)
    outputs = {"a": video([0.1, 0.9], background), "b": video([0.9, 0.1], background)}
    assert collapse(outputs, SETTINGS) == "every video is classified as background"
    assert collapse(outputs | {"b": video([0.9, 0.1], action)}, SETTINGS) is None


def test_a_video_is_classified_where_the_attention_is():
    """Background where λ is 0.1, class 1 where it is 0.9: pooled, 0.1 · 4 against 0.9 · 3."""
    tcam = [[4.0, 0.0, 0.0], [0.0, 3.0, 0.0]]
    assert collapse({"a": outputs_of([0.1, 0.9], tcam)}, SETTINGS) is None
    assert (
        collapse({"a": outputs_of([0.9, 0.1], tcam)}, SETTINGS) == "every video is classified as background"
    )


@pytest.mark.parametrize(
    ("attention", "found"),
    [
        ([0.1, 0.25], NOWHERE),
        ([0.1, 0.4], None),  # above the lowest
        ([0.35, 0.6], EVERYWHERE),  # though below the highest
        ([0.2, 0.9], None),
    ],
)
def test_of_several_thresholds_the_lowest_counts(attention, found):
    settings = LocalizationSettings(attention_threshold=(0.7, 0.3))
    assert collapse({"a": video(attention)}, settings) == found


CLASS_AWARE = LocalizationSettings(proposals="class_aware", attention_threshold=0.5)
SURE, UNSURE = 20.0, -20.0  # σ of these is 1 and 0


def test_class_aware_signals_depend_on_the_tcam():
    """0.8·λσ(TCAM) + 0.2·λ²: 0.882 and 0.082 of 0.9 and 0.1 with σ 1; 0.162 and 0.002 with σ 0."""
    sure, unsure = (video([0.1, 0.9], (-40.0, tcam, -60.0)) for tcam in (SURE, UNSURE))
    assert collapse({"a": sure}, CLASS_AWARE) is None
    assert collapse({"a": unsure}, CLASS_AWARE) == NOWHERE
    assert collapse({"a": unsure}, SETTINGS) is None  # by the attention alone
    assert collapse({"a": sure}, CLASS_AWARE.model_copy(update={"attention_threshold": 0.08})) == EVERYWHERE


def test_class_aware_signals_are_those_of_the_classes_that_are_localized():
    """Of two likely classes the first is active in both snippets, the second in none: σ is 1 and 0.5.

    λ = 0.6 and 0.7 give 0.552 and 0.658 with σ 1, 0.312 and 0.378 with σ 0.5.
    """
    settings = CLASS_AWARE.model_copy(update={"class_threshold": 1e-10})
    two = video([0.6, 0.7], (-60.0, SURE, 0.0))
    assert collapse({"a": two}, settings) is None
    # by the usual threshold the first class is the only likely one
    assert collapse({"a": two}, CLASS_AWARE) == EVERYWHERE


def test_each_stream_is_judged_by_its_own_threshold():
    outputs = {stream: {"a": video([0.4, 0.6])} for stream in ("rgb", "flow")}
    settings = LocalizationSettings(attention_threshold={"rgb": 0.3, "flow": 0.7})
    assert collapses(outputs, settings) == {"rgb": EVERYWHERE, "flow": NOWHERE}
    assert collapses(outputs, SETTINGS) == {}


def test_one_stream_can_collapse_alone():
    outputs = {"rgb": {"a": video([0.4, 0.6])}, "flow": {"a": video([0.1, 0.2])}}
    assert collapses(outputs, SETTINGS) == {"flow": NOWHERE}
