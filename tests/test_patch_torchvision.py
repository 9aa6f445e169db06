import os
import subprocess
import sys
import threading

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import saccade
from saccade import _patch, ops

torchvision = pytest.importorskip("torchvision")
from torchvision.models import detection  # noqa: E402
from torchvision.ops import nms as imported_nms  # noqa: E402


class Operators(TorchDispatchMode):
    """Records the operators of saccade and of torchvision that run."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.namespace in ("saccade", "torchvision"):
            self.names.add(str(function).removesuffix(".default"))
        return function(*args, **(kwargs or {}))


def some_boxes(n=40):
    corner = torch.rand(n, 2, generator=torch.Generator().manual_seed(n)) * 30
    return torch.cat([corner, corner + 1 + torch.rand(n, 2, generator=torch.Generator().manual_seed(1)) * 20], 1)


BOXES, SCORES = some_boxes(), torch.rand(40, generator=torch.Generator().manual_seed(2))
CLASSES = torch.arange(40) % 3
MAP = torch.rand(1, 36, 16, 16, generator=torch.Generator().manual_seed(3))
MASKS = MAP[0] > 0.9
SQUARES = torch.rand(40, 1, 7, 7, generator=torch.Generator().manual_seed(5))
OFFSET, FACTORS = MAP[:, :18] * 6 - 3, MAP[:, 18:27]
KERNEL = torch.rand(6, 36, 3, 3, generator=torch.Generator().manual_seed(4)) / 36
tv = torchvision.ops


def deformable():
    torch.manual_seed(0)
    return tv.DeformConv2d(36, 6, 3, padding=1).requires_grad_(False)


def pyramid_pool(maps):
    pool = tv.MultiScaleRoIAlign(list(maps), (3, 4), 2, canonical_scale=30, canonical_level=3)
    return pool(maps, [BOXES], [(64, 64)])


CALLS = {
    "nms": lambda: tv.nms(BOXES, SCORES, 0.5),
    "box_iou": lambda: tv.box_iou(BOXES, BOXES),
    "box_iou, cxcywh": lambda: tv.box_iou(BOXES, BOXES, fmt="cxcywh"),
    "generalized_box_iou": lambda: tv.generalized_box_iou(BOXES, BOXES),
    "distance_box_iou": lambda: tv.distance_box_iou(BOXES, BOXES),
    "complete_box_iou": lambda: tv.complete_box_iou(BOXES, BOXES, eps=1e-6),
    "masks_to_boxes": lambda: tv.masks_to_boxes(MASKS),
    "paste_masks_in_image": lambda: detection.roi_heads.paste_masks_in_image(SQUARES, BOXES, (70, 64)),
    "batched_nms": lambda: tv.batched_nms(BOXES, SCORES, CLASSES, 0.5),
    "roi_pool": lambda: tv.roi_pool(MAP, [BOXES], (3, 2), 0.25),
    "RoIPool": lambda: tv.RoIPool(3, 0.25)(MAP, [BOXES]),
    "ps_roi_align": lambda: tv.ps_roi_align(MAP, [BOXES], 3, 0.25, sampling_ratio=2),
    "PSRoIAlign": lambda: tv.PSRoIAlign((2, 3), 0.25, -1)(MAP, [BOXES]),
    "ps_roi_pool": lambda: tv.ps_roi_pool(MAP, [BOXES], 3, 0.25),
    "PSRoIPool": lambda: tv.PSRoIPool((2, 3), 0.25)(MAP, [BOXES]),
    "MultiScaleRoIAlign": lambda: pyramid_pool({"0": MAP, "1": MAP[..., ::2, ::2]}),
    "MultiScaleRoIAlign, one level": lambda: pyramid_pool({"0": MAP}),
    "deform_conv2d": lambda: tv.deform_conv2d(MAP, OFFSET, KERNEL, padding=1, mask=FACTORS),
    "DeformConv2d": lambda: deformable()(MAP, OFFSET),
    "roi_align": lambda: tv.roi_align(MAP, [BOXES], 4, 0.25),
    "RoIAlign": lambda: tv.RoIAlign((3, 4), 0.25, 2, aligned=True)(MAP, [BOXES]),
}


@pytest.fixture(autouse=True)
def _nothing_stays_patched():
    yield
    assert not _patch._active


@pytest.mark.parametrize("name", CALLS)
def test_python_functions_run_ours(name):
    expected = CALLS[name]()
    with saccade.patch_torchvision(), Operators() as operators:
        actual = CALLS[name]()
    assert operators.names
    assert all(name.startswith("saccade.") for name in operators.names), operators.names
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    with Operators() as operators:
        CALLS[name]()
    assert not any(name.startswith("saccade.") for name in operators.names)


def test_every_reference_follows():
    model = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    references = [imported_nms, torchvision.ops.boxes.nms, detection.rpn.box_ops.nms]
    with saccade.patch_torchvision():
        for function in references:
            with Operators() as operators:
                function(BOXES, SCORES, 0.5)
            assert operators.names == {"saccade.nms"}
        with Operators() as operators:
            model.rpn.box_similarity(BOXES, BOXES)  # stored when the model was made
        assert operators.names == {"saccade.box_iou"}
        made_meanwhile = detection.fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    assert made_meanwhile.rpn.box_similarity is torchvision.ops.box_iou
    with Operators() as operators:
        made_meanwhile.rpn.box_similarity(BOXES, BOXES)
    assert not operators.names


def state():
    functions = [_patch._torchvision_function(name) for name in _patch._FUNCTIONS]
    dumps = [torch._C._dispatch_dump(f"torchvision::{name}") for name in _patch._OPERATORS]
    return functions, [function.__code__ for function in functions], dumps


def test_given_back_exactly():
    before = state()
    with saccade.patch_torchvision():
        during = state()
        assert during[0] == before[0]
        assert all(a is not b for a, b in zip(during[1], before[1], strict=True))
        assert all(a != b for a, b in zip(during[2], before[2], strict=True))
    after = state()
    assert all(a is b for a, b in zip(after[1], before[1], strict=True))
    assert after[2] == before[2]


def test_nested_and_repeated():
    before = state()
    outer = saccade.patch_torchvision()
    with saccade.patch_torchvision() as inner:
        outer.restore()
        outer.restore()
        assert (outer.active, inner.active) == (False, True)
        assert state()[1][0] is not before[1][0]
    assert state() == before
    assert repr(outer) == "<saccade.patch_torchvision(): given back>"
    with pytest.raises(ZeroDivisionError), saccade.patch_torchvision():
        1 / 0  # noqa: B018
    assert state() == before


ROIS = torch.cat([torch.zeros(40, 1), BOXES], 1)
POOLINGS = {
    "roi_align": (0.25, 3, 4, 2, False),
    "roi_pool": (0.25, 3, 4),
    "ps_roi_align": (0.25, 3, 4, 2),
    "ps_roi_pool": (0.25, 3, 4),
}


@pytest.mark.parametrize("name", POOLINGS)
def test_poolings_of_the_dispatcher(name, monkeypatch):
    operator, calls = getattr(torch.ops.torchvision, name), []

    def run():
        feature = MAP.clone().requires_grad_()
        results = operator(feature, ROIS, *POOLINGS[name])
        results = results if isinstance(results, tuple) else (results,)
        results[0].square().sum().backward()
        last = operator(MAP.to(memory_format=torch.channels_last), ROIS, *POOLINGS[name])
        assert all(result.is_contiguous() for result in (last if isinstance(last, tuple) else (last,)))
        return [*results, feature.grad]

    expected = run()
    for key, kernel in list(_patch._OPERATORS.items()):
        monkeypatch.setitem(_patch._OPERATORS, key, lambda *args, n=key, k=kernel: calls.append(n) or k(*args))
    with saccade.patch_torchvision():
        actual = run()
    assert calls == [name, f"_{name}_backward", name]
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b)


DEFORMABLE = [
    {"groups": 1, "offset_groups": 1, "use_mask": True},
    {"groups": 2, "offset_groups": 3, "use_mask": True},
    {"groups": 1, "offset_groups": 1, "use_mask": False},
]


@pytest.mark.parametrize("arguments", DEFORMABLE)
def test_deform_conv2d_of_the_dispatcher(arguments, monkeypatch):
    groups, offset_groups, use_mask = arguments.values()
    generator, calls = torch.Generator().manual_seed(6), []
    shapes = (2, 12, 9, 8), (4, 12 // groups, 3, 3), (2, 18 * offset_groups, 9, 8), (2, 9 * offset_groups, 9, 8), (4,)
    tensors = [torch.randn(shape, generator=generator) for shape in shapes]
    if not use_mask:
        tensors[3] = torch.zeros(2, 1)

    def run():
        leaves = [t.clone().requires_grad_() for t in tensors]
        result = torch.ops.torchvision.deform_conv2d(*leaves, 1, 1, 1, 1, 1, 1, groups, offset_groups, use_mask)
        result.square().sum().backward()
        last = [t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
        other = torch.ops.torchvision.deform_conv2d(*last, 1, 1, 1, 1, 1, 1, groups, offset_groups, use_mask)
        assert other.is_contiguous()
        return [result, other, *(leaf.grad for leaf in leaves)]

    expected = run()
    for key, kernel in list(_patch._OPERATORS.items()):
        monkeypatch.setitem(_patch._OPERATORS, key, lambda *args, n=key, k=kernel: calls.append(n) or k(*args))
    with saccade.patch_torchvision():
        actual = run()
        with pytest.raises(ValueError, match=r"^deform_conv2d: groups and offset_groups must fit the shapes"):
            torch.ops.torchvision.deform_conv2d(*tensors, 1, 1, 1, 1, 1, 1, groups + 1, offset_groups, use_mask)
    assert calls[:3] == ["deform_conv2d", "_deform_conv2d_backward", "deform_conv2d"]
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_scripted_code(monkeypatch):
    script, calls = torch.jit.script(torchvision.ops.nms), []
    expected = script(BOXES, SCORES, 0.5)
    kernel = _patch._OPERATORS["nms"]
    monkeypatch.setitem(_patch._OPERATORS, "nms", lambda *args: calls.append(1) or kernel(*args))
    with saccade.patch_torchvision():
        assert torch.equal(script(BOXES, SCORES, 0.5), expected)
    assert calls == [1]


def test_levels_of_several_dtypes():
    maps = {"0": MAP, "1": MAP[..., ::2, ::2].half()}
    with saccade.patch_torchvision():
        actual = pyramid_pool(maps)
    expected = pyramid_pool({name: feature.float() for name, feature in maps.items()})
    torch.testing.assert_close(actual, expected, rtol=1e-2, atol=1e-2)


def test_compiled_code():
    def function(boxes, scores):
        return torchvision.ops.nms(boxes, scores, 0.5), torchvision.ops.box_iou(boxes, boxes)

    expected = function(BOXES, SCORES)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for patched in (False, True, False):  # compiled without and with the patch, then reused
        if patched:
            with saccade.patch_torchvision():
                results = compiled(BOXES, SCORES)
        else:
            results = compiled(BOXES, SCORES)
        for a, b in zip(results, expected, strict=True):
            assert torch.equal(a, b)


def test_other_tensors_keep_torchvisions_operators():
    boxes = torch.quantize_per_tensor(BOXES, 0.5, 0, torch.quint8)
    scores = torch.quantize_per_tensor(SCORES, 1 / 256, 0, torch.quint8)
    expected = torchvision.ops.nms(boxes, scores, 0.5)
    with saccade.patch_torchvision():
        assert torch.equal(torchvision.ops.nms(boxes, scores, 0.5), expected)
        assert torchvision.ops.box_iou(BOXES.to("meta"), BOXES.to("meta")).shape == (40, 40)


def test_switching_while_other_threads_call():
    expected = torchvision.ops.nms(BOXES, SCORES, 0.5)
    stop, wrong = threading.Event(), []

    def call():
        while not stop.is_set():
            if not torch.equal(torchvision.ops.nms(BOXES, SCORES, 0.5), expected):
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        with saccade.patch_torchvision():
            pass
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def spread(module):
    """Weights for which scores are far apart, so that rounding cannot change their order."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * parameter.data.std().clamp(min=0.02) * 3


