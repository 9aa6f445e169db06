"""The search itself."""

from __future__ import annotations

import logging
import math
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from saccade._extras import require
from saccade.train.nas.space import SearchSpace

if TYPE_CHECKING:
    import optuna

__all__ = ["SearchResult", "Trial", "TrialRecord", "search"]

Architecture = dict[str, Any]


class Trial:
    """What an objective is given beside the architecture.

    Attributes:
        slot: the trial's place in the search, from 0.
        seed: for everything random in it; the same whenever and wherever this slot is run.
    """

    def __init__(self, trial: optuna.Trial, slot: int, seed: int) -> None:
        self._trial = trial
        self.slot, self.seed = slot, seed

    def report(self, value: float, step: int) -> None:
        """Tell how good the architecture is so far, after an epoch for example. Raises what ends a hopeless trial."""
        self._trial.report(value, step)
        if self._trial.should_prune():
            raise require("optuna", "search", "train").TrialPruned


@dataclass(frozen=True)
class TrialRecord:
    """One trial of a search.

    Attributes:
        slot: its place in the search.
        state: ``"complete"``, ``"pruned"``, ``"failed"`` or ``"running"``.
        architecture: as drawn from the space.
        value: what the objective returned; of a pruned trial the last it reported; None of a failed one.
        steps: what it reported, by step.
        error: why it failed, else ``""``.
        seconds: how long it took.
        parameters: the same values as in ``architecture`` by their flat names, as Optuna knows them.
    """

    slot: int
    state: str
    architecture: Architecture
    value: float | None
    steps: dict[int, float]
    error: str
    seconds: float
    parameters: dict[str, Any] = field(repr=False)


class SearchResult:
    """All trials of a search, also those of other processes and of earlier calls.

    Attributes:
        study: Optuna's study, for whatever else Optuna offers.
        trials: :class:`TrialRecord` by slot.
        direction: ``"maximize"`` or ``"minimize"``.
    """

    def __init__(self, study: optuna.Study) -> None:
        from saccade.train.nas._study import owner, slots

        self.study = study
        self.direction = study.direction.name.lower()
        counted = {slot: owner(trials) for slot, trials in slots(study.get_trials(deepcopy=False)).items()}
        self.trials = [_record(slot, trial) for slot, trial in sorted(counted.items()) if trial is not None]

    @property
    def best(self) -> TrialRecord:
        """The complete trial of the best value, the first of equal ones. RuntimeError where none is complete."""
        complete = [trial for trial in self.trials if trial.state == "complete" and trial.value is not None]
        if not complete:
            failed = [trial.error for trial in self.trials if trial.error]
            raise RuntimeError(f"search: no trial is complete{f'; one failed with {failed[0]}' if failed else ''}")
        sign = -1 if self.direction == "maximize" else 1
        return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.slot))

    def importances(self, seed: int = 0) -> dict[str, float]:
        """How much of the values' variance each parameter explains, those that every trial has (fANOVA; sums to 1)."""
        optuna = require("optuna", "search", "train")
        require("sklearn", "search", "train")
        if len({trial.value for trial in self.trials if trial.state == "complete"}) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        found = optuna.importance.get_param_importances(self.study, evaluator=evaluator)
        return {name: float(value) for name, value in found.items()}

    def report(self, folder: str | Path, *, build: Callable[[Architecture], Any] | None = None) -> Path:
        """Write ``report.html`` and its pictures into a folder; returns the page's path.

        ``build`` makes a model of an architecture: then the page shows the best model's modules and parameters, too.
        """
        from saccade.train.nas._report import write_report

        return write_report(Path(folder), self, build)


