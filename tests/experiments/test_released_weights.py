import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from dgam_core.departures import preset
from dgam_core.errors import InputError
from dgam_core.experiments import released_weights, run_store
from dgam_core.experiments.inference import load_test_features, predict
from dgam_core.localize import class_probabilities
from dgam_core.model import restore
from dgam_core.training import train
from dgam_core.training.train import Job

CPU = torch.device("cpu")


def theirs(dim=5, hidden=6, classes=2, prefix="", bias=True):
    """A checkpoint as the released code writes it: the background is the last class."""
    random = torch.Generator().manual_seed(0)
    shapes = {
        "att_head.fc1.weight": (hidden, dim),
        "att_head.fc1.bias": (hidden,),
        "att_head.fc2.weight": (1, hidden),
        "att_head.fc2.bias": (1,),
        "clf_head.fc1.weight": (classes + 1, dim),
    } | ({"clf_head.fc1.bias": (classes + 1,)} if bias else {})
    return {prefix + name: torch.randn(shape, generator=random) for name, shape in shapes.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("bias", [True, False])
def test_a_checkpoint_predicts_what_its_weights_say(tmp_path, tiny, prefix, bias):
    weights = theirs(prefix=prefix, bias=bias)
    torch.save(weights, tmp_path / "rgb.pth")
    trained, settings = released_weights.read_checkpoint(tmp_path / "rgb.pth")
    features = load_test_features(tiny, "rgb", preset("released", "thumos14"), CPU)
    outputs = predict(restore(trained.weights, settings), features)["v2"]
    w = {name.removeprefix("module."): value.double() for name, value in weights.items()}
    x = features["v2"].double()
    hidden = (x @ w["att_head.fc1.weight"].T + w["att_head.fc1.bias"]).clamp(min=0)
    lam = torch.sigmoid(hidden @ w["att_head.fc2.weight"].T + w["att_head.fc2.bias"])[:, 0]
    assert np.allclose(outputs.attention, lam, atol=1e-5)
    scores = x @ w["clf_head.fc1.weight"].T
    assert np.allclose(outputs.tcam, scores[:, [2, 0, 1]], atol=1e-5)  # the background, last there
    if bias:
        assert np.allclose(outputs.bias, w["clf_head.fc1.bias"][[2, 0, 1]])


def test_the_background_can_be_first(tmp_path, tiny):
    torch.save(theirs(), tmp_path / "rgb.pth")
    trained, settings = released_weights.read_checkpoint(tmp_path / "rgb.pth", background="first")
    x = {"v": torch.ones(1, 5)}
    outputs = predict(restore(trained.weights, settings), x)["v"]
    assert np.allclose(outputs.tcam[0], theirs()["clf_head.fc1.weight"].sum(1), atol=1e-5)


def test_the_authors_checkpoint_knows_a_real_serve(shared_data):
    trained, settings = released_weights.read_checkpoint(shared_data / "dgam_checkpoints/thumos14_rgb.pth")
    rgb = np.load(shared_data / "clips/tennis26.npy")[:, :1024].astype(np.float32)
    outputs = predict(restore(trained.weights, settings), {"tennis26": torch.from_numpy(rgb)})["tennis26"]
    p = class_probabilities(outputs)
    tennis_swing = 18  # of 20 classes in alphabetical order, after the background
    assert p[tennis_swing] > 0.99


@pytest.mark.parametrize("change", [{}, {"background": "last", "classifier_bias": True}])
def test_what_is_written_is_read_back(tmp_path, tiny, settings, change):
    s = settings.for_stream("rgb").model_copy(update=change)
    (trained,) = train.train(Job(tiny, "rgb", [s], [0], CPU))
    released_weights.write_checkpoint(tmp_path / "rgb.pth", trained.weights, s.background)
    content = torch.load(tmp_path / "rgb.pth", weights_only=True)
    assert set(content) == set(theirs())
    again, its_settings = released_weights.read_checkpoint(tmp_path / "rgb.pth")
    features = load_test_features(tiny, "rgb", settings, CPU)
    before = predict(restore(trained.weights, s), features)
    after = predict(restore(again.weights, its_settings), features)
    for name in before:
        assert np.array_equal(before[name].attention, after[name].attention)
        assert np.allclose(before[name].logits, after[name].logits, atol=1e-6)


def test_a_checkpoint_within_a_training_state_is_found(tmp_path):
    torch.save({"epoch": 3, "state_dict": theirs()}, tmp_path / "rgb.pth")
    trained, _ = released_weights.read_checkpoint(tmp_path / "rgb.pth")
    assert torch.equal(trained.weights["attention.fc1.weight"], theirs()["att_head.fc1.weight"])


class Trap:
    """A pickle that would run code when it is loaded."""

    def __reduce__(self):
        return print, ("code was run",)


def test_code_in_a_checkpoint_is_never_run(tmp_path, capsys):
    torch.save({"att_head.fc1.weight": Trap()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Trap(), protocol=2))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(InputError, match="is not a PyTorch file of tensors alone"):
            released_weights.read_checkpoint(tmp_path / name)
    assert "code was run" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1], "holds a list; it should hold weights by name"),
        ({}, "has no att_head.fc1; it holds no tensor"),
        ({"x": torch.ones(1)}, "has no att_head.fc1; it holds x"),
        (
            theirs() | {"att_head.fc2.weight": torch.ones(2, 6)},
            r"attention.fc2.weight is \(2, 6\); it should be",
        ),
        (
            theirs() | {"clf_head.fc1.bias": torch.ones(2)},
            r"classifier.fc1.bias is \(2,\); it should be \(3,\)",
        ),
        (theirs() | {"att_head.fc1.bias": torch.full((6,), torch.nan)}, "holds a value that is not finite"),
    ],
)
def test_what_is_no_checkpoint_gets_a_sentence(tmp_path, content, sentence):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(InputError, match=sentence):
        released_weights.read_checkpoint(tmp_path / "x.pth")


