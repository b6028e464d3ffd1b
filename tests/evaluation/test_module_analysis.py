from dataclasses import astuple, replace

import numpy as np
import pytest
from pytest import approx
from scipy.special import logit

from dgam_core.errors import InputError
from dgam_core.evaluation.diagnosis import CAUSES
from dgam_core.evaluation.module_analysis import (
    contrast,
    diagnose_detections,
    localize_and_evaluate,
    mean_by_kind,
    measurable,
    set_statistics,
    snippet_kinds,
    swap_modules,
    video_of_median_change,
)
from dgam_core.settings import LocalizationSettings
from dgam_core.snippets import Segment
from tests.conftest import outputs_of


def outputs(attention, probability, label):
    """Outputs with a score σ(TCAM) of the video's class, column 1 or 2, and none of the other."""
    tcam = np.full((len(probability), 3), -20.0)
    tcam[:, 1 + label] = logit(probability)
    return outputs_of(attention, tcam)


@pytest.fixture
def perfect(tiny):
    """Outputs that are high on the action, snippets 2 and 3 of every video, and low elsewhere."""
    inside = {v: [0.9 if t in (2, 3) else 0.1 for t in range(v.num_snippets)] for v in tiny.subset("test")}
    return {v.name: outputs(p, p, tiny.classes.index(v.labels[0])) for v, p in inside.items()}


@pytest.fixture
def predicted(tiny):
    # v2 has 8 snippets of 1 s, v3 has 9; the action of both is [2 s, 4 s], snippets 2 and 3
    a, b = (video.name for video in tiny.subset("test"))
    return {
        a: outputs([0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.1], 0),
        b: outputs(
            [0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1, 0.9], [0.1, 0.1, 0.9, 0.9, 0.1, 0.1, 0.1, 0.9, 0.9], 1
        ),
    }


def test_the_four_statistics_by_hand(tiny, predicted):
    s = set_statistics(tiny, predicted)
    # gt: 2, 3 in each of the two videos, whose shares are averaged
    assert s.false_attention == approx((1 / 2 + 1 / 2) / 2)  # snippet 1 of the first, 8 of the second
    assert s.missed_by_attention == approx((1 / 2 + 0) / 2)  # snippet 3 of the first
    assert s.filtered_by_attention == approx((2 / 2 + 1 / 2) / 2)  # 4, 5; 7, but 8 has attention
    assert s.rescued_by_attention == approx((1 / 2 + 0) / 2)  # snippet 2 of the first


def test_each_video_counts_alike_and_one_without_action_not_at_all(tiny, predicted):
    a, b = tiny.subset("test")
    longer = replace(a, segments=(Segment("jump", 2.0, 6.0),))  # snippets 2 to 5
    s = set_statistics(replace(tiny, videos=(longer, b)), predicted)
    assert s.false_attention == approx((1 / 4 + 1 / 2) / 2)
    without = replace(a, segments=(Segment("jump", 0.0, 0.2),))
    s = set_statistics(replace(tiny, videos=(without, b)), predicted)
    assert s.false_attention == approx(1 / 2)


def labelled_alone(data, *names):
    """The data set in which nobody has annotated the segments of some videos."""
    return replace(data, videos=tuple(replace(v, segments=()) if v.name in names else v for v in data.videos))


def test_videos_without_segments_are_left_out_of_every_measure(tiny, perfect):
    settings = LocalizationSettings(attention_threshold=0.5)
    by_stream = {"rgb": perfect}
    both = localize_and_evaluate(tiny, by_stream, settings, [0.5])
    assert (both.map.tolist(), both.num_videos) == ([1], 2)
    # "jump" alone is left; the detections in v3, whose throw nobody has annotated, are no false positives
    part = labelled_alone(tiny, "v3")
    result = localize_and_evaluate(part, by_stream, settings, [0.5])
    assert (result.map.tolist(), result.num_videos, list(result.per_class)) == ([1], 1, ["jump"])
    assert (result.num_in_unknown_videos, result.num_detections) == (0, both.num_detections / 2)
    diagnosis = diagnose_detections(part, by_stream, settings, 0.5)
    assert diagnosis.share("right") == 1
    # 0.9 in action, 0.1 elsewhere; of v3 nobody knows what is action
    attention = {name: of_video.attention for name, of_video in perfect.items()}
    assert mean_by_kind(part, attention) == approx({"action": 0.9, "not action": 0.1})


