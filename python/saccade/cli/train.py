"""``saccade train``: what can be trained, each its own command."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import TimeRemainingColumn
from rich.table import Table

from saccade.cli._output import fail, print_json, progress_bar, stderr, stdout
from saccade.cli.classify import train_classify
from saccade.cli.detection import train_detect
from saccade.cli.search import search
from saccade.cli.segment_training import train_segment

if TYPE_CHECKING:
    from saccade.classic.cascade_trainer import CascadeTrainer, TrainingProgress

__all__ = ["train"]

train = typer.Typer(no_args_is_help=True, help="Train a detector, a classifier or a segmentation network.")


@train.callback()
def _train() -> None:
    """Train a detector, a classifier or a segmentation network."""


train.command("classify")(train_classify)
train.command("detect")(train_detect)
train.command("segment")(train_segment)


@train.command()
def cascade(
    positives: Annotated[Path, typer.Argument(help="Folder of images of the object, cut out, or a .vec file.")],
    backgrounds: Annotated[Path, typer.Argument(help="Folder of images without it, or a text file that lists them.")],
    out: Annotated[Path, typer.Option(help="The cascade, as OpenCV's XML.")] = Path("cascade.xml"),
    report: Annotated[Path | None, typer.Option(help="Folder for an HTML report with pictures.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Written after each stage; training resumes from it.")] = None,
    width: Annotated[int, typer.Option(help="Of the window, in pixels.")] = 24,
    height: Annotated[int, typer.Option(help="Of the window, in pixels.")] = 24,
    features: Annotated[str, typer.Option(help="basic, core or all.")] = "basic",
    stages: Annotated[int, typer.Option(help="At most.")] = 20,
    min_hit_rate: Annotated[float, typer.Option(help="Of each stage.")] = 0.995,
    max_false_alarm_rate: Annotated[float, typer.Option(help="Of each stage.")] = 0.5,
    max_learners: Annotated[int, typer.Option(help="Of each stage.")] = 100,
    negatives: Annotated[int, typer.Option(help="Windows that each stage learns from.")] = 3000,
    algorithm: Annotated[str, typer.Option(help="discrete, real or gentle.")] = "gentle",
    max_depth: Annotated[int, typer.Option(help="Of the trees: 1 to 3.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the choice of negatives.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write the stages as JSON to stdout.")] = False,
) -> None:
    """Train a boosted cascade, which saccade and OpenCV 4 detect with. Interrupted, it goes on from its checkpoint.

    Under torchrun (torchrun --nproc-per-node 4 -m saccade train cascade ...) processes share the features out.
    """
    from saccade.classic import CascadeTrainer

    if not out.resolve().parent.is_dir():
        fail(f"train cascade: {out}: the folder does not exist")
    try:
        trainer = CascadeTrainer(
            window_size=(width, height),
            features=features,
            max_stages=stages,
            min_hit_rate=min_hit_rate,
            max_false_alarm_rate=max_false_alarm_rate,
            max_learners=max_learners,
            negatives=negatives,
            algorithm=algorithm,
            max_depth=max_depth,
            seed=seed,
        )
        with _processes() as first, progress_bar(TimeRemainingColumn()) as bar:
            tell = _teller(bar.add_task("", total=1000), bar.update, stages)
            trained = trainer.fit(positives, backgrounds, checkpoint=checkpoint, progress=tell if first else _silent)
        if not first:
            return
        trained.save(out)
        if report:
            from saccade.classic.cascade_report import write_report

            write_report(report, trainer)
    except KeyboardInterrupt:
        kept = f"; the stages so far are in {checkpoint}" if checkpoint and checkpoint.exists() else ""
        fail(f"train cascade: interrupted{kept}", 1)
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        fail(f"train cascade: {error}")
    if as_json:
        print_json({"stop_reason": trainer.stop_reason_, "stages": [r._asdict() for r in trainer.history_]})
    else:
        _print(trainer, out)


@contextmanager
def _processes() -> Iterator[bool]:
    """Under torchrun, a group of its processes; whether this one is the one that writes files."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield True
        return
    import torch.distributed as dist

    dist.init_process_group("gloo")
    try:
        yield dist.get_rank() == 0
        dist.barrier()  # a process that leaves while others still talk to it would end in their errors
    finally:
        dist.destroy_process_group()


def _silent(at: TrainingProgress) -> None:
    """What a process other than the first shows."""


def _teller(task: object, update: Callable[..., None], stages: int) -> Callable[[TrainingProgress], None]:
    """Draws where training is, a few times a second."""
    last = 0.0

    def tell(at: TrainingProgress) -> None:
        nonlocal last
        if time.monotonic() - last < 0.2:
            return
        last = time.monotonic()
        text = f"stage {at.stage + 1} of {stages}: {at.phase}"
        if at.phase == "boosting":
            text += f", {at.learners} learners, hits {at.hit_rate:.4f}, false alarms {at.false_alarm_rate:.3f}"
        update(task, description=text, completed=round(1000 * (at.stage + 0.5 * at.share) / stages), refresh=True)

    return tell


def _print(trainer: CascadeTrainer, out: Path) -> None:
    table = Table(box=None)
    for heading in ("stage", "learners", "hit rate", "false alarms", "negatives", "accepted before", "seconds"):
        table.add_column(heading, justify="right")
    for number, record in enumerate(trainer.history_, 1):
        table.add_row(
            str(number),
            str(record.learners),
            f"{record.hit_rate:.4f}",
            f"{record.false_alarm_rate:.3f}",
            str(record.negatives),
            f"{record.accepted / max(1, record.scanned):.2g}",
            f"{record.seconds:.1f}",
        )
    stdout.print(table)
    stderr.print(f"Ended: {trainer.stop_reason_}. Written to {out}.", markup=False)


train.command()(search)
