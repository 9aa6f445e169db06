"""Frozen parts stay as they are, statistics included; heads are replaced."""

import copy
import io
import pickle

import pytest
import torch
import torchvision
from torch import nn

import saccade.nn
from saccade.train import freeze, replace_head, unfreeze


def backbone():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), saccade.nn.ConvBNAct(4, 4), nn.Dropout(0.5)
    )


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = backbone()
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        return self.fc(self.body(x).mean((2, 3)))


def train_a_little(model):
    model.train()
    optimizer = torch.optim.SGD([w for w in model.parameters() if w.requires_grad], 0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(6, 3, 8, 8) * 3 + 1).square().sum().backward()
        optimizer.step()


def test_only_the_head_learns():
    model = Net()
    before = copy.deepcopy(model.state_dict())
    names = freeze(model, keep="fc")
    assert names == [name for name, _ in model.named_parameters() if not name.startswith("fc.")]
    train_a_little(model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("fc.")), name
    assert model.body.training  # drop-out goes on
    assert not model.body[1].training


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_stay_frozen(duplicate):
    model = Net()
    freeze(model, "body")
    again = duplicate(model)
    before = copy.deepcopy(again.state_dict())
    original = copy.deepcopy(model.state_dict())
    train_a_little(again)
    assert torch.equal(again.body[1].running_mean, before["body.1.running_mean"])
    assert torch.equal(again.body[3].bn.running_var, before["body.3.bn.running_var"])
    assert torch.equal(model.body[1].running_mean, original["body.1.running_mean"])
    unfreeze(again)
    assert again.body[1].train().training
    assert not model.train().body[1].training  # the copy's, not this one's


def test_whole_models_are_saved():
    model = Net()
    freeze(model, "body")
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert not torch.load(file, weights_only=False).train().body[1].training


def test_unfreeze_goes_back():
    model = Net()
    freeze(model)
    unfreeze(model, "body.3")
    assert model.body[3].bn.training
    assert not model.body[1].training
    unfreeze(model.eval())
    assert not model.body[1].training
    before = model.body[1].running_mean.clone()
    train_a_little(model)
    assert model.body[1].training
    assert not torch.equal(model.body[1].running_mean, before)


def test_patterns():
    model = torchvision.models.resnet18()
    names = freeze(model, ["conv1", "bn1", "layer[12]"], keep="layer2.1.bn?")
    assert {name.split(".")[0] for name in names} == {"conv1", "bn1", "layer1", "layer2"}
    assert model.layer2[1].bn1.training
    assert not model.layer2[0].bn1.training
    with pytest.raises(ValueError, match=r"^freeze: names must match parameters or submodules, got 'layer9'$"):
        freeze(model, "layer9")
    with pytest.raises(ValueError, match=r"^unfreeze: keep must match parameters or submodules, got 'x'$"):
        unfreeze(model, keep="x")


def test_a_lone_normalisation():
    norm = nn.BatchNorm2d(2)
    freeze(norm)
    assert not norm.train().training
    norm.train()(torch.randn(4, 2, 3, 3))
    assert norm.running_mean.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("resnet18", (1, 3, 64, 64)), ("squeezenet1_1", (1, 3, 64, 64)), ("mobilenet_v3_small", (1, 3, 64, 64))],
)
def test_heads_of_torchvisions_models(name, shape):
    model = torchvision.models.get_model(name).eval()
    kept = {key: value.shape for key, value in model.state_dict().items()}
    assert replace_head(model, 7) is model
    assert model(torch.randn(shape)).shape == (1, 7)
    changed = [key for key, value in model.state_dict().items() if value.shape != kept[key]]
    assert sorted(value.rpartition(".")[2] for value in changed) == ["bias", "weight"]


def test_settings_are_kept():
    head = nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2, bias=False, padding_mode="reflect").double()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), head.eval())
    new = replace_head(model, 8, init=lambda layer: nn.init.ones_(layer.weight))[1]
    assert new.weight.shape == (8, 2, 3, 3)
    assert new.weight.dtype == torch.float64
    assert (new.weight == 1).all()
    assert (new.stride, new.padding, new.dilation, new.groups, new.bias) == ((2, 2), (2, 2), (2, 2), 2, None)
    assert new.padding_mode == "reflect"
    assert not new.training
    own = nn.Sequential(saccade.nn.Conv2d(3, 4, 1))
    assert type(replace_head(own, 2)[0]) is saccade.nn.Conv2d


def test_heads_by_name():
    model = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
    replace_head(model, 3, name=["classifier.4", "aux_classifier.4"])
    out = model(torch.randn(1, 3, 32, 32))
    assert out["out"].shape == out["aux"].shape == (1, 3, 32, 32)


def test_a_model_that_is_its_head():
    assert replace_head(nn.Linear(3, 2), 5).out_features == 5


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: replace_head(nn.Linear(2, 2), 0), "replace_head: num_classes must be at least 1, got 0"),
        (
            lambda: replace_head(nn.ReLU(), 3),
            "replace_head: model must have a layer with parameters, got ReLU",
        ),
        (
            lambda: replace_head(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ConvTranspose2d(4, 4, 4, 2)), 3),
            "replace_head: the last layer must be linear or a convolution, got ConvTranspose2d at '1'; "
            "name the layer to replace",
        ),
        (
            lambda: replace_head(nn.Sequential(nn.Linear(2, 2)), 3, name="fc"),
            "replace_head: name must be a layer of the model, got 'fc'",
        ),
        (
            lambda: replace_head(nn.Sequential(nn.Conv2d(4, 4, 1, groups=4)), 3),
            "replace_head: num_classes must be a multiple of 4 groups, got 3",
        ),
    ],
)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the whole message is compared
        call()
    assert str(error.value) == message