def detector(name):
    torch.manual_seed(0)
    small = {"weights": None, "weights_backbone": None, "min_size": 96, "max_size": 128, "num_classes": 7}
    if name == "retinanet":
        model = detection.retinanet_resnet50_fpn(**small, score_thresh=0.0, detections_per_img=50, topk_candidates=200)
    else:
        make = {"fasterrcnn": detection.fasterrcnn_resnet50_fpn, "maskrcnn": detection.maskrcnn_resnet50_fpn}[name]
        model = make(**small, box_score_thresh=0.0, box_detections_per_img=50, rpn_post_nms_top_n_test=150)
        spread(model.roi_heads.box_predictor)
    return model.eval()


@pytest.mark.parametrize("name", ["fasterrcnn", "maskrcnn", "retinanet"])
def test_models_detect_the_same(name):
    model = detector(name)
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, 96, 128, generator=generator), torch.rand(3, 128, 90, generator=generator)]
    with torch.no_grad():
        expected = model(images)
        with saccade.patch_torchvision(), Operators() as operators:
            actual = model(images)
    assert not any(operator.startswith("torchvision.") for operator in operators.names), operators.names
    for ours, theirs in zip(actual, expected, strict=True):
        assert len(theirs["boxes"]) >= 20
        assert torch.equal(ours["labels"], theirs["labels"])
        torch.testing.assert_close(ours["scores"], theirs["scores"], rtol=0, atol=1e-4)
        torch.testing.assert_close(ours["boxes"], theirs["boxes"], rtol=0, atol=1e-2)
        if name == "maskrcnn":
            torch.testing.assert_close(ours["masks"], theirs["masks"], rtol=0, atol=1e-3)


