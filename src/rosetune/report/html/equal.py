"""The baseline over training, and the ends of other methods at equal clean accuracy, over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.markup import escape

from rosetune.report.console import Grid, interval_cell, percent, points
from rosetune.report.html.groups import Group, set_titles
from rosetune.robustness.flip_control import robust_at_equal_clean
from rosetune.robustness.significance import paired_t_test
from rosetune.runs.along import accuracy, end_of, steps_with
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["Curve", "baseline_curves", "equal_grid"]


@dataclass(frozen=True)
class Curve:
    """A run over training: its accuracies at each evaluated checkpoint.

    Attributes:
        run: whose checkpoints were evaluated.
        steps: in the order of training.
        at: by set the accuracy at each step.
    """

    run: Run
    steps: Sequence[int]
    at: Mapping[str, Sequence[float]]

    def points(self, name: str, clean: str) -> list[tuple[float, float]]:
        """(clean, robust) at each step; nothing where either was not evaluated."""
        return [*zip(self.at.get(clean, ()), self.at.get(name, ()), strict=False)]


def baseline_curves(baseline: Group | None, names: Sequence[str]) -> list[Curve]:
    """The checkpoints of the baseline's runs, of those that have any, in the order of their seeds."""
    found = []
    for run in baseline.runs if baseline is not None and baseline.runs[0].labels else ():
        steps = steps_with(run, "clean")
        if len(steps) > 1 or (steps and end_of(run) is None):
            there = [name for name in names if {*steps} == {*steps_with(run, "clean", name)}]
            found.append(Curve(run, steps, {name: [accuracy(run, name, step) for step in steps] for name in there}))
    return found


def equal_grid(
    task: str, groups: Sequence[Group], baseline: Group, curves: Sequence[Curve], names: Sequence[str]
) -> Grid | None:
    """Each group beside the baseline where it had the same clean accuracy while it trained; None without a set.

    Each run stands beside the curve of its own seed, or beside the first where its seed has none. The difference is
    that of its end and the first moment at which the curve passes the clean accuracy of that end; its mean over the
    seeds has Student's interval, see :func:`~rosetune.robustness.significance.paired_t_test`.

    Args:
        curves: of :func:`baseline_curves`, at least one.
        names: of the robust sets to show.
    """
    whose = f"seed{'s' * (len(curves) > 1)} {', '.join(str(curve.run.seed) for curve in curves)}"
    columns = ("clean %", "robust % [95%]", "stopped there %\n(where)", "less stopped\npoints [95%]")
    grid = Grid(
        f"{task}: at equal clean accuracy, beside {baseline.name} ({whose}) stopped early",
        ("method", *columns),
        caption="Stopped there: the baseline's accuracy at the first moment of its training with the same clean "
        "accuracy, between checkpoints on a straight line; each run beside the baseline of its seed. Never there: it "
        "never passes that accuracy, so that stopping early explains nothing; such runs do not count in the last two "
        "columns.",
    )
    titles = set_titles(groups)
    for name in names:
        others = [group for group in groups if group is not baseline]
        rows = [row for group in others if (row := _row(group, name, curves)) is not None]
        if rows:
            grid.rows.extend([None, (f"[bold]{escape(titles[name])}[/bold]", *("" for _ in columns)), *rows])
    return grid if grid.rows else None


def _row(group: Group, name: str, curves: Sequence[Curve]) -> tuple[str, ...] | None:
    """Of one group on one set; None where a side was not evaluated on it."""
    clean = SetName.parse(name).clean(group.sets)
    x, y = group.estimate(clean), group.estimate(name)
    known = [curve for curve in curves if curve.points(name, clean)]
    if x is None or y is None or not known:
        return None
    ends = zip(group.runs, group.values(clean), group.values(name), strict=True)
    found = [_stopped(run.seed, end, name, clean, known) for run, *end in ends]
    there = [part for part in found if part is not None]
    cells = escape(group.name), percent(x.value), interval_cell(y.value, y.low, y.high)
    if not there:
        return (*cells, "[dim]never there[/dim]", "-")
    where = f"step {there[0][0]:.0f}" if len(found) == 1 else f"{len(there)} of {len(found)} seeds"
    stopped = [robust for _, robust, _ in there]
    return (*cells, f"{percent(fmean(stopped))}\n[dim]({where})[/dim]", _less(stopped, [own for *_, own in there]))


def _stopped(
    seed: int | None, end: Sequence[float], name: str, clean: str, curves: Sequence[Curve]
) -> tuple[float, float, float] | None:
    """Step and robust accuracy of a curve where it first has the clean accuracy of an end, and the robust of the end.

    Returns:
        None where the curve never has it.
    """
    level, robust = end
    curve = next((curve for curve in curves if curve.run.seed == seed), curves[0])
    steps = robust_at_equal_clean([*zip(curve.at[clean], curve.steps, strict=True)], level)
    levels = robust_at_equal_clean(curve.points(name, clean), level)
    return (steps[0], levels[0], robust) if levels else None


def _less(stopped: Sequence[float], own: Sequence[float]) -> str:
    if len(own) == 1:
        return points(own[0] - stopped[0])
    found = paired_t_test(stopped, own)
    low, high = (float("nan") if end is None else end for end in (found.low, found.high))
    return interval_cell(found.mean, low, high, sign="+")
