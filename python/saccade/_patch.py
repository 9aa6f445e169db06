"""torchvision's operators replaced by ours, in place.

Two layers are replaced, because code reaches an operator in two ways:

* Python functions (``torchvision.ops.nms`` and the like) keep their identity and get another body: a function object's
  ``__code__`` is exchanged. So every reference follows, be it ``from torchvision.ops import nms`` in somebody's module,
  ``box_ops.batched_nms`` in torchvision's models, or ``box_iou`` stored in a model at construction. Replacing module
  attributes would miss the first and the last.
* Operators of torch's dispatcher (``torch.ops.torchvision.nms``), which scripted, exported and compiled code calls, get
  another kernel per device; taking it away uncovers torchvision's.
"""

from __future__ import annotations

import importlib
import threading
import types
from collections.abc import Callable
from types import CodeType, FunctionType, TracebackType
from typing import Any

import torch
from torch import Tensor

from saccade import ops
from saccade.ops._library import call, cuda_unavailable_reason

__all__ = ["TorchvisionPatch", "patch_torchvision"]

_lock = threading.RLock()
_active: set[TorchvisionPatch] = set()
_bodies: dict[str, CodeType] = {}  # torchvision's, while replaced
_originals: dict[str, FunctionType] = {}  # functions with torchvision's bodies, to fall back on
_kernels: list[torch.library.Library] = []


class TorchvisionPatch:
    """What :func:`patch_torchvision` returns: in force until :meth:`restore`, or until the ``with`` block ends."""

    def restore(self) -> None:
        """Give torchvision's operators back, unless another patch is still in force. Calling it again does nothing."""
        with _lock:
            _active.discard(self)
            if not _active:
                _give_back()

    @property
    def active(self) -> bool:
        """Whether this patch is in force."""
        return self in _active

    def __enter__(self) -> TorchvisionPatch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"<saccade.patch_torchvision(): {'in force' if self.active else 'given back'}>"


def patch_torchvision() -> TorchvisionPatch:
    """Let torchvision's operators, and the models built on them, run on saccade's kernels.

    For good, or within a ``with`` block. Patches nest: torchvision's operators are back, exactly as they were, when the
    last one is given back. The patch holds for the whole process, all its threads included; a call that has already
    begun ends as it began.

    Replaced: ``nms``, ``batched_nms``, ``roi_align``, ``roi_pool``, ``ps_roi_align``, ``ps_roi_pool``,
    ``deform_conv2d``, the ``box_iou`` family and ``masks_to_boxes`` of ``torchvision.ops`` and ``paste_masks_in_image``
    of its detection models, wherever they were imported to, hence the modules of the same operators,
    ``MultiScaleRoIAlign`` and the detection models, new or existing; and the operators of the dispatcher,
    ``torch.ops.torchvision.nms``, the poolings and ``deform_conv2d`` with their backwards, hence scripted, exported and
    compiled code. Element-wise functions such as ``box_convert`` stay torchvision's: ours compute the same in the same
    way.

    Not reached: quantized tensors and devices that saccade has no kernels for keep torchvision's operators.
    ``torch.jit.script`` cannot compile the replaced functions, and a model exported to ONNX should hold torchvision's
    operators: script and export outside the patch (what was scripted before is reached).

    Returns:
        An object with ``restore()``, which is also a context manager.

    Raises:
        RuntimeError: if torchvision is not installed, or does not fit the installed torch.

    >>> import torchvision
    >>> with saccade.patch_torchvision():
    ...     keep = torchvision.ops.nms(torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.5, 0.9]), 0.5)
    >>> keep
    tensor([1])
    """
    with _lock:
        if not _active:
            _replace()
        patch = TorchvisionPatch()
        _active.add(patch)
    return patch


def implementation(name: str, tensor: Any) -> Callable[..., Any]:
    """What a replaced function calls: our operator, or torchvision's where ours does not apply."""
    if isinstance(tensor, Tensor) and (tensor.device.type not in _DEVICES or tensor.is_quantized):
        return _originals[name]
    return _OURS[name]


_DEVICES = ("cpu", "cuda") if cuda_unavailable_reason == "" else ("cpu",)


