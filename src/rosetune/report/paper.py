"""The paper's tables from finished runs: what stands where, for the terminal and for every file format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from rosetune.report.console import BREAK, Grid, print_grid
from rosetune.report.published import PAPER_TASKS, SOURCE, check_accuracies, paper_models, published
from rosetune.report.sheets import Entry, Printed, Sheet, by_method, by_value, is_option
from rosetune.runs.aggregate import DROP, LAYOUTS, Aggregate, aggregate
from rosetune.runs.figures import METRICS
from rosetune.runs.groups import told_options, value_text
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.tested import Row
from rosetune.runs.values import RunError, flat

__all__ = ["PaperTable", "print_table", "sheet_grid", "table"]


_NAME = 3  # a name may take this part of a line
_OTHER = "name another method with --baseline"


@dataclass(frozen=True)
class PaperTable:
    """What :func:`table` found.

    Attributes:
        layout: its name.
        sheets: to show.
        notes: below them.
        data_notes: the same below figures that are shares, and not in percent: those of CSV and JSON.
        found, printed: the measured and the printed figures behind the sheets.
    """

    layout: str
    sheets: list[Sheet]
    notes: list[str]
    data_notes: list[str]
    found: Aggregate
    printed: Printed


def table(
    runs: Iterable[Run],
    layout: str = "table1",
    *,
    sets: Sequence[str] | None = None,
    metric: Sequence[str] = ("accuracy",),
    baseline: str | None = None,
    test: str = "welch",
    option: str = "gamma",
    paper: bool | str = False,
    held_out: bool = False,
    labels: Mapping[Run, str] | None = None,
) -> PaperTable:
    """Finished runs in the layout of one of the paper's tables.

    ``table1``: a line per method, and for each task its sets; average and drop over tasks; the controls apart.
    ``table2``: the same of a method and of what is added to it: r-drop and r-drop+rose-ensemble.
    ``table3``: average and drop of each method, a column per value of an option.

    Args:
        runs: from :func:`rosetune.find_runs`.
        sets, metric, test, held_out: see :func:`~rosetune.runs.aggregate.aggregate`.
        baseline: as there; None: vanilla, and in table2 r-drop.
        option: of table3, such as "gamma" or "update_mask_kwargs.upper".
        paper: whether the paper's own figures stand beside those of the same model, method and task; or the name of
            its model whose figures do.
        labels: what a plan calls the method of each run, see :func:`~rosetune.runs.groups.group_runs`.

    Raises:
        RunError: an unknown layout, nothing to show, the paper's accuracies beside another metric, or what
            :func:`~rosetune.runs.aggregate.aggregate` raises.

    Example:
        print_table(console(), table(find_runs("runs/**"), "table1", baseline="vanilla"))
    """
    if layout not in LAYOUTS:
        raise RunError(f"no layout is called {layout!r}: choose one of {', '.join(LAYOUTS)}")
    runs = list(runs)
    if layout == "table2":
        baseline = baseline or "r-drop"
    found = aggregate(
        runs,
        sets=sets,
        metric=metric,
        baseline=baseline,
        test=test,
        told=(option,) if layout == "table3" else (),
        chosen=_chosen(layout, runs, baseline, option),
        held_out=held_out,
        over_tasks=layout == "table3",
        labels=labels,
    )
    if paper:
        check_accuracies(found.metrics, over_tasks=layout == "table3")
    models = list(dict.fromkeys(row.group.model for row in found.rows))
    theirs = paper_models(models, paper) if paper else {}
    # Of several rows of a method, which of them the paper's is, is not known: it comes once, after the last.
    last = {(row.group.model, row.group.method, _gamma(row, layout, option)): row.group.name for row in found.rows}
    printed = {
        (model, name): published(theirs[model], method, found.columns, found.averaged, gamma)
        for (model, method, gamma), name in last.items()
        if model in theirs
    }
    sheets = []
    for model in models:
        rows = [row for row in found.rows if row.group.model == model]
        if layout == "table3":
            sheets += by_value(found, model, rows, printed, option)
        else:
            sheets += by_method(found, model, rows, printed, added=layout == "table2")
    below = [*_said_of_layout(layout, baseline, runs), *found.notes, *_said_of_paper(found, theirs, printed, layout)]
    notes, data_notes = ([*_legend(found, unit), *below] for unit in ("in percent", "as shares"))
    return PaperTable(layout, sheets, notes, data_notes, found, printed)


def print_table(out: Console, shown: PaperTable) -> None:
    """Every sheet on a terminal of any width, what its rows are called for short, and the notes."""
    short = _short_names(shown.sheets, out.width // _NAME)
    for sheet in shown.sheets:
        blocks = [[(short.get(name, name), entries) for name, entries in block] for block in sheet.blocks]
        print_grid(out, sheet_grid(replace(sheet, blocks=blocks)))
    options = dict.fromkeys((named.rpartition(" ")[2], _options(name)) for name, named in short.items())
    for number, told in options:
        out.print(Text(f"{number}: {told}"))
    for note in shown.notes:
        out.print(Text(note))


def _short_names(sheets: Iterable[Sheet], longest: int) -> dict[str, str]:
    """By the name of a row whose options leave no room for figures: the same with a number for them."""
    names = dict.fromkeys(name for sheet in sheets for block in sheet.blocks for name, _ in block)
    long = dict.fromkeys(_options(name) for name in names if len(name) > longest and _options(name))
    numbers = {told: number for number, told in enumerate(long, start=1)}
    # One row stands under several names, such as "average: r-drop (...)", of which some may be short enough.
    called = {name: told for name in names if (told := _options(name)) in numbers}
    return {name: name.replace(f" ({told})", f" #{numbers[told]}") for name, told in called.items()}


def _options(name: str) -> str:
    """What stands in brackets in the name of a row."""
    return name.partition(" (")[2].rpartition(")")[0]


def sheet_grid(sheet: Sheet) -> Grid:
    """A sheet with its cells in rich's markup."""
    heads = (f"{task}\n{head}" if task else head for task, head in sheet.heads)
    lines: list[tuple[str, ...] | None] = []
    for i, block in enumerate(sheet.blocks):
        lines += [None] if i else []
        lines += [(escape(name), *map(_markup, entries)) for name, entries in block]
    return Grid(sheet.title, ("", *heads), lines)


