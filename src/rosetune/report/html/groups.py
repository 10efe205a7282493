"""The runs of a page: what is read of each, and those that differ in nothing but their seed together."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import mean, stdev
from typing import Any, TypeVar

from rosetune.mask_trace import MaskTrace
from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.rows import set_metrics
from rosetune.robustness.statistics import Estimate
from rosetune.runs.attacked import unfinished
from rosetune.runs.figures import check_set, number_of
from rosetune.runs.files import again
from rosetune.runs.groups import group_runs, tasks_of
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of
from rosetune.runs.values import RunError

__all__ = ["Group", "Kept", "grouped", "kept", "set_titles"]

T = TypeVar("T")
_ALIKE = 1e-9  # scores of seeds that differ by no more are the same


@dataclass(frozen=True)
class Kept:
    """What a page needs of one run, read once.

    Attributes:
        figures: by evaluation set its metrics, of an attack those of
            :func:`~rosetune.robustness.attacks.summary.summary`.
        log, timing, environment, trace: as in :class:`~rosetune.runs.run.Run`; empty where there is none.
    """

    run: Run
    figures: Mapping[str, Mapping[str, Any]]
    log: Sequence[Mapping[str, Any]]
    timing: Mapping[str, Any]
    environment: Mapping[str, Any]
    trace: MaskTrace | None

    def estimate(self, name: str) -> Estimate | None:
        """Accuracy on a set with its 95% interval; of a regression the mean squared error."""
        found = self.figures.get(name)
        if found is None:
            return None
        if SetName.parse(name).attack is not None:
            key = "accuracy_under_attack"
            return Estimate(found["n"], found[key], found[f"{key}_low"], found[f"{key}_high"])
        return Estimate(found["n"], found[_score(found)], found["low"], found["high"])


@dataclass(frozen=True)
class Group:
    """Runs of one task that differ in nothing but their seed.

    Attributes:
        name: of the method, and what tells it from another group of that method.
        style: number of its colour and marker, the same for one name in the whole page.
        control: whether it is there to be beaten.
        model: name of the model that was fine-tuned.
    """

    name: str
    style: int
    control: bool
    model: str
    members: list[Kept] = field(default_factory=list)

    @property
    def runs(self) -> list[Run]:
        """Of the members."""
        return [member.run for member in self.members]

    @cached_property
    def sets(self) -> list[str]:
        """The sets that all members were evaluated on, in the order of a table."""
        first, *others = [member.figures for member in self.members]
        common = [name for name in first if all(name in other for other in others)]
        return sorted(common, key=lambda name: SetName.parse(name).sort_key)

    def values(self, name: str) -> list[float]:
        """The score of each member on a set."""
        return [found.value for found in (member.estimate(name) for member in self.members) if found is not None]

    def estimate(self, name: str) -> Estimate | None:
        """Mean over the seeds with its 95% interval.

        Of one run it is the run's own, over examples. Of several it is Student's, over the seeds, with the examples
        as given:

            mean +- t(0.975, seeds - 1) sd / sqrt(seeds),    of shares within [0, 1]

        Where all seeds have the same score, they tell nothing of the spread, and both ends are NaN: there is no
        interval, rather than one without any width.
        """
        if name not in self.sets:
            return None
        if len(self.members) == 1:
            return self.members[0].estimate(name)
        from scipy.stats import t

        values = self.values(name)
        centre, count = mean(values), len(values)
        reach = float(t.ppf(0.975, count - 1)) * stdev(values) / math.sqrt(count)
        n, most = self.members[0].figures[name]["n"], 1.0 if self.runs[0].labels else math.inf
        if max(values) - min(values) < _ALIKE * max(1.0, abs(centre)):
            return Estimate(n, centre, math.nan, math.nan)
        return Estimate(n, centre, max(0.0, centre - reach), min(most, centre + reach))


def kept(runs: Iterable[Run], report: Callable[[str], Any]) -> list[Kept]:
    """Read runs; one whose figures are damaged is left out, and of another a part that is damaged.

    Args:
        report: is told of each.
    """
    found = []
    for run in runs:
        figures = _read(_figures, run, f"{run} is left out", report)
        if figures is None:
            continue
        for line in unfinished(run).values():
            report(line)
        told = f"of {run} a part is left out"
        found.append(
            Kept(
                run,
                figures,
                log=_read(lambda own: own.log, run, told, report) or [],
                timing=_read(lambda own: _mapping(own.timing, "timing.json"), run, told, report) or {},
                environment=_read(lambda own: _mapping(own.environment, "environment.json"), run, told, report) or {},
                trace=_read(_trace, run, told, report),
            )
        )
    return found


def grouped(
    members: Sequence[Kept], report: Callable[[str], Any], labels: Mapping[Run, str] | None = None
) -> dict[str, list[Group]]:
    """By task the groups of runs, as :func:`~rosetune.runs.groups.group_runs` makes and orders them.

    Args:
        report: is told of runs that repeat others, of trial runs of a search, which are left out where there are
            others (they were evaluated on other rows), and of sets that not all seeds of a group have.
        labels: what a plan calls the method of each run.
    """
    trials = [member for member in members if member.run.config.held_out is not None]
    if trials and len(trials) < len(members):
        report(f"{len(trials)} trial runs of a search are left out, which were evaluated on held-out training rows")
        members = [member for member in members if member.run.config.held_out is None]
    by_run = {member.run: member for member in members}
    rows, notes = group_runs(by_run, labels=labels)
    for note in notes:
        report(note)
    models = {row.model for row in rows}
    names = [row.name if len(models) == 1 else f"{row.name}, {row.model}" for row in rows]
    tasks: dict[str, list[Group]] = {task: [] for task in tasks_of(by_run)}
    for style, (name, row) in enumerate(zip(names, rows, strict=True)):
        for task, runs in row.runs.items():
            group = Group(name, style, row.control, row.model, [by_run[run] for run in runs])
            tasks[task].append(group)
            for line in _lacking(task, group):
                report(line)
    return tasks


def _lacking(task: str, group: Group) -> list[str]:
    """The sets of a group that some of its seeds lack, which have no mean: a sentence for those of the same seeds."""
    names = {name for member in group.members for name in member.figures} - {*group.sets}
    by_runs: dict[tuple[Run, ...], list[str]] = {}
    for name in sorted(names, key=lambda name: SetName.parse(name).sort_key):
        without = tuple(member.run for member in group.members if name not in member.figures)
        by_runs.setdefault(without, []).append(name)
    titles = titles_of(group.runs, names)
    found = []
    for without, lacked in by_runs.items():
        # A noise curve has dozens of cells.
        told = dict.fromkeys("the noise curve" if SetName.parse(name).on_curve else titles[name] for name in lacked)
        where = f"{', '.join(map(str, without))} {'lack' if len(without) > 1 else 'lacks'}"
        found.append(f"{group.name} on {task} has no mean of {', '.join(told)}, which {where}")
    return found


def set_titles(groups: Iterable[Group]) -> dict[str, str]:
    """By the name of each set of some groups what a person calls it."""
    known = list(groups)
    return titles_of([run for group in known for run in group.runs], (name for group in known for name in group.sets))


def _figures(run: Run) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for name in run.sets():
        attack = SetName.parse(name).attack
        if attack is None:
            known = run.metrics["sets"].get(name)
            found[name] = known or set_metrics(run.rows(name), run.labels)
            if known:
                _check(known, name, run)
        else:
            header, results = run.attacks[attack]
            found[name] = summary(results, header.get("budget"))
    for name, told in run.metrics.get("advglue", {}).get("sets", {}).items():
        for part in (*told.get("by_kind", {}).values(), *told.get("by_method", {}).values()):
            number_of(part["adversarial"]["accuracy"], "accuracy", name, run)
    _ = run.labels, run.seed, run.method
    return found


def _check(known: Mapping[str, Any], name: str, run: Run) -> None:
    """All that a page shows of a set: what is damaged is named as ``rosetune table`` names it."""
    check_set(known, name, run)
    score = _score(known)
    for figure in (score, "low", "high"):
        if number_of(known.get(figure), score, name, run, figure) is None:
            raise RunError(f"{figure} on {name} is missing in metrics.json: evaluate again: {again(run.folder)}")
    number_of(known["constant"].get(score), score, name, run)


def _score(metrics: Mapping[str, Any]) -> str:
    return "accuracy" if "accuracy" in metrics else "mse"


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise RunError(f"{name} holds no mapping: remove it")
    return value


def _trace(run: Run) -> MaskTrace | None:
    return None if run.trace_file is None else MaskTrace.load(run.trace_file)


def _read(read: Callable[[Run], T], run: Run, told: str, report: Callable[[str], Any]) -> T | None:
    try:
        return read(run)
    except (RunError, OSError) as error:
        report(f"{told}: {error}")
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        report(f"{told}: its files hold something else than they should ({type(error).__name__}: {error})")
    return None
