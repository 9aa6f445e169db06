import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import saccade
from saccade.analysis import receptive_field


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Flatten(), nn.Linear(120, 84), nn.Linear(84, 10),
    )  # fmt: skip


def empty(name):
    """A model of torchvision's without the time that initial values take."""
    torchvision = pytest.importorskip("torchvision")
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
    model.to_empty(device="cpu")
    for tensor in [*model.parameters(), *model.buffers()]:
        tensor.data.zero_()
    return model


def values(layer):
    return layer.size[0], layer.jump[0], layer.start[0]


def test_lenet_by_hand():
    # k, s: 5,1: 1+4 = 5; 2,2: 5+1 = 6; 5,1: 6+4*2 = 14; 2,2: 14+2 = 16; 5,1: 16+4*4 = 32: the whole image
    fields = receptive_field(lenet(), (1, 32, 32))
    assert [values(fields[name]) for name in "0235"] == [(5, 1, 0), (6, 2, 0), (14, 2, 0), (16, 4, 0)]
    assert fields["6"].size == (32, 32)
    assert fields["6"].grid == (1, 1)
    assert [fields[name].box() for name in ("7", "8", "9", "")] == [(0, 0, 32, 32)] * 4
    assert fields["8"].grid == ()


def test_alexnet_by_hand():
    # torchvision's AlexNet: conv 11/4 pad 2, pool 3/2, conv 5 pad 2, pool 3/2, three conv 3 pad 1, pool 3/2
    fields = receptive_field(empty("alexnet"), (3, 224, 224))
    expected = {
        0: (11, 4, -2), 2: (19, 8, -2), 3: (51, 8, -18), 5: (67, 16, -18), 6: (99, 16, -34), 8: (131, 16, -50),
        10: (163, 16, -66), 12: (195, 32, -66),
    }  # fmt: skip
    assert {number: values(fields[f"features.{number}"]) for number in expected} == expected
    assert fields[""].size == (195 + 5 * 32,) * 2  # the first fully connected layer sees 6 x 6 cells


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("vgg16", "features.29", (196, 16, -90)),
        ("vgg16", "features.30", (212, 32, -90)),
        ("resnet18", "layer4", (435, 32, -217)),
        ("resnet34", "layer4", (899, 32, -449)),
        # stride 2 in the 3x3 convolutions; 483 where it is in the 1x1 before them
        ("resnet50", "layer4", (427, 32, -213)),
    ],
)
def test_known_networks(name, layer, expected):
    fields = receptive_field(empty(name), (3, 64, 64))
    assert values(fields[layer]) == expected
    assert fields.assumed == ()


