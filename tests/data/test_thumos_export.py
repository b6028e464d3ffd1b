import json
from dataclasses import replace

import numpy as np
import pytest

from dgam_core.data import store
from dgam_core.data.layouts.basnet import read_basnet, write_basnet
from dgam_core.data.test_sets import thumos14_class_ids, write_thumos
from dgam_core.errors import InputError
from dgam_core.segments import SegmentTable


def test_a_store_comes_back_from_the_layout_of_basnet(tmp_path, tiny):
    videos = (replace(tiny.videos[0], segments=()), *tiny.videos[1:])  # labelled as a whole
    data = replace(tiny, videos=videos, name="out")
    seen = []
    write_basnet(tmp_path / "out", data, seen.append)
    assert len(seen) == 8
    back = read_basnet(tmp_path / "out")
    assert back.videos == data.videos
    assert (back.fps, back.snippet_frames, back.classes) == (16, 16, data.classes)
    for stream in data.streams:
        for video in data.videos:
            assert np.array_equal(back.load(stream, video.name), data.load(stream, video.name))
    store.write(tmp_path / "x.h5", back)


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_features_stay_simulated(tmp_path, tiny, simulated):
    write_basnet(tmp_path / "out", replace(tiny, simulated=simulated))
    assert read_basnet(tmp_path / "out").simulated == simulated
    assert (tmp_path / "out" / "SIMULATED.txt").is_file() == simulated


def test_what_exists_is_not_overwritten_and_nothing_is_half_written(tmp_path, tiny):
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="out: exists; give the name of a new folder"):
        write_basnet(tmp_path / "out", tiny)
    broken = replace(tiny, features={"rgb": {"v0": tiny.features["rgb"]["v0"]}})
    with pytest.raises(KeyError):
        write_basnet(tmp_path / "other", broken)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_lines_of_the_thumos14_kit(tmp_path):
    rows = [
        ("video_test_0000004", "CricketShot", 0.1, 2.25, 0.75),
        ("video_test_0000006", "Diving", 3, 4, 1e-3),
    ]
    write_thumos(tmp_path / "d.txt", SegmentTable.from_rows(rows))
    assert (tmp_path / "d.txt").read_text() == (
        "video_test_0000004 0.1 2.25 24 0.75\nvideo_test_0000006 3.0 4.0 26 0.001\n"
    )
    with pytest.raises(InputError, match="the class 'swim' is none of the 20"):
        write_thumos(tmp_path / "e.txt", SegmentTable.from_rows([("v", "swim", 0, 1, 1)]))
    assert not (tmp_path / "e.txt").exists()


def test_the_kits_classes_are_those_of_the_annotations(shared_data):
    database = json.loads((shared_data / "thumos14" / "gt.json").read_text())["database"]
    labels = {row["label"] for entry in database.values() for row in entry["annotations"]}
    ids = thumos14_class_ids()
    assert labels == set(ids)
    assert len(set(ids.values())) == 20
    assert sorted(ids.values()) == [ids[label] for label in sorted(ids)]  # numbered by name
