from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from dgam_core.data import store
from dgam_core.errors import InputError
from dgam_core.experiments import own
from dgam_core.experiments.places import Results
from dgam_core.experiments.study import open_study
from tests.cli.command import dgam

ROOT = Path(__file__).parents[2]
FILE = ROOT / "params/own/table4_ablation.yaml"


def data_of(tiny, dim, lengths):
    """Training videos of some lengths in snippets, features of zeros."""
    videos = tuple(
        replace(tiny.videos[0], name=f"v{i}", num_snippets=n, duration_s=float(n))
        for i, n in enumerate(lengths)
    )
    features = {"rgb": {v.name: np.zeros((v.num_snippets, dim), np.float32) for v in videos}}
    return replace(tiny, videos=videos, features=features)


@pytest.mark.parametrize(
    ("dim", "lengths", "expected"),
    [
        # I3D's D, long videos: the presets' own sizes; 3.5 / 0.001 = 3500 steps are 500 epochs of 7 batches.
        (
            1024,
            [500] * 200,
            {"attention_hidden": 256, "cvae_hidden": 128, "latent_dim": 128, "num_snippets": 400}
            | {"batch_size": 32, "learning_rate": 0.001, "epochs": 500, "warmup_epochs": 100}
            | {"evaluation_interval": 125, "pool_offset_fg": {"paper": 0.0, "released": 1.0}},
        ),
        # Few short videos: a batch of all, T below their median length of 45, and no more than 1000 epochs.
        (1024, [30, 40, 50, 60], {"num_snippets": 32, "batch_size": 4, "epochs": 1000, "latent_dim": 128}),
        # 1/8 of I3D's D: 1/8 of its layers, eight times its step; 3.5 / 0.008 / 4 = 109.4 epochs.
        (
            128,
            [238] * 108,
            {"attention_hidden": 32, "cvae_hidden": 16, "latent_dim": 16, "num_snippets": 128, "epochs": 109}
            | {"learning_rate": 0.008, "pool_offset_fg": {"paper": 0.0, "released": 0.32}},
        ),
        (2, [1, 1], {"attention_hidden": 16, "latent_dim": 8, "learning_rate": 0.016, "num_snippets": 1}),
        (4096, [300], {"attention_hidden": 256, "learning_rate": 0.00025, "epochs": 1000}),
        (1024, [399], {"num_snippets": 256}),
    ],
)  # fmt: skip
def test_sizes_follow_from_the_store(tiny, dim, lengths, expected):
    sizes = own.sizes_for(data_of(tiny, dim, lengths))
    assert {name: sizes[name] for name in expected} == expected


def test_what_the_file_or_the_call_gives_counts(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    given = {"dataset": str(tmp_path / "x.h5")}
    derived = own.read_experiment(FILE, given)
    assert (derived.batch_size, derived.num_snippets, derived.attention_hidden) == (2, 4, 16)
    assert (derived.by_preset()["released"].pool_offset_fg, derived.preset) == (0.01, "both")
    assert own.read_experiment(FILE, given | {"batch_size": 5}).batch_size == 5
    other = own.read_experiment(FILE, given | {"profile": "demo"})
    assert (other.batch_size, other.num_snippets) == (32, 400)


def test_a_store_without_training_videos_has_no_sizes(tmp_path, tiny):
    store.write(tmp_path / "x.h5", replace(tiny, videos=tiny.videos[2:], features={
        stream: {name: tiny.load(stream, name) for name in ("v2", "v3")} for stream in tiny.streams
    }))  # fmt: skip
    with pytest.raises(InputError, match="tiny: no video in the subset 'train'"):
        own.read_experiment(FILE, {"dataset": str(tmp_path / "x.h5")})


def test_train_says_the_sizes_that_it_trains_with(tmp_path, tiny):
    store.write(tmp_path / "x.h5", tiny)
    values = yaml.safe_load(FILE.read_text()) | {"epochs": 2, "warmup_epochs": 1}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(values))
    done = dgam("train", "x.h5", "--params", "own.yaml", "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == (
        "x.h5: 2 training videos of 6 to 7 snippets, dimensions flow 4 and rgb 5; hence attention_hidden 16, "
        "cvae_hidden 8, latent_dim 8, num_snippets 4, batch_size 2, learning_rate 0.016, epochs 2, "
        "warmup_epochs 1, evaluation_interval 55"
    )
    (settings, _) = (tmp_path / "run").glob("*/settings.yaml")
    trained = yaml.safe_load(settings.read_text())
    assert (trained["attention_hidden"], trained["num_snippets"], trained["batch_size"]) == (16, 4, 2)


def test_notebooks_take_the_same_sizes(tmp_path, tiny, monkeypatch):
    store.write(tmp_path / "x.h5", tiny)
    monkeypatch.setattr(Results, "of", lambda _: None)
    monkeypatch.chdir(ROOT)
    namespace = yaml.safe_load(FILE.read_text()) | {"dataset": str(tmp_path / "x.h5")}
    study = open_study(namespace, "table4_ablation")
    assert (study.experiment.batch_size, study.experiment.num_snippets) == (2, 4)
    assert "`num_snippets` 4 instead of 400" in study.experiment.summary
