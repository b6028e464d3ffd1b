import json
import pickle

import numpy as np
import pytest
from click.testing import CliRunner

from dgam_core.cli.main import cli
from dgam_core.data import activitynet_json
from dgam_core.data.detection_files import read_detections, read_ground_truth
from dgam_core.data.test_sets import write_thumos
from dgam_core.errors import InputError
from tests.evaluation import table

ROWS = [("v 1", "Diving", 0.5, 2.0, 0.25), ("w", "Shot", 1.0, 3.0, -1.5)]


def save(path, text, encoding="utf-8"):
    path.write_text(text, encoding=encoding)
    return path


def annotations(path, **label_ids):
    """Ground truth with a number for each class, as ActionFormer has it."""
    entries = [{"label": name, "label_id": n, "segment": [0, 1]} for name, n in label_ids.items()]
    videos = {"v": {"subset": "Test", "annotations": entries}}
    return save(path, json.dumps({"database": videos}))


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("video,start,end,label,score\nv 1,0.5,2,Diving,0.25\nw,1,3,Shot,-1.5\n", "utf-8"),
        ("v 1,0.5,2,Diving,0.25\n\nw,1,3,Shot,-1.5\n", "utf-8"),  # in this order without names
        ("score;label;t-end;t-start;video-id\r\n.25;Diving;2;.5;v 1\r\n-1.5;Shot;3;1;w", "utf-8-sig"),
        (
            'Video\tStart\tEnd\tClass\tScore\tn\n"v 1"\t0.5\t2\tDiving\t2.5e-1\t\nw\t1\t3\tShot\t-1.5\t7',
            "utf-8",
        ),
    ],
)
def test_csv(tmp_path, text, encoding):
    path = save(tmp_path / "d.csv", text, encoding)
    assert list(read_detections(path, tmp_path / "gt.json").rows()) == ROWS
    truth = read_ground_truth(save(tmp_path / "gt.CSV", "video,start,end,label\na,0,1,x\nb,0,2,x\na,2,3,y"))
    assert truth.videos == ("a", "b")
    assert list(truth.segments.rows()) == list(
        table(("a", "x", 0, 1), ("b", "x", 0, 2), ("a", "y", 2, 3)).rows()
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("v,0,1,x", "d.csv: line 1: should have video, start, end, label, score, not 'v,0,1,x'"),
        ("video,start,end,score\n", "d.csv: line 1: should name one column 'label', not"),
        (
            "video,start,end,label,score\nv,a,1,x,1",
            "d.csv: line 2: the start should be a finite number, not 'a'",
        ),
        ("v,0,1,x,nan", "d.csv: line 1: the score should be a finite number, not 'nan'"),
        ("v,2,1,x,1", "d.csv: line 1: the segment ends before it starts: 1 s < 2 s"),
        ("v,0,1,,1", "d.csv: line 1: the label has no name"),
        ("v,0,1,x,1\n" + "y" * 201 + ",0,1,x,1", f"d.csv: line 2: the video '{'y' * 39}… has more than 200"),
        (f"v,0,1,{'x' * 200_000},1", "d.csv: is not CSV: field larger than field limit"),
    ],
)
def test_csv_that_cannot_be_read(tmp_path, text, sentence):
    with pytest.raises(InputError) as error:
        read_detections(save(tmp_path / "d.csv", text), tmp_path / "gt.json")
    assert str(error.value).startswith(f"{tmp_path}/{sentence}")


def test_ground_truth_in_csv_has_no_subsets(tmp_path):
    path = save(tmp_path / "gt.csv", "video,start,end,label\n")
    with pytest.raises(InputError, match="has no annotated segment to evaluate against"):
        read_ground_truth(path)
    with pytest.raises(InputError, match="a CSV file has no subsets; leave out --subset test"):
        read_ground_truth(path, "test")


