from collections import OrderedDict

import pytest
import torch

from saccade import ops
from saccade.ops import feature_pyramid_network as ours

tv = pytest.importorskip("torchvision.ops")
theirs = pytest.importorskip("torchvision.ops.feature_pyramid_network")

CHANNELS = [3, 5, 7]


def maps():
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 21, 17), (2, 5, 10, 9), (2, 7, 5, 4)]
    return OrderedDict((f"level{i}", torch.randn(*s, generator=generator)) for i, s in enumerate(shapes))


@pytest.mark.parametrize("extra", [None, "LastLevelMaxPool", "LastLevelP6P7 inputs", "LastLevelP6P7 results"])
@pytest.mark.parametrize("norm_layer", [None, torch.nn.BatchNorm2d])
def test_equals_torchvision(extra, norm_layer):
    pyramids = []
    for module in (ours, theirs):
        torch.manual_seed(3)
        blocks = {
            None: lambda module: None,
            "LastLevelMaxPool": lambda module: module.LastLevelMaxPool(),
            "LastLevelP6P7 inputs": lambda module: module.LastLevelP6P7(7, 6),
            "LastLevelP6P7 results": lambda module: module.LastLevelP6P7(6, 6),
        }[extra](module)
        pyramids.append(module.FeaturePyramidNetwork(CHANNELS, 6, blocks, norm_layer))
    mine, other = pyramids
    assert list(mine.state_dict()) == list(other.state_dict())
    for a, b in zip(mine.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    results, expected = mine(maps()), other(maps())
    assert list(results) == list(expected)
    for a, b in zip(results.values(), expected.values(), strict=True):
        assert torch.equal(a, b)


def test_old_state_dict_keys_load():
    pyramid = ops.FeaturePyramidNetwork(CHANNELS, 6)
    old = {key.replace(".0.", "."): value + 1 for key, value in pyramid.state_dict().items()}
    pyramid.load_state_dict(old)
    assert torch.equal(pyramid.inner_blocks[1][0].weight, old["inner_blocks.1.weight"])


def test_pyramid_compiles():
    pyramid = ops.FeaturePyramidNetwork(CHANNELS, 6, ours.LastLevelMaxPool())
    compiled = torch.compile(pyramid, fullgraph=True, backend="aot_eager")
    for a, b in zip(compiled(maps()).values(), pyramid(maps()).values(), strict=True):
        torch.testing.assert_close(a, b)


def test_pyramid_errors():
    message = r"^FeaturePyramidNetwork: in_channels_list must not contain 0, got \[3, 0\]$"
    with pytest.raises(ValueError, match=message):
        ops.FeaturePyramidNetwork([3, 0], 6)
    with pytest.raises(TypeError, match=r"^FeaturePyramidNetwork: extra_blocks must be an ExtraFPNBlock, got ReLU$"):
        ops.FeaturePyramidNetwork([3], 6, torch.nn.ReLU())


@pytest.mark.parametrize("eps", [1e-5, 0.0])
def test_frozen_batch_norm_equals_torchvision(eps):
    mine, other = ops.FrozenBatchNorm2d(5, eps), tv.FrozenBatchNorm2d(5, eps)
    state = {key: torch.rand(5) + 0.1 for key in other.state_dict()}
    assert list(mine.state_dict()) == list(state)
    state["num_batches_tracked"] = torch.tensor(7)  # of the nn.BatchNorm2d that a checkpoint comes from
    mine.load_state_dict(state.copy())
    other.load_state_dict(state.copy())
    x = torch.randn(2, 5, 4, 3)
    assert torch.equal(mine(x), other(x))
    assert mine(x.to(memory_format=torch.channels_last)).is_contiguous(memory_format=torch.channels_last)
    assert repr(mine) == repr(other)
    assert not list(mine.parameters())
