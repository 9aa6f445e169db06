"""Faster R-CNN, Mask R-CNN and RetinaNet beside torchvision's, with one set of weights."""

import copy

import pytest
import torch
from torch import nn

import saccade
from saccade.models.detection import FasterRCNN, FPNBackbone, MaskRCNN, RetinaNet
from saccade.models.residual import Bottleneck
from saccade.models.resnet import ResNet
from saccade.ops.feature_pyramid_network import LastLevelP6P7
from tests.util.reference_models import randomised

torchvision = pytest.importorskip("torchvision")
from torchvision.models import detection as theirs_of  # noqa: E402
from torchvision.models.detection import backbone_utils  # noqa: E402

SIZES = {"min_size": 64, "max_size": 100}
FEW = {
    **SIZES,
    "rpn_post_nms_top_n_train": 40,
    "rpn_post_nms_top_n_test": 30,
    "box_batch_size_per_image": 24,
    "box_detections_per_img": 20,
}
KINDS = {
    "fasterrcnn": (FasterRCNN, theirs_of.FasterRCNN, FEW),
    "maskrcnn": (MaskRCNN, theirs_of.MaskRCNN, FEW),
    "retinanet": (RetinaNet, theirs_of.RetinaNet, {**SIZES, "detections_per_img": 20}),
}
LOSSES = {
    "fasterrcnn": ["loss_box_reg", "loss_classifier", "loss_objectness", "loss_rpn_box_reg"],
    "maskrcnn": ["loss_box_reg", "loss_classifier", "loss_mask", "loss_objectness", "loss_rpn_box_reg"],
    "retinanet": ["bbox_regression", "classification"],
}


def spread(model, layer):
    """Scale and shift a layer of a random network, whose rows say all the same: logits of mean 0 and deviation 2."""
    seen = []
    hook = layer.register_forward_hook(lambda _, inputs, out: seen.append(out.movedim(1, -1).flatten(0, -2)))
    with torch.no_grad():
        model.eval()(some_images())
        logits = torch.cat(seen)
        scale = 2 / logits.std(0)
        layer.weight.mul_(scale.view(-1, *[1] * (layer.weight.dim() - 1)))
        layer.bias.sub_(logits.mean(0)).mul_(scale)
    hook.remove()


def pair(kind):
    """Ours and torchvision's on a ResNet of one block for each stage, of equal weights that find something."""
    ours, theirs, options = KINDS[kind]
    small = ResNet(Bottleneck, (1, 1, 1, 1))
    reference = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])
    if kind == "retinanet":
        block = torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256)
        a = FPNBackbone(small, stages=(2, 3, 4), extra_blocks=LastLevelP6P7(256, 256))
        b = backbone_utils._resnet_fpn_extractor(reference, 5, returned_layers=[2, 3, 4], extra_blocks=block)
    else:
        a, b = FPNBackbone(small), backbone_utils._resnet_fpn_extractor(reference, 5)
    a, b = ours(a, 5, **options), randomised(theirs(b, 5, **options))
    spread(b, b.head.classification_head.cls_logits if kind == "retinanet" else b.roi_heads.box_predictor.cls_score)
    a.load_state_dict(b.state_dict())
    assert list(a.state_dict()) == list(b.state_dict())
    return a, b


@pytest.fixture(scope="module")
def pairs():
    torch.manual_seed(0)
    return {kind: pair(kind) for kind in KINDS}


def some_images(dtype=torch.float32):
    return [torch.rand(3, *size, dtype=dtype) for size in ((50, 70), (64, 40), (90, 33))]


