"""The trials of a search: each a run for every seed, trained, judged and told to the study."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import write_json, write_text
from rosetune.experiments.errors import FolderError
from rosetune.experiments.lock import locked
from rosetune.experiments.search_options import HALVING, SearchOptions
from rosetune.experiments.search_space import Dimension, rounded, with_options
from rosetune.experiments.study import study_result
from rosetune.experiments.train import run_all
from rosetune.experiments.trial_score import mean_accuracies, trial_score
from rosetune.runs.config import RunConfig
from rosetune.runs.run import Run
from rosetune.runs.values import RunError

__all__ = ["Trials"]

Report = Callable[[str], Any]


class Trials:
    """The trials of one search, and this process's part in them."""

    def __init__(
        self,
        study: Any,
        config: RunConfig,
        space: Mapping[str, Dimension],
        options: SearchOptions,
        seeds: Sequence[int],
        lengths: Sequence[int | None],
        folder: Path,
        report: Report,
    ) -> None:
        self.study, self.config, self.space, self.options, self.seeds = study, config, space, options, seeds
        self.lengths, self.folder, self.report = lengths, folder, report
        self.total = options.trials or 20

    def run(self, points: Sequence[Any] | None = None) -> dict[str, Any]:
        """Trials that were killed, then new ones up to the budget.

        Args:
            points: of a grid, which is gone through once.
        """
        from optuna import Trial

        from rosetune.experiments.samplers import distribution

        if points is not None:
            self.total = min(self.options.trials or len(points), len(points))
        distributions = {name: distribution(dimension) for name, dimension in self.space.items()}
        for killed in self._killed():
            # Public is only the study's way of making one.
            trial = Trial(self.study, killed._trial_id)
            for name, its in distributions.items():
                trial._suggest(name, its)
            self._try(trial)
        while (trial := self._asked(distributions)) is not None:
            self._try(trial)
        found = self._write()
        if found["best"] is None:
            errors = [trial["error"] for trial in found["trials"] if trial["error"]]
            raise RunError(
                f"no trial of {self.folder} came to its end" + (f"; the first: {errors[0]}" if errors else "")
            )
        return found

    def _asked(self, distributions: Mapping[str, Any]) -> Any:
        """A new trial, or None where the budget is spent; one worker at a time, or two would take the last one."""
        with locked(self.folder / "workers", wait=True):
            if len(self.study.get_trials(deepcopy=False)) >= self.total:
                return None
            return self.study.ask(distributions)

    def _killed(self) -> list[Any]:
        """Trials that this process, or one of its name, was at work on when it ended."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        workers = {trial.user_attrs["worker"] for trial in trials if "worker" in trial.user_attrs}
        # A trial without a name was killed within its first moment: ours, if there is nobody else.
        mine = {self.options.worker, None} if workers <= {self.options.worker} else {self.options.worker}
        return [t for t in trials if t.state == TrialState.RUNNING and t.user_attrs.get("worker") in mine]

    def _try(self, trial: Any) -> None:
        """Train, judge and tell the study; what is wrong with one trial ends that one alone.

        Raises:
            FolderError: nothing is wrong with the trial, but it cannot be written now. It goes on with the next call.
        """
        from optuna.trial import TrialState

        trial.set_user_attr("worker", self.options.worker)
        options = {name: rounded(value) for name, value in trial.params.items()}
        said = ", ".join(
            f"{n} {value:.4g}" if isinstance(value, float) else f"{n} {value}" for n, value in options.items()
        )
        self.report(f"trial {trial.number} ({trial.number + 1} of {self.total}): {said}")
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
        except FolderError:
            raise
        except (ValueError, RuntimeError) as error:
            line = " ".join(str(error).split())
            self.report(f"trial {trial.number} failed: {line}")
            trial.set_user_attr("error", line)
            self.study.tell(trial.number, state=TrialState.FAIL)
        self._write()

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
        mix: Any = self.options.objective_mix
        each = [mean_accuracies(Run.open(folder), mix) for folder in run_all(runs, say)]
        if not self.options.keep_models:
            for run in runs:
                for path in (Path(str(run.output_dir)) / "model").glob("*.safetensors"):
                    path.unlink()
        scores = {kind: statistics.fmean(score[kind] for score in each) for kind in each[0]}
        return {"value": trial_score(scores, mix), **scores, "steps": steps}

    def _goes_on(self, number: int, rung: int, value: float) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        others = [
            trial.intermediate_values[rung]
            for trial in trials
            if rung in trial.intermediate_values and trial.number < number
        ]
        better = sum(other > value for other in others)
        return better < max(1, (len(others) + 1) // HALVING)

    def _write(self) -> dict[str, Any]:
        """Write down what all workers have found so far."""
        with locked(self.folder / "workers", wait=True):
            found = study_result(self.study, self.space, self.folder)
            self._write_files(found)
        return found

    def _write_files(self, found: Mapping[str, Any]) -> None:
        write_json(self.folder / "trials.json", found)
        if found["best"] is None:
            return
        best = with_options(self.config, found["best"]["options"])
        training = {name: value for name, value in best.training.items() if name != "seed" or len(self.seeds) == 1}
        whole = dataclasses.replace(best, held_out=None, output_dir=None, sets=("clean", "noise"), training=training)
        write_text(self.folder / "best.yaml", whole.as_yaml())
