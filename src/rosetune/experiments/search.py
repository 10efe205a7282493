"""Options chosen on held-out training rows: a search is a loop over runs, whose record is an Optuna study."""

import dataclasses
import json
import logging
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import write_json, write_text
from rosetune.experiments.data import load_data
from rosetune.experiments.folder import make_folder
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.search_options import HALVING, SearchOptions
from rosetune.experiments.search_space import Dimension, check_names, grid_points, rounded, with_options
from rosetune.experiments.train import run_all
from rosetune.experiments.training import training_arguments, training_defaults
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.identity import folder_name, identity_hash
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, differences

__all__ = ["HELD_OUT", "run_search"]

HELD_OUT, _MOST = 0.2, 1000  # of the training texts; rows
_FEW = 4  # trials, below which no importance is told
Report = Callable[[str], Any]


def run_search(
    config: RunConfig,
    space: Mapping[str, Dimension],
    options: SearchOptions,
    seeds: Sequence[int] = (),
    report: Report = print,
) -> dict[str, Any]:
    """Search for the options of a run; go on where a search was killed, and do nothing where it is done.

    A trial is a run for each seed, in ``trials/<number>/`` of the search's folder; it is judged by
    :meth:`SearchOptions.value`, averaged over the seeds. It is trained on some of the training rows and evaluated on
    the others (``held_out``): the evaluation data is not among the data of a trial, and AdvGLUE is refused.
    Every trial has the same budget, that of ``config``, and the same split.

    With ``rungs`` R a trial trains for max_steps / 3^(R-1) steps, and so on up to max_steps. It goes on from a rung
    if its value is among the best max(1, floor(n / 3)) of the n trials that have come to that rung so far, itself
    included (asynchronous successive halving; Li et al. 2020, without later promotions: an early trial goes on more
    easily than a late one). Each rung is a run of its own from the pre-trained model, whose learning rate decays
    within that run: a long run is not the continuation of a short one, and what is best after few steps need not be
    best after many. A trial of all rungs costs up to 1.5 times the longest run.

    Files: ``search.json`` (what is searched), ``journal.log`` (Optuna's record), ``trials.json``, ``best.yaml``
    (for ``rosetune train --config``, on all training rows) and ``trials/``. The weights of a trial are deleted.

    Args:
        config: the run whose options are searched for; ``held_out`` is a fifth of the training texts, at most 1,000
            rows, if it is not given, and ``output_dir`` the folder of the search.
        space: what is tried, by option.
        seeds: of the training; none: that of ``config``.
        report: takes a line of text for the person who waits.

    Returns:
        What ``trials.json`` holds: "best", "trials", "importance".

    Raises:
        RunError: Optuna is missing; an option of the space is unknown or has a value that the method refuses; the
            folder holds another search; every trial failed.
        DataError: the data cannot be read.
    """
    quiet_libraries()
    config = _judged_on_training_rows(config, options)
    data = load_data(config)
    if not data.labels:
        raise RunError(f"a search needs labels, whose accuracy it compares: {config.task} is a regression")
    check_names(space, config)
    lengths = _lengths(config, options.rungs)
    _check_values(space, dataclasses.replace(config, sets=("clean",)))
    chosen = tuple(seeds) or (config.seed,)
    identity = {
        "base": config.identity(
            task=data.name,
            text_columns=data.text_columns,
            fingerprint=data.fingerprint,
            defaults=training_defaults(),
        ),
        "space": {name: dataclasses.asdict(dimension) for name, dimension in space.items()},
        **{"objective_mix": options.objective_mix, "sampler": options.sampler, "search_seed": options.search_seed},
        **{"rungs": options.rungs, "seeds": list(chosen)},
    }
    identity = json.loads(json.dumps(identity))
    folder = _folder(config, identity)
    search = _Search(config, dict(space), options, chosen, lengths, folder, identity, report)
    with locked(folder / "workers" / options.worker):
        return search.run()


def _judged_on_training_rows(config: RunConfig, options: SearchOptions) -> RunConfig:
    given = dataclasses.replace(config, sets=tuple(options.objective_mix), held_out=config.held_out or HELD_OUT)
    if config.held_out is None and len(load_data(given).splits["validation"]) > _MOST:
        return dataclasses.replace(given, held_out=_MOST)
    return given


def _lengths(config: RunConfig, rungs: int) -> list[int | None]:
    """Steps of each rung; None: as long as the configuration says."""
    if rungs == 1:
        return [None]
    steps = int(config.training.get("max_steps") or 0)
    if steps < HALVING ** (rungs - 1):
        raise RunError(
            f"--rungs {rungs} shortens trials to a {HALVING ** (rungs - 1)}th of --max_steps: give it, at least that"
        )
    return [round(steps / HALVING ** (rungs - 1 - rung)) for rung in range(rungs)]