def search(
    objective: Callable[[Architecture, Trial], float],
    space: SearchSpace,
    *,
    trials: int,
    sampler: str = "tpe",
    pruner: str | optuna.pruners.BasePruner | None = "median",
    direction: str = "maximize",
    storage: str | Path | None = "search.sqlite3",
    name: str = "search",
    seed: int = 0,
    seconds: float | None = None,
    progress: Callable[[SearchResult], None] | None = None,
) -> SearchResult:
    """Look for the architecture with the best value, until there are ``trials`` of them altogether.

    What was tried stands in ``storage``. A search that was stopped, in whatever way, goes on when it is called again,
    and any number of processes and machines work on the same search when they name the same storage: together they
    try exactly ``trials`` architectures. A trial whose process died is tried again (that of another machine when
    nothing was heard from it for four minutes). One that raises an exception is recorded as failed, with its
    traceback, and the search goes on. So does what a NaN ends.

    Args:
        objective: from an architecture and a :class:`Trial` to a finite number. It should take all random numbers from
            ``trial.seed`` and may call ``trial.report(value, step)`` for hopeless trials to be ended.
        space: what to choose from.
        trials: how many, with those of earlier calls and other processes; failed and pruned ones count.
        sampler: ``"tpe"``: the tree-structured Parzen estimator, after ten random trials; ``"random"``.
        pruner: ``"median"`` ends a trial that is worse than the median of others were at the same step, after five
            complete trials; ``"hyperband"`` gives many a short time and the best of them more; None; or one of
            Optuna's.
        direction: ``"maximize"`` or ``"minimize"``.
        storage: the path of an SQLite file; a database's URL such as ``"postgresql://user@host/base"``, for several
            machines; None for nothing kept.
        name: of the search, of several in one storage.
        seed: the same one gives the same architectures in one process, stopped in between or not (with Hyperband, not
            stopped: its brackets go by Optuna's numbers). In several processes, TPE learns from what is there by then.
        seconds: no trial is begun after this time.
        progress: called after each trial.

    Returns:
        All trials so far. Where other processes have begun the last ones, those are ``"running"``.

    Raises:
        ValueError: on arguments out of range, or that differ from those with which this search was begun.

    Source: T. Akiba et al.: Optuna, KDD 2019; J. Bergstra et al.: Algorithms for Hyper-Parameter Optimization, NIPS
    2011; J. Bergstra, Y. Bengio: Random Search for Hyper-Parameter Optimization, JMLR 2012.

    >>> from saccade.train import nas
    >>> space = nas.SearchSpace(width=nas.Int(1, 64, log=True), act=nas.Choice("relu", "elu"))
    >>> def objective(architecture, trial):
    ...     return -abs(architecture["width"] - 20) + (architecture["act"] == "elu")
    >>> result = nas.search(objective, space, trials=30, storage=None)
    >>> result.best.value > -2, len(result.trials)
    (True, 30)
    """
    _check(objective, space, trials, sampler, pruner, direction, seed)
    require("optuna", "search", "train")
    study = _open(space, sampler, pruner, direction, storage, name, seed)
    end = math.inf if seconds is None else time.monotonic() + seconds
    with _quiet():
        while time.monotonic() < end and _prepare(study, trials):
            study.optimize(_one(objective, space, trials, seed), n_trials=1, catch=(Exception,))
            if progress is not None:
                progress(SearchResult(study))
    return SearchResult(study)


def _check(objective: Any, space: Any, trials: int, sampler: str, pruner: Any, direction: str, seed: int) -> None:
    if not callable(objective):
        raise TypeError(f"search: objective must be a function, got {objective!r}")
    if not isinstance(space, SearchSpace):
        raise TypeError(f"search: space must be a SearchSpace, got {space!r}")
    if not isinstance(trials, int) or trials < 1:
        raise ValueError(f"search: trials must be a whole number of at least 1, got {trials!r}")
    if sampler not in ("tpe", "random"):
        raise ValueError(f"search: sampler must be 'tpe' or 'random', got {sampler!r}")
    if isinstance(pruner, str) and pruner not in ("median", "hyperband"):
        raise ValueError(f"search: pruner must be 'median', 'hyperband', None or one of Optuna's, got {pruner!r}")
    if direction not in ("maximize", "minimize"):
        raise ValueError(f"search: direction must be 'maximize' or 'minimize', got {direction!r}")
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"search: seed must be a whole number of at least 0, got {seed!r}")


