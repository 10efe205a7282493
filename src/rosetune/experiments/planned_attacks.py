"""Whether a plan's runs have the sets that they are to be attacked on, found out before they are trained."""

from collections.abc import Sequence

from rosetune.data.rows import TaskData
from rosetune.experiments.plan import Plan
from rosetune.experiments.planned import PlannedRun
from rosetune.robustness.sets import NOISE_STRENGTHS, curve_sets
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, guess

__all__ = ["check_attacks"]


def check_attacks(plan: Plan, runs: Sequence[PlannedRun]) -> None:
    """Check the set of each attack against the data of its runs.

    Any cell of the noise curve can be attacked, evaluated or not, since its rows are made anew. Of AdvGLUE the names
    depend on its file, so that its kind is enough.

    Args:
        runs: all of the plan.

    Raises:
        RunError: a run's data has no such set; with the line.
    """
    for run in runs:
        task = plan.tasks[run.task]
        place = ("attack",) if task.attacks is None else (*task.place, "attack")
        for i, options in enumerate(run.attacks):
            try:
                _check_set(run.data, options.set)
            except ValueError as error:
                listed = (*place, i, "set")
                at = listed if listed in plan.marked else (*place, "set")
                raise plan.marked.error(f"no set {options.set!r} of {run.task} to attack: {error}", *at) from error


def _check_set(data: TaskData, name: str) -> None:
    parsed = SetName.parse(name)
    if parsed.kind == "advglue":
        return
    if parsed.on_curve:
        there = curve_sets([name])
    elif parsed.kind == "noise":
        there = [f"typos_{strength}" for strength in NOISE_STRENGTHS]
    else:
        there = ["clean", *(["clean_mismatched"] if "validation_mismatched" in data.splits else [])]
    if name not in there:
        raise RunError(guess(name, there))
