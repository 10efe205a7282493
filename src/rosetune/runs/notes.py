"""What a reader of a table over many runs must know of its figures, as sentences."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rosetune.runs.compare import OF_THE_SEED, attack_header
from rosetune.runs.config import METHOD
from rosetune.runs.figures import Column, Figure, averaged_columns, sides
from rosetune.runs.groups import Group, task_of, value_text
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.tested import Row
from rosetune.runs.values import flat

__all__ = ["notes_on", "shared_notes"]

Figures = Mapping[Run, Mapping[str, Figure]]
ALPHA = 0.05
LEAST_DRAWN = 1e-4  # of the 9,999 draws of the sign-flip test from 14 seeds on
_DATA = ("data_fingerprint", "text_columns", "max_train_samples", "validation_from_train")
_PLACE = ("task", "model_name_or_path")


def notes_on(
    rows: Sequence[Row],
    figures: Figures,
    columns: Sequence[Column],
    made: Mapping[Column, str],
    averaged: Sequence[str],
    baselines: Mapping[str, str],
    test: str,
    titles: Mapping[str, str],
) -> list[str]:
    """In the order of their weight: what is left out, what the rows differ in, what the tests can say.

    Args:
        titles: by the name of a set what a person calls it.
    """
    called = {column: f"{titles[column.set]} ({column.task})" for column in columns}
    found = [*_made_otherwise(figures, made, called), *_undefined(figures, called)]
    found += [*_trained_on(figures, called, made), *_aside(columns, averaged), *_alike(figures, columns, averaged)]
    found += _incomplete(rows, columns, averaged)
    groups = [row.group for row in rows]
    found += [*_other_data(groups), *_chosen_by_task(groups), *_beside_the_method(groups)]
    return [*found, *_seeds(rows, baselines, test), *_limits(rows)]


def _and(names: Iterable[str]) -> str:
    *most, last = list(names)
    return f"{', '.join(most)} and {last}" if most else last


def _made_otherwise(figures: Figures, made: Mapping[Column, str], called: Mapping[Column, str]) -> list[str]:
    counts: dict[Column, int] = {}
    for run, own in figures.items():
        for name, figure in own.items():
            column = Column(task_of(run), name)
            if figure.made != made[column]:
                counts[column] = counts.get(column, 0) + 1
    return [
        f"{n} {'figure' if n == 1 else 'figures'} on {called[column]} left out: of other examples, or of another "
        "attack, than most."
        for column, n in counts.items()
    ]


def _undefined(figures: Figures, called: Mapping[Column, str]) -> list[str]:
    counts = dict.fromkeys(called, 0)
    for run, own in figures.items():
        for name, figure in own.items():
            counts[Column(task_of(run), name)] += figure.value is None
    return [f"On {called[column]} the metric is undefined for {n} of the runs." for column, n in counts.items() if n]


def _trained_on(figures: Figures, called: Mapping[Column, str], made: Mapping[Column, str]) -> list[str]:
    """Sets with texts that runs were trained on: of a part of the training data a run has seen fewer."""
    found = []
    for column, name in called.items():
        own = [run for run in figures if task_of(run) == column.task and column.set in figures[run]]
        shown = [
            run.metrics["sets"].get(column.set, {}) for run in own if figures[run][column.set].made == made[column]
        ]
        counts = {m.get("in_training_data", 0) for m in shown}
        if any(counts):
            up_to = "up to " if len(counts) > 1 else ""
            found.append(_shared(f"{up_to}{max(counts):,}", shown[0]["n"], name))
    return found


def shared_notes(sets: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Of one run's sets those with texts that it was trained on, a sentence for each.

    Args:
        sets: as ``metrics.json`` holds them.
    """
    return [
        _shared(
            f"{m['in_training_data']:,}", m["n"], "the clean set" if name == "clean" else SetName.parse(name).title
        )
        for name, m in sets.items()
        if m.get("in_training_data")
    ]


def _shared(shared: str, n: int, title: str) -> str:
    where = f"{shared} of {n:,} texts of {title} also occur in the training data"
    return f"{where[:1].upper()}{where[1:]}: a result on them is not one on new texts."


def _aside(columns: Sequence[Column], averaged: Sequence[str]) -> list[str]:
    """The tasks and sets that average and drop are without."""
    tasks = [task for task in dict.fromkeys(str(column.task) for column in columns) if task not in averaged]
    said, lacking = list[str](), dict[str, list[str]]()
    for task in tasks:
        missing = [what for what, side in zip(("clean", "robust"), sides(columns, task), strict=True) if not side]
        lacking.setdefault(" or ".join(missing), []).append(task)
    start = "Average and drop are without" if averaged else "No average and no drop of"
    said += [f"{start} {_and(names)}, where no {missing} set is shown." for missing, names in lacking.items()]
    counted = averaged_columns(columns, averaged)
    outside = dict.fromkeys(SetName.parse(c.set) for c in columns if c.task in averaged and c not in counted)
    if outside:
        are = "is neither clean nor robust, and" if len(outside) == 1 else "are neither clean nor robust, and"
        said.append(f"{_and(s.title for s in outside)} {are} outside average and drop.")
    return said


