import os
import pickle

import numpy as np
import pytest
import torch

from dgam_core.errors import InputError
from dgam_core.extraction.i3d_weights import read_weights
from tests.extraction.videos import as_flax, as_port, random_network


def nested(flat):
    """Flattened names as the nested dictionaries that the package stores."""
    tree = {}
    for name, values in flat.items():
        kind, rest = name.split(".", 1)
        module, unit, layer, leaf = rest.split(".") if rest.count(".") == 3 else (None, *rest.split("."))
        at = tree.setdefault(kind, {})
        for part in (module, unit, layer):
            at = at.setdefault(part, {}) if part else at
        at[leaf] = values
    return tree


@pytest.fixture(scope="module")
def network():
    return random_network(2)


def test_all_forms_come_to_the_same_network(tmp_path, network):
    torch.save(as_port(network), tmp_path / "flow_imagenet.pt")
    np.savez(tmp_path / "flow.npz", **as_flax(network))
    with (tmp_path / "flow.ckpt").open("wb") as file:
        pickle.dump(nested(as_flax(network)), file)
    for name in ("flow_imagenet.pt", "flow.npz", "flow.ckpt"):
        actual = read_weights(tmp_path / name, "flow").state_dict()
        for key, values in network.state_dict().items():
            torch.testing.assert_close(actual[key], values, msg=f"{name} {key}")


def test_a_file_without_last_layer_gives_features(tmp_path, network):
    state = {name: values for name, values in as_port(network).items() if not name.startswith("logits")}
    torch.save(state, tmp_path / "x.pt")
    x = torch.rand(1, 2, 8, 32, 32)
    assert torch.equal(read_weights(tmp_path / "x.pt", "flow")(x), network(x))


def test_weights_that_do_not_fit_get_a_sentence(tmp_path, network):
    path = tmp_path / "x.pt"
    torch.save(as_port(network), path)
    with pytest.raises(InputError, match="takes 2 channels, rgb has 3"):
        read_weights(path, "rgb")
    state = as_port(network)
    del state["Mixed_4c.b1b.conv3d.weight"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"lacks 'Mixed_4c\.b1b\.conv3d\.weight'"):
        read_weights(path, "flow")
    torch.save(as_port(network) | {"Mixed_5b.b0.conv3d.weight": torch.zeros(1, 832, 1, 1, 1)}, path)
    with pytest.raises(InputError, match="does not fit Inception-I3D"):
        read_weights(path, "flow")
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="these are not weights of Inception-I3D"):
        read_weights(path, "flow")


def test_a_malicious_pickle_is_refused_before_it_runs(tmp_path):
    class Bad:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    for name in ("x.pt", "x.ckpt"):
        if name.endswith("pt") and not name.endswith("ckpt"):
            torch.save({"a": Bad()}, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(pickle.dumps({"params": Bad()}))
        with pytest.raises(InputError, match=name.replace(".", r"\.")):
            read_weights(tmp_path / name, "rgb")
    assert not (tmp_path / "ran").exists()
