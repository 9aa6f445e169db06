"""Our models beside those of torchvision."""

import copy

import torch


def same_start(ours, theirs):
    """Both built from one seed: the same keys and, drawn as the reference draws them, the same values."""
    torch.manual_seed(1)
    a = ours()
    torch.manual_seed(1)
    b = theirs()
    assert list(a.state_dict()) == list(b.state_dict())
    for (key, value), expected in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(value, expected), key
    return a, b


def randomised(model):
    """Affine parameters and statistics that a mistake would show in."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in model.modules():
            if hasattr(module, "running_var"):
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.0, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
    return model


def relative(actual, expected):
    """The largest difference, by the largest magnitude expected."""
    assert actual.shape == expected.shape
    return ((actual - expected).abs().max() / expected.abs().max()).item()


def assert_same_logits(ours, theirs, images, training=True):
    """With one set of weights: in evaluation, and in training with the statistics left behind.

    Training is compared in float64: normalising by a batch of random features amplifies roundings; at 96 x 96 the
    logits of torchvision's own ResNet-50 are 4e-5 away from their float64 values, ours (Winograd's algorithm) 1.2e-4.
    """
    randomised(theirs)
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    with torch.no_grad():
        assert relative(ours.eval()(images), theirs.eval()(images)) < 1e-4
        if training:
            ours, theirs, images = ours.double().train(), theirs.double().train(), images.double()
            assert relative(ours(images), theirs(images)) < 1e-10
    for (key, value), expected in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}")
