"""The command ``saccade``. Each subcommand is a thin layer over a package that can be used without it.

Exit codes: 0 all is well; 1 something was run and disagrees or does not work; 2 the command cannot be carried out as
typed (a wrong option, a file that is missing, a library that has to be installed).
"""

from __future__ import annotations

import typer

from saccade.cli.bench import bench
from saccade.cli.classify import evaluate_classify
from saccade.cli.demo import demo
from saccade.cli.detect import detect
from saccade.cli.detection import evaluate_detect
from saccade.cli.info import info
from saccade.cli.segment import segment
from saccade.cli.segment_training import evaluate_segment
from saccade.cli.train import train

__all__ = ["app"]

app = typer.Typer(
    name="saccade",
    help="Fast vision kernels: what is installed, how fast it is, what it finds in a photograph, and how to train it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(info)
app.command()(bench)
app.command()(demo)
app.command()(detect)
app.command()(segment)
app.add_typer(train, name="train")
measure = typer.Typer(no_args_is_help=True, help="Measure what was trained.")


@measure.callback()
def _measure() -> None:
    """Measure what was trained."""


measure.command("classify")(evaluate_classify)
measure.command("detect")(evaluate_detect)
measure.command("segment")(evaluate_segment)
app.add_typer(measure, name="eval")