def test_a_test_video_known_to_show_nothing_counts(tiny):
    v2, v3 = tiny.subset("test")
    data = replace(tiny, videos=(v2, replace(v3, labels=(), segments=())))
    assert measurable(data) == data


@pytest.mark.parametrize("left_out", [(), ("v2",)])
def test_without_any_segment_localization_is_not_measured(tiny, perfect, left_out):
    """Whether nobody has annotated any, or the settings leave out the videos that have some."""
    data = labelled_alone(tiny, "v3") if left_out else labelled_alone(tiny, "v2", "v3")
    settings = LocalizationSettings(attention_threshold=0.5, test_without=left_out)
    with pytest.raises(InputError, match="tiny: no test video has an annotated segment"):
        localize_and_evaluate(data, {"rgb": perfect}, settings, [0.5])
    point = replace(tiny.subset("test")[0], segments=(Segment("jump", 2.0, 2.0),))
    with pytest.raises(InputError, match="no test video has an annotated segment"):
        measurable(replace(tiny, videos=(point,)))


def test_a_perfect_model_has_no_errors(tiny, perfect):
    assert astuple(set_statistics(tiny, perfect)) == (0, 0, 0, 0)


def test_the_classifier_counts_for_the_classes_of_the_video_alone(tiny, predicted):
    wrong = {name: outputs_of(o.attention, o.tcam[:, [0, 2, 1]]) for name, o in predicted.items()}
    s = set_statistics(tiny, wrong)
    assert s.filtered_by_attention == 0  # the classifier finds nothing of the right class
    assert s.rescued_by_attention == approx(3 / 4)  # all that attention finds: 2; 2, 3


def test_the_threshold_is_to_be_exceeded(tiny, predicted):
    assert set_statistics(tiny, predicted, threshold=0.95).false_attention == 0
    assert set_statistics(tiny, predicted, threshold=0.05).missed_by_attention == 0


def test_sampled_snippets_are_placed_in_time(tiny):
    # 4 samples of 8 and of 9 snippets: steps of 2 s and 2.25 s; only sample 1 has its middle in [2 s, 4 s]
    sampled = {v.name: outputs([0.1, 0.9, 0.1, 0.1], [0.1, 0.9, 0.1, 0.1], tiny.classes.index(v.labels[0]))
               for v in tiny.subset("test")}  # fmt: skip
    s = set_statistics(tiny, sampled)
    assert (s.false_attention, s.missed_by_attention) == (0, 0)


def test_without_action_there_is_nothing_to_compare(tiny, predicted):
    videos = tuple(replace(v, segments=(Segment("jump", 0.0, 0.2),)) for v in tiny.videos)
    with pytest.raises(ValueError, match="no test snippet lies in an annotated segment"):
        set_statistics(replace(tiny, videos=videos), predicted)


def test_swapping_takes_attention_from_one_and_class_scores_from_the_other(predicted):
    other = {name: outputs_of(1 - o.attention, -o.tcam) for name, o in predicted.items()}
    swapped = swap_modules(predicted, other)
    for name in predicted:
        assert np.array_equal(swapped[name].attention, predicted[name].attention)
        assert np.array_equal(swapped[name].tcam, other[name].tcam)
    same = swap_modules(predicted, predicted)
    assert all(np.array_equal(same[name].tcam, predicted[name].tcam) for name in predicted)


def test_models_on_different_snippets_cannot_be_swapped(predicted):
    shorter = {name: outputs_of(o.attention[:-1], o.tcam[:-1]) for name, o in predicted.items()}
    with pytest.raises(ValueError, match="v2: the two models were applied to different snippets"):
        swap_modules(predicted, shorter)
    with pytest.raises(ValueError, match="different videos"):
        swap_modules(predicted, {"v2": predicted["v2"]})


def test_localizing_and_evaluating_in_one_step(tiny, perfect):
    result = localize_and_evaluate(
        tiny, {"rgb": perfect}, LocalizationSettings(class_threshold=0.4), [0.5, 0.99]
    )
    assert result.map.tolist() == [1, 1]
    assert (result.num_videos, result.num_segments) == (2, 2)


