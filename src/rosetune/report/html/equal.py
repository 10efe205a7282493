"""The baseline over training, and the ends of other methods at equal clean accuracy, over their seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rich.markup import escape

from rosetune.report.console import Grid, interval_cell, percent, points
from rosetune.report.html.groups import Group, Kept, set_titles
from rosetune.robustness.flip_control import robust_at_equal_clean
from rosetune.robustness.significance import paired_t_test
from rosetune.runs.along import BEFORE, accuracy, end_of, missed, steps_with
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["Curve", "baseline_curves", "equal_grid"]


@dataclass(frozen=True)
class Curve:
    """A run over training: its accuracies at each evaluated checkpoint.

    Attributes:
        run: whose checkpoints were evaluated.
        at: by set and step the accuracy.
    """

    run: Run
    at: Mapping[str, Mapping[int, float]]

    def points(self, name: str, clean: str) -> list[tuple[int, float, float]]:
        """(step, clean, robust) at each step at which both were evaluated, in the order of training."""
        there, robust = self.at.get(clean, {}), self.at.get(name, {})
        return [(step, there[step], robust[step]) for step in sorted({*there} & {*robust})]


def baseline_curves(baseline: Group | None, names: Sequence[str]) -> list[Curve]:
    """The checkpoints of the baseline's runs, of those that have any, in the order of their seeds.

    Args:
        names: of the sets, the clean ones among them.
    """
    found = []
    for run in baseline.runs if baseline is not None and baseline.runs[0].labels else ():
        steps = steps_with(run, "clean")
        if len(steps) > 1 or (steps and end_of(run) is None):
            at = {name: {step: accuracy(run, name, step) for step in steps_with(run, name)} for name in names}
            found.append(Curve(run, at))
    return found


def equal_grid(
    task: str, groups: Sequence[Group], baseline: Group, curves: Sequence[Curve], names: Sequence[str]
) -> Grid | None:
    """Each group of the baseline's model beside the baseline where it had the same clean accuracy; None without a set.

    Each run stands beside the curve of its own seed; where there is one run and one curve, their seeds may differ.
    The difference is that of its end and the first moment at which the curve passes the clean accuracy of that end.
    Its mean over the seeds has Student's interval, see :func:`~rosetune.robustness.significance.paired_t_test`.

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
        "accuracy, between checkpoints on a straight line; each run beside the baseline of its seed. Never there: all "
        "its checkpoints have less, so that stopping early explains nothing. Before: all have more, and the moment "
        "lies before the first. Runs without such a moment do not count in the last two columns.",
    )
    titles = set_titles(groups)
    for name in names:
        others = [group for group in groups if group is not baseline and group.model == baseline.model]
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
    cells = escape(group.name), percent(x.value), interval_cell(y.value, y.low, y.high)
    found = [_stopped(member, curve, name, clean) for member, curve in _pairs(group.members, known)]
    there = [part for part in found if not isinstance(part, str)]
    if not there:
        told = "no curve of its seeds" if not found else " or ".join(sorted({*map(str, found)}))
        return (*cells, f"[dim]{told}[/dim]", "-")
    where = f"step {there[0][0]:.0f}" if len(group.members) == 1 else f"{len(there)} of {len(group.members)} seeds"
    stopped = [robust for _, robust, _ in there]
    return (*cells, f"{percent(fmean(stopped))}\n[dim]({where})[/dim]", _less(stopped, [own for *_, own in there]))


def _pairs(members: Sequence[Kept], curves: Sequence[Curve]) -> list[tuple[Kept, Curve]]:
    """By seed; a single run pairs with a single curve of any seed."""
    if len(members) == len(curves) == 1:
        return [(members[0], curves[0])]
    by_seed = {curve.run.seed: curve for curve in curves}
    return [(member, by_seed[member.run.seed]) for member in members if member.run.seed in by_seed]


def _stopped(member: Kept, curve: Curve, name: str, clean: str) -> tuple[float, float, float] | str:
    """Step and robust accuracy of a curve where it first has the clean accuracy of an end, and the robust of the end.

    Returns:
        In words why not, where no two checkpoints have the moment between them.
    """
    ends = [member.estimate(part) for part in (clean, name)]
    level, robust = (end.value for end in ends if end is not None)
    points = curve.points(name, clean)
    steps = robust_at_equal_clean([(x, step) for step, x, _ in points], level)
    levels = robust_at_equal_clean([(x, y) for _, x, y in points], level)
    if levels:
        return steps[0], levels[0], robust
    return "before" if missed([x for _, x, _ in points], level) == BEFORE else "never there"


def _less(stopped: Sequence[float], own: Sequence[float]) -> str:
    if len(own) == 1:
        return points(own[0] - stopped[0])
    found = paired_t_test(stopped, own)
    low, high = (float("nan") if end is None else end for end in (found.low, found.high))
    return interval_cell(found.mean, low, high, sign="+")
