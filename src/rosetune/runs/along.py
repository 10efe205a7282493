"""A run over training: the end of one beside the checkpoints of another, at equal clean accuracy."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any

import numpy as np

from rosetune.robustness.flip_control import flipped_accuracy, robust_at_equal_clean
from rosetune.robustness.rows import compare_rows, paired_correctness, set_metrics
from rosetune.robustness.statistics import Difference
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = [
    "BEFORE",
    "EqualClean",
    "Followed",
    "Passage",
    "accuracy",
    "at_equal_clean",
    "check_followed",
    "end_of",
    "missed",
    "names_of",
    "nearest_step",
    "steps_with",
]

NEVER, BEFORE = "never", "before"  # a level that a curve does not pass


@dataclass(frozen=True)
class Passage:
    """Where a curve passes a level of clean accuracy: at which step, and its robust accuracy there."""

    step: float
    robust: float


@dataclass(frozen=True)
class EqualClean:
    """The end of one run beside the curve of another, at equal clean accuracy.

    Attributes:
        clean, robust: accuracies of the end.
        passages: where the curve passes that clean accuracy, in the order of training; the first is early stopping.
        flipped: robust accuracy of the curve's end if its predictions were flipped at random until its clean accuracy
            were the same, see :func:`~rosetune.robustness.flip_control.flipped_accuracy`; None for an end at chance.
        nearest: the checkpoint of the curve with the nearest clean accuracy, the earliest of equals. Between
            checkpoints there are no predictions, so that only here a difference can be paired.
        clean_difference, robust_difference: end minus nearest, on the same examples.
    """

    clean: float
    robust: float
    passages: tuple[Passage, ...]
    flipped: float | None
    nearest: int
    clean_difference: Difference
    robust_difference: Difference

    @property
    def highest(self) -> Passage | None:
        """The passage of the largest robust accuracy, which a claim must beat; None where there is none."""
        return max(self.passages, key=lambda passage: passage.robust, default=None)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        return dataclasses.asdict(self)


def accuracy(run: Run, name: str, step: int | None = None) -> float:
    """Of the end of a run, or of one of its checkpoints, on one set."""
    (right,), _ = paired_correctness(run.rows(name, step))
    return float(np.mean(right))


def steps_with(run: Run, *names: str) -> list[int]:
    """The evaluated checkpoints of a run that have all these sets, in the order of training, the end among them."""
    return [step for step in run.steps if {*names} <= {*run.sets(step)}]


def end_of(run: Run) -> int | None:
    """The step that the run reports, where its checkpoints were evaluated."""
    return next((step for step, about in run.steps.items() if about["end"]), None)


def missed(clean: Sequence[float], level: float) -> str:
    """Why no checkpoint and no line between two has a level of clean accuracy.

    Returns:
        :data:`NEVER` where all checkpoints have less; :data:`BEFORE` where all have more, so that training had it
        before the first of them.
    """
    return NEVER if level > max(clean) else BEFORE


def nearest_step(run: Run, level: float, clean: str, *others: str) -> int | None:
    """The checkpoint whose clean accuracy is nearest to a level, the earliest of equals; None without checkpoints.

    Args:
        clean: name of the clean set.
        others: further sets that it must have been evaluated on.
    """
    steps = steps_with(run, clean, *others)
    return min(steps, key=lambda step: abs(accuracy(run, clean, step) - level), default=None)


def at_equal_clean(reference: Run, run: Run, name: str) -> EqualClean:
    """What a training shows where it has the clean accuracy of another run's end.

    Args:
        reference: whose checkpoints were evaluated.
        run: whose end stands beside them.
        name: a robust evaluation set.

    Raises:
        ValueError: no checkpoints, or the two were not evaluated on the same examples.
    """
    clean = SetName.parse(name).clean(run.sets())
    level, steps = accuracy(run, clean), steps_with(reference, clean, name)
    curve = [(accuracy(reference, clean, step), step, accuracy(reference, name, step)) for step in steps]
    at = robust_at_equal_clean([(x, step) for x, step, _ in curve], level)
    values = robust_at_equal_clean([(x, robust) for x, _, robust in curve], level)
    nearest = nearest_step(reference, level, clean, name)
    assert nearest is not None  # robust_at_equal_clean refuses an empty curve
    last, classes = end_of(reference) or steps[-1], len(run.labels)
    before = accuracy(reference, clean, last)
    flipped = (
        flipped_accuracy(before, level, accuracy(reference, name, last), classes) if before * classes > 1 else None
    )
    return EqualClean(
        clean=level,
        robust=accuracy(run, name),
        passages=tuple(Passage(*passage) for passage in zip(at, values, strict=True)),
        flipped=flipped,
        nearest=nearest,
        clean_difference=compare_rows(reference.rows(clean, nearest), run.rows(clean)),
        robust_difference=compare_rows(reference.rows(name, nearest), run.rows(name)),
    )


class Followed:
    """Several runs over training: the first whose checkpoints were evaluated is the reference.

    Args:
        runs: finished ones, evaluated along training where they keep checkpoints.
        kinds: of :data:`~rosetune.runs.sets.KINDS`, of the sets to look at; the clean set is always among them.

    Attributes:
        names: of the runs, as a person calls them.
        sets: names of the sets that all runs were evaluated on, of the wanted kinds.
        reference: the run whose curve the others' ends are set beside.
        equal: by robust set and run what :func:`~rosetune.runs.along.at_equal_clean` finds.

    Raises:
        RunError: a run is a regression, no run has evaluated checkpoints, no robust set is there, or the runs were
            not evaluated on the same examples.
    """

    def __init__(self, runs: Sequence[Run], kinds: Sequence[str]) -> None:
        check_followed(runs)
        self.runs, self.names = list(runs), dict(zip(map(str, runs), names_of(runs), strict=True))
        parsed = [SetName.parse(name) for name in runs[0].sets()]
        wanted = [part for part in parsed if part.kind in (*kinds, "clean") and not part.is_original]
        self.sets = [part.name for part in wanted if all(part.name in run.sets() for run in runs)]
        self.robust = [name for name in self.sets if SetName.parse(name).kind not in ("clean", "file")]
        if not self.robust:
            raise RunError(
                "a curve over training needs robust sets beside the clean one, such as --sets clean,advglue"
            )
        curves = [run for run in runs if steps_with(run, *self.sets)]
        if not curves:
            raise _without_checkpoints(runs)
        self.reference = curves[0]
        for run in runs[1:]:
            if any(_examples(run, name) != _examples(runs[0], name) for name in self.sets):
                raise RunError(f"{runs[0]} and {run} were not evaluated on the same examples: give runs of one task")
        self.others = [run for run in runs if run is not self.reference]
        self.equal = {
            name: {str(run): at_equal_clean(self.reference, run, name) for run in self.others} for name in self.robust
        }

    def curve(self, run: Run) -> list[int]:
        """The steps at which a run was evaluated on all sets."""
        return steps_with(run, *self.sets)

    def metrics(self, run: Run, step: int | None) -> dict[str, Any]:
        """Of all sets, at a step or at the end."""
        return {name: set_metrics(run.rows(name, step), run.labels) for name in self.sets}


def check_followed(runs: Sequence[Run]) -> None:
    """Refuse what no curve over training can be made of, before anything is evaluated for it.

    Raises:
        RunError: a run is a regression, runs are of different tasks or data, or none keeps or has evaluated
            checkpoints.
    """
    for run in runs:
        if not run.labels:
            raise RunError(f"{run} is a regression: a curve over training needs accuracies, of a classification")
        if run.identity["data_fingerprint"] != runs[0].identity["data_fingerprint"]:
            raise RunError(f"{runs[0]} and {run} are not of the same data: give runs of one task")
    if not any(run.steps or [*run.folder.glob("checkpoint-*")] for run in runs):
        raise _without_checkpoints(runs)


def _without_checkpoints(runs: Sequence[Run]) -> RunError:
    trained = [run for run in runs if not run.config.given]
    if not trained:
        return RunError(f"{runs[0]} was not trained here, and only a training has checkpoints: give one")
    names, run = " and ".join(map(str, trained)), trained[0]
    again = f"{quote(str(run.folder / 'config.yaml'))} --output_dir {quote(f'{run.folder}-along')}"
    return RunError(
        f"{names} {'keep' if len(trained) > 1 else 'keeps'} no checkpoints, as a finished run deletes them: "
        f"`rosetune train --config {again} --save_total_limit 20` keeps ten (--save_steps N: more); evaluate that one"
    )


def names_of(runs: Sequence[Run]) -> list[str]:
    """What a person calls each run: its method, with seed and then folder where that is not enough."""
    names = [run.method for run in runs]
    for further in (
        [str(run) if run.seed is None else f"seed {run.seed}" for run in runs],
        [str(run) for run in runs],
    ):
        counts = Counter(names)
        names = [f"{name} {more}" if counts[name] > 1 else name for name, more in zip(names, further, strict=True)]
    return names


def _examples(run: Run, name: str) -> set[tuple[Any, Any]]:
    return {(row["id"], row["gold"]) for row in run.rows(name)}
