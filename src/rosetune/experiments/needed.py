"""Which run of a plan another one needs: the one whose trace it reads, or on whose adversarial rows it trains."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rosetune.experiments.marked import Marked, Place
from rosetune.experiments.plan import ADVERSARIAL, AXES, Part
from rosetune.experiments.planned import ROWS, TRACE, reference_of
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

__all__ = ["Draft", "needed_drafts"]

# What decides which rows a run trains on, beside its task and seed: adversarial rows must be made of some of them.
_OF_ROWS = ("max_train_samples", "validation_from_train", "imbalance", "held_out")

_PATHS = ("data_dir", "validation_file", "test_file", ADVERSARIAL)


@dataclass(frozen=True)
class Draft:
    """A run of a plan before it is known which others it needs.

    Attributes:
        task, model, method: of the plan.
        point: of the grid.
        config: in which a reference may stand for a trace.
        rows_of: the method whose adversarial rows it trains on; None for most.
    """

    task: Part
    model: Part
    method: Part
    point: dict[str, Any]
    config: RunConfig
    rows_of: str | None

    def place(self, *option: str) -> Place:
        """Where an option stands in the plan: for the task, or for the method."""
        value: Any = self.method.tasks.get(self.task.name, {})
        for name in option:
            value = value.get(name) if isinstance(value, dict) else None
        return (*self.method.place, *(() if value is None else ("tasks", self.task.name)), *option)

    def place_of_error(self, marked: Marked, axis: str, said: str) -> Place:
        """Where the option stands that an error names: in a grid, or in the layer that gives it.

        Args:
            marked: the plan's file.
            axis: such as "update_mask_kwargs", whose options an error may name.
            said: the error.
        """
        own = self.method.place
        grids: tuple[Place, ...] = (*own, "grid"), (*own, "select"), ("grid",), ("select", "grid")
        for option in self.point:
            if _names(said, option.rpartition(".")[2]):
                return next(((*grid, option) for grid in grids if (*grid, option) in marked), (*own, axis))
        named = (option for option in self.config.training if option not in AXES and _names(said, option))
        return next((place for option in named if (place := self.layer(marked, option)) in marked), (*own, axis))

    def place_of_data(self, marked: Marked, said: str) -> Place:
        """Where the option stands that an error about data names, or whose value it names; else the task."""
        given = {**self.config.data_options(), ADVERSARIAL: self.config.adversarial_file}
        named = (option for option, value in given.items() if _names(said, option) or _shows(said, option, value))
        return next((place for option in named if (place := self.layer(marked, option)) in marked), self.task.place)

    def layer(self, marked: Marked, option: str) -> Place:
        """Where an option stands beside the grids: in the uppermost layer that has it, else among the method's."""
        own = self.method.place
        layers: tuple[Place, ...] = (*own, "tasks", self.task.name), own, self.task.place, self.model.place
        layers = (*layers, ("options",), ("select", "options"))
        return next(((*layer, option) for layer in layers if (*layer, option) in marked), (*own, option))

    def stray(self, grid: Iterable[str]) -> str | None:
        """An option in the plan's grid that belongs to a mask or the like, of which the method has none."""
        for option in grid:
            axis, dot, _ = option.partition(".")
            named = axis == "objective_kwargs" or self.config.training.get(axis.removesuffix("_kwargs"))
            if dot and not named and option not in self.method.grid:
                return option
        return None


def _names(said: str, option: str) -> bool:
    return re.search(rf"\b{re.escape(option)}\b", said) is not None


def _shows(said: str, option: str, value: Any) -> bool:
    """Paths stand in errors as they are, names of columns in quotes."""
    parts = value if isinstance(value, tuple) else (value,)
    return any(part and ((option in _PATHS and str(part) in said) or repr(part) in said) for part in parts)


def needed_drafts(draft: Draft, drafts: Sequence[Draft], marked: Marked) -> dict[str, Draft]:
    """The drafts of the runs that a run needs, by what it needs of them.

    Raises:
        RunError: there is no such run, or more than one; it leaves no trace; or its rows would not fit.
    """
    found, trace_of = {}, reference_of(draft.config)
    if trace_of is not None:
        place = draft.place("update_mask_kwargs", "trace")
        found[TRACE] = _same_point(draft, trace_of, drafts, marked, place)
        if not (found[TRACE].config.training.get("update_mask_kwargs") or {}).get("trace"):
            hint = "give it update_mask_kwargs: {trace: true}"
            raise marked.error(f"{trace_of} records no trace: {hint}", *found[TRACE].method.place)
    if draft.rows_of is not None:
        found[ROWS] = _same_point(draft, draft.rows_of, drafts, marked, draft.place(ADVERSARIAL))
        _check_rows(draft, found[ROWS], marked)
    return found


def _same_point(draft: Draft, named: str, drafts: Sequence[Draft], marked: Marked, place: Place) -> Draft:
    """The run of another method with the same task, model and seed, at the same point of the grids they share."""
    seed = draft.config.seed

    def agrees(other: Draft) -> bool:
        shared = other.point.keys() & draft.point.keys()
        return (
            (other.task, other.model, other.method.name) == (draft.task, draft.model, named)
            and other.config.seed == seed
            and all(other.point[option] == draft.point[option] for option in shared)
        )

    found = [other for other in drafts if agrees(other)]
    if len(found) != 1:
        told = "no run" if not found else f"{len(found)} runs, by its grid"
        raise marked.error(f"{named} has {told} of the same task, model, seed and grid: name one", *place)
    return found[0]


def _check_rows(draft: Draft, yields: Draft, marked: Marked) -> None:
    """What would fail after hours: rows that were not made of the dependent run's own, or whose labels are wrong."""

    def error(text: str) -> RunError:
        return marked.error(f"{draft.method.name} on {draft.task.name}: {text}", *draft.place(ADVERSARIAL))

    named, one, other = yields.method.name, draft.config, yields.config
    if yields.rows_of is not None or other.adversarial_file is not None:
        raise error(f"{named} trains on adversarial rows itself, and a plan finds them in one round")
    if one.label_noise or other.label_noise:
        raise error("leave out label_noise: an adversarial row keeps its label, which must be right")
    for name in _OF_ROWS:
        if getattr(one, name) != getattr(other, name):
            raise error(f"give it the same {name} as {named}, whose training rows are attacked")
    if one.data_options() != other.data_options() or one.task != other.task:
        raise error(f"give it the same data as {named}, whose training rows are attacked")
