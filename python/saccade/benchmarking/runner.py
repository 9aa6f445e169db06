"""Runs cases: verify, then time in turns with the references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from saccade.benchmarking.case import Case, Difference, Work
from saccade.benchmarking.peaks import Peak, peak_of
from saccade.benchmarking.timing import Timing, interleave, use_threads

__all__ = ["Outcome", "run_case", "run_cases"]

_OURS = "saccade"


@dataclass(frozen=True)
class Outcome:
    """One case with one thread count: what was compared, and the times where everything agreed.

    Attributes:
        names: the references, in the order of the case; the bar holds for the first.
        differences: by reference, as `Case` verified it.
        missing: by reference, why it could not be asked.
        error: what our own call, or a reference, raised.
    """

    case: Case
    threads: int
    names: tuple[str, ...] = ()
    differences: dict[str, Difference] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    ours: Timing | None = None
    references: dict[str, Timing] = field(default_factory=dict)
    gb_s: float | None = None
    gflop_s: float | None = None
    peak_share: float | None = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """Whether something was raised or disagreed."""
        return self.error is not None or any(not difference.ok for difference in self.differences.values())

    @property
    def ratios(self) -> dict[str, float]:
        """Their median over ours, by reference: above one, ours is faster."""
        return {name: theirs.median / self.ours.median for name, theirs in self.references.items()} if self.ours else {}

    @property
    def bar(self) -> float | None:
        """The ratio asked for at this thread count."""
        return self.case.bar_for(self.threads)

    @property
    def met(self) -> bool | None:
        """Whether the first reference is beaten by the bar; None without a bar or without the reference."""
        ratio = self.ratios.get(self.names[0]) if self.names else None
        return None if self.bar is None or ratio is None else ratio >= self.bar


def run_cases(
    cases: Sequence[tuple[Case, int]], *, budget: float, progress: Callable[[Case, int], None] | None = None
) -> Iterator[Outcome]:
    """Run cases one after the other, each for about ``budget`` seconds; ``progress`` is told before each."""
    for case, threads in cases:
        if progress is not None:
            progress(case, threads)
        yield run_case(case, threads, budget)


def run_case(case: Case, threads: int, budget: float) -> Outcome:
    """Verify one case against each reference it has, then time them all in turns."""
    try:
        work = case.prepare()
        with use_threads(threads):
            return _run(case, threads, work, budget)
    except Exception as error:  # one case that fails must not take the others with it
        return Outcome(case, threads, error=f"{type(error).__name__}: {error}")


def _run(case: Case, threads: int, work: Work, budget: float) -> Outcome:
    present = {name: call for name, call in work.references.items() if not isinstance(call, str)}
    missing = {name: reason for name, reason in work.references.items() if isinstance(reason, str)}
    expected = work.ours()
    differences = {name: work.verify(expected, call()) for name, call in present.items()}
    if not all(difference.ok for difference in differences.values()):
        return Outcome(case, threads, tuple(work.references), differences, missing)
    times = interleave({_OURS: work.ours, **present}, budget, threads, case.device)
    ours = times.pop(_OURS)
    peak = peak_of(case.device, threads)
    share = max(_shares(work, ours.median, peak)) if work.bytes or work.flops else None
    return Outcome(
        case,
        threads,
        tuple(work.references),
        differences,
        missing,
        ours,
        times,
        gb_s=work.bytes / ours.median / 1e9 if work.bytes else None,
        gflop_s=work.flops / ours.median / 1e9 if work.flops else None,
        peak_share=share,
    )


def _shares(work: Work, seconds: float, peak: Peak) -> Iterable[float]:
    """Time that the hardware would need over the time taken, for each limit; the larger one binds."""
    if work.bytes:
        yield work.bytes / (peak.copy_gb_s * 1e9) / seconds
    if work.flops:
        yield work.flops / (peak.fma_gflop_s * 1e9) / seconds