def test_detections_are_told_from_the_context_that_the_data_knows(tiny):
    attention = np.zeros(8)
    attention[2:4], attention[5:7] = 1, 0.9  # the action, and 5 s to 7 s
    seen = outputs(attention, np.full(8, 0.9), 0)
    video = tiny.subset("test")[0]
    one = replace(tiny, videos=(video,))
    settings = LocalizationSettings(test_without=())
    kinds, classes = np.zeros(8, dtype=np.int8), np.full(8, -1, dtype=np.int16)

    def causes(data):
        counts = diagnose_detections(data, {"rgb": {video.name: seen}}, settings, 0.5).causes.sum(0)
        return {cause: int(count) for cause, count in zip(CAUSES, counts, strict=True) if count}

    # Nobody knows the context: 6 s lies within 2 s of the action, which ends at 4 s, but not before that end.
    assert causes(one) == {"right": 1, "background": 1}
    kinds[4:8], classes[4:8] = 1, 0
    assert causes(replace(one, kinds={video.name: kinds}, snippet_classes={video.name: classes})) == {
        "right": 1, "context": 1,
    }  # fmt: skip
    other = np.where(classes == 0, 1, -1).astype(np.int16)  # context of the other class
    assert causes(replace(one, kinds={video.name: kinds}, snippet_classes={video.name: other})) == {
        "right": 1, "background": 1,
    }  # fmt: skip


def test_snippets_have_kinds_where_the_data_knows_them(tiny):
    video = tiny.videos[2]  # 8 snippets of 1 s, action from 2 to 4 s
    expected = ["not action"] * 2 + ["action"] * 2 + ["not action"] * 4
    assert snippet_kinds(tiny, video, 8).tolist() == expected
    kinds = np.array([0, 1, 2, 2, 1, 0, 0, 0], dtype=np.uint8)
    known = replace(tiny, kinds={video.name: kinds})
    names = ["background", "context", "action"]
    assert snippet_kinds(known, video, 8).tolist() == [names[kind] for kind in kinds]
    # of 4 snippets that were fed, the middles lie at 1, 3, 5 and 7 of the video's 8
    assert snippet_kinds(known, video, 4).tolist() == ["context", "action", "background", "background"]


def test_means_by_kind_are_over_all_snippets_of_a_kind(tiny):
    v2, v3 = np.zeros(8), np.zeros(9)
    v2[2:4], v3[2:4], v3[0] = [1.0, 3.0], [2.0, 2.0], 13.0
    means = mean_by_kind(tiny, {"v2": v2, "v3": v3})
    assert means == {"action": 2.0, "not action": 1.0}  # (1 + 3 + 2 + 2) / 4; 13 / (6 + 7)


def test_contrast_is_the_mean_inside_the_action_minus_the_mean_outside(tiny):
    video = tiny.videos[2]
    attention = np.array([0, 0, 1, 0.5, 0.3, 0.3, 0, 0])
    assert contrast(tiny, video, attention) == pytest.approx(0.75 - 0.1)
    assert np.isnan(contrast(tiny, replace(video, segments=()), attention))


def attention_of(contrasts):
    """Outputs of two streams whose attention has these contrasts, video by video, on average."""
    streams = {"rgb": {}, "flow": {}}
    for name, value in contrasts.items():
        for stream, more in (("rgb", 0.1), ("flow", -0.1)):
            attention = np.full(8, 0.2)
            attention[2:4] += value + more
            streams[stream][name] = outputs_of(attention, np.zeros((8, 3)))
    return streams


@pytest.mark.parametrize(
    ("after", "chosen"),
    [
        ({"a": 0.5, "b": 0.1, "c": 0.3, "one": 0.2}, "c"),  # changes 0.5, 0.1, 0.3; "one" has one action
        ({"a": 0.3, "b": 0.5, "c": 0.1, "one": 0.2}, "a"),
    ],
)
def test_figure_1_shows_the_video_of_the_median_change_of_contrast(tiny, after, chosen):
    two = (Segment("jump", 2.0, 3.0), Segment("jump", 3.0, 4.0))
    videos = [replace(tiny.videos[2], name=name, segments=two) for name in "abc"]
    videos.append(replace(tiny.videos[2], name="one"))
    before = attention_of(dict.fromkeys(after, 0.0))
    data = replace(tiny, videos=tuple(videos))
    assert video_of_median_change(data, before, attention_of(after)).name == chosen
    # Of two, the one that changes less; where no video has two actions, of all.
    pair = replace(data, videos=tuple(videos[:2]))
    assert video_of_median_change(pair, before, attention_of(after)).name == min("ab", key=after.get)
    single = replace(data, videos=(videos[3],))
    assert video_of_median_change(single, before, attention_of(after)).name == "one"
    nothing = replace(data, videos=(replace(videos[3], segments=()),))
    with pytest.raises(ValueError, match="no test video has snippets both within actions and outside"):
        video_of_median_change(nothing, before, attention_of(after))