def _alike(figures: Figures, columns: Sequence[Column], averaged: Sequence[str]) -> list[str]:
    """Attacks of one recipe that count as several sets, since their options differ."""
    by_recipe: dict[tuple[str | None, str], set[str]] = {}
    for column in averaged_columns(columns, averaged):
        if SetName.parse(column.set).attack is not None:
            header = next(attack_header(run, column.set) for run in figures if column.set in figures[run])
            by_recipe.setdefault((column.task, str(header.get("recipe"))), set()).add(column.set)
    return [
        f"Average and drop count {recipe} on {task} {len(names)} times, once for each of its attacks: name one with "
        f"--sets, such as {sorted(names)[0]}."
        for (task, recipe), names in by_recipe.items()
        if len(names) > 1
    ]


def _incomplete(rows: Sequence[Row], columns: Sequence[Column], averaged: Sequence[str]) -> list[str]:
    needed = averaged_columns(columns, averaged)
    lacking = [row.group.name for row in rows if any(column not in row.cells for column in needed)]
    apart = [
        row.group.name
        for row in rows
        if row.group.name not in lacking and len({row.cells[column].seeds for column in needed}) > 1
    ]
    said = []
    if lacking:
        said.append(f"No average of {_and(dict.fromkeys(lacking))}, where a figure is missing.")
    if apart:
        said.append(f"Average and drop of {_and(dict.fromkeys(apart))} are over the seeds that all figures have.")
    return said


def _other_data(groups: Sequence[Group]) -> list[str]:
    """Rows of one task that were not trained on the same data."""
    said = []
    for option in _DATA:
        by_task: dict[tuple[str, str], dict[str, list[str]]] = {}
        for group in groups:
            for task, runs in group.runs.items():
                value = value_text(runs[0].identity.get(option))
                by_task.setdefault((group.model, task), {}).setdefault(value, []).append(group.name)
        said += [
            f"{task}: not all rows were trained on the same data. {option}: "
            + "; ".join(f"{value} ({', '.join(names)})" for value, names in values.items())
            + "."
            for (_, task), values in by_task.items()
            if len(values) > 1
        ]
    return said


def _chosen_by_task(groups: Sequence[Group]) -> list[str]:
    """Options that the tasks of a row do not share."""
    by_names: dict[tuple[str, ...], list[str]] = {}
    for group in groups:
        every = [flat(runs[0].identity, (*OF_THE_SEED, *_DATA, *_PLACE)) for runs in group.runs.values()]
        if names := tuple(_differing(every)):
            by_names.setdefault(names, []).append(group.name)
    return [
        f"Not the same for all tasks of a row: {', '.join(names)} ({', '.join(dict.fromkeys(rows))})."
        for names, rows in by_names.items()
    ]


def _beside_the_method(groups: Sequence[Group]) -> list[str]:
    """Options beside the method that the rows of a task do not share; those of controls are theirs."""
    by_task: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for group in groups:
        for task, runs in group.runs.items() if not group.control else ():
            options = flat(runs[0].identity, (*OF_THE_SEED, *METHOD, *_DATA, *_PLACE))
            by_task.setdefault((group.model, task), []).append(options)
    names = dict.fromkeys(name for every in by_task.values() for name in _differing(every))
    return [f"Not the same for all rows of a task: {', '.join(names)}. JSON has the options."] if names else []


def _differing(every: Sequence[Mapping[str, Any]]) -> list[str]:
    names = sorted({name for options in every for name in options})
    return [name for name in names if any(options.get(name) != every[0].get(name) for options in every)]


def _seeds(rows: Sequence[Row], baselines: Mapping[str, str], test: str) -> list[str]:
    """Rows with other seeds than their baseline."""
    bases = {row.group.model: row for row in rows if row.group.name == baselines.get(row.group.model)}
    apart, disjoint = dict[str, None](), dict[str, None]()
    for row in rows:
        base = bases.get(row.group.model, row)
        pairs = [
            ({*cell.seeds}, {*base.cells[column].seeds}) for column, cell in row.cells.items() if column in base.cells
        ]
        apart |= dict.fromkeys(row.group.name for own, other in pairs if own & other and own != other)
        disjoint |= dict.fromkeys(row.group.name for own, other in pairs if not own & other)
    said = []
    if apart:
        made = test == "welch" and any(tested.p is not None for row in rows for tested in row.tests.values())
        welch = " Welch's t-test, and its marks, are over all seeds of both rows." if made else ""
        said.append(
            f"{_and(apart)}: not the seeds of the baseline. Differences and tests by pairs are over the common "
            f"seeds.{welch}"
        )
    if disjoint:
        then = (
            "the difference is that of the means, and no test is by pairs" if test == "welch" else "nothing is tested"
        )
        said.append(f"{_and(disjoint)}: where no seed is the baseline's, {then}.")
    return said


def _limits(rows: Sequence[Row]) -> list[str]:
    """How small the p of the sign-flip test can become."""
    counts = sorted({len(tested.common) for row in rows for tested in row.tests.values() if tested.common})
    if not counts:
        return []
    least = {n: max(0.5**n, LEAST_DRAWN) for n in counts}
    limits = ", ".join(f"{p:.5g} with {n} seed{'s' if n > 1 else ''}" for n, p in least.items())
    never = " so that it never falls below 0.05" if least[counts[-1]] > ALPHA else ""
    return [f"The sign-flip test's p is at least {limits}{',' if never else ''}{never}."]