def _markup(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    text = f"[bold]{escape(entry.text)}[/bold]" if entry.bold else escape(entry.text)
    spread = f"{BREAK}[dim]{escape(entry.spread)}[/dim]" if entry.spread else ""
    return f"{text}{entry.mark}{spread}"


def _chosen(layout: str, runs: Sequence[Run], baseline: str | None, option: str) -> Callable[[Run], bool] | None:
    """Which runs a layout shows."""
    base = (baseline or "vanilla").partition(" (")[0]
    if layout == "table2":
        if not any(_is_added_to(base, run) for run in runs):
            raise RunError(f"table2 is {base} and what is added to it ({base}+...), and no run is of these: {_OTHER}")
        return lambda run: _is_added_to(base, run)
    if layout == "table3":
        names = told_options((option,), [run.identity for run in runs])
        having = {run.method for run in runs if {*names} & flat(run.identity).keys()}
        return lambda run: run.method in having or run.method == base
    return None


def _is_added_to(base: str, run: Run) -> bool:
    """Whether a run is of a method, or of it with something added."""
    return run.method == base or run.method.startswith(f"{base}+")


def _said_of_layout(layout: str, baseline: str | None, runs: Sequence[Run]) -> list[str]:
    """What table2 looks for, where there is more than that."""
    base = (baseline or "").partition(" (")[0]
    if layout != "table2" or all(_is_added_to(base, run) for run in runs):
        return []
    return [f"Shown are {base} and what is added to it ({base}+...): {_OTHER} for others."]


def _gamma(row: Row, layout: str, option: str) -> str | None:
    """The value of gamma of a line of Table 3."""
    if layout != "table3":
        return None
    values = [
        value for name, value in row.group.options.items() if is_option(option, name) and option.endswith("gamma")
    ]
    return value_text(values[0]) if values else ""


def _legend(found: Aggregate, unit: str) -> list[str]:
    """What the figures and the marks are.

    Args:
        unit: of shares.
    """
    raw = {*found.metrics.values()} & {"mse", "brier"}
    less = METRICS[next(iter(found.metrics.values()))][2] < 0
    said = [
        f"Means over seeds{'' if raw else f', {unit}'}, with the standard deviation"
        + (" (less is better)." if less else ".")
    ]
    tasks = ", ".join(found.averaged)
    if DROP in found.columns:
        other = any(SetName.parse(column.set).kind == "advglue" for column in found.columns)
        said.append(
            f"average: of clean and robust, over {tasks}. drop: clean minus robust, less is better"
            + ("; other sentences, where the robust set is AdvGLUE." if other else ".")
        )
    made = [tested for row in found.rows for tested in row.tests.values()]
    return [*said, *_tests_legend(found, sum(tested.p is not None for tested in made))] if made else said


def _tests_legend(found: Aggregate, tests: int) -> list[str]:
    """What the marks are, and the tests below them."""
    how = {
        "welch": "Welch's, of independent samples: the paper says no more than 1-tailed t-test over 5 seeds",
        "paired": "paired by seed; the paper says no more than 1-tailed t-test over 5 seeds",
    }[found.test]
    base = " / ".join(dict.fromkeys(found.baselines.values()))
    marks = (
        f"* better than {base} by a one-tailed t-test ({how}), p < 0.05. ** also after Holm's correction over the "
        f"table's {tests} t-test{'s' if tests > 1 else ''}."
        if tests
        else f"No t-test against {base}: it needs two seeds or more, and spread."
    )
    pairs = any(tested.p_sign_flip is not None for row in found.rows for tested in row.tests.values())
    flips = (
        " The sign-flip test is exact up to 13 seeds and drawn at random from 14 on; it is one-tailed, paired by seed "
        "and not corrected."
    )
    taken = (
        " Every test is about the luck of the seed: the examples are taken as given (`rosetune compare` draws them "
        "too)."
    )
    made = [tested for row in found.rows for tested in row.tests.values()]
    lacking = any(None in (tested.p, tested.p_sign_flip) for tested in made)
    dash = (
        " A dash among the p (-/-/1): there is no such test; a t-test needs two seeds or more that are not all alike, "
        "a sign-flip test a seed on both sides."
    )
    return [f"{marks}{flips if pairs else ''}{dash if lacking else ''}{taken if tests or pairs else ''}"]


def _said_of_paper(found: Aggregate, theirs: Mapping[str, str], printed: Printed, layout: str) -> list[str]:
    if not theirs:
        return []
    said = [f"the paper: {SOURCE}"]
    said += [f"Beside {ours} stand its figures of {name}." for ours, name in theirs.items() if ours.lower() != name]
    if layout == "table3":
        said.append("Its Table 3 is over SST-2, RTE, QNLI and QQP.")
    elif {*found.averaged} < {*PAPER_TASKS} and any(DROP in part for part in printed.values()):
        said.append(f"Its average and drop are computed from its figures on {', '.join(found.averaged)}.")
    return said