# ---- Bodies: they run with the globals and the default arguments of torchvision's functions ------------------------
# So each has the parameters of the function whose body it becomes, imports what it needs, and states no defaults.


def _nms(boxes, scores, iou_threshold):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("nms", boxes)(boxes, scores, iou_threshold)


def _batched_nms(boxes, scores, idxs, iou_threshold):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("batched_nms", boxes)(boxes, scores, idxs, iou_threshold)


def _box_iou(boxes1, boxes2, fmt):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("box_iou", boxes1)(boxes1, boxes2, fmt)


def _generalized_box_iou(boxes1, boxes2):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("generalized_box_iou", boxes1)(boxes1, boxes2)


def _distance_box_iou(boxes1, boxes2, eps):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("distance_box_iou", boxes1)(boxes1, boxes2, eps)


def _complete_box_iou(boxes1, boxes2, eps):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("complete_box_iou", boxes1)(boxes1, boxes2, eps)


def _masks_to_boxes(masks):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("masks_to_boxes", masks)(masks)


def _paste_masks(masks, boxes, img_shape, padding):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("paste_masks_in_image", masks)(masks, boxes, img_shape, padding)


def _roi_align(input, boxes, output_size, spatial_scale, sampling_ratio, aligned):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("roi_align", input)(input, boxes, output_size, spatial_scale, sampling_ratio, aligned)


def _roi_pool(input, boxes, output_size, spatial_scale):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("roi_pool", input)(input, boxes, output_size, spatial_scale)


def _ps_roi_align(input, boxes, output_size, spatial_scale, sampling_ratio):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("ps_roi_align", input)(input, boxes, output_size, spatial_scale, sampling_ratio)


def _ps_roi_pool(input, boxes, output_size, spatial_scale):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("ps_roi_pool", input)(input, boxes, output_size, spatial_scale)


def _deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    return implementation("deform_conv2d", input)(input, offset, weight, bias, stride, padding, dilation, mask)


def _multiscale(x_filtered, boxes, output_size, sampling_ratio, scales, mapper):  # type: ignore[no-untyped-def]
    from saccade._patch import implementation

    pool = implementation("_multiscale_roi_align", x_filtered[0])
    return pool(x_filtered, boxes, output_size, sampling_ratio, scales, mapper)


def _multiscale_ours(
    features: list[Tensor],
    boxes: list[Tensor],
    output_size: Any,
    sampling_ratio: int,
    scales: list[float],
    mapper: Any,
) -> Tensor:
    if any(feature.dtype != features[0].dtype for feature in features):  # autocast may leave levels of several dtypes
        return _originals["_multiscale_roi_align"](features, boxes, output_size, sampling_ratio, scales, mapper)
    canonical = {"canonical_scale": mapper.s0, "canonical_level": mapper.lvl0}
    return ops.multiscale_roi_align(features, boxes, output_size, scales, sampling_ratio, **canonical)


# Where torchvision defines each function, the body it gets, and the operator that the body calls.
_FUNCTIONS: dict[str, tuple[str, Callable[..., Any], Callable[..., Any]]] = {
    "nms": ("torchvision.ops.boxes", _nms, ops.nms),
    "batched_nms": ("torchvision.ops.boxes", _batched_nms, ops.batched_nms),
    "box_iou": ("torchvision.ops.boxes", _box_iou, ops.box_iou),
    "generalized_box_iou": ("torchvision.ops.boxes", _generalized_box_iou, ops.generalized_box_iou),
    "distance_box_iou": ("torchvision.ops.boxes", _distance_box_iou, ops.distance_box_iou),
    "complete_box_iou": ("torchvision.ops.boxes", _complete_box_iou, ops.complete_box_iou),
    "masks_to_boxes": ("torchvision.ops.boxes", _masks_to_boxes, ops.masks_to_boxes),
    "roi_align": ("torchvision.ops.roi_align", _roi_align, ops.roi_align),
    "roi_pool": ("torchvision.ops.roi_pool", _roi_pool, ops.roi_pool),
    "ps_roi_align": ("torchvision.ops.ps_roi_align", _ps_roi_align, ops.ps_roi_align),
    "ps_roi_pool": ("torchvision.ops.ps_roi_pool", _ps_roi_pool, ops.ps_roi_pool),
    "deform_conv2d": ("torchvision.ops.deform_conv", _deform_conv2d, ops.deform_conv2d),
    "paste_masks_in_image": ("torchvision.models.detection.roi_heads", _paste_masks, ops.paste_masks),
    "_multiscale_roi_align": ("torchvision.ops.poolers", _multiscale, _multiscale_ours),
}
_OURS = {name: ours for name, (_, _, ours) in _FUNCTIONS.items()}


