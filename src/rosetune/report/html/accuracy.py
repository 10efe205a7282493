"""What the runs score: a table a task, differences from the baseline, accuracy by attack."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from rich.markup import escape

from rosetune.report.console import BREAK, Grid, interval_cell, mean_cell, p_text, percent
from rosetune.report.html.groups import Group, Kept, set_titles
from rosetune.robustness.significance import paired_t_test
from rosetune.robustness.statistics import ALPHA
from rosetune.runs.compare import attack_header, common_rows, rows_difference, rows_of
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, guess

__all__ = [
    "advglue_grids",
    "attack_grid",
    "baseline_of",
    "check_baseline",
    "difference_grid",
    "score_grid",
    "set_names",
]

_P = (
    "p is two-sided here: of one pair that of a test over its examples, of several that of a t-test paired by seed. "
    "The table over tasks has one-tailed tests, so that its p differ. p -: there is no test, since all pairs of seeds "
    "differ by the same."
)
_FIGURES = ("clean_accuracy", "accuracy_under_attack", "attack_success_rate", "mean_queries", "mean_share_changed")


def set_names(groups: Sequence[Group], *, curve: bool = False) -> list[str]:
    """The sets that any of the groups was evaluated on, without the noise curve or it alone."""
    names = dict.fromkeys(name for group in groups for name in group.sets)
    chosen = [SetName.parse(name) for name in names]
    return [part.name for part in sorted(chosen, key=lambda part: part.sort_key) if part.on_curve is curve]


def baseline_of(groups: Sequence[Group], method: str) -> Group | None:
    """The group of a task that the others are set against: the first of that name or method, and no control."""
    fitting = (group for group in groups if method in (group.name, group.runs[0].method) and not group.control)
    return next(fitting, None)


def check_baseline(tasks: Mapping[str, Sequence[Group]], method: str) -> None:
    """Refuse a baseline that no task has.

    Raises:
        RunError: see there.
    """
    if all(baseline_of(groups, method) is None for groups in tasks.values()):
        every = [group for groups in tasks.values() for group in groups if not group.control]
        known = dict.fromkeys(name for group in every for name in (group.runs[0].method, group.name))
        raise RunError(f"--baseline: no run is of the method {method!r}: {guess(method, known)}")


def score_grid(task: str, groups: Sequence[Group]) -> Grid:
    """A line for each group: the mean over its seeds on each set, with interval, standard deviation and seeds."""
    names, regression = set_names(groups), not groups[0].runs[0].labels
    titles = set_titles(groups)
    heads = (f"{titles[name]}\n(n = {_count(groups, name)})" for name in names)
    value = "mean squared error" if regression else "accuracy in %"
    grid = Grid(f"{task}: {value} [95%]", ("method", "seeds", *heads))
    for group in groups:
        cells = [_score_cell(group, name, regression) for name in names]
        grid.rows.append((escape(group.name), str(len(group.members)), *cells))
    constants = [_constant(groups, name) for name in names]
    if any(value is not None for value in constants):
        grid.rows.append(None)
        grid.rows.append(("constant", "", *(mean_cell(value, regression) for value in constants)))
    return grid


def _count(groups: Sequence[Group], name: str) -> str:
    counts = sorted({member.figures[name]["n"] for group in groups for member in group.members if name in group.sets})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _score_cell(group: Group, name: str, regression: bool) -> str:
    found = group.estimate(name)
    if found is None:
        return "-"
    cell = interval_cell(found.value, found.low, found.high, regression=regression)
    values = group.values(name)
    return f"{cell}{BREAK}[dim]sd {mean_cell(stdev(values), regression)}[/dim]" if len(values) > 1 else cell


def _constant(groups: Sequence[Group], name: str) -> float | None:
    for group in groups:
        found = group.members[0].figures.get(name, {}).get("constant")
        if found is not None:
            return found.get("accuracy", found.get("mse"))
    return None


def difference_grid(task: str, groups: Sequence[Group], baseline: Group, report: Callable[[str], Any]) -> Grid | None:
    """By how much each group is better than the baseline, paired by seed; None where nothing can be paired.

    Args:
        report: is told what could not be compared, and why.
    """
    names, regression = set_names(groups), not groups[0].runs[0].labels
    value = "lower squared error" if regression else "accuracy in points"
    titles = set_titles(groups)
    heads = (titles[name] for name in names)
    grid = Grid(f"{task}: {value}, against {baseline.name}", ("method", "pairs", *heads), caption=_P)
    for group in groups:
        if group is baseline or group.runs[0].labels != baseline.runs[0].labels:
            continue
        pairs = _pairs(baseline, group)
        if pairs:
            cells = [_difference_cell(pairs, name, regression, report) for name in names]
            grid.rows.append((escape(group.name), str(len(pairs)), *cells))
        else:
            report(f"{group.name} on {task} is not set against {baseline.name}: no seed is on both sides")
    return grid if grid.rows else None


def _pairs(a: Group, b: Group) -> list[tuple[Kept, Kept]]:
    """By seed; a single run pairs with a single run of any seed."""
    if len(a.members) == len(b.members) == 1:
        return [(a.members[0], b.members[0])]
    other = {member.run.seed: member for member in b.members}
    return [(member, other[member.run.seed]) for member in a.members if member.run.seed in other]


def _difference_cell(
    pairs: Sequence[tuple[Kept, Kept]], name: str, regression: bool, report: Callable[[str], Any]
) -> str:
    if any(name not in member.figures for pair in pairs for member in pair):
        return "-"
    a, b = ([pair[side].run for pair in pairs] for side in (0, 1))
    if any(attack_header(run, name) != attack_header(a[0], name) for run in (*a, *b)):
        return "-\n[dim]other attack[/dim]"
    try:
        if len(pairs) == 1:
            return _told(*_compared(a, b, name), regression)
        sides = ([_value(pair[side], name) for pair in pairs] for side in (0, 1))
        before, after = sides
        signed = [[-value for value in before], [-value for value in after]] if regression else [before, after]
        test = paired_t_test(*signed)
        least = min((p for p in (test.b_better, test.a_better) if p is not None), default=1.0)
        # The one rule asks the bootstrap too, which takes a while: only where the test over seeds says so already.
        verdict = _compared(a, b, name)[2] if least <= ALPHA else 0
        return _told(mean(signed[1]) - mean(signed[0]), test.two_sided, verdict, regression)
    except RunError as error:
        report(f"{b[0]} is not set against {a[0]}: {error}")
        return "-"


def _value(member: Kept, name: str) -> float:
    found = member.estimate(name)
    assert found is not None
    return found.value


def _compared(a: Sequence[Run], b: Sequence[Run], name: str) -> tuple[float, float | None, int]:
    before, after = rows_of(a, name), rows_of(b, name)
    if SetName.parse(name).attack is not None:
        before, after = common_rows(before, after)
    found = rows_difference(before, after, name)
    return found.value, found.p, found.verdict


def _told(value: float, p: float | None, verdict: int, regression: bool) -> str:
    shown = mean_cell(value, regression, sign="+")
    word = {1: "\n[bold]better[/bold]", -1: "\n[bold]worse[/bold]", 0: ""}[verdict]
    return f"{shown}\n[dim]p {'-' if p is None else p_text(p)}[/dim]{word}"


def attack_grid(task: str, groups: Sequence[Group]) -> Grid | None:
    """A line for every group under every attack, means over the seeds; None without attacks."""
    columns = ("n", "before %", "under attack %\n[95%]", "success %", "queries", "words %")
    grid, titles = Grid(f"{task}: attacks", ("attack", *columns)), set_titles(groups)
    for name in (name for name in set_names(groups) if SetName.parse(name).attack is not None):
        grid.rows.extend(
            [None, (f"[bold]{escape(titles[name].removeprefix('under '))}[/bold]", *("" for _ in columns))]
        )
        for group in groups:
            found = group.estimate(name)
            if found is not None:
                under = interval_cell(found.value, found.low, found.high)
                before, _, success, queries, words = (_mean(group, name, figure) for figure in _FIGURES)
                asked = "-" if queries is None else f"{queries:.0f}"
                cells = (str(found.n), percent(before), under, percent(success), asked, percent(words))
                grid.rows.append((escape(group.name), *cells))
    return grid if grid.rows else None


def _mean(group: Group, name: str, figure: str) -> float | None:
    values = [member.figures[name][figure] for member in group.members]
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def advglue_grids(task: str, groups: Sequence[Group]) -> list[Grid]:
    """AdvGLUE by kind of attack and by attack: mean accuracy of each group."""
    grids = []
    for name in set_names(groups):
        parts = [(group, [_advglue(member, name) for member in group.members]) for group in groups]
        there = [(group, reports) for group, reports in parts if all(reports)]
        if not there:
            continue
        grid = Grid(
            f"{task}: {SetName.parse(name).title} by kind and attack, accuracy in %",
            ("attack", "n", *(group.name for group, _ in there)),
        )
        kinds = there[0][1][0]
        for path in _paths(kinds):
            shares = [[_at(report, path) for report in reports] for _, reports in there]
            n = next(share["n"] for part in shares for share in part if share)
            cells = [percent(mean(s["accuracy"] for s in part if s) if any(part) else None) for part in shares]
            label = escape(path[-1].split("/", 1)[-1])
            grid.rows.append((label if len(path) > 1 else f"[bold]{label}[/bold]", str(n), *cells))
        grids.append(grid)
    return grids


def _advglue(member: Kept, name: str) -> Mapping[str, Any]:
    report: Mapping[str, Any] = member.run.metrics.get("advglue", {}).get("sets", {}).get(name, {})
    return report


def _paths(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """("word",), then ("word", "word/textfooler") and so on."""
    methods = report.get("by_method", {})
    kinds = report.get("by_kind", {})
    return [
        path
        for kind in kinds
        for path in [(kind,), *((kind, method) for method in methods if method.split("/", 1)[0] == kind)]
    ]


def _at(report: Mapping[str, Any], path: tuple[str, ...]) -> Mapping[str, Any] | None:
    part = report.get("by_kind" if len(path) == 1 else "by_method", {}).get(path[-1])
    return None if part is None else part["adversarial"]
