"""Non-maximum suppression, beside torchvision's; soft suppression beside NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from saccade.benchmarking import Case, Difference, Work, close, exact, reference

from . import _data, _greedy

if TYPE_CHECKING:
    import torch


def cases(quick: bool) -> Iterator[Case]:
    for count in (1000, 5000) if quick else (1000, 5000, 20000):
        for threshold in (0.5, 0.7):
            yield Case(
                name=f"nms/clustered-{count}-iou{threshold}",
                operation="nms",
                group="nms, clustered",
                size=f"{count:,} clustered, IoU {threshold}",
                bar=20.0,
                group_bar=60.0,
                prepare=partial(_nms, _data.clustered_boxes, count, threshold),
            )
    if not quick:
        yield Case(
            name="nms/uniform-20000-iou0.5",
            operation="nms",
            group="nms, uniform",
            size="20,000 uniform, IoU 0.5",
            bar=300.0,
            prepare=partial(_nms, _data.uniform_boxes, 20000, 0.5),
        )
    for count in (5000, 20000) if quick else (5000, 20000, 100_000):
        yield Case(
            name=f"batched_nms/clustered-{count}-iou0.5",
            operation="batched_nms",
            group="batched_nms, 80 classes",
            size=f"{count:,} clustered, 80 classes, IoU 0.5",
            bar=20.0,
            prepare=partial(_batched_nms, count, 0.5),
        )
    for most in (100,) if quick else (100, 1000):
        yield Case(
            name=f"nms_padded/clustered-5000-{most}",
            operation="nms_padded",
            size=f"5,000 clustered, IoU 0.7, the best {most:,}",
            prepare=partial(_nms_padded, 5000, most),
        )
    for count in (1000,) if quick else (1000, 5000):
        yield Case(
            name=f"soft_nms/clustered-{count}",
            operation="soft_nms",
            size=f"{count:,} clustered, gaussian",
            prepare=partial(_soft_nms, count),
        )


def _nms(make: Callable[[int], tuple[_data.Floats, _data.Floats]], count: int, threshold: float) -> Work:
    import torch

    from saccade import ops

    boxes, scores = map(torch.from_numpy, make(count))
    return Work(
        ours=lambda: ops.nms(boxes, scores, threshold),
        references={
            "torchvision": reference("torchvision.ops", lambda tv: lambda: tv.nms(boxes, scores, threshold)),
        },
    )


def _batched_nms(count: int, threshold: float) -> Work:
    import torch

    from saccade import ops

    boxes, scores = map(torch.from_numpy, _data.clustered_boxes(count))
    idxs = torch.from_numpy(_data.classes(count))

    def verify(ours: torch.Tensor, theirs: torch.Tensor) -> Difference:
        # torchvision leaves the order of equal scores open; the set and the scores in order are not.
        same_order = exact(scores[ours], scores[theirs])
        same_set = exact(ours.sort().values, theirs.sort().values)
        return Difference(max(same_order.largest, same_set.largest), same_order.ok and same_set.ok)

    return Work(
        ours=lambda: ops.batched_nms(boxes, scores, idxs, threshold),
        references={
            "torchvision": reference(
                "torchvision.ops", lambda tv: lambda: tv.batched_nms(boxes, scores, idxs, threshold)
            ),
        },
        verify=verify,
    )


def _nms_padded(count: int, most: int) -> Work:
    import torch

    from saccade import ops

    boxes, scores = map(torch.from_numpy, _data.clustered_boxes(count))

    def padded(tv: Any) -> tuple[torch.Tensor, torch.Tensor]:
        keep = tv.nms(boxes, scores, 0.7)[:most]
        return torch.nn.functional.pad(keep, (0, most - len(keep)), value=-1), torch.tensor(len(keep))

    return Work(
        ours=lambda: ops.nms_padded(boxes, scores, 0.7, most),
        references={"torchvision": reference("torchvision.ops", lambda tv: lambda: padded(tv))},
    )


def _soft_nms(count: int) -> Work:
    import torch

    from saccade import ops

    arrays = _data.clustered_boxes(count)
    boxes, scores = map(torch.from_numpy, arrays)

    return Work(
        ours=lambda: ops.soft_nms(boxes, scores, sigma=0.5, score_threshold=0.05),
        references={"numpy": lambda: _greedy.soft_nms(*arrays, 0.5, 0.05)},
        verify=same_lowered_scores,
    )


def same_lowered_scores(ours: Any, theirs: Any) -> Difference:
    """The same boxes with the same scores. Scores that differ in the last bits can be taken in another order."""
    (keep, kept), (their_keep, their_kept) = ([part.cpu().numpy() for part in ours], theirs)
    same_set = exact(sorted(keep), sorted(their_keep))
    same_scores = close(atol=1e-5)(kept[keep.argsort()], their_kept[their_keep.argsort()])
    return Difference(max(same_set.largest, same_scores.largest), same_set.ok and same_scores.ok)