def _check_values(space: Mapping[str, Dimension], config: RunConfig) -> None:
    """Whether the method and the Trainer take every choice, and both ends of every range."""
    training_arguments(config)
    for name, dimension in space.items():
        for value in dimension.ends():
            try:
                training_arguments(with_options(config, {name: value}))
            except ValueError as error:
                raise RunError(f"--space {name}: {rounded(value)!r} is no value for it: {error}") from error


def _folder(config: RunConfig, identity: Mapping[str, Any]) -> Path:
    """Where a search lies; claimed, if it is new.

    Raises:
        RunError: another search lies there, or something else.
    """
    place = Path("runs") / folder_name(identity["base"]["task"]) / "search"
    folder = Path(config.output_dir or place / f"{config.method()}-{identity_hash(identity)}").expanduser()
    path = folder / "search.json"
    if not path.is_file():
        if folder.is_dir() and any(not entry.name.endswith(".partial") for entry in folder.iterdir()):
            raise RunError(f"{folder} is not empty and holds no search: choose another --output_dir")
        make_folder(folder)
        write_json(path, identity)
    before = read_json(path, "choose another --output_dir")
    changed = differences(_flat(before), _flat(identity))
    if changed:
        said = "; ".join(f"{name}: {old!r} there, {new!r} here" for name, (old, new) in changed.items())
        raise RunError(f"{folder} holds another search ({said}): choose another --output_dir")
    return folder


