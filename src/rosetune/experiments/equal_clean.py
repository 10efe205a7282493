"""Several runs over training: the end of one beside the curve of another, at equal clean accuracy."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rosetune.experiments.along_training import Point, end_of, evaluate_along, has_curve, no_checkpoints
from rosetune.experiments.config import RunError
from rosetune.experiments.evaluate import read_metrics
from rosetune.experiments.options import read_run_config
from rosetune.experiments.sets import kind_of
from rosetune.robustness.flip_control import flipped_accuracy, robust_at_equal_clean
from rosetune.robustness.rows import compare_rows
from rosetune.robustness.statistics import Difference

__all__ = [
    "EqualClean",
    "Followed",
    "Passage",
    "at_equal_clean",
    "clean_set",
    "follow",
    "reference_of",
    "robust_sets",
]


@dataclass(frozen=True)
class Followed:
    """A run with a short name, the points of its curve (none where it keeps no checkpoints), and its end."""

    name: str
    run: str
    curve: list[Point]
    end: Point


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
    nearest: Point
    clean_difference: Difference
    robust_difference: Difference

    @property
    def highest(self) -> Passage | None:
        """The passage of the largest robust accuracy, which a claim must beat; None where there is none."""
        return max(self.passages, key=lambda passage: passage.robust, default=None)

    def as_json(self) -> dict[str, Any]:
        """Without the rows."""
        kept = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name in ("clean_difference", "robust_difference"):
            kept[name] = dataclasses.asdict(kept[name])
        passages = [dataclasses.asdict(passage) for passage in self.passages]
        return {**kept, "passages": passages, "nearest": self.nearest.step}


def follow(
    runs: Sequence[str], kinds: Sequence[str] | str, report: Callable[[str], Any] = print, **moved: str | None
) -> list[Followed]:
    """Evaluate several runs, with their checkpoints where they keep some; the first with a curve is the reference.

    Args:
        kinds, report, moved: as in :func:`evaluate_along`.

    Raises:
        RunError: as there; no run keeps checkpoints, no robust set is asked for, or the runs were not evaluated on
            the same examples.
    """
    for run in runs:
        read_metrics(run)
    if not any(map(has_curve, runs)):
        raise no_checkpoints(" and ".join(runs))
    if not robust_sets(end_of(runs[0], kinds, **moved).rows):
        raise RunError("a curve over training needs robust sets beside the clean one, such as --sets clean,advglue")
    followed = []
    for run, name in zip(runs, _names(runs), strict=True):
        curve = evaluate_along(run, kinds, report, **moved) if has_curve(run) else []
        end = next((point for point in curve if point.end), None)
        followed.append(Followed(name, run, curve, end or end_of(run, kinds, **moved)))
    for other in followed[1:]:
        if _examples(other.end) != _examples(followed[0].end):
            raise RunError(f"{runs[0]} and {other.run} were not evaluated on the same examples: give runs of one task")
    return followed


def at_equal_clean(curve: Sequence[Point], end: Point, name: str) -> EqualClean:
    """What a training run shows where it has the clean accuracy of another run's end.

    Args:
        curve: of the reference, in the order of training, with its end.
        end: of the other run.
        name: a robust evaluation set.

    Raises:
        ValueError: no points, or the two were not evaluated on the same examples.
    """
    clean = clean_set(name, end.metrics)
    level = end.accuracy(clean)
    steps = robust_at_equal_clean([(point.accuracy(clean), point.step or 0) for point in curve], level)
    values = robust_at_equal_clean([(point.accuracy(clean), point.accuracy(name)) for point in curve], level)
    nearest = min(curve, key=lambda point: abs(point.accuracy(clean) - level))
    last = next((point for point in curve if point.end), curve[-1])
    classes = len(end.rows[name][0]["logits"])
    above = last.accuracy(clean) > 1 / classes
    return EqualClean(
        clean=level,
        robust=end.accuracy(name),
        passages=tuple(Passage(*passage) for passage in zip(steps, values, strict=True)),
        flipped=flipped_accuracy(last.accuracy(clean), level, last.accuracy(name), classes) if above else None,
        nearest=nearest,
        clean_difference=compare_rows(nearest.rows[clean], end.rows[clean]),
        robust_difference=compare_rows(nearest.rows[name], end.rows[name]),
    )


def reference_of(runs: Sequence[Followed]) -> Followed:
    """The first run that has a curve."""
    return next(run for run in runs if run.curve)


def robust_sets(sets: Mapping[str, Any]) -> list[str]:
    """Those of some evaluation sets that are not clean."""
    return [name for name in sets if kind_of(name) != "clean"]


def clean_set(name: str, sets: Mapping[str, Any]) -> str:
    """The clean set that a robust one belongs to: MNLI has two of each."""
    mismatched = name.endswith("_mismatched") and "clean_mismatched" in sets
    return "clean_mismatched" if mismatched else "clean"


def _names(runs: Sequence[str]) -> list[str]:
    """What a person calls each run: its method, with seed and then folder where that is not enough."""
    configs = [read_run_config(run) for run in runs]
    names = [config.method() for config in configs]
    seeds = [config.training.get("seed", 42) for config in configs]
    for further in (seeds, runs):
        counts = Counter(names)
        names = [f"{name} {more}" if counts[name] > 1 else name for name, more in zip(names, further, strict=True)]
    return names


def _examples(point: Point) -> dict[str, set[tuple[Any, Any]]]:
    return {name: {(row["id"], row["gold"]) for row in rows} for name, rows in point.rows.items()}
