"""What every segmentation network does, on the small ones: learn on a CPU, accelerate, be built by name."""

import pytest
import torch
from torch.nn import functional

import saccade
from tests.util.reference_models import randomised, relative

# Name -> side of the images, what explain says among other things.
SMALL = {
    "fcn_resnet_small": (24, "4× conv2d + batch_norm + residual + relu"),
    "deeplabv3_small": (24, "4× conv2d + batch_norm + residual + relu"),
    "fcn32s_small": (48, "7× conv2d + relu"),
    "fcn16s_small": (48, "7× conv2d + relu"),
    "fcn8s_small": (48, "3× conv_transpose2d"),
    "unet_small": (32, "18× conv2d + batch_norm + relu"),
    "drn_seg_small": (24, "1× conv_transpose2d"),
    "hypercolumn_small": (16, "9× conv2d + batch_norm + residual + relu"),
    "segmenter_tiny": (16, "1× conv2d"),
    "pspnet_small": (25, "4× conv2d + batch_norm + residual + relu"),
}
OPTIONS = {"segmenter_tiny": {"image_size": 16, "patch_size": 4}}


def built(name, **options):
    return saccade.models.build(name, **OPTIONS.get(name, {}), **options)


def logits(found):
    """All maps of logits, the main one first."""
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, tuple) else [found]


@pytest.mark.parametrize("name", SMALL)
def test_learns(name):
    side, _ = SMALL[name]
    torch.manual_seed(3)
    model = built(name, num_classes=2)
    images = torch.rand(4, 3, side, side)
    labels = torch.zeros(4, side, side, dtype=torch.long)
    for image, label, corner in zip(images, labels, (0, 2, 4, 6), strict=True):  # a brighter square
        rows = slice(corner, corner + side // 2)
        image[:, rows, rows] += 1.5
        label[rows, rows] = 1
    optimizer = torch.optim.Adam(model.parameters(), 1e-4 if name == "segmenter_tiny" else 3e-3)
    losses = []
    for _ in range(15):
        loss = sum(functional.cross_entropy(maps, labels) for maps in logits(model(images)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", SMALL)
def test_accelerated(name):
    side, ours = SMALL[name]
    model = randomised(built(name, num_classes=3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():  # some begin at zero
                parameter.normal_(0, 0.1)
    images = torch.rand(2, 3, side, side)
    fast = saccade.accelerate(model, images)
    explained = saccade.explain(fast)
    assert explained.startswith(f"the model ({type(model).__name__})")  # one graph
    assert ours in explained
    assert list(fast.state_dict()) == list(model.state_dict())
    with torch.no_grad():
        for a, b in zip(logits(fast(images)), logits(model(images)), strict=True):
            assert relative(a, b) < 1e-4


@pytest.mark.parametrize("name", SMALL)
def test_size_and_seed(name):
    side, _ = SMALL[name]
    models = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        models.append(built(name, num_classes=3).eval())
    images = torch.rand(1, 3, side, side)
    with torch.no_grad():
        outputs = [logits(model(images))[0] for model in models]
    assert outputs[0].shape == (1, 3, side, side)
    assert torch.equal(outputs[0], outputs[1])
    states = [list(model.state_dict().values()) for model in models]
    assert not all(torch.equal(a, b) for a, b in zip(states[0], states[2], strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_exported(name):
    side, _ = SMALL[name]
    model = randomised(built(name, num_classes=3)).eval()
    images = torch.rand(2, 3, side, side)
    program = torch.export.export(model, (images,)).module()
    with torch.no_grad():
        for a, b in zip(logits(program(images)), logits(model(images)), strict=True):
            assert (a - b).abs().max() <= 1e-5 * b.abs().max()


@pytest.mark.parametrize("name", ["deeplabv3_small", "fcn8s_small", "unet_small", "pspnet_small"])
def test_trained_in_bfloat16_and_channels_last(name):
    side, _ = SMALL[name]
    model = built(name, num_classes=3)
    for module in model.modules():
        if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d)):
            module.p = 0.0
    images = torch.rand(2, 3, side, side).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 3, (2, side, side))
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(functional.cross_entropy(maps.float(), labels) for maps in logits(model(images)))
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    exact = sum(functional.cross_entropy(maps, labels) for maps in logits(model(images)))
    assert loss.item() == pytest.approx(exact.item(), rel=0.1)
