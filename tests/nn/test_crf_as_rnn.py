import pytest
import torch

from saccade import nn, ops


def halves(noise, seed=0):
    """An image of two halves, their labels, and logits that know them badly."""
    generator = torch.Generator().manual_seed(seed)
    image = 4 * torch.rand(1, 3, 16, 20, generator=generator)
    image[..., 10:] += 80
    labels = (torch.arange(20) >= 10).long().expand(1, 16, 20)
    logits = torch.nn.functional.one_hot(labels, 2).movedim(3, 1) + noise * torch.randn(
        1, 2, 16, 20, generator=generator
    )
    return image, labels, logits


def test_is_a_crf_with_potts_compatibilities():
    image, _, logits = halves(1.0)
    layer = nn.CRFasRNN(2, iterations=4, alpha=20, beta=6, gamma=2)
    expected = ops.dense_crf(
        -logits, image, iterations=4, gaussian_sxy=2, gaussian_compat=3, bilateral_sxy=20, bilateral_srgb=6,
        bilateral_compat=5, normalization="after",
    )  # fmt: skip
    torch.testing.assert_close(layer(logits, image).softmax(1), expected, rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(logits, image).softmax(1), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(layer(logits[0], image[0]), layer(logits, image)[0], rtol=0, atol=0)


def test_learns():
    # Labels that the layer has to swap: only its own parameters can do that.
    image, labels, logits = halves(1.0)
    layer = nn.CRFasRNN(2, iterations=3, alpha=20, beta=6, gamma=2)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    losses = []
    for _ in range(25):
        loss = torch.nn.functional.cross_entropy(layer(logits, image), 1 - labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())


def test_gradient_of_all_parameters():
    image, _, logits = halves(1.0)
    logits, image = logits[..., :3, 8:12].double(), image[..., :3, 8:12].double()
    layer = nn.CRFasRNN(2, iterations=2, alpha=4, beta=6, gamma=2).double()
    names = list(layer.state_dict())
    assert names == ["spatial_ker_weights", "bilateral_ker_weights", "compatibility_matrix"]

    def run(logits, *parameters):
        return torch.func.functional_call(layer, dict(zip(names, parameters, strict=True)), (logits, image))

    inputs = [logits.requires_grad_(), *(p.detach().clone().requires_grad_() for p in layer.parameters())]
    assert torch.autograd.gradcheck(run, inputs)


def test_halves_and_repr():
    image, _, logits = halves(1.0)
    layer = nn.CRFasRNN(2, iterations=4)
    assert repr(layer) == "CRFasRNN(2, iterations=4, alpha=160.0, beta=3.0, gamma=3.0)"
    assert layer(logits.half(), image.half()).dtype == torch.float16


def test_errors():
    image, _, logits = halves(1.0)
    for message, arguments in (
        ("logits must have 3 classes, got a tensor of shape (1, 2, 16, 20)", (logits, image)),
        ("logits must have shape (B, L, H, W) or (L, H, W), got (16, 20)", (logits[0, 0], image)),
        ("logits must be finite, got NaN or an infinity", (torch.full((1, 3, 16, 20), float("nan")), image)),
    ):
        with pytest.raises(ValueError, match=r"^CRFasRNN: ") as caught:
            nn.CRFasRNN(3)(*arguments)
        assert str(caught.value) == f"CRFasRNN: {message}"
