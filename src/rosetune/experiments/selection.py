"""Options that a plan chooses for each method and task, on rows held out of the training data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rosetune.experiments.plan import AXES, Options, Part, Plan, nested
from rosetune.experiments.planned import PlannedRun
from rosetune.experiments.trial_score import HALVES, mean_accuracies, trial_score
from rosetune.runs.run import Run

__all__ = ["Choice", "choose", "number_of_trials", "trials_of"]


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


def number_of_trials(plan: Plan, method: Part) -> int:
    """Of a method, on each task; a value that an option has already costs none."""
    options = list(trials_of(plan, method).items())
    first = len(options[0][1]) if options else 0
    return first + sum(len(values) - (_started_with(plan, method, option) in values) for option, values in options[1:])


def _started_with(plan: Plan, method: Part, option: str) -> Any:
    name, _, part = option.partition(".")
    value = _on_top(plan.options, method.options).get(name)
    return (value or {}).get(part) if part else value


def choose(plan: Plan, do: Callable[[Plan], Sequence[PlannedRun] | None]) -> tuple[Plan, list[Choice]] | None:
    """Choose the options of a plan, one after the other, each with the best values so far.

    A method that refers to another comes after it, and its trials take the trace and the values of that one's choice.

    Args:
        do: trains the runs of a plan of trials; None where some failed or are not done.

    Returns:
        The plan with what was chosen, without its selection, and what was chosen; None where ``do`` gives None.
    """
    chosen: list[Choice] = []
    depths = {name: _depth(plan, method) for name, method in plan.methods.items()}
    for depth in range(max(depths.values()) + 1):
        level = [name for name in plan.methods if depths[name] == depth]
        for number in range(max(len(trials_of(plan, plan.methods[name])) for name in level)):
            found = _step(plan, level, number, do)
            if found is None:
                return None
            chosen += found
            for choice in found:
                plan = _with(plan, choice)
    return replace(plan, select=None), chosen


def _step(
    plan: Plan, level: Sequence[str], number: int, do: Callable[[Plan], Sequence[PlannedRun] | None]
) -> list[Choice] | None:
    assert plan.select is not None
    options = {name: list(trials_of(plan, plan.methods[name]).items())[number : number + 1] for name in level}
    tried = {name: of_method[0] for name, of_method in options.items() if of_method}
    methods = {
        name: replace(method, select={}, grid=dict([tried[name]]) if name in tried else {})
        for name, method in plan.methods.items()
        if name in tried or any(name in _needed_by(plan, other) for other in tried)
    }
    trial = _on_top(plan.options, plan.select.options)
    runs = do(replace(plan, methods=methods, options=trial, seeds=[plan.select.seed], attacks=(), select=None))
    if runs is None:
        return None
    choices = []
    for task in plan.tasks:
        for name, (option, values) in tried.items():
            of_both = [run for run in runs if (run.task, run.method) == (task, name)]
            scores = [trial_score(mean_accuracies(Run.open(run.folder() or ""), HALVES)) for run in of_both]
            best = max(range(len(values)), key=scores.__getitem__)
            told = {str(value): score for value, score in zip(values, scores, strict=True)}
            choices.append(Choice(task, name, option, values[best], told))
    return choices


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
