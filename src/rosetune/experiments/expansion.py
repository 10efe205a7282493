"""A plan becomes its runs: layers of options merged, references to other methods followed, each run checked."""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rosetune.arguments import build_averaging
from rosetune.data.rows import TaskData
from rosetune.data.synonyms import load_synonyms
from rosetune.experiments.attack_options import AttackOptions
from rosetune.experiments.data import load_data
from rosetune.experiments.marked import Place
from rosetune.experiments.models import load_tokenizer
from rosetune.experiments.needed import Draft, needed_drafts
from rosetune.experiments.options import merged_layers
from rosetune.experiments.plan import ADVERSARIAL, AXES, Options, Part, Plan, reference
from rosetune.experiments.plan_words import in_a_plan
from rosetune.experiments.planned import ROWS, TRACE_FILE, WEIGHTS, PlannedRun, reference_of, with_trace
from rosetune.experiments.planned_attacks import check_attacks
from rosetune.experiments.planned_table import check_table
from rosetune.experiments.quick import check_paths
from rosetune.experiments.sameness import written_out
from rosetune.experiments.training import training_arguments, training_defaults
from rosetune.mask_trace import MaskTrace
from rosetune.robustness.sets import evaluation_sets
from rosetune.runs.config import RunConfig
from rosetune.runs.identity import identity_hash
from rosetune.runs.values import RunError

__all__ = ["planned_runs"]


def planned_runs(plan: Plan) -> list[PlannedRun]:
    """Every run of a plan, after those that it needs; data and tokenizers are read, methods are built.

    Raises:
        RunError: an option that a method has not, a value out of its range, data or a model that is not there, two
            runs of one identity, a trace or adversarial rows that no run of the plan, or more than one, has, an
            attack on a set that there is not, or a table of what no run is; with the line.
    """
    return _Expansion(plan).runs()


