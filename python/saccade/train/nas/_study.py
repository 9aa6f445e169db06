"""What Optuna's studies lack for a search that can be killed: whose trial is whose, and random numbers for each.

A search consists of slots 0, 1, 2, ... A trial that no one finished (its process was killed or interrupted) gives its
slot back, and another one takes it. Random numbers depend on the slot and not on the process, so that a search that was
killed and taken up again goes on as if nothing had been.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

__all__ = ["PerTrialSampler", "fail_dead", "identity", "open_storage", "owner", "slot_of", "slot_seed", "slots"]

_HEARTBEAT_SECONDS = 60
_GRACE_SECONDS = 240  # a machine that was silent for so long is taken for dead


def open_storage(storage: str | Path | None) -> Any:
    """A database, given its URL or the path of an SQLite file; None: this process's memory."""
    if storage is None:
        return optuna.storages.InMemoryStorage()
    url = str(storage)
    options: dict[str, Any] = {}
    if "://" not in url:
        if not Path(url).absolute().parent.is_dir():
            raise ValueError(f"search: storage must lie in a folder that exists, got {url}")
        url = f"sqlite:///{url}"
    if url.startswith("sqlite:"):
        options["connect_args"] = {"timeout": 100}  # several processes wait for each other's writes
    for attempt in range(5):
        try:
            return optuna.storages.RDBStorage(
                url, engine_kwargs=options, heartbeat_interval=_HEARTBEAT_SECONDS, grace_period=_GRACE_SECONDS
            )
        except Exception as error:
            # Two processes that make the tables at once: the second finds them half made.
            if attempt == 4 or "already exists" not in str(error):
                raise
            time.sleep(0.5)
    raise AssertionError


def slots(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """The trials of each slot."""
    found: dict[int, list[FrozenTrial]] = defaultdict(list)
    for trial in trials:
        found[slot_of(trial, trials)].append(trial)
    return found


def slot_of(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Where a trial stands in the search: trials that take a slot again do not count."""
    if "slot" in trial.user_attrs:
        return int(trial.user_attrs["slot"])
    return trial.number - sum("slot" in other.user_attrs for other in trials if other.number < trial.number)


def owner(trials: Sequence[FrozenTrial]) -> FrozenTrial | None:
    """Of the trials of a slot the one that counts, None where all were given up. Of two at once, the first."""
    living = [t for t in trials if t.state != TrialState.FAIL or "error" in t.user_attrs]
    return min(living, key=lambda trial: trial.number) if living else None


def slot_seed(seed: int, slot: int) -> int:
    """The seed of what is random in a slot."""
    return int(np.random.SeedSequence([seed, slot]).generate_state(1)[0])


def identity() -> list[str]:
    """This machine and process, so that another process can tell whether it is still there."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = processes = ""
    return [f"{platform.node()} {boot} {processes}", _process(os.getpid())]


def _process(number: int) -> str:
    """A process by number and start; numbers are used again."""
    try:
        after_name = Path(f"/proc/{number}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return f"{number} {after_name[19]}" if after_name[0] != "Z" else ""
    except OSError:
        pass
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return str(number)


def fail_dead(study: optuna.Study) -> None:
    """Give up trials whose process on this machine is gone; those of other machines end when their heartbeat does."""
    here, _ = identity()
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        machine, process = trial.user_attrs.get("runs_on", ("", ""))
        if machine == here and _process(int(process.split()[0])) != process:
            try:
                study.tell(trial.number, state=TrialState.FAIL)
            except ValueError:  # another process was faster
                continue


class PerTrialSampler(BaseSampler):
    """One of Optuna's samplers, begun anew for each trial with the seed of its slot."""

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._seed = kind, seed
        self._made: tuple[int, BaseSampler] | None = None

    def _of(self, study: optuna.Study, trial: FrozenTrial) -> BaseSampler:
        if self._made is None or self._made[0] != trial.number:
            seed = slot_seed(self._seed, slot_of(trial, study.get_trials(deepcopy=False)))
            made = RandomSampler(seed=seed) if self._kind == "random" else TPESampler(seed=seed, multivariate=True)
            self._made = (trial.number, made)
        return self._made[1]

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Parameters that are sampled together."""
        return self._of(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Values for them."""
        return self._of(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value for another one."""
        return self._of(study, trial).sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin."""
        self._of(study, trial).before_trial(study, trial)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End."""
        self._of(study, trial).after_trial(study, trial, state, values)
