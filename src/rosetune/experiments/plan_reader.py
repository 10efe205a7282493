"""A plan from YAML, checked from the top to the bottom before anything is trained."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetune.data.readers import TABLE_SUFFIXES
from rosetune.data.tasks import TASKS, find_task
from rosetune.experiments.analysis_options import ANALYSES, AnalysisOptions
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.marked import Marked, Place
from rosetune.experiments.options import parse_training
from rosetune.experiments.plan import AXES, Options, Part, Plan, Selection, nested, reference
from rosetune.experiments.quick import trainer_defaults
from rosetune.experiments.search_space import is_shared
from rosetune.recipes import method_axes, method_names
from rosetune.runs.aggregate import LAYOUTS
from rosetune.runs.config import DEFAULT_SEED, RUN_OPTIONS, RunConfig
from rosetune.runs.figures import METRICS
from rosetune.runs.sets import KINDS, SetName
from rosetune.runs.tested import TESTS
from rosetune.runs.values import RunError

__all__ = ["parse_plan", "read_plan"]

KEYS = (
    *("title", "output_dir", "tasks", "models", "methods", "seeds", "options", "grid", "select", "attack", "threads"),
    *("table", "analyze", "left_out"),
)
# Options that a plan says in a place of its own.
_ELSEWHERE = {
    "seed": "a plan has seeds: [1, 2, 3] at its top",
    "output_dir": "a plan has one output_dir, at its top",
    "task": "it stands under tasks",
    "model_name_or_path": "it stands under models",
    "given": "a plan trains",
    "labels": "a plan trains",
}


def read_plan(path: str | Path) -> Plan:
    """A plan from its file, every name and value of it checked.

    Raises:
        RunError: the first mistake, with its line and the nearest right name.
    """
    return _Reader(Marked.read(path)).plan()


def parse_plan(text: str, source: str = "the plan") -> Plan:
    """A plan from YAML; see :func:`read_plan`.

    Args:
        source: what it is called in messages.
    """
    return _Reader(Marked(text, source)).plan()


class _Reader:
    """Checks a plan from the top to the bottom; the first mistake is the error."""

    def __init__(self, marked: Marked) -> None:
        self._marked, self._value = marked, marked.value
        self._options = ({*RUN_OPTIONS} | {*trainer_defaults()}) - {*_ELSEWHERE}

    def plan(self) -> Plan:
        marked, value = self._marked, self._value
        for name in value:
            if name not in KEYS:
                hint = "; options of every run stand under options" if name in self._options else ""
                raise RunError(f"{marked.unknown('part of a plan', name, KEYS, name)}{hint}")
        for name in ("tasks", "methods"):
            if not value.get(name):
                raise marked.error(f"{name} is missing: a plan names at least one", name)
        tasks = self._parts("tasks", "task")
        models = self._parts("models", "model_name_or_path", default=["demo"])
        methods = self._parts("methods", None)
        for part in tasks.values():
            self._check_task(part)
        for part in methods.values():
            self._check_method(part, methods, tasks)
        for part in methods.values():
            self._check_circle(part, methods, (part.name,))
        return Plan(
            output_dir=self._text("output_dir", "runs"),
            tasks=tasks,
            models=models,
            methods=methods,
            seeds=self._seeds(),
            options=self._checked(value.get("options"), ("options",)),
            grid=self._grid(value.get("grid"), ("grid",)),
            attacks=self._attacks(),
            threads=self._threads(),
            select=self._selection(models, methods),
            title=self._text("title", marked.source),
            left_out=self._left_out(),
            table=self._table(),
            analyze=self._analyze(),
            marked=marked,
        )

    def _text(self, name: str, default: str) -> str:
        value = self._value.get(name, default)
        if not isinstance(value, str) or not value:
            raise self._marked.error(f"{name} must be text, not {value!r}", name)
        return value

    def _seeds(self) -> list[int]:
        seeds = self._value.get("seeds", [DEFAULT_SEED])
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not seeds or not whole:
            raise self._marked.error(f"seeds must be whole numbers such as [1, 2, 3], not {seeds!r}", "seeds")
        self._refuse_repeats("seeds", seeds, ("seeds",))
        return list(seeds)

    def _refuse_repeats(self, what: str, values: list[Any], place: Place) -> None:
        for number, value in enumerate(values):
            if value in values[:number]:
                raise self._marked.error(f"{what} has {value!r} twice, which makes one run", *place, number)

    def _selection(self, models: Mapping[str, Part], methods: Mapping[str, Part]) -> Selection | None:
        given, marked = self._value.get("select"), self._marked
        choosing = [part for part in methods.values() if part.select]
        if given is None:
            for part in choosing:
                hint = "give the plan a select too, with options: {held_out: 0.1, sets: [clean, noise]}"
                raise marked.error(f"{part.name} selects, but the plan does not: {hint}", *part.place, "select")
            return None
        if not isinstance(given, dict):
            raise marked.error("select must be a mapping such as {options: {held_out: 0.1}, grid: {...}}", "select")
        for name in given:
            if name not in ("seed", "options", "grid"):
                raise marked.unknown("part of a selection", name, ("seed", "options", "grid"), "select", name)
        seed = given.get("seed", DEFAULT_SEED)
        if type(seed) is not int or seed < 0:
            raise marked.error(f"seed must be a whole number, not {seed!r}", "select", "seed")
        options = self._checked(given.get("options"), ("select", "options"))
        sets = options.get("sets") or ()
        if not options.get("held_out") or "clean" not in sets or "noise" not in sets:
            needed = "it takes options: {held_out: 0.1, sets: clean,noise}, since nothing is chosen on reported sets"
            raise marked.error(needed, "select")
        if len(models) > 1 or self._value.get("grid"):
            raise marked.error("a plan that selects has one model and no grid of its own", "select")
        grid = self._trials(given.get("grid"), ("select", "grid"))
        if not grid and not choosing:
            raise marked.error("select has nothing to choose: give it a grid, or a method a select", "select")
        return Selection(seed, options, grid)

    def _trials(self, grid: Any, place: Place) -> dict[str, list[Any]]:
        """A grid of options that may differ between trials."""
        for name in grid if isinstance(grid, dict) else ():
            if is_shared(name):
                raise self._marked.error(f"every trial has the same {name}: it cannot be chosen", *place, name)
        return self._grid(grid, place)

    def _left_out(self) -> tuple[str, ...]:
        given = self._value.get("left_out") or []
        if not isinstance(given, list) or not all(isinstance(line, str) for line in given):
            raise self._marked.error("left_out must be a list of sentences", "left_out")
        return tuple(given)

    def _table(self) -> Options:
        given, known = self._value.get("table") or {}, ("layout", "sets", "metric", "baseline", "option", "test")
        if not isinstance(given, dict):
            raise self._marked.error("table must be a mapping such as {layout: table1, sets: [clean]}", "table")
        for name in given:
            if name not in known:
                raise self._marked.unknown("option of the table", name, known, "table", name)
        values = {"layout": LAYOUTS, "metric": METRICS, "test": TESTS}
        for name, value in given.items():
            listed = name in ("sets", "metric")
            texts: list[Any] = value if listed and isinstance(value, list) and value else [None if listed else value]
            if not all(isinstance(text, str) for text in texts):
                wanted = "a list of names" if listed else "a name"
                raise self._marked.error(f"{name} of the table must be {wanted}, not {value!r}", "table", name)
            for text in texts:
                if name in values and text not in values[name]:
                    raise self._marked.unknown(f"{name} of a table", text, values[name], "table", name)
                if name == "sets" and SetName.parse(text).kind not in (*KINDS, "file", "attack"):
                    raise self._marked.unknown("kind of sets", text, (*KINDS, "file", "attack"), "table", name)
        return dict(given)

    def _analyze(self) -> Options:
        given, marked = self._value.get("analyze") or {}, self._marked
        if not isinstance(given, dict) or (given and given.get("what") not in ANALYSES):
            known = ", ".join(ANALYSES)
            raise marked.error(f"analyze must be a mapping such as {{what: landscape}}, of {known}", "analyze")
        names = ("what", *(field.name for field in dataclasses.fields(AnalysisOptions)))
        for name in given:
            if name not in names:
                raise marked.unknown("option of an analysis", name, names, "analyze", name)
        try:
            AnalysisOptions(**{name: value for name, value in given.items() if name != "what"})
        except RunError as error:
            raise marked.error(str(error), "analyze") from error
        return given

    def _threads(self) -> int | None:
        threads = self._value.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise self._marked.error(f"threads must be a whole number of at least 1, not {threads!r}", "threads")
        return threads

    def _parts(self, kind: str, option: str | None, default: list[str] | None = None) -> dict[str, Part]:
        """Names as a list, or as a mapping with the options of each."""
        given = self._value.get(kind) or default
        if not isinstance(given, dict | list):
            raise self._marked.error(f"{kind} must be a list of names, or a mapping of options by name", kind)
        named = given.items() if isinstance(given, dict) else [(name, {}) for name in given]
        parts: dict[str, Part] = {}
        for number, (name, body) in enumerate(named):
            place: Place = (kind, name if isinstance(given, dict) else number)
            if not isinstance(name, str | int) or name in parts:
                twice = isinstance(name, str | int)
                raise self._marked.error(f"{name!r} {'stands here twice' if twice else 'is no name'}", *place)
            if not isinstance(body, dict | None):
                raise self._marked.error(f"{name} must have a mapping of options, not {body!r}", *place)
            parts[str(name)] = self._part(str(name), dict(body or {}), place, option)
        return parts

    def _part(self, name: str, body: Options, place: Place, option: str | None) -> Part:
        if option is not None:
            identity = str(body.pop(option, name))
            return Part(name, {option: identity, **self._checked(body, place)}, place)
        recipe, grid, tasks, select = (body.pop(key, None) for key in ("recipe", "grid", "tasks", "select"))
        if not isinstance(tasks, dict | None):
            raise self._marked.error("tasks of a method must be a mapping of options by task", *place, "tasks")
        return Part(
            name,
            self._checked(body, place),
            place,
            recipe=recipe,
            grid=self._grid(grid, (*place, "grid")),
            select=self._trials(select, (*place, "select")),
            tasks={task: self._checked(own, (*place, "tasks", task)) for task, own in (tasks or {}).items()},
        )

    def _checked(self, options: Any, place: Place) -> Options:
        """Options with their types; None takes the value of a lower layer back."""
        if not isinstance(options, dict | None):
            raise self._marked.error(f"{place[-1]} must be a mapping of options, not {options!r}", *place)
        return {name: self._typed(name, value, (*place, name)) for name, value in (options or {}).items()}

    def _typed(self, name: str, value: Any, place: Place) -> Any:
        if name in _ELSEWHERE:
            raise self._marked.error(f"{name} is no option here: {_ELSEWHERE[name]}", *place)
        if name not in self._options:
            raise self._marked.unknown("option", name, self._options, *place)
        if value is None:
            return None
        inside = place[0] == "methods" and place[2] not in ("grid", "select")
        if name in AXES and isinstance(value, dict) and not inside and any(map(reference, value.values())):
            raise self._marked.error(f"{name} refers to a method, which only options under methods can", *place)
        try:
            if name in RUN_OPTIONS:
                # Noises are refused without their curve, which another layer may name.
                beside: Options = {"sets": ("noise_curve",)} if name == "noises" else {}
                return getattr(RunConfig("-", "-", **beside, **{name: value}), name)
            return parse_training({name: value})[name]
        except (ValueError, TypeError) as error:
            raise self._marked.error(error, *place) from error

    def _grid(self, grid: Any, place: Place) -> dict[str, list[Any]]:
        if not isinstance(grid, dict | None):
            raise self._marked.error("a grid must be a mapping of lists, such as learning_rate: [1e-5, 3e-5]", *place)
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
            self._refuse_repeats(f"the grid of {option}", found[option], at)
        return found

    def _check_task(self, part: Part) -> None:
        task = part.options["task"]
        place = (*part.place, "task") if task != part.name else part.place
        if find_task(task) is None and not Path(task).expanduser().exists() and "/" not in task:
            if Path(task).suffix in TABLE_SUFFIXES:
                raise self._marked.error(f"there is no file {task}", *place)
            raise self._marked.unknown("task", task, TASKS, *place)

    def _check_method(self, part: Part, methods: Mapping[str, Part], tasks: Mapping[str, Part]) -> None:
        marked, known = self._marked, method_names()
        names_axis = part.options.keys() & {"objective", "update_mask"}
        if not names_axis and part.recipe is None and method_axes(part.name) is None:
            error = marked.unknown("method", part.name, known, *part.place)
            raise RunError(f"{error}; any other name takes an objective, an update_mask or a recipe")
        if part.recipe is not None and str(part.recipe).partition("/")[0] not in known:
            raise marked.unknown("recipe", str(part.recipe), known, *part.place, "recipe")
        for task in part.tasks:
            if task not in tasks:
                raise marked.unknown("task in this plan", task, tasks, *part.place, "tasks", task)
        for options, place in (
            (part.options, part.place),
            *((o, (*part.place, "tasks", t)) for t, o in part.tasks.items()),
        ):
            for axis in AXES:
                for option, value in (options.get(axis) or {}).items():
                    other = reference(value)
                    if other is not None and other not in methods:
                        raise marked.unknown("method in this plan", other, methods, *place, axis, option)

    def _check_circle(self, part: Part, methods: Mapping[str, Part], above: tuple[str, ...]) -> None:
        for name in sorted(part.references()):
            if name in above:
                circle = " -> ".join((*above, name))
                raise self._marked.error(f"{part.name} needs what comes of itself: {circle}", *part.place)
            self._check_circle(methods[name], methods, (*above, name))

    def _attacks(self) -> tuple[AttackOptions, ...]:
        given = self._value.get("attack") or []
        listed = given if isinstance(given, list) else [given]
        fields = [f.name for f in dataclasses.fields(AttackOptions)]
        found = []
        for number, body in enumerate(listed):
            place: Place = ("attack", number) if isinstance(given, list) else ("attack",)
            options = {"attack": body} if isinstance(body, str) else body
            if not isinstance(options, dict) or not options.get("attack"):
                raise self._marked.error("attack must name attacks, such as attack: [deepwordbug, pwws]", *place)
            for name in options:
                if name not in fields:
                    raise self._marked.unknown("option of an attack", name, fields, *place, name)
            try:
                found.append(AttackOptions(**_attack_values(options)))
            except (ValueError, TypeError) as error:
                raise self._marked.error(str(error).replace("--", ""), *place) from error
        return tuple(found)


def _attack_values(options: Mapping[str, Any]) -> Options:
    """As the command line reads them: names with commas, ``all`` rows, no (``none``) budget."""
    values = dict(options)
    for name in ("attack", "noises", "protected"):
        if isinstance(values.get(name), str):
            values[name] = (
                [values[name]] if name == "protected" else [part.strip() for part in values[name].split(",")]
            )
        if values.get(name) is not None:
            values[name] = tuple(values[name])
    for name, word in (("examples", "all"), ("budget", "none")):
        values |= {name: None} if values.get(name) == word else {}
    for name in ("column", "attack_class", "target_class"):  # YAML reads 1 as a number
        if values.get(name) is not None:
            values[name] = str(values[name])
    return values