class _Expansion:
    def __init__(self, plan: Plan) -> None:
        self._plan, self._marked = plan, plan.marked
        self._data: dict[str, TaskData] = {}
        self._seen: set[str] = set()
        self._made: dict[int, PlannedRun] = {}
        self._same: dict[int, str] = {}
        self._models: dict[str, str] = {}
        self._defaults = training_defaults()

    def runs(self) -> list[PlannedRun]:
        plan = self._plan
        placed: dict[Place, tuple[AttackOptions, ...]] = {("attack",): plan.attacks}
        placed |= {(*task.place, "attack"): task.attacks or () for task in plan.tasks.values()}
        for place, attacks in placed.items():
            for options in attacks:
                if options.synonyms is not None:
                    self._try(Part("attack", {}, place), partial(load_synonyms, options.synonyms))
        how = plan.adversarial
        if how is not None and how.synonyms is not None:
            self._try(Part("adversarial", {}, ("adversarial",)), partial(load_synonyms, how.synonyms))
        self._drafts = [
            self._draft(task, model, method, point, seed)
            for task in plan.tasks.values()
            for model in plan.models.values()
            for method in plan.methods.values()
            if method.is_on(task)
            for point in plan.points(method)
            for seed in task.seeds or plan.seeds
        ]
        # A typo is told by the methods that know the option, and not by those that have no use for any such.
        for draft in sorted(self._drafts, key=lambda draft: draft.stray(plan.grid) is not None):
            self._check(draft)
        self._needed = {id(draft): self._needed_by(draft) for draft in self._drafts}
        self._yielding = {id(needed[ROWS]) for needed in self._needed.values() if ROWS in needed}
        self._refuse_twins()
        runs = [self._run(draft) for draft in self._drafts]
        check_attacks(plan, runs)
        check_table(plan, runs)
        return list(self._made.values())

    def _draft(self, task: Part, model: Part, method: Part, point: dict[str, Any], seed: int) -> Draft:
        options = self._options(task, model, method, point) | {"seed": seed}
        rows_of = reference(options.get(ADVERSARIAL))
        if rows_of is not None:
            options[ADVERSARIAL] = None  # a file that is not there yet
        try:
            return Draft(task, model, method, point, RunConfig.from_options(options), rows_of)
        except (ValueError, TypeError) as error:
            raise self._marked.error(f"{method.name} on {task.name}: {error}", *method.place) from error

    def _options(self, task: Part, model: Part, method: Part, point: dict[str, Any]) -> Options:
        """With the other method's value in the place of a reference, but for a trace, which is not there yet."""
        options = merged_layers(self._plan.layers(task, model, method, point))
        for axis in AXES:
            for name, value in (options.get(axis) or {}).items():
                other = reference(value)
                if other is None or name == "trace":
                    continue
                theirs = self._options(task, model, self._plan.methods[other], point).get(axis) or {}
                if name not in theirs:
                    raise self._marked.error(f"{other} has no {name} in its {axis}", *method.place, axis, name)
                options[axis] = {**options[axis], name: theirs[name]}
        return options

    # --- what can be wrong with a run ----------------------------------------------------------------------------

    def _check(self, draft: Draft) -> None:
        """Once for all seeds."""
        config, marked = draft.config, self._marked
        options = repr(replace(config, training={**config.training, "seed": 0}))
        if options in self._seen:
            return
        self._seen.add(options)
        name = config.model_name_or_path
        self._try_data(draft)
        self._try(draft.model, lambda: self._once(f"model {name}", lambda: _check_model(config)))
        if "advglue" in config.sets:
            # Once for each data: it looks for its texts among all training rows.
            self._try(draft.task, lambda: self._once(f"advglue of {_data_key(config)}", lambda: self._advglue(config)))
        stray = draft.stray(self._plan.grid)
        if stray is not None:
            axis = stray.partition(".")[0].removesuffix("_kwargs")
            hint = f"give this grid to the methods that have one, as methods: {{NAME: {{grid: {{{stray}: [...]}}}}}}"
            raise marked.error(f"{draft.method.name} has no {axis}: {hint}", "grid", stray)
        with tempfile.TemporaryDirectory() as folder:
            trace = Path(folder, TRACE_FILE)
            MaskTrace(("none",), np.ones(1, int), np.ones((1, 1))).save(trace)
            try:
                args = training_arguments(with_trace(config, str(trace)))
            except ValueError as error:
                # A method's own message names its options, and those stand in a mapping of their own.
                axis = next(
                    (axis for axis in AXES if axis.removesuffix("_kwargs") in str(error)), "update_mask_kwargs"
                )
                told = f"{draft.method.name} on {draft.task.name}: {in_a_plan(error)}"
                raise marked.error(told, *draft.place_of_error(marked, axis, str(error))) from error
        if draft.method.along:
            self._check_along(draft, args)

    def _check_along(self, draft: Draft, args: Any) -> None:
        """A curve over training needs checkpoints, and accuracies."""
        config, averaging, reason = draft.config, build_averaging(args), None
        if not self._load(config).labels:
            reason = "this is a regression, and a curve over training needs accuracies"
        elif args.save_strategy == "no":
            reason = "it needs checkpoints, and save_strategy: no leaves none"
        elif config.training.get("save_total_limit") == 1:  # asked for
            reason = "save_total_limit: 1 keeps the end alone: give more, or leave it out"
        elif averaging is not None and not averaging.after_training:
            reason = "its checkpoints hold weights that are not averaged: follow a method without averaging"
        elif averaging is not None:
            reason = f"averaging: {config.training['averaging']} comes after training: follow the run that it averages"
        if reason is not None:
            told = f"{draft.method.name} on {draft.task.name} cannot be followed along training: {reason}"
            raise self._marked.error(told, *draft.method.place, "along_training")

    def _try_data(self, draft: Draft) -> None:
        """An error that names an option of the data, or what it is, stands at its line, else at the task's."""
        config = draft.config
        try:
            check_paths(replace(config, model_name_or_path="demo"))
            self._load(config)
        except (ValueError, OSError) as error:
            raise self._marked.error(in_a_plan(error), *draft.place_of_data(self._marked, str(error))) from error

    def _advglue(self, config: RunConfig) -> None:
        evaluation_sets(self._load(config), "advglue", data_dir=config.data_dir)

    def _try(self, part: Part, check: Any) -> None:
        try:
            check()
        except (ValueError, OSError) as error:
            raise self._marked.error(in_a_plan(error), *part.place) from error

    def _once(self, key: str, check: Any) -> None:
        if key not in self._seen:
            check()
            self._seen.add(key)

    def _load(self, config: RunConfig) -> TaskData:
        key = _data_key(config)
        if key not in self._data:
            self._data[key] = load_data(config)
        return self._data[key]

    # --- what follows from its options ---------------------------------------------------------------------------

    def _run(self, draft: Draft) -> PlannedRun:
        if id(draft) in self._made:
            return self._made[id(draft)]
        needs = {what: self._run(needed) for what, needed in self._needed[id(draft)].items()}
        plan, config, data = self._plan, draft.config, self._load(draft.config)
        self._check_needs(draft, needs, data)
        identity = self._identity(with_trace(config, None), data)
        # Weights are those of a run that the identity tells already.
        told = identity | {what: needed.key for what, needed in needs.items() if what != WEIGHTS}
        if ROWS in needs and plan.adversarial is not None:
            told |= {"adversarial": plan.adversarial.key()}
        yields = plan.adversarial if id(draft) in self._yielding else None
        names = draft.task.name, draft.model.name, draft.method.name
        place, key = plan.output_dir, identity_hash(told)
        attacks = plan.attacks if draft.task.attacks is None else draft.task.attacks
        along = draft.method.along
        run = PlannedRun(*names, draft.point, place, key, needs, attacks, yields, along, data, config, identity)
        self._made[id(draft)], self._same[id(draft)] = run, identity_hash(written_out(told))
        return run

    def _check_needs(self, draft: Draft, needs: Mapping[str, PlannedRun], data: TaskData) -> None:
        method, marked = draft.method, self._marked
        if ROWS in needs and not data.labels:
            told = f"{method.name} on {draft.task.name}: adversarial rows need labels, and this is a regression"
            raise marked.error(told, *draft.place(ADVERSARIAL))
        if len({needed.root.key for needed in needs.values()}) > 1:
            both = " and the ".join(f"{what} of {needed.method}" for what, needed in needs.items())
            reason = "these must stem from one run, since a share of a sweep waits for no other"
            raise marked.error(f"{method.name} on {draft.task.name} needs the {both}: {reason}", *method.place)

    def _needed_by(self, draft: Draft) -> dict[str, Draft]:
        """The drafts of the runs that it needs, by what it needs of them."""
        found = needed_drafts(draft, self._drafts, self._marked)
        if draft.config.training.get("averaging") != "pretrained":
            return found
        training = {name: value for name, value in draft.config.training.items() if not name.startswith("averaging")}
        source = replace(draft, config=replace(draft.config, training=training))
        named = self._named(source)
        twins = (
            other for other in self._drafts if other.task is draft.task and other.config.seed == source.config.seed
        )
        return found | next(({WEIGHTS: other} for other in twins if self._named(other) == named), {})

    def _named(self, draft: Draft) -> Any:
        """What a run is, with names in the place of what it needs."""
        config = draft.config
        identity = self._identity(with_trace(config, None), self._load(config))
        return identity, reference_of(config), draft.rows_of

    def _identity(self, config: RunConfig, data: TaskData) -> dict[str, Any]:
        """A model's files are hashed once, not for each of its runs."""
        name = config.model_name_or_path
        known = self._models.get(name)
        identity = replace(config, model_name_or_path="demo" if known else name).identity(
            task=data.name,
            text_columns=data.text_columns,
            fingerprint=data.fingerprint,
            defaults=self._defaults,
        )
        self._models[name] = known or identity["model_name_or_path"]
        return {**identity, "model_name_or_path": self._models[name]}

    def _refuse_twins(self) -> None:
        """What was chosen may come out as another method's default, when trials are done: then nothing is refused."""
        first: dict[str, Draft] = {}
        for draft in self._drafts:
            run = self._run(draft)
            keys = (run.key,) if draft.method.select else (run.key, self._same[id(draft)])
            twin = next((first[key] for key in keys if key in first), None)
            if twin is not None:
                raise self._twins(run, draft, twin)
            first |= dict.fromkeys(keys, draft)

    def _twins(self, run: PlannedRun, one: Draft, other: Draft) -> RunError:
        line = self._marked.line(*other.method.place)
        part = one.method if one.method is not other.method else one.task
        named = f"{other.method.name} on {other.task.name} (line {line})"
        return self._marked.error(f"{run} is the same run as {named}: remove one of the two", *part.place)


def _data_key(config: RunConfig) -> str:
    return repr((config.task, config.data_options(), config.held_out))


def _check_model(config: RunConfig) -> None:
    check_paths(config)
    load_tokenizer(config.model_name_or_path, config.max_length)