def test_the_first_resnet50():
    """Strides in the 1x1 convolutions: 483 pixels, the value of Araujo et al. (resnet_v1_50)."""
    model = empty("resnet50")
    for stage in (model.layer2, model.layer3, model.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    assert values(receptive_field(model, (3, 64, 64))["layer4"])[:2] == (483, 32)


def test_saccades_modules_and_accelerated_models():
    model = nn.Sequential(
        saccade.nn.ConvBNAct(3, 8, 7, 2), saccade.nn.MaxPool2d(3, 2, 1),
        saccade.nn.Conv2d(8, 8, 3, padding="same", dilation=2),
        saccade.nn.ConvTranspose2d(8, 4, 4, 2, 1), saccade.nn.AvgPool2d(2), saccade.nn.AdaptiveAvgPool2d(2),
    )  # fmt: skip
    fields = receptive_field(model, (3, 64, 64))
    assert [values(fields[name]) for name in "01234"] == [
        (7, 2, -3), (11, 4, -5), (27, 4, -13), (31, 2, -17), (35, 4, -17)
    ]  # fmt: skip
    assert fields.assumed == ()
    fast = saccade.accelerate(model.eval(), torch.rand(1, 3, 64, 64))
    assert receptive_field(fast, (3, 64, 64))[""].size == fields[""].size


@pytest.mark.parametrize(("dilations", "size"), [((1, 1, 1), 7), ((1, 2, 4), 15), ((1, 2, 4, 8, 16), 63), ((2, 2), 9)])
def test_dilated_stacks_by_hand(dilations, size):
    layers = [nn.Conv2d(1, 1, 3, padding=d, dilation=d) for d in dilations]
    last = receptive_field(nn.Sequential(*layers), (1, 16, 16), check=2)[str(len(layers) - 1)]
    assert values(last) == (size, 1, -(size // 2))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(4, 2, 1), (16, 8, 4), (3, 2, 1), (2, 2, 0)])
def test_transposed_convolution(kernel, stride, padding):
    """A cell of the output sums over the cells whose windows reach it: ceil or floor of kernel / stride of them."""
    layer = receptive_field(nn.ConvTranspose2d(1, 1, kernel, stride, padding), (1, 9, 9), check=5)[""]
    assert layer.size == (-(-kernel // stride),) * 2
    assert layer.jump == (1 / stride, 1 / stride)


class Branches(nn.Module):
    """Functions, a slice, in-place sums, a concatenation, resizing."""

    def __init__(self):
        super().__init__()
        self.near, self.far = nn.Conv2d(2, 4, 1), nn.Conv2d(2, 4, 3, padding=4, dilation=4)
        self.down, self.after = nn.Conv2d(8, 4, 3, 2, 1), nn.Conv2d(12, 4, 3, padding=1)

    def forward(self, x):
        both = torch.cat([self.near(x), self.far(x)], 1)
        low = self.down(both)
        low[:, 1:3] += 1.0
        low = functional.interpolate(low, size=both.shape[-2:], mode="nearest")
        return {"fine": both, "out": self.after(torch.cat([both, low], 1).relu_())}


def test_branches_and_functions():
    fields = receptive_field(Branches(), (2, 24, 24), check=10)
    assert values(fields["near"]) == (1, 1, 0)
    assert values(fields["far"]) == (9, 1, -4)
    assert values(fields["['fine']"]) == (9, 1, -4)
    assert values(fields["down"]) == (11, 2, -5)
    # rows y-1 .. y+1 of maps that see 9 pixels, or the coarse cells above them with 11: at most two coarse cells
    assert fields["['out']"].size == (13, 13)


def test_tokens_and_attention():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(3, 8, 4, 4)
            self.norm = nn.LayerNorm(8)
            self.mix = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            tokens = self.norm(self.patches(x).flatten(2).transpose(1, 2))
            return tokens + self.mix(tokens, tokens, tokens, need_weights=False)[0]

    fields = receptive_field(Tokens(), (3, 16, 24))
    assert fields["norm"].grid == (24,)
    assert fields["norm"].box(7) == (4, 4, 8, 8)  # the second of the six patches in the second row
    assert fields[""].box(7) == (0, 0, 24, 16)


def test_window_attention_stays_in_its_windows():
    swin = pytest.importorskip("torchvision.models.swin_transformer")
    model = swin.SwinTransformer([4, 4], 24, [2, 2], [3, 6], [7, 7])
    fields = receptive_field(model, (3, 224, 224))
    assert fields.assumed == ()
    assert fields["features.0"].grid == (56, 56)
    assert fields["features.0"].box(10, 20) == (80, 40, 84, 44)
    assert fields["features.1.0"].box(10, 20) == (56, 28, 84, 56)  # 7 x 7 patches of 4 x 4 pixels
    assert fields["features.1.1"].box(30, 30) == (84, 84, 140, 140)  # shifted by 3, it overlaps four of the first


def test_an_operation_without_a_rule_sees_everything():
    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.fft2(x).real

    fields = receptive_field(Spectrum(), (1, 8, 8))
    assert "_fft_c2c" in fields.assumed
    assert fields[""].box(3, 3) == (0, 0, 8, 8)
    assert "everything seen through: _fft" in str(fields)


def test_what_overwrites_and_what_makes_no_use_of_values():
    class Cleared(nn.Module):
        def forward(self, x):
            y = x * 1
            y[..., :2].zero_()
            y[..., 4:] = torch.ones(())
            return torch.zeros_like(x) + y

    layer = receptive_field(Cleared(), (1, 6, 6))[""]
    assert layer.support(2, 1) == (0, 0, 0, 0)
    assert layer.support(2, 2) == (2, 2, 3, 3)
    assert layer.support(2, 5) == (0, 0, 0, 0)


def test_check_finds_a_path_chosen_by_the_image():
    class Chooses(nn.Module):
        def forward(self, x):
            return x if bool((x == 0).all()) else functional.avg_pool2d(x, 3, 1, 1)

    with pytest.raises(RuntimeError, match=r"receptive_field: cell \(\d, \d\) of '' depends on pixel .*outside of its"):
        receptive_field(Chooses(), (1, 8, 8), check=3)


def test_empty_tensors():
    class Selects(nn.Module):
        def forward(self, x):
            none = x[:, :, x[0, 0, :, 0] > 1e9]
            return torch.cat([none.flatten(2), x.flatten(2)], 2).transpose(1, 2)

    fields = receptive_field(Selects(), (1, 4, 6))
    assert fields[""].grid == (24,)
    assert fields[""].box(7) == (1, 1, 2, 2)


def test_check_allows_for_rounding():
    """Gradients by Winograd's algorithm are not exactly 0 beside the field."""
    layers = [saccade.nn.Conv2d(64, 64, 3, padding=1) for _ in range(2)]
    fields = receptive_field(nn.Sequential(*layers), (64, 40, 40), check=3)
    assert fields["1"].size == (5, 5)


def test_model_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout()).train()
    model[2].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    receptive_field(model, torch.rand(1, 1, 8, 8), check=1)
    assert (model[1].training, model[2].training) == (True, False)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    "size", [(3, 4), (1, 0, 4), (1, 4.5, 4), torch.zeros(4, 4), torch.zeros(1, 1, 4, 4, dtype=int)]
)
def test_bad_sizes(size):
    with pytest.raises(ValueError, match=r"^receptive_field: input_size must be \(channels, height, width\) or"):
        receptive_field(nn.Conv2d(1, 1, 1), size)


def test_bad_cells_and_names():
    fields = receptive_field(nn.Conv2d(1, 1, 3), (1, 8, 8))
    with pytest.raises(ValueError, match=r"^receptive_field: cell must lie in the \(6, 6\) cells of '', got \(6, 0\)$"):
        fields[""].box(6, 0)
    with pytest.raises(ValueError, match=r"^receptive_field: layers must be names of layers, got 'conv9'$"):
        fields.figure(layers=["conv9"])


# Linear layers with positive weights: no gradient cancels, none vanishes.
def positive(layer):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(0.5, 1.5)
    return layer


convolution = st.builds(
    lambda k, s, d, p: positive(nn.Conv2d(1, 1, k, s, [min(p[i], (k[i] - 1) * d[i]) for i in (0, 1)], d)),
    *[st.tuples(st.integers(1, n), st.integers(1, n)) for n in (4, 3, 3)],
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
)  # fmt: skip
transposed = st.builds(
    lambda k, s, p, d: positive(nn.ConvTranspose2d(1, 1, k, s, min(p, d * (k - 1)), dilation=d)),
    st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2),
)  # fmt: skip
average = st.builds(
    lambda k, s, p, c: nn.AvgPool2d(k, s, min(p, k // 2), ceil_mode=c),
    st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans(),
)  # fmt: skip
resized = st.builds(
    lambda f, m: nn.Upsample(scale_factor=f, mode=m), st.integers(2, 3), st.sampled_from(["nearest", "bilinear"])
)
adaptive = st.builds(nn.AdaptiveAvgPool2d, st.integers(2, 6))
padded = st.builds(nn.ZeroPad2d, st.tuples(*[st.integers(0, 2)] * 4))


class Sum(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        y = self.layer(x)
        h, w = min(x.shape[2], y.shape[2]), min(x.shape[3], y.shape[3])
        return x[..., :h, :w] + y[..., :h, :w]


layer = convolution | transposed | average | resized | adaptive | padded
network = st.lists(layer | st.builds(Sum, convolution | average), min_size=1, max_size=4)


def gradient_box(output, image, y, x):
    (gradient,) = torch.autograd.grad(output[0, :, y, x].sum(), image, retain_graph=True, allow_unused=True)
    rows, columns = torch.nonzero((gradient[0, 0] != 0).any(1)), torch.nonzero((gradient[0, 0] != 0).any(0))
    if not len(rows):
        return (0, 0, 0, 0)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@settings(max_examples=50)
@given(network, st.tuples(st.integers(9, 21), st.integers(9, 21)))
def test_gradients_reach_exactly_the_support(layers, size):
    model = nn.Sequential(*layers).double()
    image = torch.rand(1, 1, *size, dtype=torch.float64, requires_grad=True)
    try:
        output = model(image)
    except RuntimeError:  # the layers shrink the map to nothing
        return
    if output.shape[2] * output.shape[3] > 4000:
        return
    field = receptive_field(model, (1, *size))[""]
    rows, columns = output.shape[2:]
    for y in sorted({0, 1, rows // 3, rows // 2, rows - 1} & set(range(rows))):
        for x in sorted({0, columns // 2, columns - 1}):
            assert field.support(y, x) == gradient_box(output, image, y, x), (y, x)


@settings(max_examples=25)
@given(st.lists(convolution | average, min_size=1, max_size=4))
def test_size_is_what_gradients_reach_far_from_the_border(layers):
    """On an image large enough, the field of the middle cell, all of it inside, is as large as on a small one."""
    model = nn.Sequential(*layers).double()
    try:
        small = receptive_field(model, (1, 16, 16))[""]
    except RuntimeError:
        return
    sides = [2 * size + int(8 * jump + 4) for size, jump in zip(small.size, small.jump, strict=True)]
    if (
        max(sides) > 300
        or 0 in small.jump
        or any(isinstance(layer, nn.AvgPool2d) and layer.ceil_mode for layer in layers)
    ):
        return
    image = torch.rand(1, 1, *sides, dtype=torch.float64, requires_grad=True)
    output = model(image)
    x1, y1, x2, y2 = gradient_box(output, image, output.shape[2] // 2, output.shape[3] // 2)
    assert (y2 - y1, x2 - x1) == small.size
