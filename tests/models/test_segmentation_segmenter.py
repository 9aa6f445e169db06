"""The segmentation transformer beside a plain forward over the same state dict."""

import pytest
import torch
from torch.nn import functional

import saccade
from saccade.models.segmentation.segmenter import Segmenter
from tests.util.reference_models import relative


class Reference:
    def __init__(self, state, heads):
        self.state, self.heads = state, heads

    def linear(self, x, name):
        return functional.linear(x, self.state[f"{name}.weight"], self.state.get(f"{name}.bias"))

    def norm(self, x, name, eps):
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + eps).sqrt()
        return x * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def block(self, x, name):
        normal = self.norm(x, f"{name}.ln_1", 1e-6)
        packed = functional.linear(
            normal, *(self.state[f"{name}.self_attention.in_proj_{k}"] for k in ("weight", "bias"))
        )
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in packed.chunk(3, -1))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + self.linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.self_attention.out_proj")
        hidden = functional.gelu(self.linear(self.norm(x, f"{name}.ln_2", 1e-6), f"{name}.mlp.0"))
        return x + self.linear(hidden, f"{name}.mlp.3")

    def __call__(self, images, depth, decoder_depth):
        s = self.state
        weight = s["encoder.conv_proj.weight"]
        n, side = images.shape[0], images.shape[2] // weight.shape[-1]
        x = functional.conv2d(images, weight, s["encoder.conv_proj.bias"], weight.shape[-1]).flatten(2).transpose(1, 2)
        x = torch.cat([s["encoder.class_token"].expand(n, -1, -1), x], 1) + s["encoder.encoder.pos_embedding"]
        for i in range(depth):
            x = self.block(x, f"encoder.encoder.layers.encoder_layer_{i}")
        x = self.linear(self.norm(x, "encoder.encoder.ln", 1e-6)[:, 1:], "decoder.proj_dec")
        x = torch.cat([x, s["decoder.cls_emb"].expand(n, -1, -1)], 1)
        for i in range(decoder_depth):
            x = self.block(x, f"decoder.blocks.{i}")
        x = self.norm(x, "decoder.decoder_norm", 1e-5)
        patches = self.linear(x[:, : side * side], "decoder.proj_patch")
        classes = self.linear(x[:, side * side :], "decoder.proj_classes")
        cosines = functional.cosine_similarity(patches[:, :, None], classes[:, None], dim=-1)
        scores = s["decoder.affine.weight"] * cosines + s["decoder.affine.bias"]
        scores = scores.transpose(1, 2).reshape(n, -1, side, side)
        return functional.interpolate(scores, size=images.shape[2:], mode="bilinear")


def test_as_published():
    model = Segmenter(2, 2, 16, 24, num_classes=3, image_size=12, patch_size=4, in_channels=2).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    images = torch.rand(2, 2, 12, 12, dtype=torch.float64)
    reference = Reference(model.state_dict(), 2)
    with torch.no_grad():
        assert relative(model(images), reference(images, 2, 2)) < 1e-10
        assert relative(model.eval()(images), reference(images, 2, 2)) < 1e-10


def test_weights_of_a_vision_transformer():
    size = {"image_size": 32, "patch_size": 8}
    vit, model = saccade.models.vit_tiny(**size).eval(), saccade.models.segmenter_tiny(**size).eval()
    state = {f"encoder.{key}": value for key, value in vit.state_dict().items()}
    report = saccade.models.load_checkpoint(model, state, strict=False)
    assert report.unexpected == ["encoder.heads.head.weight", "encoder.heads.head.bias"]
    assert {key.split(".")[0] for key in report.missing} == {"decoder"}
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model.encoder.features(images), vit.features(images))


@pytest.mark.parametrize(
    ("options", "images", "message"),
    [
        ({"num_classes": 0}, None, "Segmenter: num_classes must be at least 1, got 0"),
        ({"image_size": 30}, None,
         "VisionTransformer: image_size must be a multiple of patch_size, got 30 and 16"),
        ({"image_size": 32}, torch.rand(1, 3, 1, 1),
         "Segmenter: images must have shape (N, 3, 32, 32), got (1, 3, 1, 1)"),
        ({"image_size": 32}, torch.rand(1, 1, 32, 32),
         "Segmenter: images must have shape (N, 3, 32, 32), got (1, 1, 32, 32)"),
    ],
)  # fmt: skip
def test_errors(options, images, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.segmenter_tiny(**options)(images)
    assert str(error.value) == message
