"""Votes for objects in (x, y, scale), their maxima, and who voted for them.

The density at (x, y, s) is the sum of the votes' weights, each times 1 - u^2, where u is the vote's distance: in the
image in units of ``radius * s``, in scale in units of ``log_radius`` of log s (Leibe et al., 2008, section 4.2: the
kernel grows with the scale). Mean shift then moves to the weighted mean of the votes with u < 1.

A climb reads only the cells that it can reach, not all of the votes (a million for an image of 640 x 480), and stops
where it comes near a maximum that another one has found.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Peak", "VoteSpace"]

Array = NDArray[Any]
MAX_STEPS = 30
MAX_STARTS = 200


class Peak(NamedTuple):
    """A maximum of the density."""

    x: float
    y: float
    scale: float
    score: float


class VoteSpace:
    """Votes of the levels of a pyramid, sorted into cells of half a radius.

    ``add`` takes the votes of one level, all of its scale and in its own pixels.
    """

    def __init__(self, radius: float, log_radius: float) -> None:
        self.radius, self.log_radius = radius, log_radius
        self._levels: list[_Cells] = []
        self._tables: list[Array] = []
        self._owners: list[Array] = []
        self._count = 0
        self.scales: list[float] = []
        self.table = np.zeros((0, 4), np.float32)
        self.owners = np.zeros((0, 0), np.int32)

    def add(self, scale: float, x: Array, y: Array, weight: Array, owners: Array) -> None:
        """Add votes ``(V,)`` with numbers ``(V, n)`` that say whose they are."""
        self.scales.append(scale)
        if len(x) == 0:
            return
        cells, order = _Cells.of(scale, x, y, weight, self.radius / 2, self._count)
        self._levels.append(cells)
        logs = np.full(len(x), np.log(scale), np.float32)
        self._tables.append(np.stack([x[order] * scale, y[order] * scale, logs, weight[order]], 1).astype(np.float32))
        self._owners.append(owners[order])
        self._count += len(x)

    def peaks(self, least: float) -> list[Peak]:
        """Maxima of the density that reach ``least``, the highest first; one of those nearer than half a radius."""
        if self._tables:
            self.table = np.concatenate(self._tables)
            self.owners = np.concatenate(self._owners)
            self._tables, self._owners = [self.table], [self.owners]
        found: list[Peak] = []
        for x, y, scale in self._starts(least):
            peak = self._climb(x, y, scale, found)
            if peak is not None and peak.score >= least:
                found.append(peak)
        found.sort(key=lambda peak: -peak.score)
        kept: list[Peak] = []
        for peak in found:
            if not any(self._near_peak(peak.x, peak.y, peak.scale, other, 0.5) for other in kept):
                kept.append(peak)
        return kept

    def exclusive(self, peaks: list[Peak], least: float) -> list[Peak]:
        """Peaks as they stand if each feature votes for one object only, the best that it votes for.

        Of what is left, the highest peak is taken, and the features behind it are taken from all others. Features are
        told apart by the first column of the owners.
        """
        voters = [self.voters(peak) for peak in peaks]
        spent = np.zeros(max((int(owners[:, 0].max()) + 1 for owners, _ in voters), default=0), bool)
        scores = np.array([peak.score for peak in peaks])
        result: list[Peak] = []
        while len(scores) and scores.max() >= least:
            best = int(scores.argmax())
            result.append(peaks[best]._replace(score=float(scores[best])))
            spent[voters[best][0][:, 0]] = True
            scores[best] = -1
            for i in np.flatnonzero(scores >= least):
                owners, weight = voters[i]
                scores[i] = weight[~spent[owners[:, 0]]].sum()
        return result

    def voters(self, peak: Peak) -> tuple[Array, Array]:
        """Owners ``(V, n)`` of the votes within the kernel, and their contributions ``(V,)`` to the score."""
        rows = self._near(peak.x, peak.y, np.log(peak.scale), 1)
        closeness = self._closeness(self.table[rows], peak.x, peak.y, np.log(peak.scale))
        kept = closeness > 0
        return self.owners[rows[kept]], self.table[rows[kept], 3] * closeness[kept]

    def _starts(self, least: float) -> list[tuple[float, float, float]]:
        """Local maxima of the binned votes. Summed over 3 x 3 cells and, times three, over scales."""
        starts, sums = [], []
        for cells in self._levels:
            smooth = _neighbours(cells.weights, np.add)
            row, column = np.nonzero((smooth == _neighbours(smooth, np.maximum)) & (smooth > 0.2 * least))
            x = (cells.left + column + 0.5) * cells.size * cells.scale
            y = (cells.top + row + 0.5) * cells.size * cells.scale
            starts += [(float(a), float(b), cells.scale) for a, b in zip(x, y, strict=True)]
            sums.append(smooth[row, column])
        if not starts:
            return []
        best = np.argsort(-np.concatenate(sums), kind="stable")[:MAX_STARTS]
        return [starts[i] for i in best]

    def _climb(self, x: float, y: float, scale: float, found: list[Peak]) -> Peak | None:
        """Mean shift; ``None`` where there is nothing, or where it arrives at a peak that is known."""
        log = float(np.log(scale))
        centre, votes = None, self.table[:0]
        for _ in range(MAX_STEPS):
            reach = self.radius * np.exp(log)
            # Read twice as far as needed, so that most steps need not read again.
            # Read twice as far as needed, so that most steps need not read again.
            if (
                centre is None
                or max(abs(x - centre[0]), abs(y - centre[1])) + reach > 2 * centre[3]
                or (abs(log - centre[2]) > self.log_radius)
            ):
                votes, centre = self.table[self._near(x, y, log, 2)], (x, y, log, reach)
            closeness = self._closeness(votes, x, y, log)
            weight = np.where(closeness > 0, votes[:, 3], 0)
            total = float(weight.sum())
            if total <= 0:
                return None
            new = weight @ votes[:, :3] / total
            moved = max(abs(new[0] - x) / reach, abs(new[1] - y) / reach, abs(new[2] - log) / self.log_radius)
            x, y, log = (float(value) for value in new)
            if moved < 3e-3:
                break
            if moved < 0.1 and any(self._near_peak(x, y, np.exp(log), peak, 0.1) for peak in found):
                return None
        votes = self.table[self._near(x, y, log, 1)]
        score = float(np.maximum(self._closeness(votes, x, y, log), 0) @ votes[:, 3])
        return Peak(x, y, float(np.exp(log)), score)

    def _closeness(self, votes: Array, x: float, y: float, log: float) -> Array:
        """1 - u^2 of each vote; negative outside of the kernel."""
        reach = self.radius * np.exp(log)
        u = (votes[:, :3] - np.array([x, y, log], np.float32)) / np.array([reach, reach, self.log_radius], np.float32)
        return 1 - np.einsum("ij,ij->i", u, u)

    def _near(self, x: float, y: float, log: float, times: float) -> NDArray[np.int64]:
        """Rows of the table that hold all votes of the kernel's box, made ``times`` as wide."""
        reach = times * self.radius * np.exp(log)
        ranges: list[Array] = []
        for cells in self._levels:
            if abs(np.log(cells.scale) - log) < times * self.log_radius:
                ranges += cells.ranges(x, y, reach)
        return np.concatenate(ranges) if ranges else np.zeros(0, np.int64)

    def _near_peak(self, x: float, y: float, scale: float, peak: Peak, share: float) -> bool:
        """Whether a place is nearer to a peak than a share of the kernel's radii."""
        near = share * self.radius * peak.scale
        if abs(x - peak.x) > near or abs(y - peak.y) > near:
            return False
        return bool(abs(np.log(scale / peak.scale)) <= share * self.log_radius)


