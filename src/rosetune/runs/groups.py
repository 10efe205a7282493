"""Many runs as the rows of a table: by model, by method, and by the options in which runs of one method differ."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rosetune.data.tasks import TASKS
from rosetune.runs.compare import OF_THE_SEED
from rosetune.runs.controls import CONTROLS
from rosetune.runs.identity import LABEL_CHANGES, model_title, task_name, value_text
from rosetune.runs.run import Run
from rosetune.runs.values import RunError, flat, guess

__all__ = ["Group", "group_runs", "is_control", "task_of", "tasks_of", "told_options", "value_text"]

# In the order of the paper's Table 1; what is not here comes after it.
_ORDER = (
    *("given", "vanilla", "r-drop", "child-tuning-d", "child-tuning-f", "smart", "freelb", "r3f", "rift"),
    *("match-tuning", "rose-first", "rose-second", "rose-ensemble", "r-drop+rose-first", "r-drop+rose-second"),
    "r-drop+rose-ensemble",
)
_CONTROL_MASKS = ("random", "static", "uniform", "replay", "layer_norm_only")
_NOT_THE_METHOD = (*OF_THE_SEED, *LABEL_CHANGES, "task", "model_name_or_path")
# What rows may differ in, and what is no option that somebody would set them apart by.
_OF_THE_DATA = ("data_fingerprint", "text_columns", "task_type", "drop_empty", "drop_unlabelled", "labels")
_OF_THE_RUN = ("processes", "given")


@dataclass(frozen=True)
class Group:
    """The runs of one row of a table.

    Attributes:
        model: its name, without folders.
        method: see :meth:`~rosetune.runs.config.RunConfig.method`; of a run that `rosetune controls` trained the name
            of the control and of its claim.
        name: the method, with the options that tell it from other rows of that method.
        options: these options.
        control: whether it is there to be beaten.
        runs: by task, see :func:`task_of`; one a seed, in the order of the seeds.
    """

    model: str
    method: str
    name: str
    options: dict[str, Any]
    control: bool
    runs: dict[str, list[Run]]


def group_runs(
    runs: Iterable[Run], told: Sequence[str] = (), labels: Mapping[Run, str] | None = None
) -> tuple[list[Group], list[str]]:
    """Rows in the order of a table, and notes on what was left out.

    Tasks are those of :func:`task_of`. Runs stand in one row if they are of one model and one method, and differ,
    within a task, in nothing but the seed. Where the runs of a method differ in more within some task, each value of
    what differs there makes a row of its own. Options that differ between tasks alone are taken for chosen by task,
    as the paper chose its learning rates. A run that `rosetune controls` trained stands in the row of its control and
    claim, whatever its options: they are matched to the one run that it is the control of. Of two runs with the same
    identity the first counts.

    Args:
        told: options that always tell rows apart, as "gamma" or "update_mask_kwargs.gamma".
        labels: what a plan calls the method of each run. Runs that are called otherwise make rows of their own, and
            those of one method have these names.

    Raises:
        RunError: no run has such an option.
    """
    found, notes = _different(runs)
    models = _model_names(found)
    claims = {run.folder.resolve(): run for run in found}
    made = {run: claim for run in found if (claim := _claim_of(run, claims)) is not None}
    kinds: dict[tuple[str, str, bool, str | None], list[Run]] = {}
    for run in found:
        if run not in made:
            label = None if labels is None else labels.get(run)
            kinds.setdefault((models[_model(run)], run.method, is_control(run), label), []).append(run)
    names, groups = told_options(told, [run.identity for run in found]), list[Group]()
    called: dict[tuple[str, str], set[str | None]] = {}
    for model, method, _, label in kinds:
        called.setdefault((model, method), set()).add(label)
    for (model, method, control, label), same in kinds.items():
        named = label if label is not None and len(called[model, method]) > 1 else method
        groups += _split(model, method, named, control, same, names)
    rows = {_key(run): group.name for group in groups for part in group.runs.values() for run in part}
    matched: dict[tuple[str, str], list[Run]] = {}
    for run, claim in made.items():
        method = f"{run.folder.name} of {rows.get(_key(claim), claim.method)}"
        matched.setdefault((models[_model(run)], method), []).append(run)
    groups += [Group(model, method, method, {}, True, _by_task(same)) for (model, method), same in matched.items()]
    return sorted(map(_once_a_seed(notes), groups), key=_place), notes


def task_of(run: Run) -> str:
    """The task as a column of a table, see :func:`~rosetune.runs.identity.task_name`."""
    return task_name(run.identity)


def tasks_of(runs: Iterable[Run]) -> list[str]:
    """The tasks of runs in the order of every table: rosetune's own first, then the others by name."""
    order = {task: place for place, task in enumerate(TASKS)}
    found = {task_of(run): order.get(run.task, len(order)) for run in runs}
    return sorted(found, key=lambda task: (found[task], task))


def is_control(run: Run) -> bool:
    """Whether its method is there to be beaten by another: see `rosetune controls`."""
    training = run.config.training
    objective, mask = training.get("objective") or "cross_entropy", training.get("update_mask")
    options = training.get("objective_kwargs") or {}
    if mask is None:
        smoothed = options.get("label_smoothing") or training.get("label_smoothing_factor")
        return objective == "cross_entropy" and bool(smoothed or options.get("passes") == 2)
    chosen = training.get("update_mask_kwargs") or {}
    turned = chosen.get("keep") == "highest" or chosen.get("risk") == "task"
    return mask in _CONTROL_MASKS or (mask == "rose" and turned)


