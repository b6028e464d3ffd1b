"""Projects with a small profile."""

import shutil

import pytest
import yaml

from dgam_core.data import store
from tests.conftest import ROOT
from tests.workflow.batches import LINKED, NAMES, change, finish


@pytest.fixture
def project(tmp_path, tiny, params):
    """A project with the profile `tiny`: two notebooks on a store."""
    folder = tmp_path / "project"
    (folder / "params/tiny").mkdir(parents=True)
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    store.write(folder / "tiny.h5", tiny)
    values = yaml.safe_load(params.read_text()) | {"profile": "tiny", "dataset": "tiny.h5", "epochs": 60}
    for name in NAMES:
        (folder / f"params/tiny/{name}.yaml").write_text(yaml.safe_dump(values | {"seeds": [0, 1]}))
    change(folder, "table7_beta", sweep={"beta": [0.1, 0.7]})
    return folder


@pytest.fixture
def executed(project, tmp_path_factory):
    """The project after its batch, which runs for the first test that asks."""
    kept = tmp_path_factory.getbasetemp() / "executed"
    if kept.exists():
        shutil.rmtree(project)
    else:
        status, said = finish(project)
        assert status == 0, said
        project.rename(kept)
    shutil.copytree(kept, project, symlinks=True)
    return project
