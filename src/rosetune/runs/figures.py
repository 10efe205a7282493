"""The figures of finished runs, by task and evaluation set, each checked before it may enter a mean."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.runs.attacked import unfinished
from rosetune.runs.compare import attack_header
from rosetune.runs.files import again, reason
from rosetune.runs.groups import task_of
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, guess

__all__ = [
    "METRICS",
    "Cell",
    "Column",
    "Figure",
    "averaged_columns",
    "cell_of",
    "check_metrics",
    "check_set",
    "number_of",
    "read_figures",
    "sides",
]

# The range of each metric, and 1 where more of it is better.
METRICS: dict[str, tuple[float, float, int]] = {
    "accuracy": (0.0, 1.0, 1),
    "f1": (0.0, 1.0, 1),
    "mcc": (-1.0, 1.0, 1),
    "pearson": (-1.0, 1.0, 1),
    "spearman": (-1.0, 1.0, 1),
    "mse": (0.0, math.inf, -1),
    "brier": (0.0, 2.0, -1),
    "ece": (0.0, 1.0, -1),
}
_KINDS = ("clean", "noise", "noise_curve", "advglue", "file", "attack")


@dataclass(frozen=True)
class Column:
    """One evaluation set of a task; or, without a task, the average or the drop over tasks.

    For tasks see :func:`~rosetune.runs.groups.task_of`.
    """

    task: str | None
    set: str


@dataclass(frozen=True)
class Cell:
    """Figures of one row of a table, one a seed, in the order of the seeds."""

    seeds: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """How many."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float | None:
        """Standard deviation of a sample; None for one seed."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else None


@dataclass(frozen=True)
class Figure:
    """What one run has on one set.

    Attributes:
        value: of the task's metric; None where that is undefined.
        constant: what the best constant prediction gets; None where that is not known.
        made: the number of examples, and of an attack what it was; alike where figures may be averaged.
    """

    value: float | None
    constant: float | None
    made: str


def check_metrics(metrics: Sequence[str]) -> int:
    """1 where more of these metrics is better, -1 where less is.

    Raises:
        RunError: none, an unknown one, or some of either kind.
    """
    for name in metrics:
        if name not in METRICS:
            raise RunError(f"no metric is called {name!r}: {guess(name, METRICS)}")
    signs = {METRICS[name][2] for name in metrics}
    if len(signs) != 1:
        raise RunError(f"metrics must be some of {', '.join(METRICS)}, of which either more or less is better")
    return signs.pop()


def read_figures(
    runs: Iterable[Run], sets: Sequence[str] | None, metrics: Sequence[str]
) -> tuple[dict[Run, dict[str, Figure]], dict[str, str], list[str]]:
    """The figures of each run by set, the metric of each task, and what is to be said of runs that are left out.

    Args:
        sets: kinds or names; None: clean and AdvGLUE, or where no run has it, clean, noise and files.
        metrics: of each task the first of these that one of its runs has.

    Raises:
        RunError: a set that no run has, and that is no kind; or no figure at all.
    """
    runs, notes, there = list(runs), list[str](), dict[str, None]()
    chosen = _metric_of_tasks(runs, metrics)
    found: dict[Run, dict[str, Figure]] = {}
    asked = sets
    if sets is None:
        known = any("advglue" in run.metrics["sets"] for run in runs)
        sets = ("clean", "advglue") if known else ("clean", "noise", "file")
    attacks = any(name == "attack" or SetName.parse(name).attack is not None for name in sets)
    for run in runs:
        try:
            names = [*run.metrics["sets"], *(_attacks(run) if attacks else ())]
            there |= dict.fromkeys(names)
            own = {name: _figure(run, name, chosen.get(task_of(run))) for name in names if _wanted(name, sets)}
            found[run] = {name: figure for name, figure in own.items() if figure is not None}
            if attacks:
                notes += [f"{told}." for name, told in unfinished(run).items() if _wanted(name, sets)]
        except RunError as error:
            notes.append(f"{run} is left out: {reason(run.folder, error)}")
    unknown = [name for name in sets if name not in _KINDS and name not in there]
    if unknown:
        raise RunError(f"no run was evaluated on {unknown[0]}: {guess(unknown[0], (*_KINDS, *there))}")
    if not any(found.values()):
        raise RunError(
            f"no run has {' or '.join(metrics)} on {', '.join(sets)}{': ' if notes else ''}{' '.join(notes)}"
        )
    having = {name for own in found.values() for name in own}
    missing = [name for name in asked or () if not any(_wanted(one, (name,)) for one in having)]
    if missing:
        notes.append(f"No run has {' or '.join(metrics)} on {' or on '.join(missing)}.")
    return found, chosen, notes


def _metric_of_tasks(runs: Iterable[Run], metrics: Sequence[str]) -> dict[str, str]:
    having: dict[str, set[str]] = {}
    for run in runs:
        for known in run.metrics["sets"].values():
            calibration = known.get("calibration")
            having.setdefault(task_of(run), set()).update(known, calibration if isinstance(calibration, dict) else ())
    found = {task: next((metric for metric in metrics if metric in names), None) for task, names in having.items()}
    return {task: metric for task, metric in found.items() if metric is not None}


def cell_of(
    runs: Sequence[Run], figures: Mapping[Run, Mapping[str, Figure]], column: Column, made: str
) -> Cell | None:
    """The figures of some runs on one set, as far as they were made as ``made`` says; None without any."""
    pairs = [
        (run.seed, value)
        for run in runs
        if (figure := figures[run].get(column.set)) is not None
        and figure.made == made
        and (value := figure.value) is not None
    ]
    return Cell(*zip(*pairs, strict=True)) if pairs else None


def sides(columns: Iterable[Column], task: str) -> tuple[list[Column], list[Column]]:
    """The clean columns of a task, and those of perturbed texts. A file of the user's is neither."""
    of_task = [(column, SetName.parse(column.set)) for column in columns if column.task == task]
    clean = [column for column, parsed in of_task if parsed.kind == "clean"]
    return clean, [column for column, parsed in of_task if parsed.perturbed]