def _different(runs: Iterable[Run]) -> tuple[list[Run], list[str]]:
    """The runs, of those of one identity the first, and a note on the others."""
    found: dict[str, Run] = {}
    given = list(runs)
    for run in given:
        found.setdefault(f"{_claimed(run)}{_key(run)}", run)
    twice = len(given) - len(found)
    return list(found.values()), _twice(twice, "the same options and seed") if twice else []


def _key(run: Run) -> str:
    return json.dumps(run.identity, sort_keys=True)


def _twice(n: int, what: str) -> list[str]:
    return [f"{n} {'run has' if n == 1 else 'runs have'} {what} as another one: the first of each counts."]


def _once_a_seed(notes: list[str]) -> Callable[[Group], Group]:
    """Leaves one run for each seed of a row, and notes which row had more."""

    def once(group: Group) -> Group:
        first = {task: list({run.seed: run for run in reversed(runs)}.values()) for task, runs in group.runs.items()}
        more = sum(map(len, group.runs.values())) - sum(map(len, first.values()))
        if not more:
            return group
        notes.extend(_twice(more, f"the row, {group.name}, and the seed"))
        return replace(
            group,
            runs={
                task: sorted(runs, key=lambda run: -1 if run.seed is None else run.seed)
                for task, runs in first.items()
            },
        )

    return once


def _claimed(run: Run) -> str:
    """Of a matched control its name and claim, since controls of two claims may be alike."""
    matched = run.folder.parent.name == "controls" and run.folder.name in CONTROLS and run.folder.name != "vanilla"
    return str(run.folder.resolve()) if matched else ""


def _claim_of(run: Run, there: Mapping[Any, Run]) -> Run | None:
    """The run that this one is a matched control of; plain vanilla is nobody's own."""
    if not _claimed(run):
        return None
    folder = run.folder.resolve().parents[1]
    try:
        return there.get(folder) or Run.open(folder)
    except RunError:
        return None


def _model(run: Run) -> str:
    return str(run.identity.get("model_name_or_path", run.config.model_name_or_path))


def _model_names(runs: Iterable[Run]) -> dict[str, str]:
    """By identity a name without folders; models that would be called alike get the first digits of their hash."""
    short = {_model(run): model_title(run.config.model_name_or_path) for run in runs}
    alike = [name for name in short.values() if [*short.values()].count(name) > 1]
    return {model: f"{name} ({value_text(model)})" if name in alike else name for model, name in short.items()}


def told_options(told: Sequence[str], identities: Iterable[Mapping[str, Any]]) -> list[str]:
    """The whole names of options that tell rows apart.

    Args:
        told: their names, as "gamma" or "update_mask_kwargs.gamma".
        identities: of the runs.

    Raises:
        RunError: no run was given such an option.
    """
    known = {name for identity in identities for name in flat(identity, _NOT_THE_METHOD)}
    found = []
    for wanted in told:
        if wanted in LABEL_CHANGES:
            raise RunError(f"{wanted} tells columns apart, not rows: name another option")
        fitting = sorted(name for name in known if wanted in (name, name.rpartition(".")[2]))
        if not fitting:
            raise _no_option(wanted, known)
        found += fitting
    return found


def _no_option(wanted: str, known: Iterable[str]) -> RunError:
    """An option that no run was given; of the others those are offered that somebody may have given."""
    offered = sorted({name.rpartition(".")[2] for name in {*known} - {*_OF_THE_DATA, *_OF_THE_RUN}})
    hint = guess(wanted, offered) if offered else "give runs that differ in it"
    default = "" if hint.startswith("did") else ", and a default makes no column"
    return RunError(f"no run was given the option {wanted}{default}: {hint}")


def _split(
    model: str, method: str, named: str, control: bool, runs: Sequence[Run], told: Sequence[str]
) -> list[Group]:
    """The rows of one method: one, if each task has one configuration."""
    options = {run: flat(run.identity, _NOT_THE_METHOD) for run in runs}
    first: dict[str, dict[str, Any]] = {}
    apart = dict.fromkeys(told)
    for run in runs:
        own = options[run]
        other = first.setdefault(task_of(run), own)
        if own is not other:
            apart |= {name: None for name in {*own, *other} if own.get(name) != other.get(name)}
    names = sorted(apart)
    parts: dict[str, list[Run]] = {}
    for run in runs:
        parts.setdefault(json.dumps([options[run].get(name) for name in names]), []).append(run)
    short = {name: name.rpartition(".")[2] for name in names}
    groups = []
    for part in parts.values():
        own = {name: options[part[0]].get(name) for name in names}
        given = {
            (short[name] if [*short.values()].count(short[name]) == 1 else name): value
            for name, value in own.items()
            if value is not None
        }
        shown = ", ".join(f"{name}={value_text(value)}" for name, value in given.items())
        groups.append(Group(model, method, f"{named} ({shown})" if shown else named, own, control, _by_task(part)))
    return groups


def _by_task(runs: Iterable[Run]) -> dict[str, list[Run]]:
    tasks: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: -1 if run.seed is None else run.seed):
        tasks.setdefault(task_of(run), []).append(run)
    return tasks


def _place(group: Group) -> tuple[Any, ...]:
    order = _ORDER.index(group.method) if group.method in _ORDER else len(_ORDER)
    values = [
        (
            value is not None,
            not isinstance(value, int | float),
            value if isinstance(value, int | float) else str(value),
        )
        for value in group.options.values()
    ]
    return group.model, group.control, order, group.method, values, group.name
