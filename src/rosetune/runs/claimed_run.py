"""A finished run that a gain is claimed for, and the training arguments of what differs from it in one thing."""

import dataclasses
import re
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

from rosetune.mask_trace import MaskTrace
from rosetune.runs.config import LENGTH, METHOD, RunConfig
from rosetune.runs.run import Run
from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.values import RunError, differences

__all__ = ["ClaimedRun", "LeftOut", "Training", "same_method"]

Training = dict[str, Any]

_EPOCHS = 3.0  # the Trainer's default
# What keeps, names or publishes the claim's own run.
_OWN = re.compile("save_total_limit|run_name|push_to_hub|hub_.*")


class LeftOut(RunError):
    """A control without a meaning for a claim; the message says why."""


class ClaimedRun:
    """A finished run of a method, as its controls see it.

    Args:
        folder: where its controls are; None: ``controls`` in its folder.
        trace_of: a run of the claim with another seed, whose trace is replayed.

    Attributes:
        config: the run's, with the sets that it has been evaluated on.
        training: its training arguments.
        needs: the losses that its mask asks for.

    Raises:
        RunError: it is not finished, or has no method.
    """

    def __init__(self, run: Run, folder: Path | None = None, trace_of: str | Path | None = None) -> None:
        self.run, self._trace_of = run, trace_of
        self.folder = folder or run.folder / "controls"
        kinds = {SetName.parse(name).kind for name in run.metrics["sets"]}
        config = run.config
        self.training = {name: value for name, value in config.training.items() if not _OWN.fullmatch(name)}
        sets = tuple(kind for kind in KINDS if kind in kinds) or config.sets
        self.config = dataclasses.replace(config, sets=sets, training=self.training)
        self.objective: str = self.training.get("objective") or "cross_entropy"
        self.mask: str | None = self.training.get("update_mask")
        self._options: Training = self.training.get("objective_kwargs") or {}
        self._mask_options: Training = self.training.get("update_mask_kwargs") or {}
        self.needs: frozenset[str] = frozenset()
        if self.mask == "rose":
            self.needs = rose_needs(self._mask_options)
        if same_method(self.training, self.plain()):
            raise RunError(f"{run} is plain fine-tuning, which claims nothing: give the run of a method")

    @property
    def trace_file(self) -> Path:
        """The record of its mask's multipliers.

        Raises:
            LeftOut: there is none.
        """
        path = self.run.trace_file
        if self.mask != "rose":
            raise LeftOut(f"it is matched to a trace, which only ROSE records: the claim's mask is {self.mask}")
        if path is None:
            raise LeftOut(
                "the claim recorded no trace of its mask to match: train it in another folder with "
                '"trace": true among its update_mask_kwargs'
            )
        return path

    @cached_property
    def density(self) -> float:
        """A target scalar's multiplier in the mean over targets and steps, to four decimals."""
        trace = MaskTrace.load(self.trace_file)
        return round(float((trace.share_kept() * trace.sizes).sum() / trace.sizes.sum()), 4)

    @property
    def replay_source(self) -> RunConfig:
        """The claim with the next seed."""
        return self.with_training({**self.training, "seed": self.config.seed + 1}, self.folder / "replay_source")

    def with_training(self, training: Training, folder: Path) -> RunConfig:
        """A run of the claim's data and model with other training arguments."""
        return dataclasses.replace(self.config, output_dir=str(folder), training=training)

    @property
    def replayed_file(self) -> Path:
        """The trace of another seed: as told, else of the replay that is begun, else of :attr:`replay_source`.

        Raises:
            LeftOut: the claim has none, and so has no other seed of it.
            RunError: it is not there, or of another run than the claim with another seed.
        """
        _ = self.trace_file
        if self._trace_of is not None:
            self._check_other_seed(self._trace_of)
            return Path(self._trace_of) / "mask_trace.npz"
        own, begun = Path(str(self.replay_source.output_dir)) / "mask_trace.npz", self.folder / "replay"
        if own.is_file() or not (begun / "config.yaml").is_file():
            return own
        path = Path(str((RunConfig.read(begun).training.get("update_mask_kwargs") or {}).get("trace")))
        if not path.is_file():
            raise RunError(f"{begun} replays {path}, which is not there: name the run that holds it with --trace_of")
        return path

    def plain(self, **options: Any) -> Training:
        """Cross-entropy in one pass, with these options and the task's class weights, under plain AdamW."""
        weights = self._options.get("class_weights")
        options = options if weights is None else {"class_weights": weights, **options}
        base = {name: value for name, value in self.training.items() if name not in METHOD}
        return base | ({"objective_kwargs": options} if options else {})

    def unmasked(self) -> Training:
        """The claim's loss, with the dropout passes that its mask made it take in most steps, under plain AdamW."""
        options = {"passes": None, **self._options}
        mostly = "consistency" in self.needs and self._mask_options.get("refresh", 1) == 1
        if self.objective == "cross_entropy" and mostly and options["passes"] is None:
            options["passes"] = 2
        if options["passes"] != 2:  # one is what no mask asks to double
            del options["passes"]
        axes = ("objective_kwargs", "update_mask", "update_mask_kwargs")
        left = {name: value for name, value in self.training.items() if name not in axes}
        return left | ({"objective_kwargs": options} if options else {})

    def masked(self, mask: str, **options: Any) -> Training:
        """The claim's loss under another mask of the same targets."""
        if self.mask is None:
            raise LeftOut("the claim has no update mask")
        if "target_parameters" in self._mask_options:
            options["target_parameters"] = self._mask_options["target_parameters"]
        return {**self.unmasked(), "update_mask": mask, "update_mask_kwargs": options}

    def rose(self, **changes: Any) -> Training:
        """The claim's ROSE with some options changed, and without a trace."""
        if self.mask != "rose":
            raise LeftOut(f"the claim's mask is {self.mask or 'none'}, not ROSE")
        options = {name: value for name, value in self._mask_options.items() if name != "trace"}
        return {**self.training, "update_mask_kwargs": {**options, **changes}}

    def step_cost(self) -> float:
        """Forward and backward passes of one batch in a step, over the two of plain cross-entropy.

            (2 n + k) / 2

        for a loss of n dropout passes, each with its backward pass, and k backward passes more for what the mask
        observes. With more than two labels the gradient of the consistency takes two, through both dropout passes, and
        so does R-Drop's cross-entropy where nothing else is observed: ROSE-First and -Ensemble 3, ROSE-Second 1; with
        R-Drop 3 each. With two labels what First and Ensemble observe comes with the backward pass of the loss: 2,
        and 2 with R-Drop. (Where it does not, as for DeBERTa, a step costs more than is counted here.) Where a mask
        stays in force it is the mean over the steps, and the gradients that frozen tensors save are not counted.

        Raises:
            LeftOut: the passes of the objective, or how often the mask was made anew, are not known here.
        """
        if self.objective not in ("cross_entropy", "r_drop"):
            raise LeftOut(
                f"the passes of {self.objective} are not counted here: multiply num_train_epochs by what its "
                "docstring says it costs, and train that by hand"
            )
        mask = self._mask_options
        refresh, share = mask.get("refresh", 1), mask.get("consistency_share", 1.0)
        if refresh > 1 and mask.get("agreement"):
            raise LeftOut("how often its mask was made anew depends on the run: give refresh without agreement")
        between = 2 if self.objective == "r_drop" or self._options.get("passes") == 2 else 1  # dropout passes
        passes = max(between, 1 + share) if "consistency" in self.needs else between
        observed, labels = passes * ("consistency" in self.needs), self.run.metrics.get("labels")
        if (
            self.objective == "r_drop"
            and "task_loss" in self.needs
            and (not observed or mask.get("reduce") == "norms")
        ):
            observed += 2
        if "consistency" in self.needs and labels is not None and len(labels) <= 2:
            observed = 0
        return (2 * passes + observed + (refresh - 1) * 2 * between) / (2 * refresh)

    def longer(self) -> Training:
        """Plain fine-tuning for as many passes as the claim takes."""
        cost = self.step_cost()
        if self.training.get("max_steps", -1) > 0:
            return {**self.plain(), "max_steps": round(cost * self.training["max_steps"])}
        epochs = self.training.get("num_train_epochs", _EPOCHS)
        return {**self.plain(), "num_train_epochs": cost * epochs}

    def _check_other_seed(self, path: str | Path) -> None:
        other = Run.open(path)
        names = list(differences(self.run.identity, other.identity))
        if names != ["seed"]:
            told = f"they differ in {', '.join(names)}" if "seed" in names else "it has the same seed"
            raise RunError(f"{other} is not {self.run} with another seed, as --trace_of needs it: {told}")


def rose_needs(options: Training) -> frozenset[str]:
    """The losses whose gradients :class:`~rosetune.Rose` with these options asks for; read here without torch."""
    first = {"task": "task_loss"}.get(options.get("risk", "consistency"), "consistency")
    by_order = {"first": {first}, "second": {"task_loss"}, "ensemble": {first, "task_loss"}}
    return frozenset(by_order[options.get("order", "ensemble")])


def same_method(a: Training, b: Training, ignore: Collection[str] = ()) -> bool:
    """Whether two runs of the same data, model and seed have the same result; a trace only records.

    Args:
        ignore: further options that do not count, see :func:`~rosetune.runs.values.differences`.
    """
    return not differences(_method(a), _method(b), ignore)


def _method(training: Training) -> Training:
    kept = {"objective": "cross_entropy"} | {n: training[n] for n in (*METHOD, *LENGTH) if training.get(n)}
    if kept.get("update_mask") == "rose":
        kept["update_mask_kwargs"] = {n: v for n, v in kept.get("update_mask_kwargs", {}).items() if n != "trace"}
    return kept