class _Cells(NamedTuple):
    """A level's votes by cell: those of a cell are rows ``starts[i]`` to ``starts[i + 1]`` of the table."""

    scale: float
    size: float
    left: int
    top: int
    weights: Array
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, scale: float, x: Array, y: Array, weight: Array, size: float, first: int) -> tuple[_Cells, Array]:
        column = np.floor(x / size).astype(np.int32)
        row = np.floor(y / size).astype(np.int32)
        left, top = int(column.min()), int(row.min())
        columns, rows = int(column.max()) - left + 1, int(row.max()) - top + 1
        index = (row - top) * columns + (column - left)
        weights = np.bincount(index, weight, rows * columns).reshape(rows, columns)
        starts = np.concatenate([[0], np.cumsum(np.bincount(index, minlength=rows * columns))]) + first
        return cls(scale, size, left, top, weights, starts), np.argsort(index, kind="stable")

    def ranges(self, x: float, y: float, reach: float) -> list[Array]:
        rows, columns = self.weights.shape
        pixels = self.size * self.scale
        # One cell more on each side: positions were rounded to float32 on their way here.
        x1, x2 = int((x - reach) // pixels) - self.left - 1, int((x + reach) // pixels) - self.left + 2
        y1, y2 = int((y - reach) // pixels) - self.top - 1, int((y + reach) // pixels) - self.top + 2
        x1, x2, y1, y2 = max(x1, 0), min(x2, columns), max(y1, 0), min(y2, rows)
        if x1 >= x2:
            return []
        return [np.arange(self.starts[r * columns + x1], self.starts[r * columns + x2]) for r in range(y1, y2)]


def _neighbours(values: Array, combine: np.ufunc) -> Array:
    """Each cell combined with its eight neighbours; outside is 0."""
    padded = np.pad(values, 1)
    rows = combine(combine(padded[:-2], padded[1:-1]), padded[2:])
    result: Array = combine(combine(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    return result
