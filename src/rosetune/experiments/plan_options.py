"""The options of a plan and the values of its grids, each read as the type that it has."""

from collections.abc import Iterable
from typing import Any

from rosetune.experiments.marked import Marked, Place
from rosetune.experiments.options import parse_training
from rosetune.experiments.plan import ADVERSARIAL, AXES, Options, nested, reference
from rosetune.experiments.quick import trainer_defaults
from rosetune.experiments.search_space import is_shared
from rosetune.runs.config import RUN_OPTIONS, RunConfig

__all__ = ["PlanOptions", "refuse_repeats"]

# Options that a plan says in a place of its own.
_ELSEWHERE = {
    "seed": "a plan has seeds: [1, 2, 3] at its top",
    "output_dir": "a plan has one output_dir, at its top",
    "task": "it stands under tasks",
    "model_name_or_path": "it stands under models",
    "given": "a plan trains",
    "labels": "a plan trains",
}


class PlanOptions:
    """Reads options at places of a plan.

    Attributes:
        known: the names of all of them.

    Raises:
        RunError: from each method, an unknown name or a wrong value, with its line.
    """

    def __init__(self, marked: Marked) -> None:
        self._marked = marked
        self.known = ({*RUN_OPTIONS} | {*trainer_defaults()}) - {*_ELSEWHERE}

    def checked(self, options: Any, place: Place, beside: Iterable[str] = ()) -> Options:
        """Options with their types; None takes the value of a lower layer back.

        Args:
            beside: further words that may stand there, for a typo.
        """
        if not isinstance(options, dict | None):
            raise self._marked.error(f"{place[-1]} must be a mapping of options, not {options!r}", *place)
        return {name: self._typed(name, value, (*place, name), beside) for name, value in (options or {}).items()}

    def _typed(self, name: str, value: Any, place: Place, beside: Iterable[str] = ()) -> Any:
        if name in _ELSEWHERE:
            raise self._marked.error(f"{name} is no option here: {_ELSEWHERE[name]}", *place)
        if name not in self.known:
            raise self._marked.unknown("option", name, {*self.known, *beside}, *place)
        if value is None:
            return None
        refers = reference(value) if name == ADVERSARIAL else None
        if refers or (name in AXES and isinstance(value, dict) and any(map(reference, value.values()))):
            if place[0] != "methods" or place[2] in ("grid", "select"):
                raise self._marked.error(f"{name} refers to a method, which only options under methods can", *place)
            if refers:
                return dict(value)
        try:
            if name in RUN_OPTIONS:
                # Noises are refused without their curve, which another layer may name.
                more: Options = {"sets": ("noise_curve",)} if name == "noises" else {}
                return getattr(RunConfig("-", "-", **more, **{name: value}), name)
            return parse_training({name: value})[name]
        except (ValueError, TypeError) as error:
            raise self._marked.error(error, *place) from error

    def grid(self, grid: Any, place: Place) -> dict[str, list[Any]]:
        """The values of each option of a grid, with their types."""
        if not isinstance(grid, dict | None):
            raise self._marked.error("a grid must be a mapping of lists, such as learning_rate: [1e-5, 3e-5]", *place)
        if grid == {}:
            raise self._marked.error("the grid is empty: give it options, or leave it out", *place)
        found: dict[str, list[Any]] = {}
        for option, values in (grid or {}).items():
            at = (*place, option)
            if not isinstance(values, list) or not values:
                raise self._marked.error(f"the grid of {option} must be a list with at least one value", *at)
            name, dot, part = option.partition(".")
            if dot and not (name.endswith("_kwargs") and part):
                raise self._marked.error(f"{option!r} is no option: a dot follows objective_kwargs and the like", *at)
            typed = [self._typed(name, nested(option, value)[name], (*at, i)) for i, value in enumerate(values)]
            found[option] = [value[part] for value in typed] if dot else typed
            refuse_repeats(self._marked, f"the grid of {option}", found[option], at)
        return found

    def trials(self, grid: Any, place: Place) -> dict[str, list[Any]]:
        """A grid of options that may differ between trials."""
        for name in grid if isinstance(grid, dict) else ():
            if is_shared(name):
                raise self._marked.error(f"every trial has the same {name}: it cannot be chosen", *place, name)
        return self.grid(grid, place)


def refuse_repeats(marked: Marked, what: str, values: list[Any], place: Place) -> None:
    """Refuse a value that stands twice in a list.

    Raises:
        RunError: see there.
    """
    for number, value in enumerate(values):
        if value in values[:number]:
            raise marked.error(f"{what} has {value!r} twice, which makes one run", *place, number)
