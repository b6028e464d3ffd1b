from dataclasses import replace

import pytest

from dgam_core.data.soundness import check, late_segments, odd_durations, oddities, single_class
from dgam_core.errors import InputError
from dgam_core.snippets import Segment


def _change_video(data, **changes):
    return replace(data, videos=(replace(data.videos[0], **changes), *data.videos[1:]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: replace(d, videos=()), "tiny: has no video"),
        (lambda d: replace(d, videos=(*d.videos, d.videos[0])), "tiny: the video 'v0' occurs more than once"),
        (lambda d: replace(d, classes=("jump", "jump")), "tiny: the class 'jump' occurs more than once"),
        (
            lambda d: replace(d, classes=("jump", "Jump", "throw")),
            "tiny: the classes 'jump' and 'Jump' differ only in case; spell them alike",
        ),
        (
            lambda d: replace(d, fps=20.0),
            "tiny: v0 lasts 6 s, its 6 snippets of 16 frames last 4.8 s at 20 fps, and 4 of 4 videos "
            "disagree; 20.0 frames per snippet would fit, or 16.0 fps: check both",
        ),
        (lambda d: replace(d, features={}), "tiny: has no stream of features"),
        (lambda d: replace(d, fps=0.0), "tiny: fps 0.0 and frames per snippet 16 must be above zero"),
        (lambda d: replace(d, videos=d.videos[1:]), "tiny: flow features of an unknown video 'v0'"),
        (
            lambda d: _change_video(d, subset="val"),
            "tiny: v0: the subset is 'val'; it should be 'train' or 'test'",
        ),
        (lambda d: _change_video(d, labels=()), "tiny: v0: a training video without a label teaches nothing"),
        (lambda d: _change_video(d, labels=("swim",)), "tiny: v0: unknown label 'swim'"),
        (lambda d: _change_video(d, num_snippets=0), "tiny: v0: has 0 snippets"),
        (lambda d: _change_video(d, segments=(Segment("jump", 3.0, 2.0),)), "from 3.0 s to 2.0 s"),
        (lambda d: _change_video(d, segments=(Segment("jump", -1.0, 2.0),)), "from -1.0 s to 2.0 s"),
        (lambda d: _change_video(d, segments=(Segment("jump", 0.0, float("nan")),)), "to nan s"),
        (
            lambda d: _change_video(d, segments=(Segment("jump", 2.0, 7.5),)),
            "ends at 7.5 s, beyond the video's end at 6 s",
        ),
        (lambda d: replace(d, features={"rgb": {}}), "tiny: v0: has no rgb features"),
    ],
)
def test_an_unsound_data_set_is_refused_with_a_sentence(tiny, change, sentence):
    check(tiny)
    with pytest.raises(InputError) as error:
        check(change(tiny))
    assert sentence in str(error.value)


def test_a_segment_may_end_in_the_snippet_that_cutting_dropped(tiny):
    check(_change_video(tiny, segments=(Segment("jump", 2.0, 6.9),)))  # the video has 6 s and snippets of 1 s


def test_segments_beyond_the_end_of_few_videos_are_let_pass_and_listed(tiny):
    videos = tuple(replace(tiny.videos[i % 4], name=f"v{i}") for i in range(40))
    features = {"rgb": {video.name: tiny.features["rgb"][f"v{i % 4}"] for i, video in enumerate(videos)}}
    late = (Segment("jump", 2.0, 4.0), Segment("jump", 20.0, 30.0))

    def world(count):
        changed = tuple(replace(video, segments=late) for video in videos[:count]) + videos[count:]
        return replace(tiny, videos=changed, features=features)

    check(world(2))  # 5 %
    assert [(video.name, segment.end_s) for video, segment in late_segments(world(2))] == [
        ("v0", 30.0), ("v1", 30.0),
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"v0: a segment of 'jump' ends at 30\.0 s, beyond the video's end"):
        check(world(3))


def test_test_videos_about_which_nothing_is_known_are_sound(tiny):
    videos = [replace(video, subset="test", labels=(), segments=()) for video in tiny.videos]
    data = replace(tiny, videos=tuple(videos), classes=())
    check(data)
    assert oddities(data) == ["4 test videos have no segment, such as v0"]


def test_one_class_alone_deserves_a_sentence(tiny):
    assert single_class(tiny) == []
    jumps = [v for v in tiny.videos if v.labels != ("throw",) or v.subset == "test"]
    (sentence,) = single_class(replace(tiny, videos=tuple(jumps)))  # whatever is tested on
    assert sentence.startswith(
        "every training video shows 'jump': with one class alone, nothing tells action"
    )
    assert sentence in oddities(replace(tiny, videos=tuple(jumps)))


def test_a_length_may_differ_by_a_snippet_and_a_twentieth(tiny):
    # 6 snippets of 1 s; d − 6 > 1 + 0.05·d from d = 7.37 on.
    assert odd_durations(_change_video(tiny, duration_s=7.36)) == []
    (odd,) = odd_durations(_change_video(tiny, duration_s=7.38))
    assert odd.name == "v0"


def test_a_usual_pair_that_fits_all_videos_is_suggested(tiny):
    counts = (40, 90, 55, 200)
    videos = [
        replace(video, num_snippets=count, duration_s=count * 16 / 30 + 0.3)
        for video, count in zip(tiny.videos, counts, strict=True)
    ]
    with pytest.raises(InputError) as error:
        check(replace(tiny, fps=25.0, videos=tuple(videos)))
    assert str(error.value) == (
        "tiny: v0 lasts 21.6333 s, its 40 snippets of 16 frames last 25.6 s at 25 fps, and 4 of 4 videos "
        "disagree; 30 fps and 16 frames per snippet fit all: check both"
    )