def _open(
    space: SearchSpace, sampler: str, pruner: Any, direction: str, storage: str | Path | None, name: str, seed: int
) -> optuna.Study:
    import optuna

    from saccade.train.nas._study import PerTrialSampler, open_storage

    pruners: dict[Any, Callable[[], optuna.pruners.BasePruner]] = {
        None: optuna.pruners.NopPruner,
        "median": optuna.pruners.MedianPruner,
        "hyperband": optuna.pruners.HyperbandPruner,
    }
    with _quiet():
        study = optuna.create_study(
            storage=open_storage(storage),
            study_name=name,
            direction=cast(Any, direction),
            sampler=PerTrialSampler(sampler, seed),
            pruner=pruners[pruner]() if pruner is None or isinstance(pruner, str) else pruner,
            load_if_exists=True,
        )
    wanted = {"space": repr(space), "sampler": sampler, "seed": seed, "direction": direction}
    begun = study.user_attrs.get("saccade")
    if begun is None:
        study.set_user_attr("saccade", wanted)
    for key, value in wanted.items():
        if begun is not None and begun[key] != value:
            raise ValueError(
                f"search: {key} must be the one with which {name!r} in {storage} was begun, {begun[key]}, got {value}"
            )
    return study


def _prepare(study: optuna.Study, trials: int) -> bool:
    """Make ready for one more trial; False where none is left to begin."""
    import optuna

    from saccade.train.nas._study import fail_dead, owner, slots

    fail_dead(study)
    found = slots(study.get_trials(deepcopy=False))
    if any(t.state == optuna.trial.TrialState.WAITING for members in found.values() for t in members):
        return True
    free = next((slot for slot in range(trials) if owner(found.get(slot, [])) is None), None)
    if free is None:
        return False
    if free in found:  # begun and given up: once more, with the same random numbers
        study.enqueue_trial({}, user_attrs={"slot": free})
    return True


class _Surplus(Exception):
    """Another process has this slot, or all are taken."""


def _one(
    objective: Callable[[Architecture, Trial], float], space: SearchSpace, trials: int, seed: int
) -> Callable[[optuna.Trial], float]:
    import optuna

    from saccade.train.nas._study import identity, owner, slot_of, slot_seed, slots

    def run(trial: optuna.Trial) -> float:
        trial.set_user_attr("runs_on", identity())
        every = trial.study.get_trials(deepcopy=False)
        slot = slot_of(every[trial.number], every)
        mine = owner(slots(every)[slot])
        if slot >= trials or mine is None or mine.number != trial.number:
            raise _Surplus
        try:
            architecture = space.draw(trial)
            trial.set_user_attr("architecture", architecture)
            value = float(objective(architecture, Trial(trial, slot, slot_seed(seed, slot))))
            if not math.isfinite(value):
                raise ValueError(f"search: objective must return a finite number, got {value}")
            return value
        except optuna.TrialPruned:
            raise
        except Exception as error:
            trial.set_user_attr("error", f"{type(error).__name__}: {error}")
            trial.set_user_attr("traceback", "".join(traceback.format_exception(error))[-4000:])
            raise

    return run


def _record(slot: int, trial: optuna.trial.FrozenTrial) -> TrialRecord:
    names = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "running", "WAITING": "running"}
    return TrialRecord(
        slot=slot,
        state=names[trial.state.name],
        architecture=trial.user_attrs.get("architecture", {}),
        value=trial.value,
        steps=dict(sorted(trial.intermediate_values.items())),
        error=trial.user_attrs.get("error", ""),
        seconds=trial.duration.total_seconds() if trial.duration else 0.0,
        parameters=dict(trial.params),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna's messages for each trial, and what it calls experimental, are not shown."""
    import warnings

    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)
