"""The runs of a plan: each with its configuration, its identity, its folder, and the runs that it needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rosetune.data.rows import TaskData
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.along import is_followed, keeps_checkpoints
from rosetune.experiments.attack import is_attacked
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.checkpoints import checkpoints_of
from rosetune.experiments.plan import reference
from rosetune.experiments.quick import finished_as
from rosetune.experiments.yielded_rows import are_found, rows_file
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import file_hash
from rosetune.runs.run import Run

__all__ = ["ROWS", "TRACE", "TRACE_FILE", "WEIGHTS", "PlannedRun", "reference_of", "shard_of", "with_trace"]

TRACE_FILE = "mask_trace.npz"
# What a run may need of another: the first two are files that it reads.
TRACE, ROWS, WEIGHTS = "trace", "adversarial rows", "weights"


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan.

    Attributes:
        task, model, method: as the plan calls them.
        point: of the grid.
        output_dir: of the plan.
        key: hash of the identity; where it needs something of another run, that run's key stands for it.
        needs: other runs, by what it needs of them: :data:`TRACE`, :data:`ROWS`; or :data:`WEIGHTS`, of a line to
            the pre-trained weights whose other end is a run of the plan. None for most.
        attacks: on it, once it is trained.
        along: whether its checkpoints are evaluated too.
        adversarial: how its training rows are attacked then, for others to train on what fooled it; None where no
            run of the plan does.
        data: its task's.
        config, identity: without folder and without what it needs; see :meth:`now`.
    """

    task: str
    model: str
    method: str
    point: dict[str, Any]
    output_dir: str
    key: str
    needs: Mapping[str, "PlannedRun"]
    attacks: tuple[AttackOptions, ...]
    adversarial: AdversarialOptions | None
    along: bool
    data: TaskData = field(repr=False)
    config: RunConfig = field(repr=False)
    identity: dict[str, Any] = field(repr=False)

    @property
    def root(self) -> "PlannedRun":
        """The run at the start of what it needs, which is one; itself, where it needs none."""
        return next((needed.root for needed in self.needs.values()), self)

    @property
    def label(self) -> str:
        """What folders and tables will call its method."""
        config = replace(self.config, adversarial_file="rows") if ROWS in self.needs else self.config
        return config.method()

    def __str__(self) -> str:
        point = ("=".join((option.rpartition(".")[2], str(value))) for option, value in self.point.items())
        return " ".join((self.task, self.method, f"seed {self.config.seed}", *point))

    def needed_file(self, what: str) -> Path | None:
        """What it reads of another run; None as long as it is not there, or holds nothing.

        Args:
            what: :data:`TRACE` or :data:`ROWS`, as far as it needs that.
        """
        needed = self.needs[what]
        folder, options = needed.folder(), needed.adversarial
        if folder is None:
            return None
        file = rows_file(folder, options) if what == ROWS and options is not None else folder / TRACE_FILE
        return file if file.is_file() and file.stat().st_size else None

    def now(self) -> tuple[RunConfig, dict[str, Any]] | None:
        """Configuration and identity, with the folder; None as long as what it needs is not there.

        The folder is the one that ``rosetune train`` would take, below the plan's own.
        """
        config, identity = self.config, self.identity
        for what in (TRACE, ROWS):
            if what not in self.needs:
                continue
            file = self.needed_file(what)
            if file is None:
                return None
            digest = f"sha256:{file_hash(file)}"
            if what == TRACE:
                config, training = with_trace(config, str(file)), identity["training"]
                kwargs = {**training.get("update_mask_kwargs", {}), "trace": digest}
                identity = {**identity, "training": {**training, "update_mask_kwargs": kwargs}}
            else:
                config, identity = (
                    replace(config, adversarial_file=str(file)),
                    {**identity, "adversarial_file": digest},
                )
        return replace(config, output_dir=str(config.folder(identity, self.output_dir))), identity

    def folder(self) -> Path | None:
        """Where it lies, finished or not; None as long as that is not known."""
        found = self.now()
        return None if found is None else Path(str(found[0].output_dir))

    def is_done(self) -> bool:
        """Whether it is trained, evaluated and attacked as the plan has it, and has what others need of it.

        Raises:
            RunError: a file of the run is damaged.
        """
        found = self.now()
        if found is None:
            return False
        folder, identity = Path(str(found[0].output_dir)), found[1]
        if not finished_as(folder, identity, self.config, self.data):
            return False
        if self.adversarial is not None and not are_found(folder, self.adversarial):
            return False
        run = Run.open(folder)
        if self.along and not is_followed(run, self.config.sets, self.config.noises):
            return False
        if self.along and not keeps_checkpoints(run) and checkpoints_of(folder):
            return False  # a kill came between
        return all(is_attacked(run, self.data.text_columns, options) for options in self.attacks)


def shard_of(runs: Sequence[PlannedRun], number: int, shards: int) -> list[PlannedRun]:
    """A share of the runs, by the hash of what they are: the same whoever asks, and each run in exactly one.

    A run that needs something of another goes with that one, so that no shard waits for another.

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
