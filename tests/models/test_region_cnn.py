"""R-CNN, Fast R-CNN and Faster R-CNN on one map, the parts beside torchvision's."""

import re

import pytest
import torch
from torch import nn

from saccade import data, models, ops
from saccade.models.detection import FasterRCNN, FastRCNN, MapBackbone, SelectiveSearch
from saccade.models.detection.fast_rcnn import MapRoIPool
from saccade.models.detection.faster_rcnn_c4 import StageHead, c4_options
from saccade.models.detection.rcnn import CropNetwork, warp_regions
from saccade.models.residual import Bottleneck
from saccade.models.resnet import ResNet
from tests.util.reference_models import randomised

torchvision = pytest.importorskip("torchvision")
from torchvision.models import detection as theirs_of  # noqa: E402
from torchvision.models.detection.roi_heads import RoIHeads  # noqa: E402

SMALL = ["fast_rcnn_small", "rcnn_small"]
LOSSES = ["loss_box_reg", "loss_classifier"]


def group_norm(channels):
    return nn.GroupNorm(4, channels)


def some_images(dtype=torch.float32):
    return [torch.rand(3, *size, dtype=dtype) for size in ((50, 70), (64, 40), (90, 33))]


def some_boxes(image, count):
    height, width = image.shape[1:]
    corners = torch.rand(count, 2) * torch.tensor([width / 2, height / 2])
    sides = 5 + torch.rand(count, 2) * torch.tensor([width / 3, height / 3])
    return torch.cat([corners, corners + sides], 1)


def some_targets(images, counts=(2, 3, 1)):
    boxes = [some_boxes(image, count) for image, count in zip(images, counts, strict=True)]
    return [{"boxes": each, "labels": torch.randint(1, 5, (len(each),))} for each in boxes]


def some_proposals(images, count=20):
    return [some_boxes(image, count) for image in images]


class TheirBackbone(nn.Module):
    """torchvision's ResNet up to its third stage."""

    def __init__(self, resnet):
        super().__init__()
        parts = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3")
        self.body = nn.Sequential(*(getattr(resnet, part) for part in parts))
        self.out_channels = 1024

    def forward(self, images):
        return self.body(images)


