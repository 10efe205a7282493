"""The runs of a plan: each with its configuration, its identity, its folder, and the run whose trace it needs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetune.data.rows import TaskData
from rosetune.experiments.attack import is_attacked
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.plan import reference
from rosetune.experiments.quick import finished_as
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import file_hash
from rosetune.runs.run import Run

__all__ = ["TRACE", "PlannedRun", "reference_of", "shard_of", "with_trace"]

TRACE = "mask_trace.npz"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        task, model, method: as the plan calls them.
        point: of the grid.
        output_dir: of the plan.
        key: hash of the identity; of a run that needs another's trace, that run's key stands for the trace.
        needs: the run whose trace it reads; None for most.
        attacks: on it, once it is trained.
        data: its task's.
        config, identity: without folder and without the trace that it needs; see :meth:`now`.
    """

    task: str
    model: str
    method: str
    point: dict[str, Any]
    output_dir: str
    key: str
    needs: "PlannedRun | None"
    attacks: tuple[AttackOptions, ...]
    data: TaskData = field(repr=False)
    config: RunConfig = field(repr=False)
    identity: dict[str, Any] = field(repr=False)

    @property
    def root(self) -> "PlannedRun":
        """The run at the start of what it needs: itself, where it needs none."""
        return self if self.needs is None else self.needs.root

    def __str__(self) -> str:
        point = ("=".join((option.rpartition(".")[2], str(value))) for option, value in self.point.items())
        return " ".join((self.task, self.method, f"seed {self.config.seed}", *point))

    def now(self) -> tuple[RunConfig, dict[str, Any]] | None:
        """Configuration and identity, with the folder; None as long as the trace that it needs is not there.

        The folder is the one that ``rosetune train`` would take, below the plan's own.
        """
        config, identity = self.config, self.identity
        if self.needs is not None:
            before = self.needs.now()
            trace = None if before is None else Path(str(before[0].output_dir), TRACE)
            if trace is None or not trace.is_file():
                return None
            config, training = with_trace(config, str(trace)), identity["training"]
            kwargs = {**training.get("update_mask_kwargs", {}), "trace": f"sha256:{file_hash(trace)}"}
            identity = {**identity, "training": {**training, "update_mask_kwargs": kwargs}}
        return replace(config, output_dir=str(config.folder(identity, self.output_dir))), identity

    def folder(self) -> Path | None:
        """Where it lies, finished or not; None as long as that is not known."""
        found = self.now()
        return None if found is None else Path(str(found[0].output_dir))

    def is_done(self) -> bool:
        """Whether it is trained, evaluated and attacked as the plan has it.

        Raises:
            RunError: a file of the run is damaged.
        """
        found = self.now()
        if found is None:
            return False
        folder, identity = Path(str(found[0].output_dir)), found[1]
        if not finished_as(folder, identity, self.config, self.data):
            return False
        run = Run.open(folder)
        return all(is_attacked(run, self.data.text_columns, options) for options in self.attacks)


def shard_of(runs: Sequence[PlannedRun], number: int, shards: int) -> list[PlannedRun]:
    """A share of the runs, by the hash of what they are: the same whoever asks, and each run in exactly one.

    A run that needs another's trace goes with that one, so that no shard waits for another.

    Args:
        number: of the shard, from 1 to ``shards``.
    """
    return [run for run in runs if int(run.root.key, 16) % shards == number - 1]


def reference_of(config: RunConfig) -> str | None:
    """The method whose trace a configuration's mask is to read; None for most."""
    return reference((config.training.get("update_mask_kwargs") or {}).get("trace"))


def with_trace(config: RunConfig, trace: str | None) -> RunConfig:
    """The configuration with a file, or nothing, in the place of a reference; unchanged where there is none."""
    if reference_of(config) is None:
        return config
    kwargs = {**config.training["update_mask_kwargs"], "trace": trace}
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    return replace(config, training={**config.training, "update_mask_kwargs": kwargs})