def some_targets(images, counts=(2, 3, 0)):
    targets = []
    for image, count in zip(images, counts, strict=True):
        height, width = image.shape[1:]
        corners = torch.rand(count, 2) * torch.tensor([width / 2, height / 2])
        boxes = torch.cat([corners, corners + 5 + torch.rand(count, 2) * torch.tensor([width / 3, height / 3])], 1)
        masks = (torch.rand(count, height, width) > 0.5).byte()
        targets.append({"boxes": boxes, "labels": torch.randint(1, 5, (count,)), "masks": masks})
    return targets


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_findings(kind, dtype, pairs):
    ours, theirs = (copy.deepcopy(model).to(dtype).eval() for model in pairs[kind])
    images = some_images(dtype)
    with torch.no_grad():
        found, expected = ours(images), theirs(images)
    for image, a, b in zip(images, found, expected, strict=True):
        assert a.keys() == b.keys()
        assert len(b["labels"].unique()) > 2
        assert b["scores"].unique().numel() > 5
        assert torch.equal(a["labels"], b["labels"])
        torch.testing.assert_close(a["scores"], b["scores"], rtol=0, atol=1e-4 if dtype is torch.float32 else 1e-9)
        torch.testing.assert_close(a["boxes"], b["boxes"], rtol=0, atol=1e-2 if dtype is torch.float32 else 1e-7)
        if kind == "maskrcnn":
            assert a["masks"].shape == (len(a["boxes"]), 1, *image.shape[1:])
            if dtype is torch.float64:
                torch.testing.assert_close(a["masks"], b["masks"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_losses_and_gradients(kind, pairs):
    ours, theirs = (copy.deepcopy(model).double().train() for model in pairs[kind])
    images = some_images(torch.float64)
    targets = some_targets(images, (2, 3, 1))  # torchvision's masks cannot do without
    totals = []
    for model in (ours, theirs):
        torch.manual_seed(7)  # what is drawn to be learned from
        losses = model(images, targets)
        assert sorted(losses) == LOSSES[kind]
        sum(losses.values()).backward()
        totals.append(losses)
    for name in LOSSES[kind]:
        assert totals[1][name] > 0
        torch.testing.assert_close(totals[0][name], totals[1][name].double(), rtol=1e-6, atol=0)
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-6 * b.grad.abs().max(), name


@pytest.mark.parametrize("kind", ["fasterrcnn", "retinanet"])
def test_the_same_losses_of_images_without_boxes(kind, pairs):
    ours, theirs = (copy.deepcopy(model).double().train() for model in pairs[kind])
    images = some_images(torch.float64)
    targets = some_targets(images, (2, 0, 0))
    torch.manual_seed(7)
    losses = ours(images, targets)
    torch.manual_seed(7)
    expected = theirs(images, targets)
    for name in LOSSES[kind]:
        torch.testing.assert_close(losses[name], expected[name].double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "name", ["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"]
)
def test_layout(name):
    with torch.device("meta"):
        ours = saccade.models.build(name)
        theirs = getattr(theirs_of, name)(weights=None, weights_backbone=None)
    shapes = [[(key, value.shape) for key, value in model.state_dict().items()] for model in (ours, theirs)]
    assert shapes[0] == shapes[1]


def test_the_same_initial_values():
    for ours, theirs, small in (
        (MaskRCNN, theirs_of.MaskRCNN, {}),
        (RetinaNet, theirs_of.RetinaNet, {"stages": (1, 2, 3, 4)}),
    ):
        torch.manual_seed(1)
        a = ours(FPNBackbone(ResNet(Bottleneck, (1, 1, 1, 1)), **small), 5)
        torch.manual_seed(1)
        reference = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1])
        b = theirs(backbone_utils._resnet_fpn_extractor(reference, 5), 5)
        for (key, value), expected in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
            assert torch.equal(value, expected), key


def test_trainable_layers():
    for layers in (0, 2, 5):
        ours = saccade.models.fasterrcnn_resnet50_fpn(5, trainable_layers=layers).backbone
        theirs = backbone_utils._resnet_fpn_extractor(torchvision.models.resnet50(), layers)
        assert [p.requires_grad for p in ours.parameters()] == [p.requires_grad for p in theirs.parameters()]


# ---- The small ones --------------------------------------------------------------------------------------------------

SMALL = ["fasterrcnn_small", "maskrcnn_small", "retinanet_small"]


