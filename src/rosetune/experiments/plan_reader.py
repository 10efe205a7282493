"""A plan from YAML, checked from the top to the bottom before anything is trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rosetune.data.readers import TABLE_SUFFIXES
from rosetune.data.tasks import TASKS, find_task
from rosetune.experiments.marked import Marked, Place
from rosetune.experiments.plan import ADVERSARIAL, AXES, Options, Part, Plan, Selection, reference
from rosetune.experiments.plan_options import PlanOptions, refuse_repeats
from rosetune.experiments.plan_results import adversarial, analyses, attacks, left_out, table_options
from rosetune.recipes import method_axes, method_names
from rosetune.runs.config import DEFAULT_SEED
from rosetune.runs.values import RunError

__all__ = ["parse_plan", "read_plan"]

KEYS = (
    *("title", "output_dir", "tasks", "models", "methods", "seeds", "options", "grid", "select", "attack"),
    *("adversarial", "threads", "table", "analyze", "left_out"),
)
OF_TASK = ("task", "seeds", "attack")  # what may stand there beside options
OF_METHOD = ("recipe", "grid", "tasks", "select", "only", "along_training")


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
        self._options = PlanOptions(marked)

    def plan(self) -> Plan:
        marked, value = self._marked, self._value
        for name in value:
            if name not in KEYS:
                hint = "options of every run stand under options" if name in self._options.known else ""
                raise _with_hint(marked.unknown("part of a plan", name, KEYS, name), hint)
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
        how = adversarial(marked)
        self._check_adversarial(how is not None, methods)
        return Plan(
            output_dir=self._text("output_dir", "runs"),
            tasks=tasks,
            models=models,
            methods=methods,
            seeds=self._seeds(value.get("seeds", [DEFAULT_SEED]), ("seeds",)),
            options=self._options.checked(value.get("options"), ("options",)),
            grid=self._options.grid(value.get("grid"), ("grid",)),
            attacks=attacks(marked, value.get("attack"), ("attack",)),
            adversarial=how,
            threads=self._threads(),
            select=self._selection(models, methods),
            title=self._text("title", marked.source),
            left_out=left_out(marked),
            table=table_options(marked),
            analyze=analyses(marked, tasks),
            marked=marked,
        )

    def _text(self, name: str, default: str) -> str:
        value = self._value.get(name, default)
        if not isinstance(value, str) or not value:
            raise self._marked.error(f"{name} must be text, not {value!r}", name)
        return value

    def _seeds(self, seeds: Any, place: Place) -> list[int]:
        whole = isinstance(seeds, list) and all(type(seed) is int and seed >= 0 for seed in seeds)
        if not seeds or not whole:
            raise self._marked.error(f"seeds must be whole numbers such as [1, 2, 3], not {seeds!r}", *place)
        refuse_repeats(self._marked, "seeds", seeds, place)
        return list(seeds)

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
        options = self._options.checked(given.get("options"), ("select", "options"))
        sets = options.get("sets") or ()
        if not options.get("held_out") or "clean" not in sets or "noise" not in sets:
            needed = "it takes options: {held_out: 0.1, sets: clean,noise}, since nothing is chosen on reported sets"
            raise marked.error(needed, "select")
        if len(models) > 1 or self._value.get("grid"):
            raise marked.error("a plan that selects has one model and no grid of its own", "select")
        grid = self._options.trials(given.get("grid"), ("select", "grid"))
        if not grid and not choosing:
            raise marked.error("select has nothing to choose: give it a grid, or a method a select", "select")
        return Selection(seed, options, grid)

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
            of_task = option == "task"
            seeds = self._seeds(body.pop("seeds"), (*place, "seeds")) if of_task and "seeds" in body else None
            attack = body.pop("attack") if of_task and "attack" in body else None
            attacked = None if attack is None else attacks(self._marked, attack, (*place, "attack"))
            options = {option: identity, **self._options.checked(body, place, OF_TASK if of_task else (option,))}
            return Part(name, options, place, seeds=seeds, attacks=attacked)
        recipe, grid, tasks, select = (body.pop(key, None) for key in ("recipe", "grid", "tasks", "select"))
        only, along = body.pop("only", None), body.pop("along_training", None)
        if type(along) not in (bool, type(None)):
            raise self._marked.error(f"along_training must be true or false, not {along!r}", *place, "along_training")
        if not isinstance(tasks, dict | None):
            raise self._marked.error("tasks of a method must be a mapping of options by task", *place, "tasks")
        return Part(
            name,
            self._options.checked(body, place, OF_METHOD),
            place,
            recipe=recipe,
            grid=self._options.grid(grid, (*place, "grid")),
            select=self._options.trials(select, (*place, "select")),
            only=self._only(only, place),
            along=bool(along),
            tasks={task: self._options.checked(own, (*place, "tasks", task)) for task, own in (tasks or {}).items()},
        )

    def _only(self, given: Any, place: Place) -> tuple[str, ...] | None:
        if given is None:
            return None
        listed, known = given if isinstance(given, list) else [given], [str(task) for task in self._value["tasks"]]
        for name in listed or [given]:
            if str(name) not in known:
                raise self._marked.unknown("task in this plan", str(name), known, *place, "only")
        return tuple(map(str, listed))

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
            raise _with_hint(error, "any other name takes an objective, an update_mask or a recipe")
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
            other = reference(options.get(ADVERSARIAL))
            if other is not None and other not in methods:
                raise marked.unknown("method in this plan", other, methods, *place, ADVERSARIAL)

    def _check_adversarial(self, told: bool, methods: Mapping[str, Part]) -> None:
        """A plan says how it finds adversarial rows where a method asks for another's, and nowhere else."""
        asked = False
        for part in methods.values():
            for options, place in ((part.options, ()), *((o, ("tasks", task)) for task, o in part.tasks.items())):
                if reference(options.get(ADVERSARIAL)) is None:
                    continue
                asked = True
                if not told:
                    hint = "say how they are found, such as adversarial: {attack: deepwordbug}"
                    at = (*part.place, *place, ADVERSARIAL)
                    raise self._marked.error(f"{part.name} trains on adversarial rows of another method: {hint}", *at)
        if told and not asked:
            hint = "give one adversarial_file: {method: vanilla}"
            raise self._marked.error(f"no method trains on adversarial rows of another: {hint}", "adversarial")

    def _check_circle(self, part: Part, methods: Mapping[str, Part], above: tuple[str, ...]) -> None:
        for name in sorted(part.references()):
            if name in above:
                circle = " -> ".join((*above, name))
                raise self._marked.error(f"{part.name} needs what comes of itself: {circle}", *part.place)
            self._check_circle(methods[name], methods, (*above, name))


def _with_hint(error: RunError, hint: str) -> RunError:
    """An error that may end in a question, and a further remedy."""
    return RunError(f"{error} ({hint})" if hint else str(error))
