"""Runs in the mean over their seeds: a row per method, a figure per task and set, tests against a baseline."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rosetune.robustness.advglue import average_and_drop
from rosetune.runs.figures import (
    Cell,
    Column,
    Figure,
    averaged_columns,
    cell_of,
    check_metrics,
    read_figures,
    sides,
)
from rosetune.runs.groups import group_runs, task_of, tasks_of
from rosetune.runs.notes import notes_on
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.tested import Row, against_baselines, choose_baselines
from rosetune.runs.titles import titles_of
from rosetune.runs.values import RunError

__all__ = ["AVERAGE", "DROP", "LAYOUTS", "Aggregate", "aggregate"]

LAYOUTS = ("table1", "table2", "table3")  # of the ROSE paper

AVERAGE, DROP = Column(None, "average"), Column(None, "drop")
Figures = dict[Run, dict[str, Figure]]


@dataclass(frozen=True)
class Aggregate:
    """What :func:`aggregate` found.

    Attributes:
        columns: of each task its sets, then average and drop, where a task has both sides.
        metrics: by task.
        rows: in the order of a table: by model, methods, then controls.
        constant: what the best constant prediction gets, where that is known.
        baselines: by model the name of the row that others are tested against.
        test: "welch" or "paired".
        averaged: the tasks that average and drop are over: those with a clean and a robust set.
        notes: what a reader must know of these figures.
        titles: by the name of a set what a person calls it, see :func:`~rosetune.runs.titles.titles_of`.
    """

    columns: tuple[Column, ...]
    metrics: dict[str, str]
    rows: list[Row]
    constant: dict[Column, float]
    baselines: dict[str, str]
    test: str
    averaged: tuple[str, ...]
    notes: list[str]
    titles: dict[str, str]


def aggregate(
    runs: Iterable[Run],
    *,
    sets: Sequence[str] | None = None,
    metric: Sequence[str] = ("accuracy",),
    baseline: str | None = None,
    test: str = "welch",
    told: Sequence[str] = (),
    chosen: Callable[[Run], bool] | None = None,
    held_out: bool = False,
    over_tasks: bool = False,
    labels: Mapping[Run, str] | None = None,
) -> Aggregate:
    """Mean, spread and number of seeds of each row and column, average and drop, and the tests against a baseline.

        average = mean over tasks of (clean + robust) / 2,    drop = mean over tasks of (clean - robust)

    of each seed, over the seeds that have all of it. Clean and robust are the means over the clean sets and over the
    sets of perturbed texts that are shown; with AdvGLUE as the only one of those this is the paper's. A file of the
    user's, and AdvGLUE's originals, are on neither side. A task without one of the two sides does not count; without
    any task that has both there is neither average nor drop.

    Args:
        runs: from :func:`rosetune.find_runs`; for rows see :func:`~rosetune.runs.groups.group_runs`.
        sets: kinds or names; None: clean and AdvGLUE, or where no run has it, clean, noise and files.
        metric: of each task the first of these that it has.
        baseline, test: see :func:`~rosetune.runs.tested.choose_baselines` and ``against_baselines`` beside it.
        told, labels: see :func:`~rosetune.runs.groups.group_runs`.
        chosen: which runs are shown; None: all.
        held_out: whether the trial runs of a search are shown, and nothing else; otherwise they are left out.
        over_tasks: whether average and drop alone are tested, where nothing else is shown; Holm's correction is over
            the tests that are made.

    Raises:
        RunError: nothing to show, or a set, metric, option or baseline that is not there; ``over_tasks`` without an
            average.
    """
    sign = check_metrics(metric)
    kept, notes = _chosen(runs, held_out, chosen)
    figures, metrics, damaged = read_figures(kept, sets, metric)
    columns = _columns(figures)
    groups, more = group_runs(figures, told, labels)
    made = _made(figures, columns)
    averaged = _averaged(columns)
    if over_tasks and not averaged:
        raise RunError(
            "average and drop need a clean and a robust set of one task, but these runs have "
            f"{', '.join(dict.fromkeys(column.set for column in columns))}: evaluate on more, or give other --sets"
        )
    rows = []
    for group in groups:
        own = {
            column: cell_of(group.runs.get(str(column.task), ()), figures, column, made[column]) for column in columns
        }
        cells = {column: cell for column, cell in own.items() if cell is not None}
        rows.append(Row(group, cells | _over_tasks(cells, columns, averaged, sign)))
    every = (*columns, *((AVERAGE, DROP) if averaged else ()))
    baselines, untested = choose_baselines(groups, baseline)
    asked = every[len(columns) :] if over_tasks else every
    signs = {**dict.fromkeys(asked, sign), DROP: -1}
    tested = against_baselines(rows, baselines, signs, test)
    constant = _constant(figures, columns, made, averaged, sign)
    titles = titles_of(figures, (column.set for column in columns))
    notes += [*damaged, *more, *untested, *_no_constant(metrics, columns, constant)]
    notes += notes_on(tested, figures, columns, made, averaged, baselines, test, titles)
    return Aggregate(every, metrics, tested, constant, baselines, test, averaged, notes, titles)


def _chosen(runs: Iterable[Run], held_out: bool, chosen: Callable[[Run], bool] | None) -> tuple[list[Run], list[str]]:
    kept, notes, trials, others = list[Run](), list[str](), 0, 0
    for run in runs:
        if (run.config.held_out is not None) is not held_out:
            trials += 1
        elif chosen is not None and not chosen(run):
            others += 1
        else:
            kept.append(run)
    if trials and held_out:
        notes.append(
            f"Left out, since they are no trial runs (those are evaluated on held-out training rows): {trials}."
        )
    elif trials:
        notes.append(f"Trial runs, evaluated on held-out training rows, left out (--held_out shows them): {trials}.")
    if others:
        notes.append(f"Runs of other methods, which have no place in this layout: {others}.")
    if not kept:
        raise RunError(f"no run is left to show: {' '.join(notes) or 'none was given'}")
    return kept, notes


def _columns(figures: Figures) -> list[Column]:
    found = {Column(task_of(run), name) for run, own in figures.items() for name in own}
    order = tasks_of(figures)
    return sorted(found, key=lambda column: (order.index(str(column.task)), SetName.parse(column.set).sort_key))


def _made(figures: Figures, columns: Iterable[Column]) -> dict[Column, str]:
    """Of each column how most of its figures were made."""
    counts: dict[Column, Counter[str]] = {column: Counter() for column in columns}
    for run, own in figures.items():
        for name, figure in own.items():
            if (column := Column(task_of(run), name)) in counts:
                counts[column][figure.made] += 1
    return {column: count.most_common(1)[0][0] for column, count in counts.items()}


def _averaged(columns: Sequence[Column]) -> tuple[str, ...]:
    """The tasks with a clean and a robust column."""
    tasks = dict.fromkeys(column.task for column in columns if column.task is not None)
    return tuple(task for task in tasks if all(sides(columns, task)))


def _over_tasks(
    cells: Mapping[Column, Cell], columns: Sequence[Column], averaged: Sequence[str], sign: int
) -> dict[Column, Cell]:
    """Average and drop of a row, for the seeds that have every figure; nothing where one is missing for all."""
    needed = averaged_columns(columns, averaged)
    if not needed or any(column not in cells for column in needed):
        return {}
    by_seed = {column: dict(zip(cells[column].seeds, cells[column].values, strict=True)) for column in needed}
    seeds = tuple(sorted(set.intersection(*({*values} for values in by_seed.values()))))
    each = [_average_and_drop({column: by_seed[column][seed] for column in needed}, averaged, sign) for seed in seeds]
    averages, drops = (tuple(pair[i] for pair in each) for i in (0, 1))
    return {AVERAGE: Cell(seeds, averages), DROP: Cell(seeds, drops)} if seeds else {}


def _average_and_drop(values: Mapping[Column, float], averaged: Sequence[str], sign: int) -> tuple[float, float]:
    clean, robust = (
        {task: float(np.mean([values[column] for column in sides(values, task)[side]])) for task in averaged}
        for side in (0, 1)
    )
    average, drop = average_and_drop(clean, robust)
    return average, sign * drop


def _constant(
    figures: Figures,
    columns: Sequence[Column],
    made: Mapping[Column, str],
    averaged: Sequence[str],
    sign: int,
) -> dict[Column, float]:
    """What the best constant prediction gets, where all runs say the same."""
    said: dict[Column, set[float]] = {}
    for run, own in figures.items():
        for name, figure in own.items():
            column = Column(task_of(run), name)
            if column in made and figure.made == made[column] and figure.constant is not None:
                said.setdefault(column, set()).add(round(figure.constant, 12))
    found = {column: values.pop() for column, values in said.items() if len(values) == 1}
    needed = averaged_columns(columns, averaged)
    if needed and all(column in found for column in needed):
        average, drop = _average_and_drop({column: found[column] for column in needed}, averaged, sign)
        found |= {AVERAGE: average, DROP: drop}
    return found


def _no_constant(metrics: Mapping[str, str], columns: Iterable[Column], constant: Mapping[Column, float]) -> list[str]:
    """Why a table has no line, or an empty cell, of the constant prediction."""
    lacking = {metrics[str(column.task)] for column in columns if column not in constant} - {"accuracy", "mse"}
    told = ", ".join(sorted(lacking))
    return [f"The best constant prediction is known for accuracy and mse alone, not for {told}."] if lacking else []