@pytest.mark.parametrize("name", SMALL)
def test_trains(name):
    """Bright rectangles on noise, found after a few steps on four images; the worst of ten runs had mean IoU 0.83."""
    model = saccade.models.build(name, num_classes=3, min_size=64, norm_layer=lambda n: nn.GroupNorm(4, n))
    images, targets = [], []
    for _ in range(4):
        image = torch.rand(3, 64, 64) * 0.2
        x, y = torch.randint(4, 30, (2,)).tolist()
        image[1, y : y + 26, x : x + 26] = 1
        mask = torch.zeros(1, 64, 64, dtype=torch.uint8)
        mask[0, y : y + 26, x : x + 26] = 1
        images.append(image)
        targets.append({"boxes": torch.tensor([[x, y, x + 26.0, y + 26]]), "labels": torch.tensor([1]), "masks": mask})
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    steps = 120 if name == "retinanet_small" else 60
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps)  # without, the last steps still jump
    for _ in range(steps):
        loss = sum(model(images, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        found = model.eval()(images)
    overlaps = []
    for result, target in zip(found, targets, strict=True):
        assert result["labels"][0] == 1
        overlaps.append(saccade.ops.box_iou(result["boxes"][:1], target["boxes"]).item())
        if name == "maskrcnn_small":
            inside = result["masks"][0] > 0.5
            assert (inside & target["masks"].bool()).sum() / (inside | target["masks"].bool()).sum() > 0.5
    assert sum(overlaps) / 4 > 0.6


@pytest.mark.parametrize("name", SMALL)
def test_any_sizes(name):
    model = saccade.models.build(name).eval()
    images = [torch.rand(3, *size) for size in ((1, 1), (1, 300), (77, 20))]
    with torch.no_grad():
        assert [sorted(found)[0] for found in model(images)] == ["boxes"] * 3
    targets = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)} for _ in images]
    if name == "maskrcnn_small":
        for image, target in zip(images, targets, strict=True):
            target["masks"] = torch.zeros(0, *image.shape[1:])
    losses = model.train()(images, targets)
    assert all(loss.isfinite() for loss in losses.values())
    sum(losses.values()).backward()
    assert model.backbone.body.conv1.weight.grad.abs().max() > 0
    # Every weight has a gradient, zeros if need be: distributed training waits for each.
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    first = losses.get("loss_box_reg", losses.get("bbox_regression"))
    assert first == 0


@pytest.mark.parametrize("name", SMALL)
def test_each_image_alone_finds_the_same(name):
    """Batching pads; the border of zeros is seen by convolutions only where images differ in size."""
    model = saccade.models.build(name, num_classes=4, norm_layer=lambda n: nn.GroupNorm(4, n)).eval().double()
    images = [torch.rand(3, 64, 64, dtype=torch.float64) for _ in range(3)]
    with torch.no_grad():
        together = model(images)
        for image, found in zip(images, together, strict=True):
            (alone,) = model([image])
            for key in found:
                torch.testing.assert_close(alone[key], found[key])


@pytest.mark.parametrize("name", SMALL)
def test_autocast(name):
    model = saccade.models.build(name, num_classes=5)
    images = some_images()[:2]
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images, some_targets(images, (2, 1)))
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = model.eval()(images)
    assert found[0]["boxes"].dtype == torch.float32


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16_weights(name):
    model = saccade.models.build(name, num_classes=5).bfloat16()
    images = [image.bfloat16() for image in some_images()[:2]]
    losses = model(images, some_targets(images, (2, 1)))
    assert all(loss.isfinite() for loss in losses.values())
    with torch.no_grad():
        assert model.eval()(images)[0]["boxes"].isfinite().all()


def test_a_generator_decides_what_is_learned_from():
    model = saccade.models.fasterrcnn_small(num_classes=5)
    images = some_images()
    targets = some_targets(images)
    values = []
    for seed in (0, 0, 1):
        for part in (model.rpn, model.roi_heads):
            part.fg_bg_sampler.generator = torch.Generator().manual_seed(seed)
        values.append(model(images, targets)["loss_objectness"].item())
    assert values[0] == values[1] != values[2]


# ---- Bad input -------------------------------------------------------------------------------------------------------


def target(boxes=((1.0, 1, 9, 9),), labels=(1,), **more):
    return {"boxes": torch.tensor(boxes), "labels": torch.tensor(labels), **more}


IMAGE = torch.rand(3, 20, 30)