def test_text_of_the_thumos_kit(tmp_path):
    """What `dgam export thumos` writes comes back; .mp4 is dropped, as the kit does."""
    detections = table(("v 1", "Diving", 0.5, 2.0, 0.25), ("w", "BaseballPitch", 1.0, 3.0, -1.5))
    write_thumos(tmp_path / "d.txt", detections)
    read = read_detections(tmp_path / "d.txt", tmp_path)
    assert list(read.rows()) == list(detections.rows())
    path = save(tmp_path / "e.txt", "w.mp4\t1 3 7 0.5\n\nw 1 3 101 0.5\nw 1 3 7.5 1\n")
    assert read_detections(path, tmp_path).label.tolist() == ["BaseballPitch", "class 101", "class 7.5"]
    assert set(read_detections(path, tmp_path).video.tolist()) == {"w"}
    save(tmp_path / "detclasslist.txt", "7 Long jump\n101 Shot\n")  # of a kit with other classes
    assert read_detections(path, tmp_path).label.tolist() == ["Long jump", "Shot", "class 7.5"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("v 0 1 7", "line 1: should be video, start, end, class number and score, not 'v 0 1 7'"),
        ("v 0 1 7 0.5\nv 0 1 Diving 0.5", "line 2: the class number should be a finite number, not 'Diving'"),
        ("v 3 1 7 0.5", "line 1: the segment ends before it starts"),
        ("v 0 1 7 inf", "line 1: the score should be a finite number, not 'inf'"),
    ],
)
def test_text_that_the_kit_could_not_read(tmp_path, text, sentence):
    with pytest.raises(InputError) as error:
        read_detections(save(tmp_path / "d.txt", text), tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/d.txt: {sentence}")


def kit_folder(folder, **files):
    for name, text in files.items():
        save(folder / f"{name}.txt", text)
    return folder


def test_the_folder_of_the_thumos_kit(tmp_path):
    kit_folder(
        tmp_path,
        detclasslist="26 Diving\n36 GolfSwing\n",
        Diving_test="v1  0.5 2.0\nv2 1 2\n\n",
        GolfSwing_test="v1 3 4\n",
        Ambiguous_test="v3 1.0 2.0\n",
        Diving_val="u 0 1\n",
        GolfSwing_val="",
    )
    truth = read_ground_truth(tmp_path)
    assert list(truth.segments.rows()) == [
        ("v3", "Ambiguous", 1, 2, 0),
        ("v1", "Diving", 0.5, 2, 0),
        ("v2", "Diving", 1, 2, 0),
        ("v1", "GolfSwing", 3, 4, 0),
    ]
    assert set(truth.videos) == {"v1", "v2", "v3"}
    assert (
        read_ground_truth(tmp_path, "Validation").videos
        == read_ground_truth(tmp_path, "val").videos
        == ("u",)
    )
    with pytest.raises(InputError, match="the THUMOS14 kit has the subsets test and val, not 'train'"):
        read_ground_truth(tmp_path, "train")
    (tmp_path / "GolfSwing_test.txt").unlink()
    with pytest.raises(
        InputError, match=r"has no GolfSwing_test\.txt, of a class that detclasslist\.txt names"
    ):
        read_ground_truth(tmp_path)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({}, "has no segment in files <class>_test.txt"),
        ({"Ambiguous_test": "v 0 1"}, "has no segment in files <class>_test.txt"),
        ({"Diving_test": "v 0 1\nv 1"}, "Diving_test.txt: line 2: should be a video, a start and an end"),
        ({"Diving_test": "v 2 1"}, "Diving_test.txt: line 1: the segment ends before it starts"),
        (
            {"detclasslist": "Diving"},
            "detclasslist.txt: line 1: should be a number and a class, not 'Diving'",
        ),
    ],
)
def test_folders_that_are_not_of_the_kit(tmp_path, files, sentence):
    with pytest.raises(InputError, match=sentence):
        read_ground_truth(kit_folder(tmp_path, **files))


def results(**changes):
    return {
        "video-id": ["v", "v"],
        "t-start": np.float32([0, 0.5]),
        "t-end": np.float32([1, 2]),
        "label": np.array([3, 0]),
        "score": np.float32([0.5, 0.25]),
    } | changes


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_results_of_actionformer(tmp_path, protocol):
    gt = annotations(tmp_path / "gt.json", Diving=3, Shot=1)
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(results(), protocol))
    assert list(read_detections(tmp_path / "d.pkl", gt).rows()) == [
        ("v", "Diving", 0.0, 1.0, 0.5),
        ("v", "class 0", 0.5, 2.0, 0.25),  # which the ground truth does not have
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1], "should be a dictionary of video-id, t-start, t-end, label, score, as ActionFormer writes it"),
        ({"results": {}}, "should be a dictionary of"),
        (results(label=np.array([3])), "should have the same length"),
        (results(score=["a", "b"]), "should be arrays of numbers"),
        (results(**{"video-id": [1, 2]}), "'video-id' should be a list of names"),
        (results(**{"t-end": np.float32([1, 0])}), "d.pkl: detection 2: the segment ends before it starts"),
        (results(score=np.float32([1, np.nan])), "d.pkl: detection 2: the score should be a finite number"),
        (results(score=print), "refers to builtins.print, which is not part of a NumPy array"),
    ],
)
def test_results_that_are_not_actionformers(tmp_path, content, sentence):
    gt = annotations(tmp_path / "gt.json", Diving=3)
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=sentence):
        read_detections(tmp_path / "d.pkl", gt)


def test_numbers_of_classes_need_names(tmp_path):
    (tmp_path / "d.pkl").write_bytes(pickle.dumps(results()))
    nameless = save(
        tmp_path / "a.json", '{"database": {"v": {"annotations": [{"label": "x", "segment": [0, 1]}]}}}'
    )
    for path in (nameless, tmp_path, tmp_path / "gt.csv"):
        with pytest.raises(
            InputError, match=r'does not say which class is which .* "label_id" beside each label'
        ):
            read_detections(tmp_path / "d.pkl", path)
    with pytest.raises(InputError, match="label_id 3 is 'Shot' here, 'Diving' before"):
        read_detections(tmp_path / "d.pkl", annotations(tmp_path / "gt.json", Diving=3, Shot=3))


def test_the_kits_files_give_the_kits_numbers(shared_data, tmp_path):
    """Detections of STPN as the kit's text, and the annotations of its 212 videos as the kit's folder."""
    source = shared_data / "thumos14" / "Thumos14reduced-Annotations"
    name, subset, segments, labels = (
        np.load(source / f"{what}.npy", allow_pickle=True)
        for what in ("videoname", "subset", "segments", "labels")
    )
    lines = {}
    for i in np.flatnonzero(subset == b"test"):
        for (start, end), label in zip(segments[i], labels[i], strict=True):
            lines.setdefault(str(label), []).append(f"{name[i].decode()} {float(start)!r} {float(end)!r}\n")
    lines["Ambiguous"] = [(source / "Ambiguous_test.txt").read_text()]
    (tmp_path / "kit").mkdir()
    kit_folder(tmp_path / "kit", **{f"{label}_test": "".join(texts) for label, texts in lines.items()})
    detections = activitynet_json.read_detections(shared_data / "thumos14" / "stpn_detections.json")
    write_thumos(tmp_path / "d.txt", detections)
    arguments = ["evaluate", str(tmp_path / "d.txt"), str(tmp_path / "kit"), "--protocol", "thumos"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    values = [round(float(value), 1) for value in done.output.splitlines()[2].split()[2:11]]
    assert values == [46.6, 40.3, 32.5, 25.0, 17.2, 9.7, 4.8, 1.3, 0.1]