def averaged_columns(columns: Sequence[Column], averaged: Iterable[str]) -> list[Column]:
    """The columns that average and drop over these tasks are made of."""
    return [column for task in averaged for side in sides(columns, task) for column in side]


def _wanted(name: str, sets: Sequence[str]) -> bool:
    parsed = SetName.parse(name)
    return name in sets or (parsed.kind in sets and not parsed.is_original)


def _attacks(run: Run) -> list[str]:
    return [SetName.of_attack(name).name for name, (header, _) in run.attacks.items() if header["finished"]]


def _figure(run: Run, name: str, metric: str | None) -> Figure | None:
    """None where the set has no such figure: under an attack there is accuracy alone."""
    attack = SetName.parse(name).attack
    if attack is not None:
        if metric != "accuracy":
            return None
        results = run.attacks[attack][1]
        kept = sum(result["status"] == "failed" for result in results) / len(results)
        return Figure(kept, None, json.dumps([len(results), attack_header(run, name)], sort_keys=True))
    known = run.metrics["sets"][name]
    check_set(known, name, run)
    every = {**(known.get("calibration") or {}), **known}
    if metric is None or metric not in every:
        return None
    value, best = (number_of(value, metric, name, run) for value in (every[metric], known["constant"].get(metric)))
    return Figure(value, best, str(known["n"]))


def check_set(known: Mapping[str, Any], name: str, run: Run) -> None:
    """Check the shape of one set in ``metrics.json``.

    Args:
        known: what stands there.
        name: of the set.
        run: whose it is, for the message.

    Raises:
        RunError: no number of examples, or no mapping where there must be one.
    """
    n, constant, calibration = known.get("n"), known.get("constant"), known.get("calibration") or {}
    if not isinstance(n, int) or n < 1 or not isinstance(constant, dict) or not isinstance(calibration, dict):
        raise RunError(f"metrics.json is damaged at {name}: evaluate again: {again(run.folder)}")


def number_of(value: Any, metric: str, name: str, run: Run, figure: str | None = None) -> float | None:
    """A figure of ``metrics.json``, checked; None where it is undefined.

    Args:
        value: what stands there.
        metric: of :data:`METRICS`, whose range it must be in.
        name: of the set.
        run: whose it is, for the message.
        figure: what the message calls it; None: as the metric.

    Raises:
        RunError: it is no number, or outside of the range.
    """
    low, high, _ = METRICS[metric]
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (low <= value <= high)
        or value == math.inf
    ):
        told = f"{figure or metric} on {name} is {value!r} in metrics.json"
        raise RunError(f"{told}: evaluate again: {again(run.folder)}")
    return float(value)