def _flat(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {**identity.get("base", {}), **{name: part for name, part in identity.items() if name != "base"}}


class _Search:
    """One search, and this process's part in it."""

    def __init__(
        self,
        config: RunConfig,
        space: dict[str, Dimension],
        options: SearchOptions,
        seeds: Sequence[int],
        lengths: Sequence[int | None],
        folder: Path,
        identity: Mapping[str, Any],
        report: Report,
    ) -> None:
        self.config, self.space, self.options, self.seeds = config, space, options, seeds
        self.lengths, self.folder, self.report = lengths, folder, report
        self.points = grid_points(space) if options.sampler == "grid" else None
        self.total = options.trials or (20 if self.points is None else len(self.points))
        if self.points is not None:
            self.total = min(self.total, len(self.points))
        self.study = _study(folder, identity, options, self.points)

    def run(self) -> dict[str, Any]:
        """Trials that were killed, then new ones up to the budget."""
        from optuna import Trial

        from rosetune.experiments.samplers import distribution

        distributions = {name: distribution(dimension) for name, dimension in self.space.items()}
        for killed in self._killed():
            # Public is only the study's way of making one.
            trial = Trial(self.study, killed._trial_id)
            for name, its in distributions.items():
                trial._suggest(name, its)
            self._try(trial)
        while len(self.study.get_trials(deepcopy=False)) < self.total:
            self._try(self.study.ask(distributions))
        found = _result(self.study, self.space, self.folder)
        if found["best"] is None:
            errors = [trial["error"] for trial in found["trials"] if trial["error"]]
            raise RunError(
                f"no trial of {self.folder} came to its end" + (f"; the first: {errors[0]}" if errors else "")
            )
        self._write(found)
        return found

    def _killed(self) -> list[Any]:
        """Trials that this process, or one of its name, was at work on when it ended."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        workers = {trial.user_attrs["worker"] for trial in trials if "worker" in trial.user_attrs}
        # A trial without a name was killed within its first moment: ours, if there is nobody else.
        mine = {self.options.worker, None} if workers <= {self.options.worker} else {self.options.worker}
        return [t for t in trials if t.state == TrialState.RUNNING and t.user_attrs.get("worker") in mine]

    def _try(self, trial: Any) -> None:
        """Train, judge and tell the study; what is wrong with one trial ends that one alone."""
        from optuna.trial import TrialState

        trial.set_user_attr("worker", self.options.worker)
        options = {name: rounded(value) for name, value in trial.params.items()}
        said = ", ".join(
            f"{n} {value:.4g}" if isinstance(value, float) else f"{n} {value}" for n, value in options.items()
        )
        self.report(f"trial {trial.number + 1} of {self.total}: {said}")
        scores: list[dict[str, Any]] = []
        try:
            for rung, steps in enumerate(self.lengths):
                scores.append(self._known(trial, rung) or self._train(trial.number, options, steps))
                trial.set_user_attr("scores", scores)
                if rung + 1 == len(self.lengths):
                    self.study.tell(trial.number, scores[-1]["value"])
                    break
                if rung not in self.study.trials[trial.number].intermediate_values:
                    trial.report(scores[-1]["value"], rung)
                if not self._goes_on(trial.number, rung, scores[-1]["value"]):
                    self.study.tell(trial.number, state=TrialState.PRUNED)
                    break
        except (ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())
            self.report(f"trial {trial.number + 1} failed: {line}")
            trial.set_user_attr("error", line)
            self.study.tell(trial.number, state=TrialState.FAIL)
        self._write(_result(self.study, self.space, self.folder))

    def _known(self, trial: Any, rung: int) -> dict[str, Any] | None:
        """What an earlier trial of the same options scored: training it again would give the same."""
        for other in self.study.get_trials(deepcopy=False):
            scores = other.user_attrs.get("scores", [])
            if other.number < trial.number and other.params == trial.params and len(scores) > rung:
                return {**scores[rung], "same_as": other.number}
        return None

    def _train(self, number: int, options: Mapping[str, Any], steps: int | None) -> dict[str, Any]:
        place = self.folder / "trials" / f"{number:04}" / ("" if steps is None else f"steps-{steps}")
        config = with_options(self.config, {**options, **({} if steps is None else {"max_steps": steps})})
        runs = [
            dataclasses.replace(config, output_dir=str(place / f"seed-{s}"), training={**config.training, "seed": s})
            for s in self.seeds
        ]
        say = self.report if number == 0 else lambda line: None  # the data is the same in every trial
        each = [_scores(Run.open(folder)) for folder in run_all(runs, say)]
        if not self.options.keep_models:
            for run in runs:
                for path in (Path(str(run.output_dir)) / "model").glob("*.safetensors"):
                    path.unlink()
        scores = {kind: statistics.fmean(score[kind] for score in each) for kind in each[0]}
        return {"value": self.options.value(scores), **scores, "steps": steps}

    def _goes_on(self, number: int, rung: int, value: float) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        others = [
            trial.intermediate_values[rung]
            for trial in trials
            if rung in trial.intermediate_values and trial.number < number
        ]
        better = sum(other > value for other in others)
        return better < max(1, (len(others) + 1) // HALVING)

    def _write(self, found: Mapping[str, Any]) -> None:
        write_json(self.folder / "trials.json", found)
        if found["best"] is None:
            return
        best = with_options(self.config, found["best"]["options"])
        training = {name: value for name, value in best.training.items() if name != "seed" or len(self.seeds) == 1}
        whole = dataclasses.replace(best, held_out=None, output_dir=None, sets=("clean", "noise"), training=training)
        write_text(self.folder / "best.yaml", whole.as_yaml())


def _scores(run: Run) -> dict[str, float]:
    """Mean accuracy by kind of set."""
    by_kind: dict[str, list[float]] = {}
    for name, metrics in run.metrics["sets"].items():
        by_kind.setdefault(SetName.parse(name).kind, []).append(metrics["accuracy"])
    return {kind: statistics.fmean(values) for kind, values in by_kind.items()}


def _study(
    folder: Path, identity: Mapping[str, Any], options: SearchOptions, points: Sequence[Mapping[str, Any]] | None
) -> Any:
    """The study, begun or found again."""
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise RunError("rosetune search needs Optuna: pip install 'rosetune[search]'") from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    from rosetune.experiments.samplers import make_sampler

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    given = options.storage or str(folder / "journal.log")
    try:
        storage = given if "://" in given else JournalStorage(JournalFileBackend(str(Path(given).expanduser())))
        return optuna.create_study(
            study_name=f"rosetune-{identity_hash(identity)}",
            storage=storage,
            sampler=make_sampler(options.sampler, options.search_seed, points),
            direction="maximize",
            load_if_exists=True,
        )
    except ModuleNotFoundError as error:
        raise RunError(f"--storage {given} needs the driver of that database: {error}") from error
    except Exception as error:  # of a database: each has errors of its own
        raise RunError(f"--storage {given} cannot be used: {str(error).splitlines()[0]}") from error


def _result(study: Any, space: Mapping[str, Dimension], folder: Path) -> dict[str, Any]:
    """Every trial in the order of its number, and the best of those that came to their end (of equals the first)."""
    trials = []
    for trial in study.get_trials(deepcopy=False):
        scores = trial.user_attrs.get("scores", [])
        last = scores[-1] if scores else {}
        trials.append(
            {
                "number": trial.number + 1,
                "state": trial.state.name.lower(),
                "options": {name: rounded(trial.params.get(name)) for name in space},
                "value": last.get("value"),
                "scores": {name: last[name] for name in last if name not in ("value", "steps", "same_as")},
                "steps": last.get("steps"),
                "same_as": None if last.get("same_as") is None else last["same_as"] + 1,
                "error": trial.user_attrs.get("error"),
            }
        )
    done = [trial for trial in trials if trial["state"] == "complete"]
    best = max(done, key=lambda trial: trial["value"], default=None)
    return {"folder": str(folder), "best": best, "trials": trials, "importance": _importance(study, done)}


def _importance(study: Any, done: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of the variance of values that each option explains (fANOVA); nothing where too few trials differ."""
    import optuna

    values = [trial["value"] for trial in done]
    if len(values) < _FEW or math.isclose(min(values), max(values)):
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    return {
        n: float(share) for n, share in optuna.importance.get_param_importances(study, evaluator=evaluator).items()
    }
