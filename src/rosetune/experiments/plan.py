"""A plan: tasks, models, methods, seeds and grids, from which runs follow."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

from rosetune.data.tasks import find_task
from rosetune.experiments.adversarial_options import AdversarialOptions
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.marked import Marked, Place
from rosetune.recipes import load_recipe, method_axes
from rosetune.robustness.sets import curve_sets
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, names

__all__ = [
    "ADVERSARIAL",
    "AXES",
    "LeftOut",
    "Options",
    "Part",
    "Plan",
    "Selection",
    "nested",
    "not_asked",
    "reference",
]

Options = dict[str, Any]
AXES = ("objective_kwargs", "update_mask_kwargs", "augmentation_kwargs", "averaging_kwargs")
ADVERSARIAL = "adversarial_file"  # the option that may refer to the adversarial rows of another method


@dataclass(frozen=True)
class Part:
    """A task, a model or a method of a plan.

    Attributes:
        name: as the plan calls it.
        options: what it adds to the options of a run.
        place: where it stands in the plan.
        recipe: of a method, the recipe below its options: its method, or its whole name.
        grid: of a method, further grids.
        tasks: of a method, options by task.
        select: of a method, values by option to choose from after those of the plan.
        seeds, attacks: of a task, in the place of the plan's.
        only: of a method, the tasks that it is trained on; None: all.
        along: of a method, whether its checkpoints are evaluated too.
    """

    name: str
    options: Options
    place: Place
    recipe: str | None = None
    grid: dict[str, list[Any]] = field(default_factory=dict)
    tasks: dict[str, Options] = field(default_factory=dict)
    select: dict[str, list[Any]] = field(default_factory=dict)
    seeds: list[int] | None = None
    attacks: tuple[AttackOptions, ...] | None = None
    only: tuple[str, ...] | None = None
    along: bool = False

    def is_on(self, task: "Part") -> bool:
        """Whether a method is trained on a task."""
        return self.only is None or task.name in self.only

    def references(self) -> set[str]:
        """The methods that its options refer to."""
        layers = (self.options, *self.tasks.values())
        values = [v for options in layers for axis in AXES for v in (options.get(axis) or {}).values()]
        values += [options.get(ADVERSARIAL) for options in layers]
        return {name for name in map(reference, values) if name is not None}


@dataclass(frozen=True)
class Selection:
    """How a plan chooses options of each method and task, before its own runs.

    Attributes:
        seed: of the trials.
        options: of the trials, on top of the plan's; ``held_out`` among them.
        grid: values by option; one option is chosen after the other.
    """

    seed: int
    options: Options
    grid: dict[str, list[Any]]


class LeftOut(NamedTuple):
    """What a plan leaves out.

    Attributes:
        sentence: that says so.
        part: "models", "tasks" or "seeds", of which it is true as long as these are the plan's own; None: always.
    """

    sentence: str
    part: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a plan names, checked one by one; :func:`~rosetune.experiments.expansion.planned_runs` makes runs of it.

    A run's options come from, the later on top: the method's recipe (where it names one), the objective and mask that
    the method's name stands for, ``options``, the model's, the task's, the method's, the method's for the task, and
    the point of the grid. Each method's grid is that of the plan with its own on top.

    Attributes:
        output_dir: the folder of all runs.
        tasks, models, methods: by name.
        seeds: of the trainings.
        options: of every run.
        grid: values by option, such as ``learning_rate`` or ``update_mask_kwargs.upper``, of every method.
        attacks: on each run, once it is trained; a task may have its own.
        adversarial: how training rows are attacked where a method trains on another's adversarial rows.
        threads: of each run; the last bits of a result depend on it. None: left to where it runs.
        select: what is chosen on held-out training rows first; None: nothing is.
        title: what the plan is.
        left_out: what it leaves out.
        table: how its result is shown, as arguments of the table's function.
        analyze: what is looked at in its runs, each as ``what`` and options of an analysis; empty: nothing.
        marked: the file, for messages.
    """

    output_dir: str
    tasks: dict[str, Part]
    models: dict[str, Part]
    methods: dict[str, Part]
    seeds: list[int]
    options: Options
    grid: dict[str, list[Any]]
    attacks: tuple[AttackOptions, ...]
    adversarial: AdversarialOptions | None
    threads: int | None
    select: Selection | None
    title: str
    left_out: tuple[LeftOut, ...]
    table: dict[str, Any]
    analyze: tuple[dict[str, Any], ...]
    marked: Marked

    def points(self, method: Part) -> list[dict[str, Any]]:
        """The points of a method's grid; one without a value where it has no grid."""
        grid = {**self.grid, **method.grid}
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def layers(self, task: Part, model: Part, method: Part, point: Mapping[str, Any]) -> list[Options]:
        """The layers of a run's options, the lowest first."""
        named = method.options.keys() & {"objective", "update_mask"} or method.recipe
        axes = {} if named else method_axes(method.name) or {}
        layers = [axes, self.options, model.options, task.options, method.options, method.tasks.get(task.name, {})]
        if method.recipe is not None:
            layers.insert(0, self._recipe(task, model, method))
        return [*layers, *(nested(option, value) for option, value in point.items())]

    def _recipe(self, task: Part, model: Part, method: Part) -> Options:
        known = find_task(str(task.options["task"]))
        name = str(method.recipe)
        if "/" not in name:
            size = str(model.options["model_name_or_path"]).rpartition("/")[2]
            name = f"{name}/{size}/{known.name if known else task.name}"
        try:
            recipe = load_recipe(name)
        except ValueError as error:
            raise self.marked.error(error, *method.place, "recipe") from error
        return {key: value for key, value in recipe.items() if key not in ("task", "model_name_or_path")}

    def narrowed(
        self,
        tasks: Sequence[str] | None = None,
        models: Sequence[str] | None = None,
        seeds: Sequence[int] | None = None,
    ) -> "Plan":
        """The plan with some of its tasks, with other models, with other seeds; None leaves them as they are.

        What it leaves out follows: sentences about its own parts go, and the tasks and seeds that are not asked for
        come. So do noises of its table that no task is left for.

        Raises:
            RunError: the plan has no such task.
        """
        changes: dict[str, Any] = {"left_out": self._left_out({"tasks": tasks, "models": models, "seeds": seeds})}
        if tasks is not None:
            for name in tasks:
                if name not in self.tasks:
                    raise RunError(f"{self.marked.source} has no task {name!r}: give some of {', '.join(self.tasks)}")
            changes["tasks"] = {name: self.tasks[name] for name in tasks}
            changes |= self._narrower_table(changes["tasks"].values(), changes["left_out"])
        if models is not None:
            changes["models"] = {name: Part(name, {"model_name_or_path": name}, ("models",)) for name in models}
        if seeds is not None:
            kept = changes.get("tasks", self.tasks)
            changes["tasks"] = {name: dataclasses.replace(task, seeds=None) for name, task in kept.items()}
            changes["seeds"] = list(seeds)
        return dataclasses.replace(self, **changes)

    def _narrower_table(self, tasks: Iterable[Part], left_out: tuple[LeftOut, ...]) -> dict[str, Any]:
        """The table without the noises that none of these tasks is evaluated on, and that it lacks them."""
        columns = names("sets", self.table.get("sets")) or ()
        there = {cell for task in tasks for cell in self._cells(task)}
        gone = [name for name in columns if SetName.parse(name).on_curve and name not in there]
        if not gone:
            return {}
        said = LeftOut(f"{', '.join(gone)} as columns of the table: none of these tasks is evaluated on them")
        table = {**self.table, "sets": [name for name in columns if name not in gone]}
        return {"table": table, "left_out": (*left_out, said)}

    def _cells(self, task: Part) -> list[str]:
        """The cells of the noise curve that a task is evaluated on."""
        options = {**self.options, **task.options}
        if "noise_curve" not in (names("sets", options.get("sets")) or ()):
            return []
        return curve_sets(names("noises", options.get("noises")))

    def _left_out(self, asked: Mapping[str, Sequence[Any] | None]) -> tuple[LeftOut, ...]:
        """What is left out where these parts, None for the plan's own, are asked for."""
        models = [str(part.options["model_name_or_path"]) for part in self.models.values()]
        seeds = sorted({*self.seeds}.union(*(part.seeds or () for part in self.tasks.values())))
        own: dict[str, list[Any]] = {"tasks": [*self.tasks], "models": models, "seeds": seeds}
        others = {name for name, values in asked.items() if values is not None and {*values} != {*own[name]}}
        kept = [entry for entry in self.left_out if entry.part not in others]
        for name in ("tasks", "seeds"):
            without = [value for value in own[name] if value not in (asked[name] or own[name])]
            kept += [not_asked(name, without)] if without else []
        return tuple(kept)


def not_asked(part: str, values: Sequence[Any]) -> LeftOut:
    """What is left out since others of a plan's tasks or seeds were asked for.

    Args:
        part: "tasks" or "seeds".
        values: those that were not.
    """
    named = part if len(values) > 1 else part.removesuffix("s")
    return LeftOut(f"the {named} {', '.join(map(str, values))}, which the plan has")


def nested(option: str, value: Any) -> Options:
    """``update_mask_kwargs.upper`` as a mapping in a mapping."""
    name, dot, part = option.partition(".")
    return {name: {part: value}} if dot else {name: value}


def reference(value: Any) -> str | None:
    """The method that ``{method: NAME}`` names, for its value, trace or adversarial rows; None of any other value."""
    return str(value["method"]) if isinstance(value, Mapping) and value.keys() == {"method"} else None
