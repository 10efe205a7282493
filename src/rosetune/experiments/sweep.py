"""Do the runs of a plan. There is no state beside the runs' folders: what has a metrics.json is done."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rosetune.data.rows import DataError
from rosetune.experiments.executors import Executor
from rosetune.experiments.planned import ROWS, TRACE, PlannedRun
from rosetune.experiments.worker import Job
from rosetune.runs.identity import folder_name
from rosetune.runs.values import RunError

__all__ = ["STATES", "Sweep", "is_done", "log_file"]

STATES = ("done before", "done", "running", "failed", "left")
_LOOK = 1.0  # seconds between looks at what runs


def log_file(run: PlannedRun) -> Path:
    """What a run said, beside the folders of all runs."""
    name = f"{folder_name(run.data.name)}-{run.label}-seed-{run.config.seed}-{run.key}.log"
    return Path(run.output_dir).expanduser() / "logs" / name


@dataclass
class Sweep:
    """Some runs, and how far they are.

    Attributes:
        runs: each after the one that it needs.
        state: by key one of :data:`STATES`.
        failures: by key what went wrong.
        started: by key the time at which a running one was started.
    """

    runs: Sequence[PlannedRun]
    state: dict[str, str] = field(init=False)
    failures: dict[str, str] = field(init=False, default_factory=dict)
    started: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.state = {run.key: "done before" if is_done(run) else "left" for run in self.runs}

    def run(self, executor: Executor, watch: Callable[["Sweep", PlannedRun | None], None]) -> None:
        """Do what is left. A run that fails leaves the others alone, but for those that need something of it.

        Args:
            watch: called with this sweep and the run whose state has changed, or None when time has passed.
        """
        by_key = {run.key: run for run in self.runs}
        try:
            while {"left", "running"} & {*self.state.values()}:
                self._start(executor, watch)
                if "running" not in self.state.values():
                    continue  # what is left needs a run that failed
                for key, error in executor.finished(_LOOK).items():
                    self._end(by_key[key], error, watch)
                watch(self, None)
        finally:
            executor.stop()

    def _start(self, executor: Executor, watch: Callable[["Sweep", PlannedRun | None], None]) -> None:
        for run in self.runs:
            if self.state[run.key] != "left" or not executor.has_room():
                continue
            before = {what: self._state_of(needed) for what, needed in run.needs.items()}
            failed = next((what for what, state in before.items() if state == "failed"), None)
            if failed is not None:
                self._fail(run, f"it needs the {failed} of {run.needs[failed]}, which failed")
            elif {*before.values()} <= {"done", "done before"}:
                self._submit(run, executor)
            else:
                continue
            watch(self, run)

    def _submit(self, run: PlannedRun, executor: Executor) -> None:
        found, log = run.now(), log_file(run)
        if found is None:
            missing = (what for what in (TRACE, ROWS) if what in run.needs and run.needed_file(what) is None)
            self._fail(run, "; ".join(_told_missing(what, run.needs[what]) for what in missing))
            return
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.touch()
            executor.start(Job(run.key, found[0], run.attacks, log, run.adversarial, run.along))
        except OSError as error:
            self._fail(run, f"it cannot be started: {error}")
        else:
            self.state[run.key], self.started[run.key] = "running", time.monotonic()

    def _state_of(self, needed: PlannedRun) -> str:
        """Of a run that another needs, which may be no part of this sweep."""
        elsewhere = "done" if needed.key not in self.state and is_done(needed) else "failed"
        return self.state.get(needed.key, elsewhere)

    def _end(self, run: PlannedRun, error: str | None, watch: Callable[["Sweep", PlannedRun | None], None]) -> None:
        if error is None and not is_done(run):
            error = f"it ended well, but {run.folder()} does not hold the finished run: see that all share that folder"
        if error is None:
            self.state[run.key] = "done"
        else:
            self._fail(run, error)
        watch(self, run)

    def _fail(self, run: PlannedRun, error: str) -> None:
        self.state[run.key], self.failures[run.key] = "failed", error


def is_done(run: PlannedRun) -> bool:
    """Whether a run is done; one that is damaged is not."""
    try:
        return run.is_done()
    except (RunError, DataError):
        return False  # the run itself says what is damaged


def _told_missing(what: str, needed: PlannedRun) -> str:
    """What a run that is done has not left for another."""
    if what == TRACE:
        return f"{needed} has left no trace"
    return (
        f"no training row that was attacked fooled {needed}, so that there are no adversarial rows: raise "
        "max_attacked, max_share or budget in the plan's adversarial"
    )