@pytest.mark.parametrize(
    ("images", "targets", "kind", "message"),
    [
        ([], [], ValueError, "images must hold at least one image, got 0"),
        ([IMAGE, 3], None, TypeError, "images[1] must be a tensor, got int"),
        ([IMAGE[:1]], None, ValueError, "images[0] must have shape (3, H, W), got (1, 20, 30)"),
        ([IMAGE[:, :0]], None, ValueError, "images[0] must have shape (3, H, W), got (3, 0, 30)"),
        ([IMAGE.byte()], None, TypeError, "images[0] must be floating, in the range 0 to 1, got torch.uint8"),
        ([IMAGE], None, ValueError, "targets must be given in training, got None"),
        ([IMAGE] * 2, [target()], ValueError, "targets must be as many as images, got 1 for 2"),
        ([IMAGE], [{"boxes": torch.zeros(0, 4)}], ValueError, "targets[0] must have 'labels', got ['boxes']"),
        ([IMAGE], [{**target(), "boxes": [1]}], TypeError, "targets[0]['boxes'] must be a tensor, got list"),
        ([IMAGE], [target(boxes=(1.0, 1, 9, 9))], ValueError, "targets[0]['boxes'] must have shape (N, 4), got (4,)"),
        ([IMAGE], [target(boxes=((1, 1, 9, 9),))], TypeError, "targets[0]['boxes'] must be floating, got torch.int64"),
        ([IMAGE], [target(labels=(1, 1))], ValueError, "targets[0]['labels'] must have shape (1,), got (2,)"),
        ([IMAGE], [target(labels=(1.0,))], TypeError, "targets[0]['labels'] must be int64, got torch.float32"),
        (
            [IMAGE] * 2,
            [target(), target(boxes=((1.0, 1, 9, 9), (3.0, 4, 3, 8)), labels=(1, 1))],
            ValueError,
            "targets[1]['boxes'][1] must be finite and have positive width and height, got [3.0, 4.0, 3.0, 8.0]",
        ),
        (
            [IMAGE],
            [target(boxes=((1.0, 1, float("inf"), 9),))],
            ValueError,
            "targets[0]['boxes'][0] must be finite and have positive width and height, got [1.0, 1.0, inf, 9.0]",
        ),
        (
            [IMAGE] * 3,
            [target(), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}, target(labels=(4,))],
            ValueError,
            "targets[2]['labels'][0] must lie in 1 to 3, got 4",
        ),
        ([IMAGE], [target(labels=(0,))], ValueError, "targets[0]['labels'][0] must lie in 1 to 3, got 0"),
    ],
)
def test_errors(images, targets, kind, message):
    with pytest.raises(kind) as error:
        saccade.models.fasterrcnn_small(num_classes=4)(images, targets)
    assert str(error.value) == f"FasterRCNN: {message}"


def test_errors_of_masks_and_of_labels_without_a_background():
    with pytest.raises(ValueError, match=r"^MaskRCNN: targets\[0\] must have 'masks', got \['boxes', 'labels'\]$"):
        saccade.models.maskrcnn_small()([IMAGE], [target()])
    with pytest.raises(ValueError) as error:  # noqa: PT011
        saccade.models.maskrcnn_small()([IMAGE], [target(masks=torch.zeros(1, 20, 31))])
    assert str(error.value) == "MaskRCNN: targets[0]['masks'] must have shape (1, 20, 30), got (1, 20, 31)"
    with pytest.raises(ValueError, match=r"^RetinaNet: targets\[0\]\['labels'\]\[0\] must lie in 0 to 1, got 2$"):
        saccade.models.retinanet_small(num_classes=2)([IMAGE], [target(labels=(2,))])


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"num_classes": 0}, ValueError, "FasterRCNN: num_classes must be at least 1, got 0"),
        ({"trainable_layers": 6}, ValueError, "FPNBackbone: trainable_layers must lie in 0 to 5, got 6"),
    ],
)
def test_errors_of_options(options, kind, message):
    with pytest.raises(kind) as error, torch.device("meta"):
        saccade.models.build("fasterrcnn_resnet50_fpn", **options)
    assert str(error.value) == message


def test_options_of_the_base_class_are_known():
    model = saccade.models.build("maskrcnn_small", num_classes=3, box_score_thresh=0.9)
    assert model.roi_heads.score_thresh == 0.9
    with pytest.raises(TypeError, match=r"^build: maskrcnn_small takes bbox_reg_weights, .*; got 'colour'$"):
        saccade.models.build("maskrcnn_small", colour=1)


def test_stages_that_there_are_not():
    with pytest.raises(ValueError, match=r"^FPNBackbone: stages must lie in 1 to 4, got \(2, 5\)$"):
        FPNBackbone(ResNet(Bottleneck, (1, 1, 1, 1)), stages=(2, 5))
