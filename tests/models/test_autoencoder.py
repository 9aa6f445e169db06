"""The denoising auto-encoder: noise, learning, and the encoder's second life."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import saccade
from saccade import models
from tests.util.tolerance import assert_close


@pytest.mark.parametrize("widths", [(4,), (4, 6), (4, 6, 8)])
@pytest.mark.parametrize("skip", [False, True])
def test_sizes(widths, skip):
    model = models.build("denoising_autoencoder", in_channels=2, widths=widths, skip=skip)
    images = torch.rand(2, 2, 12, 8)
    assert model(images).shape == images.shape
    side = 2 ** (len(widths) - 1)
    assert model.encoder(images).shape == (2, widths[-1], 12 // side, 8 // side)
    assert_close(
        model.eval()(images).detach(),
        (model.decoder(model.encoder(images)) + (images if skip else 0)).detach(),
        "exact",
    )


def test_normalisation_and_relu_are_one_pass_and_the_same():
    model = models.denoising_autoencoder(in_channels=1, widths=(4, 6))
    plain = nn.Sequential(*(module for part in (*model.encoder, *model.decoder) for module in
                            (part if isinstance(part, nn.Sequential) else [part])))  # fmt: skip
    images = torch.rand(2, 1, 8, 8)
    assert_close(model(images).detach(), plain(images).detach(), "reduction")


def test_hooks_of_a_relu_run():
    model, seen = models.denoising_autoencoder(widths=(4, 6)), []
    images = torch.rand(2, 1, 8, 8)
    expected = model(images)
    model.encoder.stage1[2].register_forward_hook(lambda module, inputs, output: seen.append(output.min().item()))
    assert_close(model(images).detach(), expected.detach(), "reduction")
    assert seen == [0.0]


@pytest.mark.parametrize("skip", [False, True])
def test_learns_to_denoise(skip):
    sklearn = pytest.importorskip("sklearn.datasets")
    digits = torch.from_numpy(sklearn.load_digits().images / 16).float()[:, None]
    train, test = digits[:1200], digits[1200:]
    model = models.denoising_autoencoder(widths=(8, 16), skip=skip)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(100):
        clean = train[torch.randint(len(train), (32,))]
        loss = functional.mse_loss(model(models.add_noise(clean, amount=0.3)), clean)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert loss.isfinite(), step
    noisy = models.add_noise(test, amount=0.3)
    with torch.no_grad():
        error = functional.mse_loss(model.eval()(noisy), test)
    assert error < 0.5 * functional.mse_loss(noisy, test)


def test_encoder_for_a_classifier():
    model = models.denoising_autoencoder(widths=(4, 6)).double()
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    classifier = model.classifier(5, freeze=True).eval()
    codes = model.eval().encoder(images).mean((2, 3))
    expected = codes @ classifier.fc.weight.T + classifier.fc.bias
    assert_close(classifier(images).detach(), expected.detach(), "reduction")
    assert [name for name, p in classifier.named_parameters() if p.requires_grad] == ["fc.weight", "fc.bias"]
    assert all(parameter.requires_grad for parameter in model.classifier(5).parameters())
    with torch.no_grad():  # a copy: the auto-encoder keeps its own
        classifier.encoder.stage1[0].weight.zero_()
    assert model.encoder.stage1[0].weight.abs().max() > 0


def test_noise():
    images = torch.rand(8, 3, 40, 50)
    before = images.clone()
    gaussian = models.add_noise(images, "gaussian", 0.2) - images
    assert gaussian.std().item() == pytest.approx(0.2, rel=0.02)
    assert gaussian.mean().abs() < 2e-3
    masked = models.add_noise(images + 1, "masking", 0.3)
    gone = masked == 0
    assert torch.equal(gone.all(1), gone.any(1))  # whole pixels
    assert gone.float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert torch.equal(masked[~gone], (images + 1)[~gone])
    salted = models.add_noise(images, "salt_and_pepper", 0.2)
    changed = (salted != images).any(1)
    assert changed.float().mean().item() == pytest.approx(0.2, abs=0.02)
    for extreme in (images.min(), images.max()):
        assert (salted == extreme).all(1).float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert torch.equal(images, before)
    for kind in ("gaussian", "masking", "salt_and_pepper"):
        assert torch.equal(models.add_noise(images, kind, 0.0), images)
        assert models.add_noise(images[:0], kind).shape == (0, 3, 40, 50)
        pair = [models.add_noise(images, kind, generator=torch.Generator().manual_seed(1)) for _ in range(2)]
        assert torch.equal(*pair)


def test_accelerated():
    model = models.denoising_autoencoder(widths=(8, 16)).eval()
    images = torch.rand(1, 1, 16, 16)
    fast = saccade.accelerate(model, images)
    assert "left to torch" not in saccade.explain(fast)
    assert_close(fast(images), model(images).detach(), "reduction")


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (
            lambda: models.denoising_autoencoder()(torch.rand(1, 1, 8, 10)),
            ValueError,
            "DenoisingAutoencoder: sides of the images must be multiples of 4, got (8, 10)",
        ),
        (
            lambda: models.denoising_autoencoder(widths=()),
            ValueError,
            "denoising_autoencoder: widths must hold at least one number, got ()",
        ),
        (
            lambda: models.build("denoising_autoencoder", num_classes=3),
            TypeError,
            "build: denoising_autoencoder has no classes, got num_classes=3",
        ),
        (
            lambda: models.denoising_autoencoder().classifier(0),
            ValueError,
            "DenoisingAutoencoder.classifier: num_classes must be at least 1, got 0",
        ),
        (
            lambda: models.add_noise(torch.rand(1, 1, 2, 2), "fog"),
            ValueError,
            "add_noise: kind must be one of gaussian, masking, salt_and_pepper, got 'fog'",
        ),
        (
            lambda: models.add_noise(torch.zeros(2, 2)),
            ValueError,
            "add_noise: images must be floats of shape (N, C, H, W), got torch.float32, (2, 2)",
        ),
        (
            lambda: models.add_noise(torch.rand(1, 1, 2, 2), "masking", 1.5),
            ValueError,
            "add_noise: amount must be 0 or more, and at most 1 where it is a share, got 1.5",
        ),
    ],
)
def test_errors(call, kind, message):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value) == message
