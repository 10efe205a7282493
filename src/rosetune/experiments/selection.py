"""Options that a plan chooses for each method and task, on rows held out of the training data."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rosetune.experiments.expansion import planned_runs
from rosetune.experiments.plan import AXES, Options, Part, Plan, nested
from rosetune.experiments.planned import PlannedRun
from rosetune.experiments.sweep import is_done
from rosetune.experiments.trial_score import HALVES, mean_accuracies, trial_score
from rosetune.runs.run import Run

__all__ = ["Choice", "Foreseen", "choose", "foresee", "trials_of"]


@dataclass(frozen=True)
class Choice:
    """One option of one method on one task: the value with the best score, the first of equals."""

    task: str
    method: str
    option: str
    value: Any
    scores: dict[str, float]


def trials_of(plan: Plan, method: Part) -> dict[str, list[Any]]:
    """What a method chooses from, one option after the other: the plan's options, then its own."""
    return {} if plan.select is None else {**plan.select.grid, **method.select}


@dataclass(frozen=True)
class Foreseen:
    """What a plan that chooses will do, as far as that is known.

    Attributes:
        trials: each once, though several options may start from it.
        runs: of the plan itself.
        chosen: whether all trials are done, so that trials and runs have the options that are chosen. Where they are
            not, the first value of each option stands for the one that will be chosen.
    """

    trials: list[PlannedRun]
    runs: list[PlannedRun]
    chosen: bool


def foresee(plan: Plan) -> Foreseen:
    """The trials and runs of a plan, each of them checked; nothing is trained.

    Raises:
        RunError: a mistake in any of them, see :func:`~rosetune.experiments.expansion.planned_runs`.
    """
    trials: dict[str, PlannedRun] = {}
    chosen = True
    for stage in _stages(plan) if plan.select is not None else ():
        runs = planned_runs(stage.trials)
        trials |= {run.key: run for run in runs}
        chosen = chosen and all(map(is_done, runs))
        plan = stage.ended(stage.choices(runs) if chosen else stage.first())
    return Foreseen(list(trials.values()), planned_runs(replace(plan, select=None)), chosen)


def choose(plan: Plan, do: Callable[[Plan], Sequence[PlannedRun] | None]) -> tuple[Plan, list[Choice]] | None:
    """Choose the options of a plan, one after the other, each with the best values so far.

    A method that refers to another comes after it, and its trials take the trace and the values of that one's choice.

    Args:
        do: trains the runs of a plan of trials; None where some failed or are not done.

    Returns:
        The plan with what was chosen, without its selection, and what was chosen; None where ``do`` gives None.

    Raises:
        RunError: a mistake in any trial or run of the plan, before ``do`` is called.
    """
    foresee(plan)
    found: list[Choice] = []
    for stage in _stages(plan):
        runs = do(stage.trials)
        if runs is None:
            return None
        choices = stage.choices(runs)
        found += choices
        plan = stage.ended(choices)
    return replace(plan, select=None), found


@dataclass
class _Stage:
    """One option of each method that is as deep as the others; see :func:`choose`."""

    plan: Plan
    tried: dict[str, tuple[str, list[Any]]]  # by method

    @property
    def trials(self) -> Plan:
        plan = self.plan
        assert plan.select is not None
        options = plan.select.options
        needed = set[str]().union(*(_needed_by(plan, name) for name in self.tried))
        methods = {
            name: replace(method, select={}, along=False, grid=dict([self.tried[name]]) if name in self.tried else {})
            for name, method in plan.methods.items()
            if name in self.tried or name in needed
        }
        plan = plan.narrowed(seeds=[plan.select.seed])
        # A task may have sets of its own. The noises are those of a curve that trials are not evaluated on.
        tasks = {
            name: replace(task, options=_on_top({**task.options, "noises": None}, options), attacks=None)
            for name, task in plan.tasks.items()
        }
        return replace(plan, tasks=tasks, methods=methods, attacks=(), select=None, table={})

    def choices(self, runs: Sequence[PlannedRun]) -> list[Choice]:
        """By the scores of the finished trials."""
        choices = []
        for task, part in self.plan.tasks.items():
            for name, (option, values) in self.tried.items():
                if not self.plan.methods[name].is_on(part):
                    continue
                of_both = [run for run in runs if (run.task, run.method) == (task, name)]
                scores = [trial_score(mean_accuracies(Run.open(run.folder() or ""), HALVES)) for run in of_both]
                best = max(range(len(values)), key=scores.__getitem__)
                told = {str(value): score for value, score in zip(values, scores, strict=True)}
                choices.append(Choice(task, name, option, values[best], told))
        return choices

    def first(self) -> list[Choice]:
        """The first of all values, before there are scores."""
        firsts = [(name, option, values[0]) for name, (option, values) in self.tried.items()]
        return [
            Choice(task, *first, {})
            for task, part in self.plan.tasks.items()
            for first in firsts
            if self.plan.methods[first[0]].is_on(part)
        ]

    def ended(self, choices: Sequence[Choice]) -> Plan:
        """The plan with what was chosen."""
        for choice in choices:
            self.plan = _with(self.plan, choice)
        return self.plan


def _stages(plan: Plan) -> Iterator[_Stage]:
    """Each is to be ended before the next is asked for."""
    depths = {name: _depth(plan, method) for name, method in plan.methods.items()}
    for depth in range(max(depths.values()) + 1):
        level = [name for name in plan.methods if depths[name] == depth]
        options = {name: list(trials_of(plan, plan.methods[name]).items()) for name in level}
        for number in range(max(map(len, options.values()))):
            stage = _Stage(plan, {name: found[number] for name, found in options.items() if number < len(found)})
            yield stage
            plan = stage.plan


def _with(plan: Plan, choice: Choice) -> Plan:
    method = plan.methods[choice.method]
    options = _on_top(method.tasks.get(choice.task, {}), nested(choice.option, choice.value))
    changed = replace(method, tasks={**method.tasks, choice.task: options})
    return replace(plan, methods={**plan.methods, choice.method: changed})


def _on_top(below: Options, above: Options) -> Options:
    """The options of one layer on those of another; None, which takes a value back, stays."""
    merged = {**below, **above}
    for axis in AXES:
        if below.get(axis) and above.get(axis):
            merged[axis] = {**below[axis], **above[axis]}
    return merged


def _needed_by(plan: Plan, name: str) -> set[str]:
    needed = plan.methods[name].references()
    return needed.union(*(_needed_by(plan, other) for other in needed))


def _depth(plan: Plan, method: Part) -> int:
    return max((1 + _depth(plan, plan.methods[name]) for name in method.references()), default=0)