def test_files_that_are_missing_or_no_pytorch_files(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"hello")
    with pytest.raises(InputError, match="is not a PyTorch file"):
        released_weights.read_checkpoint(tmp_path / "x.pth")
    with pytest.raises(InputError, match="no such file"):
        released_weights.read_checkpoint(tmp_path / "none.pth")


def test_imported_checkpoints_are_a_run_store(tmp_path, tiny):
    paths = {}
    for stream, dim in (("rgb", 5), ("flow", 4)):
        paths[stream] = tmp_path / f"{stream}.pth"
        torch.save(theirs(dim=dim), paths[stream])
    released_weights.import_checkpoints(tmp_path / "run", tiny, paths, "last", preset("released", "thumos14"))
    pair, settings = run_store.read_pair(tmp_path / "run")
    assert set(pair) == {"rgb", "flow"}
    assert settings.proposals == "class_aware"
    assert settings.model_choice == "last"
    assert pair["rgb"].record["spec"]["imported"] != pair["flow"].record["spec"]["imported"]
    assert len(pair["rgb"].record["spec"]["imported"]) == 64


def test_checkpoints_of_other_classes_are_refused(tmp_path, tiny):
    torch.save(theirs(classes=3), tmp_path / "rgb.pth")
    with pytest.raises(InputError, match="knows 3 classes, tiny has 2"):
        released_weights.import_checkpoints(
            tmp_path / "run", tiny, {"rgb": tmp_path / "rgb.pth"}, "last", preset("paper", "thumos14")
        )
    assert not (tmp_path / "run").exists()


def test_checkpoints_of_streams_that_a_store_lacks_are_refused(tmp_path, tiny):
    torch.save(theirs(dim=5), tmp_path / "rgb.pth")
    joint = replace(tiny, features={"joint": tiny.features["rgb"]})
    with pytest.raises(InputError, match=r"tiny: has no rgb features, which .*rgb\.pth takes; it has joint"):
        released_weights.import_checkpoints(
            tmp_path / "run", joint, {"rgb": tmp_path / "rgb.pth"}, "last", preset("paper", "thumos14")
        )
    assert not (tmp_path / "run").exists()