@pytest.fixture(scope="module")
def c4_pair():
    torch.manual_seed(0)
    small, reference = (
        ResNet(Bottleneck, (1, 1, 1, 1)),
        torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1]),
    )
    few = {
        "min_size": 64,
        "max_size": 100,
        "rpn_post_nms_top_n_train": 8,
        "rpn_post_nms_top_n_test": 6,
        "box_batch_size_per_image": 6,
        "box_detections_per_img": 10,
    }
    ours = FasterRCNN(MapBackbone(small), 5, **c4_options(small, 5), **few)
    theirs = theirs_of.FasterRCNN(
        TheirBackbone(reference),
        rpn_anchor_generator=theirs_of.anchor_utils.AnchorGenerator(((32, 64, 128, 256, 512),), ((0.5, 1.0, 2.0),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 14, 2),
        box_head=nn.Sequential(reference.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        box_predictor=theirs_of.faster_rcnn.FastRCNNPredictor(2048, 5),
        rpn_pre_nms_top_n_train=12000,
        rpn_pre_nms_top_n_test=6000,
        **few,
    )
    theirs = randomised(theirs)
    with torch.no_grad():
        theirs.roi_heads.box_predictor.cls_score.weight.mul_(20)
    ours.load_state_dict(dict(zip(ours.state_dict(), theirs.state_dict().values(), strict=True)))
    return ours.double(), theirs.double()


def test_c4_finds_what_torchvision_finds(c4_pair):
    ours, theirs = (model.eval() for model in c4_pair)
    images = some_images(torch.float64)[:2]
    with torch.no_grad():
        found, expected = ours(images), theirs(images)
    for a, b in zip(found, expected, strict=True):
        assert len(b["boxes"]) > 2
        assert torch.equal(a["labels"], b["labels"])
        torch.testing.assert_close(a["scores"], b["scores"], rtol=0, atol=1e-9)
        torch.testing.assert_close(a["boxes"], b["boxes"], rtol=0, atol=1e-7)


def test_c4_has_torchvisions_four_losses(c4_pair):
    images = some_images(torch.float64)[:2]
    targets = some_targets(images, (2, 3))
    totals = []
    for model in c4_pair:
        torch.manual_seed(7)
        losses = model.train()(images, targets)
        assert sorted(losses) == [*LOSSES, "loss_objectness", "loss_rpn_box_reg"]
        totals.append(losses)
    for name, value in totals[1].items():
        assert value > 0
        torch.testing.assert_close(totals[0][name], value.double(), rtol=1e-6, atol=0)


def test_c4_resnet50():
    with torch.device("meta"):
        model = models.build("fasterrcnn_resnet50_c4", num_classes=7)
    assert model.backbone.out_channels == 1024
    assert isinstance(model.roi_heads.box_head, StageHead)
    assert model.roi_heads.box_predictor.cls_score.weight.shape == (7, 2048)
    assert model.rpn.head.cls_logits.weight.shape == (15, 1024, 1, 1)
    assert sum(parameter.numel() for parameter in model.roi_heads.box_head.parameters()) == 14_964_736


@pytest.mark.parametrize("method", ["max", "align"])
def test_pooling(method):
    maps, boxes = (
        torch.rand(2, 3, 9, 11),
        [torch.tensor([[3.0, 9, 60, 40]]), torch.tensor([[0.0, 0, 88, 72], [8, 8, 9, 9]])],
    )
    pooled = MapRoIPool(4, 8, method)({"0": maps}, boxes, [])
    if method == "max":
        expected = torchvision.ops.roi_pool(maps, boxes, 4, 1 / 8)
    else:
        expected = torchvision.ops.roi_align(maps, boxes, 4, 1 / 8, 2, aligned=True)
    torch.testing.assert_close(pooled, expected)


def test_fast_rcnn_and_torchvisions_heads():
    """The same maps and regions through torchvision's second stage."""
    model = randomised(models.fast_rcnn_small(num_classes=5, min_size=64, max_size=100, box_nms_thresh=0.5)).double()
    with torch.no_grad():
        model.roi_heads.box_predictor.cls_score.weight.mul_(5)
    heads = model.roi_heads
    parts = heads.box_roi_pool, heads.box_head, heads.box_predictor
    theirs = RoIHeads(*parts, 0.5, 0.5, 64, 0.25, (10.0, 10.0, 5.0, 5.0), 0.05, 0.5, 100)
    images = some_images(torch.float64)
    targets, proposals = some_targets(images), [boxes.double() for boxes in some_proposals(images)]

    def run(training):
        model.train(training)
        theirs.train(training)
        batch, scaled = model.transform(images, targets)
        ratios = [(new[0] / old.shape[1], new[1] / old.shape[2]) for old, new in zip(images, batch.sizes, strict=True)]
        regions = [boxes * torch.tensor([x, y, x, y]) for boxes, (y, x) in zip(proposals, ratios, strict=True)]
        scaled = [{**target, "boxes": target["boxes"].double()} for target in scaled]
        return theirs(model.backbone(batch.tensors), regions, batch.sizes, scaled if training else None), batch

    torch.manual_seed(3)
    losses = model.train()(images, targets, proposals)
    torch.manual_seed(3)
    (_, expected), _ = run(True)
    assert sorted(losses) == LOSSES
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(losses[name], value, rtol=1e-5, atol=0)
    with torch.no_grad():
        found = model.eval()(images, None, proposals)
        (detections, _), batch = run(False)
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        detections = model.transform.postprocess(detections, batch.sizes, sizes)
    for a, b in zip(found, detections, strict=True):
        assert len(b["boxes"]) > 3
        assert torch.equal(a["labels"], b["labels"])
        torch.testing.assert_close(a["scores"], b["scores"], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(a["boxes"], b["boxes"], rtol=1e-5, atol=1e-4)


# ---- Crops -----------------------------------------------------------------------------------------------------------


def test_crops_at_the_images_scale_are_slices():
    images = torch.rand(2, 3, 30, 40)
    boxes = [torch.tensor([[5.0, 6, 13, 14]]), torch.tensor([[0.0, 0, 8, 8], [32, 22, 40, 30]])]
    crops = warp_regions(images, boxes, 12, 2)
    torch.testing.assert_close(crops[0], images[0, :, 4:16, 3:15])
    padded = nn.functional.pad(images[1], (1, 1, 1, 1))
    # A pixel outside the border shows half of the border's, the next one nothing.
    torch.testing.assert_close(crops[1][:, 2:, 2:], padded[:, 1:11, 1:11])
    assert (crops[1][:, 0] == 0).all()
    torch.testing.assert_close(crops[2][:, :10, :10], padded[:, 21:31, 31:41])


def test_crops_are_warped_whatever_the_shape():
    image = torch.zeros(1, 1, 40, 60)
    image[..., 10:20, 30:50] = 1
    crop = warp_regions(image, [torch.tensor([[30.0, 10, 50, 20]])], 16, 4)[0, 0]
    assert (crop[5:11, 5:11] == 1).all()
    assert (crop[4:12, 4:12] > 0.85).all()
    assert (crop[:3] == 0).all()
    assert (crop[:, 13:] == 0).all()
    assert abs(crop.mean().item() - 0.25) < 0.02


def test_crops_in_parts():
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 5))
    crops, images = CropNetwork(network, 8, 1, crops=4), torch.rand(2, 3, 30, 40)
    boxes = [torch.rand(9, 2) * 10, torch.rand(5, 2) * 10]
    boxes = [torch.cat([each, each + 12], 1) for each in boxes]
    with torch.no_grad():
        torch.testing.assert_close(crops.eval()({"0": images}, boxes, []), crops.train()({"0": images}, boxes, []))


# ---- The small ones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_trains(name):
    """Bright rectangles on noise among given regions."""
    model = models.build(name, num_classes=3, min_size=64, norm_layer=group_norm)
    images, targets, proposals = [], [], []
    for label in (1, 2, 1, 2):
        image = torch.rand(3, 64, 64) * 0.2
        x, y = torch.randint(4, 30, (2,)).tolist()
        image[label, y : y + 26, x : x + 26] = 1
        box = torch.tensor([[x, y, x + 26.0, y + 26]])
        images.append(image)
        targets.append({"boxes": box, "labels": torch.tensor([label])})
        shifted = (box + torch.randint(-4, 5, (30, 4))).clamp(0, 64)
        proposals.append(torch.cat([some_boxes(image, 30), shifted]))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(25 if name == "fast_rcnn_small" else 40):
        loss = sum(model(images, targets, proposals).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = model.eval()(images, None, proposals)
    for result, target in zip(found, targets, strict=True):
        assert result["labels"][0] == target["labels"][0]
        assert ops.box_iou(result["boxes"][:1], target["boxes"]).item() > 0.7


@pytest.mark.parametrize("name", SMALL)
def test_any_sizes_and_no_boxes(name):
    model = models.build(name, min_size=64, max_size=100).eval()
    images = [torch.rand(3, *size) for size in ((1, 1), (1, 300), (77, 20))]
    nothing = [torch.zeros(0, 4) for _ in images]
    with torch.no_grad():
        assert [found["boxes"].shape for found in model(images, None, nothing)] == [(0, 4)] * 3
        assert [sorted(found) for found in model(images)] == [["boxes", "labels", "scores"]] * 3
    targets = [{"boxes": boxes, "labels": torch.zeros(0, dtype=torch.int64)} for boxes in nothing]
    losses = model.train()(images, targets, [torch.tensor([[0.0, 0, 1, 1]])] * 3)
    assert losses["loss_classifier"].isfinite()
    assert losses["loss_box_reg"] == 0
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", SMALL)
def test_each_image_alone_finds_the_same(name):
    model = models.build(name, num_classes=4, min_size=64, norm_layer=group_norm).eval().double()
    images = [torch.rand(3, 64, 64, dtype=torch.float64) for _ in range(2)]
    proposals = [boxes.double() for boxes in some_proposals(images)]
    with torch.no_grad():
        together = model(images, None, proposals)
        for image, boxes, found in zip(images, proposals, together, strict=True):
            (alone,) = model([image], None, [boxes])
            assert len(alone["boxes"]) > 3
            for key in found:
                torch.testing.assert_close(alone[key], found[key])


@pytest.mark.parametrize("name", SMALL)
def test_autocast(name):
    model = models.build(name, num_classes=5, min_size=64)
    images = some_images()
    targets, proposals = some_targets(images), some_proposals(images)
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images, targets, proposals)
        with torch.no_grad():
            found = model.eval()(images, None, proposals)
    sum(losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
    assert found[0]["boxes"].dtype == torch.float32


def test_proposals_by_selective_search():
    scene = data.SceneDataset(1, (96, 96), shapes=(2, 2), seed=3)[0]
    image = scene.image.float() / 255
    boxes = SelectiveSearch("fast", max_boxes=50)(image)
    assert 20 < len(boxes) <= 50
    assert (ops.box_iou(scene.boxes, boxes).amax(1) > 0.7).all()
    assert SelectiveSearch()(image[:1]).shape[1] == 4
    model = models.fast_rcnn_small(num_classes=6, proposals=SelectiveSearch(max_boxes=50), min_size=96).eval()
    with torch.no_grad():
        (own,), (given,) = model([image]), model([image], None, [boxes])
    assert len(own["boxes"]) > 0
    torch.testing.assert_close(own, given)


@pytest.mark.parametrize(("name", "pretrained"), [("fast_rcnn", "vgg16"), ("rcnn", "alexnet")])
def test_pretrained_networks(name, pretrained):
    with torch.device("meta"):
        network = models.build(pretrained)
    network = network.to_empty(device="cpu")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1e-3)
    model = getattr(models, name)(num_classes=4, pretrained=network, min_size=64).eval()
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    lost = [key for key, parameter in network.named_parameters() if parameter.data_ptr() not in weights]
    assert lost == ["classifier.6.weight", "classifier.6.bias"]
    box = torch.tensor([[8.0, 8, 40, 40]])
    with torch.no_grad():
        for parameter in model.roi_heads.box_predictor.parameters():
            parameter.zero_()
        (found,) = model([torch.rand(3, 64, 64)], None, [box])
    assert sorted(found["labels"].tolist()) == [1, 2, 3]
    torch.testing.assert_close(found["scores"], torch.full((3,), 0.25))
    torch.testing.assert_close(found["boxes"], box.expand(3, 4))


def test_names():
    names = ["fast_rcnn", "fast_rcnn_small", "fasterrcnn_resnet50_c4", "rcnn", "rcnn_small"]
    assert set(names) <= set(models.list_models())


# ---- Bad input -------------------------------------------------------------------------------------------------------

IMAGE = torch.rand(3, 20, 30)


@pytest.mark.parametrize(
    ("proposals", "error", "message"),
    [
        (None, ValueError, "proposals must be given where the model has no source of its own, got None"),
        ([], ValueError, "proposals must be as many as images, got 0 for 1"),
        ([[1]], TypeError, "proposals[0] must be a floating tensor, got list"),
        ([torch.zeros(1, 4, dtype=torch.int64)], TypeError, "proposals[0] must be a floating tensor, got torch.int64"),
        ([torch.zeros(4)], ValueError, "proposals[0] must have shape (N, 4), got (4,)"),
        (
            [torch.tensor([[0.0, 0, 5, 5], [3, 4, 3, 8]])],
            ValueError,
            "proposals[0] must have area and lie in its image of 20 x 30, got [3.0, 4.0, 3.0, 8.0] at 1",
        ),
        (
            [torch.tensor([[0.0, 0, 5, 21]])],
            ValueError,
            "proposals[0] must have area and lie in its image of 20 x 30, got [0.0, 0.0, 5.0, 21.0] at 0",
        ),
        (
            [torch.tensor([[0.0, 0, float("nan"), 5]])],
            ValueError,
            "proposals[0] must have area and lie in its image of 20 x 30, got [0.0, 0.0, nan, 5.0] at 0",
        ),
    ],
)
def test_bad_proposals(proposals, error, message):
    model = models.fast_rcnn_small().eval()
    model.proposals = None
    with pytest.raises(error, match=re.escape(f"FastRCNN: {message}") + "$"):
        model([IMAGE], None, proposals)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MapRoIPool(7, 8, "mean"), "MapRoIPool: method must be 'max' or 'align', got 'mean'"),
        (
            lambda: MapBackbone(ResNet(Bottleneck, (1, 1, 1, 1)), stage=5),
            "MapBackbone: stage must lie in 1 to 4, got 5",
        ),
        (
            lambda: MapBackbone(ResNet(Bottleneck, (1, 1, 1, 1)), trainable_layers=6),
            "MapBackbone: trainable_layers must lie in 0 to 5, got 6",
        ),
        (
            lambda: CropNetwork(nn.Identity(), 8, 4),
            "CropNetwork: context must lie in 0 to less than half of size 8, got 4",
        ),
        (lambda: FastRCNN(nn.Identity(), 0), "FastRCNN: num_classes must be at least 1, got 0"),
        (lambda: models.rcnn_small()([IMAGE]), "RCNN: targets must be given in training, got None"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        make()
