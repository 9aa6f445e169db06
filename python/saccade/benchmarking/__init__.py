'''Benchmarks that check a result before they time it.

A case file, ``benchmarks/cases/<operation>.py``, has one function, ``cases(quick)``, that yields `Case` objects. A case
is only a description; its ``prepare`` makes the input and returns the `Work`: what to call, what to compare with. So
listing and filtering cost nothing, and nothing is imported that does not run::

    """Sums of boxes, beside NumPy's."""

    from saccade.benchmarking import Case, Work, close, reference

    from . import _data  # the data of the project's own cases: boxes, ROIs, images


    def cases(quick):
        for height, width in [(512, 512)] if quick else [(512, 512), (1080, 1920)]:
            yield Case(
                name=f"box_filter/{height}x{width}",     # unique; --filter matches a part of it
                operation="box_filter",
                size=f"{width}×{height}",
                group="box_filter",                      # group_bar is the geometric mean over a group
                threads=(1, 2),                          # timed once with each
                bar={1: 5.0, 2: 8.0},                    # least ratio to the first reference (or one number)
                prepare=lambda h=height, w=width: _prepare(h, w),
            )


    def _prepare(height, width):
        from saccade import classic

        image = _data.astronaut(width, height)
        return Work(
            ours=lambda: classic.box_filter(image, 5),
            references={"cv2": reference("cv2", lambda cv2: lambda: cv2.blur(image, (5, 5)))},
            verify=close(atol=1e-4),                     # default: exact; or any function (ours, theirs) -> Difference
            bytes=2 * image.nbytes,                      # read and written: gives GB/s and the share of the peak
        )

References are built by `reference`, which gives a reason in place of the function where the module is not installed:
the table says so. ``verify`` runs once per reference before anything is timed; a case that disagrees is not timed and
makes `saccade bench` exit with 1. Then ours and the references run in turns (A B A B ...) until the time is up.
'''

from saccade.benchmarking.case import Case, Difference, Work, close, exact, reference
from saccade.benchmarking.collect import CaseError, default_directory, load_cases
from saccade.benchmarking.results import Report, compare, load_report, save_report
from saccade.benchmarking.runner import Outcome, run_case, run_cases
from saccade.benchmarking.timing import Timing, interleave, use_threads

__all__ = [
    "Case",
    "CaseError",
    "Difference",
    "Outcome",
    "Report",
    "Timing",
    "Work",
    "close",
    "compare",
    "default_directory",
    "exact",
    "interleave",
    "load_cases",
    "load_report",
    "reference",
    "run_case",
    "run_cases",
    "save_report",
    "use_threads",
]
