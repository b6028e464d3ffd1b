import pytest

from dgam_core.data import store


@pytest.fixture
def project(tmp_path, tiny, settings, monkeypatch):
    """Parameters of an experiment on a store, in a folder that is a checkout of the project."""
    for name in ("params", "dgam_core"):
        (tmp_path / name).mkdir()
    store.write(tmp_path / "tiny.h5", tiny)
    monkeypatch.chdir(tmp_path)
    return settings.model_dump() | {"profile": "p", "dataset": "tiny.h5", "seeds": [0, 1], "device": "cpu"}