def test_a_model_trains_the_same():
    model = detector("maskrcnn").train()
    targets = [{"boxes": BOXES[:3] + 5, "labels": torch.tensor([1, 2, 3]), "masks": torch.ones(3, 96, 128).byte()}]
    losses, image = [], torch.rand(3, 96, 128, generator=torch.Generator().manual_seed(4))
    for patched in (False, True):
        torch.manual_seed(0)  # anchors and proposals are sampled at random
        patch = saccade.patch_torchvision() if patched else None
        loss = sum(model([image], targets).values())
        model.zero_grad()
        loss.backward()
        losses.append((loss.detach(), model.backbone.fpn.layer_blocks[0][0].weight.grad.clone()))
        if patch is not None:
            patch.restore()
    for a, b in zip(*losses, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
WITHOUT_OPERATORS = "def _has_ops():\n    return False\n"


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "patch_torchvision: torchvision must be installed: pip install torchvision"),
        ({"__init__.py": BROKEN}, "but operator torchvision::nms does not exist. Its compiled library was built for"),
        (
            {"__init__.py": "", "extension.py": WITHOUT_OPERATORS},
            "but its compiled operators are missing. Its",
        ),
    ],
    ids=["missing", "broken", "without operators"],
)
def test_torchvision_that_cannot_be_used(files, message, tmp_path):
    code = "import sys, saccade\n"
    if files:
        (tmp_path / "torchvision").mkdir()
        for name, text in files.items():
            (tmp_path / "torchvision" / name).write_text(text)
    else:
        code += "import importlib.abc\n"
        code += "class Missing(importlib.abc.MetaPathFinder):\n    def find_spec(self, name, path, target=None):\n"
        code += "        if name.split('.')[0] == 'torchvision': raise ModuleNotFoundError(name, name='torchvision')\n"
        code += "sys.meta_path.insert(0, Missing())\n"
    code += "try:\n    saccade.patch_torchvision()\nexcept RuntimeError as error:\n    print(error)\n"
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    environment = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert message in run.stdout


def test_a_replaced_function_is_refused(monkeypatch):
    monkeypatch.setattr(torchvision.ops.boxes, "nms", ops.RoIAlign)
    message = r"^patch_torchvision: torchvision.ops.boxes.nms must be a plain function, got <class "
    with pytest.raises(RuntimeError, match=message):
        saccade.patch_torchvision()
    assert torchvision.ops.boxes.box_iou.__code__.co_filename.endswith("boxes.py")  # and nothing has been replaced
