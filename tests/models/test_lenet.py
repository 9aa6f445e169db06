"""LeNet-5 in full: its layers by hand, its parameter counts from the paper, its loss, its centres."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade import models
from saccade.models._bitmaps import digit_bitmaps
from saccade.models.lenet import C3_CONNECTIONS
from tests.util.tolerance import assert_close


def trained(layer):
    """Parameters of a layer that training moves; absent connections are none."""
    total = sum(p.numel() for p in layer.parameters() if p.requires_grad)
    return total - int((layer.connections == 0).sum()) * 25 if hasattr(layer, "connections") else total


def test_parameters_as_in_the_paper():
    model = models.build("lenet5")
    counts = {name: trained(layer) for name, layer in model.named_children()}
    assert counts == {
        "c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164, "squash": 0, "output": 0
    }  # fmt: skip
    assert sum(counts.values()) == 60000


def test_table_of_connections():
    assert [len(seen) for seen in C3_CONNECTIONS] == [3] * 6 + [4] * 9 + [6]
    assert len(set(C3_CONNECTIONS)) == 16
    # Each map of S2 goes into ten of C3.
    assert [sum(i in seen for seen in C3_CONNECTIONS) for i in range(6)] == [10] * 6


def by_hand(model, images):
    """Plain loops and torch's own functions, float64."""
    state = {key: value.double() for key, value in model.state_dict().items()}

    def squash(a):
        return 1.7159 * torch.tanh(2 / 3 * a)

    def subsample(maps, name):
        total = sum(maps[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1))
        return total * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    c1 = squash(functional.conv2d(images, state["c1.weight"], state["c1.bias"], padding=model.c1.padding))
    s2 = squash(subsample(c1, "s2"))
    c3 = torch.stack(
        [
            functional.conv2d(s2[:, list(seen)], state["c3.weight"][number : number + 1, list(seen)])[:, 0]
            + state["c3.bias"][number]
            for number, seen in enumerate(C3_CONNECTIONS)
        ],
        1,
    )
    s4 = squash(subsample(squash(c3), "s4"))
    c5 = squash(functional.conv2d(s4, state["c5.weight"], state["c5.bias"])).flatten(1)
    f6 = squash(c5 @ state["f6.weight"].T + state["f6.bias"])
    return f6, ((f6[:, None] - state["output.centers"]) ** 2).sum(2)


@pytest.mark.parametrize("side", [28, 32])
def test_forward_by_hand(side):
    model = models.lenet5(image_size=side, in_channels=2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.c3.weight.mul_(model.c3.connections)
    images = torch.randn(3, 2, side, side, dtype=torch.float64)
    features, distances = by_hand(model, images)
    assert_close(model.features(images).detach(), features, "reduction")
    assert_close(model(images).detach(), -distances, "reduction")


def test_absent_connections_stay_absent():
    model = models.lenet5()
    absent = model.c3.connections.expand_as(model.c3.weight) == 0
    assert model.c3.weight[absent].abs().max() == 0
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.1)
    before = model.c3.weight.detach().clone()
    models.map_loss(model(torch.randn(4, 1, 32, 32)), torch.arange(4)).backward()
    optimizer.step()
    assert model.c3.weight[absent].abs().max() == 0
    assert (model.c3.weight != before)[~absent].float().mean() > 0.99


def test_initial_weights_within_the_bound_of_the_paper():
    model = models.lenet5()
    for layer, fan_in in [(model.c1, 25), (model.c5, 400), (model.f6, 120)]:
        assert 0.9 * 2.4 / fan_in < layer.weight.abs().max() <= 2.4 / fan_in
    for number, seen in enumerate(C3_CONNECTIONS):
        assert 0.8 * 2.4 / (25 * len(seen)) < model.c3.weight[number].abs().max() <= 2.4 / (25 * len(seen))


def test_centers():
    bitmaps = digit_bitmaps()
    assert bitmaps.shape == (10, 84)
    assert bitmaps.unique().tolist() == [-1, 1]
    distances = torch.cdist(bitmaps, bitmaps) ** 2 + 1000 * torch.eye(10)
    assert distances.min() >= 4 * 4  # at least four pixels tell two digits apart
    assert torch.equal(models.lenet5().output.centers, bitmaps)
    assert models.lenet5(num_classes=26).output.centers.shape == (26, 84)
    random = models.lenet5(centers="random")
    assert random.output.centers.abs().unique().tolist() == [1]
    given = torch.rand(3, 84)
    assert torch.equal(models.lenet5(num_classes=3, centers=given).output.centers, given)
    assert not random.output.centers.requires_grad
    assert models.lenet5(trainable_centers=True).output.centers.requires_grad


