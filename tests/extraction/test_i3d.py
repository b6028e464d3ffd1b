import numpy as np
import pytest
import torch

from dgam_core.extraction.extract import snippet_features
from dgam_core.extraction.i3d import I3D
from dgam_core.extraction.i3d_weights import read_weights
from dgam_core.extraction.video import frames, open_video
from tests.extraction import plain_i3d
from tests.extraction.videos import as_port, random_network


def test_features_are_those_of_the_plain_network(tmp_path):
    generator = torch.Generator().manual_seed(0)
    state = as_port(random_network(3))
    for name, values in state.items():  # a normalization that does something
        if ".bn." in name and values.ndim:
            state[name] = torch.rand(values.shape, generator=generator) + 0.5
    torch.save(state, tmp_path / "rgb.pt")
    network = read_weights(tmp_path / "rgb.pt", "rgb")
    x = torch.rand(2, 3, 16, 64, 32, generator=generator) * 2 - 1
    expected = plain_i3d.features(state, x)
    actual = network(x)
    assert actual.shape == (2, 1024)
    assert expected.std() > 0.1 * expected.abs().mean()  # features differ, or the test would see little
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_channels_are_those_of_inception():
    widths = [module.out_channels for name, module in I3D(3).named_children() if name.startswith("Mixed")]
    assert widths == [256, 480, 512, 512, 512, 528, 832, 832, 1024]  # Szegedy et al., CVPR 2015, Table 1


@pytest.mark.parametrize("shape", [(2, 3, 8, 32), (1, 2, 8, 32, 32), (1, 3, 12, 32, 32), (1, 3, 8, 48, 32)])
def test_frames_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="it should be"):
        I3D(3)(torch.zeros(shape))


def test_real_weights_give_the_reference_features_and_classes(shared_data):
    folder = shared_data / "i3d"
    reference = np.load(folder / "v_GGSY1Qvo990_reference.npz")
    network = read_weights(folder / "i3d_rgb_k400.npz", "rgb")
    video = open_video(folder / "v_GGSY1Qvo990.mp4")
    actual = np.concatenate(list(snippet_features(frames(video, video.fps), "rgb", network, 1)))
    actual, expected = torch.from_numpy(actual), torch.from_numpy(reference["feat"])
    assert actual.shape == expected.shape == (22, 1024)
    assert float(torch.cosine_similarity(actual, expected).min()) > 0.999
    head = "params.Logits/Conv3d_0c_1x1.Conv_0"
    with np.load(folder / "i3d_rgb_k400.npz") as weights:
        kernel, bias = (torch.tensor(weights[f"{head}.{name}"]).float() for name in ("kernel", "bias"))
    logits = actual @ kernel.reshape(1024, -1) + bias
    assert logits.argmax(1).tolist() == reference["k400_logits"].argmax(1).tolist()