# ---- Kernels of torchvision's operators: below autograd and autocast, which stay torchvision's ---------------------


def _nms_kernel(dets: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return call(torch.ops.saccade.nms, dets, scores, iou_threshold)


# torchvision's results are contiguous whatever the layout of the input, and compiled code relies on it.


def _roi_align_kernel(input: Tensor, rois: Tensor, *arguments: Any) -> Tensor:
    return call(torch.ops.saccade.roi_align, input, rois, *arguments).contiguous()


def _roi_align_backward_kernel(
    grad: Tensor, rois: Tensor, scale: float, out_h: int, out_w: int, n: int, c: int, h: int, w: int, *rest: Any
) -> Tensor:
    return call(torch.ops.saccade._roi_align_backward, grad, rois, (n, c, h, w), scale, out_h, out_w, *rest, False)


def _roi_pool_kernel(input: Tensor, rois: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    output, argmax = call(torch.ops.saccade.roi_pool, input, rois, *arguments)
    return output.contiguous(), argmax.contiguous()


def _roi_pool_backward_kernel(
    grad: Tensor, rois: Tensor, argmax: Tensor, scale: float, out_h: int, out_w: int, n: int, c: int, h: int, w: int
) -> Tensor:
    return call(torch.ops.saccade._roi_pool_backward, grad, rois, argmax, (n, c, h, w), scale, False)


def _with_channel_mapping(output: Tensor) -> tuple[Tensor, Tensor]:
    """The second result of torchvision's operators: the channel of the input that each element was pooled from."""
    channels = torch.arange(output[:1].numel(), dtype=torch.int32, device=output.device)
    return output.contiguous(), channels.view(1, *output.shape[1:]).repeat(output.shape[0], 1, 1, 1)


def _ps_roi_align_kernel(input: Tensor, rois: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return _with_channel_mapping(call(torch.ops.saccade.ps_roi_align, input, rois, *arguments))


def _ps_roi_align_backward_kernel(
    grad: Tensor, rois: Tensor, _: Tensor, scale: float, out_h: int, out_w: int, ratio: int, *shape: int
) -> Tensor:
    return call(torch.ops.saccade._ps_roi_align_backward, grad, rois, shape, scale, out_h, out_w, ratio, False)


def _ps_roi_pool_kernel(input: Tensor, rois: Tensor, *arguments: Any) -> tuple[Tensor, Tensor]:
    return _with_channel_mapping(call(torch.ops.saccade.ps_roi_pool, input, rois, *arguments))


def _ps_roi_pool_backward_kernel(
    grad: Tensor, rois: Tensor, _: Tensor, scale: float, out_h: int, out_w: int, *shape: int
) -> Tensor:
    return call(torch.ops.saccade._ps_roi_pool_backward, grad, rois, shape, scale, out_h, out_w, False)


# torchvision's operator is given the numbers of groups, which ours reads from the shapes, and a mask that may not
# count.


def _deform_sizes(input: Tensor, weight: Tensor, offset: Tensor, sizes: tuple[int, ...]) -> list[list[int]]:
    """Stride, padding, dilation."""
    groups, offset_groups = sizes[6:8]
    taps = weight.shape[2] * weight.shape[3]
    if input.shape[1] != groups * weight.shape[1] or offset.shape[1] != 2 * offset_groups * taps:
        raise ValueError(
            f"deform_conv2d: groups and offset_groups must fit the shapes of input, weight and offset, got {groups} "
            f"and {offset_groups} for {tuple(input.shape)}, {tuple(weight.shape)} and {tuple(offset.shape)}"
        )
    return [list(sizes[i : i + 2]) for i in (0, 2, 4)]


def _deform_conv2d_kernel(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, *sizes: int
) -> Tensor:
    used = mask if sizes[8] else None
    shared = _deform_sizes(input, weight, offset, sizes)
    return call(torch.ops.saccade.deform_conv2d, input, offset, weight, bias, used, None, *shared).contiguous()


def _deform_conv2d_backward_kernel(
    grad: Tensor, input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor, bias: Tensor, *sizes: int
) -> tuple[Tensor, ...]:
    used = mask if sizes[8] else None
    shared = _deform_sizes(input, weight, offset, sizes)
    grad_input, grad_offset, grad_mask, grad_weight, grad_bias = call(
        torch.ops.saccade._deform_conv2d_backward, grad, input, offset, weight, used, *shared, [True] * 5
    )
    if used is None:
        grad_mask = torch.zeros_like(mask)
    return tuple(g.contiguous() for g in (grad_input, grad_weight, grad_offset, grad_mask, grad_bias))


_OPERATORS: dict[str, Callable[..., Any]] = {
    "nms": _nms_kernel,
    "roi_align": _roi_align_kernel,
    "_roi_align_backward": _roi_align_backward_kernel,
    "roi_pool": _roi_pool_kernel,
    "_roi_pool_backward": _roi_pool_backward_kernel,
    "ps_roi_align": _ps_roi_align_kernel,
    "_ps_roi_align_backward": _ps_roi_align_backward_kernel,
    "ps_roi_pool": _ps_roi_pool_kernel,
    "_ps_roi_pool_backward": _ps_roi_pool_backward_kernel,
    "deform_conv2d": _deform_conv2d_kernel,
    "_deform_conv2d_backward": _deform_conv2d_backward_kernel,
}


# ---- Replacing and giving back ---------------------------------------------------------------------------------------


def _torchvision_function(name: str) -> FunctionType:
    module = importlib.import_module(_FUNCTIONS[name][0])
    function = getattr(module, name)
    if not isinstance(function, FunctionType) or function.__code__.co_freevars:
        raise RuntimeError(
            f"patch_torchvision: {module.__name__}.{name} must be a plain function, got {function!r}: something else "
            "has replaced it, or this torchvision is newer than saccade knows"
        )
    return function


def _replace() -> None:
    _require_torchvision()
    functions = {name: _torchvision_function(name) for name in _FUNCTIONS}
    for name, function in functions.items():
        _bodies[name] = function.__code__
        _originals[name] = types.FunctionType(
            function.__code__, function.__globals__, name, function.__defaults__, function.__closure__
        )
        function.__code__ = _FUNCTIONS[name][1].__code__
    kernels = torch.library.Library("torchvision", "IMPL")
    for name, kernel in _OPERATORS.items():
        for device in _DEVICES:
            kernels.impl(name, kernel, device.upper())
    _kernels.append(kernels)


def _give_back() -> None:
    for name, body in _bodies.items():
        _torchvision_function(name).__code__ = body
    _bodies.clear()
    while _kernels:
        _kernels.pop()._destroy()


def _require_torchvision() -> None:
    try:
        extension = importlib.import_module("torchvision.extension")
        loaded = extension._has_ops()
        reason = "its compiled operators are missing"
    except ModuleNotFoundError as error:
        if error.name != "torchvision":
            raise
        raise RuntimeError(
            "patch_torchvision: torchvision must be installed: pip install torchvision (the release that belongs to "
            f"torch {torch.__version__})"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise RuntimeError(_misfit(str(error))) from error
    if not loaded:
        raise RuntimeError(_misfit(reason))


def _misfit(reason: str) -> str:
    return (
        f"patch_torchvision: torchvision must fit torch {torch.__version__}, but {reason}. Its compiled library was "
        "built for another torch: another release, or the CUDA build where this one is for the CPU only. Install both "
        "from one place, for example: pip install --force-reinstall torch torchvision --index-url "
        "https://download.pytorch.org/whl/cpu"
    )