def test_centers_found_without_labels():
    pytest.importorskip("sklearn")
    model = models.lenet5(num_classes=3)
    kinds = torch.randn(3, 1, 32, 32)
    labels = torch.tensor([2, 0, 1] * 5)
    images = kinds[labels] + 0.01 * torch.randn(15, 1, 32, 32)
    model.fit_centers(images, labels)
    assert torch.equal(model(images).argmax(1), labels)
    means = torch.stack([model.features(images[labels == k]).mean(0) for k in range(3)])
    torch.testing.assert_close(model.output.centers.detach(), means.detach())
    groups = model.fit_centers(images)(images).argmax(1)
    assert len({(a, b) for a, b in zip(groups.tolist(), labels.tolist(), strict=True)}) == 3


def test_map_loss_by_hand():
    distances = torch.tensor([[0.5, 2.0, 9.0], [3.0, 1.0, 4.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    expected = 0.0
    for row, label in zip(distances.tolist(), labels.tolist(), strict=True):
        expected += row[label] + torch.tensor([-1.5, *(-y for y in row)]).double().exp().sum().log().item()
    assert models.map_loss(-distances, labels, 1.5).item() == pytest.approx(expected / 2)
    assert torch.autograd.gradcheck(lambda logits: models.map_loss(logits, labels), (-distances).requires_grad_())
    # With j far away it is the cross-entropy.
    assert models.map_loss(-distances, labels, 200.0).item() == pytest.approx(
        functional.cross_entropy(-distances, labels).item()
    )


def test_linear_output_and_acceleration():
    model = models.lenet5(output="linear", num_classes=4).eval()
    images = torch.randn(2, 1, 32, 32)
    assert isinstance(model.output, nn.Linear)
    assert_close(model(images).detach(), model.output(model.features(images)).detach(), "exact")
    fast = saccade.accelerate(models.lenet5().eval(), images)
    assert "conv2d" in saccade.explain(fast)


def test_partial_convolution_and_subsampling():
    conv = saccade.nn.PartialConv2d(3, [(0,), (1, 2)], (3, 2), 2, 1)
    x = torch.randn(2, 3, 7, 8)
    expected = functional.conv2d(x, conv.weight * conv.connections, conv.bias, 2, 1)
    assert_close(conv(x).detach(), expected.detach(), "reduction")
    assert list(conv.state_dict()) == ["weight", "bias"]
    assert "connections=3" in repr(conv)
    assert repr(saccade.nn.Subsampling2d(6)) == "Subsampling2d(6, kernel_size=2)"
    assert repr(saccade.nn.GaussianRBF(torch.zeros(3, 5))) == "GaussianRBF(5, 3, trainable=False)"
    assert saccade.nn.Subsampling2d(3, 3)(torch.rand(1, 3, 7, 9)).shape == (1, 3, 2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.lenet5(image_size=30), "lenet5: image_size must be 28 or 32, got 30"),
        (lambda: models.lenet5(output="softmax"), "lenet5: output must be 'rbf' or 'linear', got 'softmax'"),
        (
            lambda: models.lenet5(num_classes=3, centers="bitmaps"),
            "lenet5: centers='bitmaps' needs num_classes=10, got 3",
        ),
        (
            lambda: models.lenet5(centers="kmeans"),
            "lenet5: centers must be a tensor, 'bitmaps', 'random' or None, got 'kmeans'",
        ),
        (lambda: models.lenet5(centers=torch.zeros(10, 3)), "lenet5: centers must have shape (10, 84), got (10, 3)"),
        (
            lambda: models.lenet5()(torch.zeros(1, 1, 28, 28)),
            "LeNet5: images must have shape (N, 1, 32, 32), got (1, 1, 28, 28)",
        ),
        (
            lambda: models.lenet5(output="linear").fit_centers(torch.zeros(1)),
            "LeNet5.fit_centers: output must be 'rbf', got 'linear'",
        ),
        (
            lambda: models.map_loss(torch.zeros(2, 3), torch.zeros(3).long()),
            "map_loss: logits must be (N, K) and labels (N,), got (2, 3) and (3,)",
        ),
        (
            lambda: models.map_loss(torch.zeros(2, 3), torch.zeros(2).long(), 0),
            "map_loss: j must be positive, got 0",
        ),
        (
            lambda: saccade.nn.PartialConv2d(3, [(0, 3)], 3),
            "PartialConv2d: connections must be of different channels from 0 to 2, at least one for each output, "
            "got (0, 3) for output 0",
        ),
        (
            lambda: saccade.nn.GaussianRBF(torch.zeros(3)),
            "GaussianRBF: centers must be floats of shape (K, D), got torch.float32, (3,)",
        ),
        (lambda: saccade.nn.GaussianRBF(torch.full((1, 2), torch.nan)), "GaussianRBF: centers must be finite"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        call()
    assert str(error.value) == message
