from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from dgam_core.errors import InputError
from dgam_core.extraction.video import _decoded, _scaled, crop, find_videos, frames, open_video
from tests.extraction.videos import encode, picture


def brightness(actual):
    """The blue channel of `picture(i)` is 40 + i: which frame is it?"""
    return [round(float(frame[..., 2].mean())) - 40 for frame in actual]


def test_every_frame_once_at_the_files_own_rate(tmp_path):
    video = open_video(encode(tmp_path / "a.mp4", 30, fps=30))
    assert video.fps == 30
    assert video.duration_s == pytest.approx(1.0)
    assert brightness(frames(video, video.fps)) == pytest.approx(list(range(30)), abs=3)
    assert len(list(frames(video, video.fps))) == 30


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        # 50 → 25 fps: every second frame. 12.5 → 25: each twice. 30 → 25: of k/25 s the nearest k·30/25.
        (50, [0, 2, 4, 6, 8, 10, 12, 14]),
        (Fraction(25, 2), [0, 0, 1, 1, 2, 2, 3, 3]),
        (30, [0, 1, 2, 4, 5, 6, 7, 8]),
    ],
)
def test_frames_are_the_nearest_in_time(tmp_path, fps, expected):
    video = open_video(encode(tmp_path / "a.mp4", 40, fps=fps))
    actual = list(frames(video, Fraction(25)))
    assert len(actual) == round(40 / fps * 25)
    brightnesses = [frame.mean() for frame in frames(video, video.fps)]
    near = [int(np.abs(np.array(brightnesses) - frame.mean()).argmin()) for frame in actual[:8]]
    assert near == expected


def test_a_variable_rate_is_made_even(tmp_path):
    # 20 frames 40 ms apart, then 10 frames 80 ms apart: 0.8 s + 0.8 s.
    times = [40 * i for i in range(20)] + [800 + 80 * i for i in range(10)]
    video = open_video(encode(tmp_path / "a.mkv", 30, times=times))
    actual = brightness(frames(video, Fraction(25)))
    assert len(actual) == pytest.approx(40, abs=2)
    assert actual[10] == pytest.approx(10, abs=3)  # 0.4 s
    assert actual[30] == pytest.approx(25, abs=3)  # 1.2 s = 0.8 s + 5 · 80 ms


@pytest.mark.parametrize(
    ("width", "height", "size"), [(64, 48, (256, 341)), (48, 96, (512, 256)), (640, 360, (256, 455))]
)
def test_pictures_are_scaled_to_256_pixels_on_the_shorter_side(tmp_path, width, height, size):
    video = open_video(encode(tmp_path / "a.mp4", 2, width=width, height=height))
    frame = next(frames(video, video.fps))
    assert frame.shape == (*size, 3)
    assert frame.dtype == np.uint8
    assert np.abs(means(frame) - means(picture(0, width, height))).mean() < 8  # the rest is the encoder's


def means(image):
    """Mean colours, 0…255, of 8 × 8 parts of a picture."""
    rows, columns = (pairwise(np.linspace(0, n, 9).astype(int)) for n in image.shape[:2])
    columns = list(columns)
    return np.array([[image[a:b, c:d].mean((0, 1)) for c, d in columns] for a, b in rows])


def test_a_picture_that_lies_on_its_side_is_turned():
    image = np.zeros((4, 8, 3), np.uint8)
    image[:, :2] = 255  # bright on the left

    class Frame:
        rotation = 90  # counterclockwise: what was on the left comes to the bottom

        def to_ndarray(self, format):
            return image

    actual = _scaled(Frame())
    assert actual.shape == (512, 256, 3)
    assert actual[-100:].min() > 200
    assert actual[:100].max() < 50


def test_the_crop_is_in_the_middle():
    image = np.arange(256 * 341).reshape(256, 341, 1)
    assert np.array_equal(crop(image), image[16:240, 58:282])  # (341 − 224) / 2 = 58.5


def test_a_video_that_stops_early_is_refused(tmp_path):
    whole = encode(tmp_path / "a.avi", 100).read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"b\.avi: .*"):
        list(frames(open_video(tmp_path / "b.avi"), Fraction(25)))


@pytest.mark.parametrize("stamps", [[None] * 4, [0] * 4, [50, 51, 51, 53], [50, None, 52, 53]])
def test_time_stamps_that_are_missing_or_do_not_rise_are_made_even(stamps, monkeypatch, tmp_path):
    shown = [SimpleNamespace(pts=stamp, time_base=Fraction(1, 25)) for stamp in stamps]

    @contextmanager
    def container(path):
        stream = SimpleNamespace()
        yield SimpleNamespace(streams=SimpleNamespace(video=[stream]), decode=lambda _: shown)

    monkeypatch.setattr("dgam_core.extraction.video._container", container)
    actual = [(seconds, frame) for seconds, frame in _decoded(tmp_path, Fraction(25))]
    assert actual == [(Fraction(i, 25), frame) for i, frame in enumerate(shown)]


def test_a_length_that_the_header_lacks_is_that_of_the_packets(tmp_path):
    path = tmp_path / "a.ivf.mkv"
    with av.open(str(path), "w", format="matroska", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        assert container.duration is None
        assert container.streams.video[0].duration is None
    assert open_video(path).duration_s == pytest.approx(30 / 20, abs=2e-3)  # times are whole milliseconds


def test_packets_without_times_are_counted(tmp_path):
    encode(tmp_path / "a.m4v", 30, fps=20)
    video = open_video(tmp_path / "a.m4v")  # a bare stream of MPEG-4: no header, no times
    assert video.duration_s == pytest.approx(30 / float(video.fps))


def test_videos_are_found_in_folders_and_lists(tmp_path, monkeypatch):
    (tmp_path / "films/deep").mkdir(parents=True)
    (tmp_path / "films/.parts").mkdir()
    for name in ("b.mp4", "a.MKV", "deep/c d.webm", "labels.json", ".hidden.mp4", ".parts/x.mp4"):
        (tmp_path / "films" / name).touch()
    films = tmp_path / "films"
    with pytest.warns(
        UserWarning, match=r"films: 1 files that are not called as videos are, such as 'labels"
    ):
        assert find_videos([films]) == [films / "a.MKV", films / "b.mp4", films / "deep/c d.webm"]
    monkeypatch.chdir(films)
    (tmp_path / "list.txt").write_text("films/b.mp4\r\n\nfilms/deep\na.MKV\n", encoding="utf-8-sig")
    expected = [films / "b.mp4", films / "deep/c d.webm", Path("a.MKV")]
    assert find_videos([tmp_path / "list.txt", films / "b.mp4"]) == expected  # each once


def test_folders_and_lists_without_videos_are_refused(tmp_path):
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match=r"list\.txt: names no video; write one per line"):
        find_videos([tmp_path / "list.txt"])
    with pytest.raises(InputError, match="has no file that is called as videos are"):
        find_videos([tmp_path])
