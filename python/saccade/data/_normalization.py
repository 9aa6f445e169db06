"""Normalisation whose statistics come from training data and are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

__all__ = ["MeanStd", "MinMax"]

Self = TypeVar("Self", bound="_Normalization")
_CHUNK = 1 << 22  # values: their float64 copies stay below 100 MB


class _Normalization(nn.Module):
    """Fits per channel or over all values; the same channels are found again in one sample and in a batch."""

    count: Tensor
    sample_ndim: Tensor

    def __init__(self, per_channel: bool, statistics: tuple[str, ...]) -> None:
        super().__init__()
        self.per_channel = per_channel
        self._statistics = statistics
        for name in statistics:
            self.register_buffer(name, torch.empty(0, dtype=torch.float64))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.register_buffer("sample_ndim", torch.zeros((), dtype=torch.int64))

    def fit(self: Self, data: Any) -> Self:
        """Take the statistics of ``data`` (the training set's), forgetting others; return self.

        Args:
            data: ``(N, C, ...)`` as an array or tensor, a data set (the first element of its items, with its own
                transform applied), or an iterable of batches such as a DataLoader. Read once, batch by batch.

        Raises:
            ValueError: if there is no data, it is not finite, its shape is not the channels' or changes.
        """
        self.count.zero_()
        for batch in _batches(data):
            self.partial_fit(batch)
        if int(self.count) == 0:
            raise ValueError(f"{self._op}.fit: data must hold at least one sample, got none")
        return self

    def partial_fit(self: Self, batch: Any) -> Self:
        """Add a batch, ``(N, C, ...)``, to the statistics; return self."""
        values = torch.as_tensor(batch)
        ndim = values.ndim - 1
        if self.per_channel and (ndim < 1 or ndim == 2):
            raise ValueError(
                f"{self._op}.fit: data must have shape (N, C, H, W) or (N, D) per channel, got {tuple(values.shape)}; "
                "per_channel=False takes any"
            )
        if values.numel() == 0:
            return self
        values = values.to(torch.float64)
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise ValueError(f"{self._op}.fit: data must be finite, got {bad} values that are not")
        rows = values.transpose(0, 1).flatten(1) if self.per_channel else values.reshape(1, -1)
        if int(self.count) == 0:
            self.sample_ndim.fill_(ndim)
        elif len(rows) != self._rows() or (self.per_channel and ndim != int(self.sample_ndim)):
            raise ValueError(
                f"{self._op}.fit: data must have {self._rows()} channels as before, got shape {tuple(values.shape)}"
            )
        self._add(rows.to(self.count.device), int(self.count))
        self.count += rows.shape[1]
        return self

    @property
    def constant(self) -> Tensor:
        """Which channels had one value only: they become the lower end (MinMax) or zero (MeanStd), never NaN."""
        self._require_fit()
        return self._spread() == 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a sample or a batch of them; integers become float32."""
        self._require_fit()
        wide = x if x.dtype.is_floating_point else x.to(torch.float32)
        scale, offset = self._affine()
        return (wide - self._shaped(offset, wide)) * self._shaped(scale, wide) + self._floor()

    def inverse(self, y: Tensor) -> Tensor:
        """What :meth:`forward` made ``y`` from; a constant channel gets its constant back."""
        self._require_fit()
        scale, offset = self._affine()
        return (y - self._floor()) / self._shaped(scale, y) + self._shaped(offset, y)

    def _affine(self) -> tuple[Tensor, Tensor]:
        spread = self._spread()
        # A channel without spread is only shifted, as in scikit-learn.
        return self._height() / torch.where(spread == 0, torch.ones_like(spread), spread), self._origin()

    def _shaped(self, statistic: Tensor, x: Tensor) -> Tensor:
        statistic = statistic.to(x.device, x.dtype)
        if not self.per_channel:
            return statistic.reshape(())
        ndim = int(self.sample_ndim)
        axis = x.ndim - ndim
        if axis not in (0, 1) or x.shape[axis] != len(statistic):
            shape = f"({len(statistic)}{', ...' if ndim > 1 else ''})"
            raise ValueError(f"{self._op}: x must have shape {shape} or be a batch of it, got {tuple(x.shape)}")
        return statistic.reshape(-1, *(1,) * (ndim - 1))

    def _require_fit(self) -> None:
        if int(self.count) == 0:
            raise RuntimeError(f"{self._op}: fit must come first, on the training data (or load_state_dict)")

    def _rows(self) -> int:
        return len(getattr(self, self._statistics[0]))

    @property
    def _op(self) -> str:
        return type(self).__name__

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for name in self._statistics:  # as many channels as the other had
            loaded = state_dict.get(prefix + name)
            if isinstance(loaded, Tensor):
                setattr(self, name, getattr(self, name).new_empty(loaded.shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _add(self, rows: Tensor, before: int) -> None:
        raise NotImplementedError

    def _spread(self) -> Tensor:
        raise NotImplementedError

    def _origin(self) -> Tensor:
        raise NotImplementedError

    def _height(self) -> float:
        return 1.0

    def _floor(self) -> float:
        return 0.0


class MinMax(_Normalization):
    """``(x - min) / (max - min)``, with the least and greatest value of the training data.

    Args:
        range: what the two are mapped to. Values that training did not show may lie outside. LeNet-5 was trained with
            (-0.1, 1.175).
        per_channel: for each channel of ``(N, C, H, W)``, or each feature of ``(N, D)``; otherwise over all values.

    Buffers, float64, in the state dict: ``minimum``, ``maximum`` ``(C,)``; ``count`` of values, ``sample_ndim``.

    Raises:
        ValueError: for a range that is empty, or another shape than fitted; RuntimeError: before :meth:`fit`.

    Source: the notes, normalisation of inputs; scikit-learn's MinMaxScaler, whose values it gives.

    >>> scale = saccade.data.transforms.MinMax().fit([[1.0, 10.0], [3.0, 20.0]])
    >>> scale(torch.tensor([2.0, 20.0]))
    tensor([0.5000, 1.0000])
    >>> scale.inverse(torch.tensor([0.5, 1.0]))
    tensor([ 2., 20.])
    """

    minimum: Tensor
    maximum: Tensor

    def __init__(self, range: tuple[float, float] = (0.0, 1.0), *, per_channel: bool = True) -> None:
        if not range[0] < range[1]:
            raise ValueError(f"MinMax: range must ascend, got {range}")
        super().__init__(per_channel, ("minimum", "maximum"))
        self.range = range

    def _add(self, rows: Tensor, before: int) -> None:
        low, high = torch.aminmax(rows, dim=1)
        self.minimum = torch.minimum(self.minimum, low) if before else low
        self.maximum = torch.maximum(self.maximum, high) if before else high

    def _spread(self) -> Tensor:
        return self.maximum - self.minimum

    def _origin(self) -> Tensor:
        return self.minimum

    def _height(self) -> float:
        return self.range[1] - self.range[0]

    def _floor(self) -> float:
        return self.range[0]

    def extra_repr(self) -> str:
        """The range."""
        return f"range={self.range}, per_channel={self.per_channel}"


class MeanStd(_Normalization):
    """``(x - mean) / std``, with mean and standard deviation of the training data.

    Args:
        per_channel: for each channel of ``(N, C, H, W)``, or each feature of ``(N, D)``; otherwise over all values.

    The deviation is the population's (divided by N), as in batch normalisation and scikit-learn. Buffers, float64, in
    the state dict: ``mean``, ``variance`` ``(C,)``; ``count`` of values, ``sample_ndim``.

    Raises:
        ValueError: for another shape than fitted; RuntimeError: before :meth:`fit`.

    Source: the notes, normalisation of inputs; scikit-learn's StandardScaler, whose values it gives. Batches are merged
    as in Chan, Golub, LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.

    >>> scale = saccade.data.transforms.MeanStd().fit([[1.0, 5.0], [3.0, 5.0]])
    >>> scale(torch.tensor([3.0, 5.0])), scale.constant
    (tensor([1., 0.]), tensor([False,  True]))
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, *, per_channel: bool = True) -> None:
        super().__init__(per_channel, ("mean", "variance"))

    def _add(self, rows: Tensor, before: int) -> None:
        # Measured from the first value: equal values then have a variance of exactly zero.
        first = rows[:, :1]
        shifted = rows - first
        centre = shifted.mean(1)
        mean = first[:, 0] + centre
        variance = (shifted - centre[:, None]).square().mean(1)
        if before:
            share = rows.shape[1] / (before + rows.shape[1])
            apart = mean - self.mean
            mean = self.mean + apart * share
            variance = self.variance * (1 - share) + variance * share + apart.square() * (share * (1 - share))
        self.mean, self.variance = mean, variance

    @property
    def std(self) -> Tensor:
        """The standard deviation, ``(C,)``."""
        self._require_fit()
        return self._spread()

    def _spread(self) -> Tensor:
        return self.variance.sqrt()

    def _origin(self) -> Tensor:
        return self.mean

    def extra_repr(self) -> str:
        """Whether per channel."""
        return f"per_channel={self.per_channel}"


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, list | tuple) and data and not isinstance(data[0], Tensor | np.ndarray):
        data = np.asarray(data)
    if isinstance(data, Tensor | np.ndarray):
        step = max(1, _CHUNK // max(1, int(np.prod(data.shape[1:]))))
        yield from (data[i : i + step] for i in range(0, len(data), step))
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, DataLoader | list | tuple):
        for i in range(len(data)):
            yield torch.as_tensor(_image(data[i]))[None]
    else:
        yield from map(_image, data)


def _image(item: Any) -> Any:
    return item[0] if isinstance(item, tuple | list) else item
