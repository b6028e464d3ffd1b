import gc
import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dgam_core.localize import Outputs
from dgam_core.settings import Settings
from dgam_core.snippets import DataSet, Segment, Video
from tests.extraction.videos import as_port, random_network

ROOT = Path(__file__).resolve().parents[1]

# A shell ignores SIGINT in what it starts in the background, and children inherit that; tests interrupt some.
signal.signal(signal.SIGINT, signal.default_int_handler)


LONGEST_FIRST = ("tests/workflow/", "tests/test_notebooks.py", "tests/site/", "notebooks/")


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: [not item.nodeid.startswith(start) for start in LONGEST_FIRST])


def outputs_of(attention, tcam) -> Outputs:
    """Outputs of a classifier without a bias."""
    tcam = np.asarray(tcam, dtype=np.float32)
    return Outputs(np.asarray(attention, dtype=np.float32), tcam, np.zeros(tcam.shape[1], dtype=np.float32))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and annotations, which are not part of the project."""
    folder = Path(os.environ.get("DGAM_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip("real data not found: set DGAM_SHARED to the folder that has it in data/")
    return folder


@pytest.fixture
def tiny() -> DataSet:
    """Four videos of 6 to 9 snippets of 1 s, two classes; in action, evidence in dimension 0 or 1."""
    random = np.random.default_rng(0)
    videos, features = [], {"rgb": {}, "flow": {}}
    for i, (subset, label) in enumerate(
        [("train", "jump"), ("train", "throw"), ("test", "jump"), ("test", "throw")]
    ):
        count = 6 + i
        videos.append(Video(f"v{i}", subset, float(count), count, (label,), (Segment(label, 2.0, 4.0),)))
        for stream, dim in (("rgb", 5), ("flow", 4)):
            x = random.random((count, dim)).astype(np.float32) * 0.1
            x[2:4, ["jump", "throw"].index(label)] += 1
            features[stream][f"v{i}"] = x
    return DataSet("tiny", "made by hand", True, 16.0, 16, ("jump", "throw"), tuple(videos), features)


@pytest.fixture
def wide(tiny) -> DataSet:
    """The tiny data with features of the size of I3D's."""
    random = np.random.default_rng(0)
    features = {
        stream: {v.name: random.random((v.num_snippets, 1024)).astype(np.float32) for v in tiny.videos}
        for stream in tiny.streams
    }
    return replace(tiny, features=features)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> dict[str, Path]:
    """Files of random I3D weights for both streams."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {"rgb": folder / "rgb.pt", "flow": folder / "flow.pt"}
    for seed, (stream, channels) in enumerate((("rgb", 3), ("flow", 2))):
        torch.save(as_port(random_network(channels, seed)), paths[stream])
    return paths


@pytest.fixture
def settings() -> Settings:
    """Settings that train in no time."""
    return Settings(
        attention_hidden=8,
        cvae_hidden=8,
        latent_dim=3,
        num_snippets=5,
        batch_size=2,
        epochs=3,
        warmup_epochs=2,
        evaluation_interval=2,
        held_out=0.5,
    )


@pytest.fixture
def params(tmp_path, settings) -> Path:
    """A parameter file with these settings."""
    path = tmp_path / "params.yaml"
    values = settings.model_dump(mode="json") | {"profile": "p", "dataset": "d", "seeds": [0]}
    path.write_text(yaml.safe_dump(values))
    return path


@pytest.fixture
def small_disk(tmp_path):
    """A small file system."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    gc.collect()  # closes the stores that a caught exception still refers to
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def as_another_user(tmp_path):
    """Return a function after which the process may not read or write what it does not own."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.name.startswith(("pytest-", "popen-", "test_")):  # those that pytest has made
            folder.chmod(0o755)

    def change():
        if os.geteuid() == 0:  # may read whatever the modes say
            os.seteuid(65534)

    yield change
    if os.getuid() == 0:
        os.seteuid(0)
