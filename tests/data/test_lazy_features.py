import pickle

import numpy as np
import pytest

from dgam_core.data.lazy_features import LazyFeatures


def test_features_are_loaded_only_when_they_are_asked_for():
    loaded = []
    features = LazyFeatures(lambda count: loaded.append(count) or np.zeros((count, 2)), {"a": 3, "b": 4})
    assert (list(features), len(features)) == (["a", "b"], 2)
    assert "a" in features
    assert "c" not in features
    assert loaded == []
    assert features["b"].shape == (4, 2)
    assert loaded == [4]
    with pytest.raises(KeyError, match="c"):
        features["c"]


def test_they_can_be_sent_to_another_process():
    features = pickle.loads(pickle.dumps(LazyFeatures(np.zeros, {"a": (3, 2)})))
    assert features["a"].shape == (3, 2)
