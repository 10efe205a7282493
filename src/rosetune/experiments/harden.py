"""From a classifier's data to a hardened one: augmentation, adversarial rounds, evaluation, each step a run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rosetune._files import write_json
from rosetune._numbers import in_percent
from rosetune.experiments.attack import attack_runs, is_attacked
from rosetune.experiments.folder import written
from rosetune.experiments.given import behind_normalization, evaluate_given
from rosetune.experiments.harden_options import CANDIDATES, NONE, HardenOptions
from rosetune.experiments.harden_rows import find_adversarial_rows
from rosetune.experiments.harden_rules import Judged, best_candidate, is_taken, judge, why
from rosetune.experiments.harden_setting import Setting, claimed_folder, prepare
from rosetune.experiments.lock import locked
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.train import train_run
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.run import Run

__all__ = ["RESULT", "HardenOptions", "run_harden"]

RESULT = "result.json"
Report = Callable[[str], Any]


def run_harden(config: RunConfig, options: HardenOptions | None = None, report: Report = print) -> dict[str, Any]:
    """Harden a classifier; go on where that was killed, and do nothing where it is done.

    1. ``plain``: the run as it is asked for, on all training rows.
    2. ``trials/<candidate>``: the same run on fewer rows, without and with each augmentation, judged on the training
       rows that are held out: score = 0.5 clean + 0.25 typing errors + 0.25 under attack. The best is taken, if it
       gains ``min_gain`` on none and costs no more than ``max_clean_drop`` of clean accuracy.
    3. ``adversarial/round-<n>``: the trial that was taken last is attacked on a share of its training rows, with a
       bound on the changed words; ``trials/round-<n>`` is trained from the pre-trained weights on the training rows
       and all adversarial rows so far. It is taken by the same rule; the first that is not ends the rounds.
    4. ``trials/alpha-<a>``: the weights of the trial that was taken last, moved toward the pre-trained ones; no
       training. Taken by the same rule.
    5. ``hardened``: what was taken, on all training rows. Both are evaluated on the evaluation data, and attacked
       alike. Where nothing was taken there is no such run, and the plain one is kept.
    6. ``normalized``: the plain model behind a normalisation of its texts, without training, as a control; only where
       disguises are among the sets or the attacks at the end, and attacked only where they are among the attacks.

    Every step is a run or an attack in a folder of its own, and is not done twice. Nothing is chosen on the evaluation
    data; its texts are looked at before the end for one thing: no text that stands there is attacked or added.

    Files: ``harden.json`` (what was asked for), the runs, and ``result.json``, written last: see :class:`_Hardening`.
    The weights of trials are deleted unless ``keep_models``.

    Args:
        config: the plain run; ``held_out`` is a fifth of the training texts, at most 1,000 rows, if it is not given,
            ``sets`` those of the end, and ``output_dir`` the folder of the hardening.
        options: how; None: the defaults.
        report: takes a line of text for the person who waits.

    Returns:
        What ``result.json`` holds, and its ``folder``.

    Raises:
        RunError: an option out of its range or that hardening decides itself; too few rows; the folder holds another
            hardening.
        FolderError: the disk is full, or another process is at work in the folder.
        DataError: the data cannot be read.
    """
    quiet_libraries()
    setting = prepare(config, options or HardenOptions())
    folder = claimed_folder(setting)
    with written(folder), locked(folder):
        path = folder / RESULT
        if path.is_file():
            found = read_json(path, "remove it")
            report(f"{folder} is finished; nothing to do")
        else:
            found = _Hardening(setting, report).run()
            write_json(path, found)
        if not setting.options.keep_models:
            for weights in (folder / "trials").glob("*/model/*.safetensors"):
                weights.unlink()
    return {**found, "folder": str(folder)}


@dataclass(frozen=True)
class _Step:
    """A trial, with what its training has on top of the plain run's: an augmentation and a file of so many rows."""

    judged: Judged
    run: Run
    augmentation: str
    rows: Path | None = None
    added: int = 0
    alpha: float | None = None

    @property
    def is_plain(self) -> bool:
        return self.augmentation == NONE and self.rows is None and self.alpha is None


class _Hardening:
    """The steps, one after the other.

    The result has ``plain`` and ``hardened`` (names of folders, the same where nothing was taken), ``normalized`` (the
    folder of the control, or None), ``method`` (of the hardened run), ``chosen`` (its ``trial``, ``augmentation``,
    number of adversarial ``rows`` and ``alpha``), ``held_out`` (rows), ``trials`` (name, clean, noise, attack, score,
    whether it was ``taken`` and ``why``, ``rows`` added, ``steps`` and ``seconds`` of its training, ``queries`` of the
    attacks on it), ``rounds`` (see :class:`~rosetune.experiments.harden_rows.FoundRows`), ``stopped`` (why there was
    no further round), ``attacks``, ``max_share`` and ``attack_class``.
    """

    def __init__(self, setting: Setting, report: Report) -> None:
        self.setting, self.options, self.report = setting, setting.options, report
        self.trials: list[dict[str, Any]] = []
        self.rounds: list[Mapping[str, Any]] = []
        self.stopped = "no round was asked for"
        self.begun, self.number, self.told = time.perf_counter(), 0, False
        further = len(self.options.candidates) - 1 + 2 * self.options.rounds + len(self.options.alphas)
        # At most: rounds may end early, and nothing may be taken.
        self.total = 3 + further + (further > 0) + setting.has_control

    def run(self) -> dict[str, Any]:
        """All steps."""
        self._say("the plain run, on all training rows")
        plain = self._train(self.setting.final("plain", {}))
        best = self._averaged(self._rounds(self._candidate()))
        hardened = plain
        if not best.is_plain:
            self._say(f"the hardened run, as {best.judged.name}, on all training rows")
            hardened = self._train(self.setting.final("hardened", _training(best.augmentation, best.alpha), best.rows))
        runs = [plain] if hardened is plain else [plain, hardened]
        control = self._control(plain)
        if control is not None and self.setting.attack_disguises:  # misspellings it leaves as they are
            runs.append(control)
        self._say(f"{', '.join(self.options.attack)} on the evaluation data")
        attack_runs(runs, self.options.attacks(self.options.examples), self._aside)
        return {
            "plain": plain.folder.name,
            "hardened": hardened.folder.name,
            "normalized": None if control is None else control.folder.name,
            "method": hardened.method,
            "chosen": {
                "trial": best.judged.name,
                "augmentation": best.augmentation,
                "rows": best.added,
                "alpha": best.alpha,
            },
            "held_out": len(self.setting.held.splits["validation"]),
            "trials": self.trials,
            "rounds": self.rounds,
            "stopped": self.stopped,
            "attacks": list(self.options.attack),
            "max_share": self.options.max_share,
            "attack_class": self.options.attack_class,
        }

    def _control(self, plain: Run) -> Run | None:
        """The plain model behind a normalisation; None where it has one, or nothing at the end disguises a text."""
        if not self.setting.has_control:
            return None
        self._say("control: the plain model behind a normalisation of its texts")
        config = behind_normalization(self.setting.final("plain", {}), self.setting.folder / "normalized")
        return Run.open(evaluate_given(config, self._silent, data=self.setting.whole))

    def _candidate(self) -> _Step:
        """The augmentation that is taken."""
        steps = []
        for name in self.options.candidates:
            self._say(f"trial: {'no augmentation' if name == NONE else name.replace('_', ' ')}")
            steps.append(self._trial(name, name))
        judged = [step.judged for step in steps]
        self.plain, best = judged[0], best_candidate(judged, self.options)
        for trial, one in zip(self.trials, judged, strict=True):
            trial |= {"taken": one is best, "why": "" if one is self.plain else self._why(one, self.plain, best)}
        self._aside(f"taken: {best.name.replace('_', ' ')}")
        return steps[judged.index(best)]

    def _rounds(self, best: _Step) -> _Step:
        """Adversarial rounds, as long as they gain."""
        for number in range(1, self.options.rounds + 1):
            self._say(f"round {number}: attacks on training rows")
            found = find_adversarial_rows(
                best.run,
                number,
                best.rows,
                data=self.setting.held,
                train=self.setting.held.splits["train"],
                reported=self.setting.reported,
                options=self.options,
                folder=self.setting.folder / "adversarial",
                say=self._aside,
            )
            self.rounds.append(found.about)
            self._aside("{succeeded} fooled the model, {added} new rows".format_map(found.about))
            if not found.about["added"]:
                self.stopped = f"round {number} found nothing new that fools the model"
                return best
            self._say(f"trial: {found.about['rows']} adversarial rows")
            step = self._trial(f"round-{number}", best.augmentation, found.file, found.about["rows"])
            taken = is_taken(step.judged, best.judged, self.plain, self.options)
            self.trials[-1] |= {"taken": taken, "why": self._why(step.judged, best.judged)}
            self._aside(f"{'taken' if taken else 'not taken'}: {self.trials[-1]['why']}")
            if not taken:
                self.stopped = f"round {number} was not taken"
                return best
            best, self.stopped = step, f"{number} rounds were asked for" if number > 1 else "one round was asked for"
        return best

    def _averaged(self, best: _Step) -> _Step:
        """The best point on the line from the pre-trained weights to those of the trial that was taken last."""
        points: list[_Step] = []
        for alpha in self.options.alphas:
            self._say(f"trial: {alpha:g} of the way from the pre-trained weights")
            points.append(self._trial(f"alpha-{alpha:g}", best.augmentation, best.rows, best.added, alpha))
        taken = [point for point in points if is_taken(point.judged, best.judged, self.plain, self.options)]
        kept = max(taken, key=lambda point: point.judged.score, default=best)
        for point, trial in zip(reversed(points), reversed(self.trials), strict=False):
            told = self._why(point.judged, best.judged, kept.judged)
            trial |= {"seconds": 0.0, "taken": point is kept, "why": told}
        return kept

    def _trial(
        self, name: str, augmentation: str, rows: Path | None = None, added: int = 0, alpha: float | None = None
    ) -> _Step:
        """Train, evaluate and attack on held-out rows."""
        training = _training(augmentation, alpha)
        run = self._train(self.setting.trial(name, training, rows))
        options = self.options.attacks(self.options.judge_examples)
        if not is_attacked(run, self.setting.held.text_columns, options):
            attack_runs([run], options, self._silent)
            run = Run.open(run.folder)
        judged = judge(run, name, self.options.attack)
        cost = {"rows": added, **_cost(run), "queries": _queries(run)}
        self.trials.append({**asdict(judged), "score": judged.score, **cost, "taken": False, "why": ""})
        shown = (in_percent(value) for value in (judged.clean, judged.noise, judged.attack, judged.score))
        self._aside("clean {}, typing errors {}, under attack {}: score {}".format(*shown))
        return _Step(judged, run, augmentation, rows, added, alpha)

    def _train(self, config: RunConfig) -> Run:
        """The data is the same in most runs, and described once."""
        say, self.told = self._silent if self.told else self._aside, True
        data = self.setting.whole if config.held_out is None else self.setting.held
        return Run.open(train_run(config, say, data=data))

    def _why(self, new: Judged, best: Judged, kept: Judged | None = None) -> str:
        """What decided on a step; of several that could be taken, one alone is kept."""
        said = why(new, best, self.plain, self.options)
        beaten = kept not in (None, new, best) and is_taken(new, best, self.plain, self.options)
        return f"{said}; {kept.name.replace('_', ' ')} has more" if kept is not None and beaten else said

    def _say(self, line: str) -> None:
        self.number += 1
        self.report(f"[{self.number}/{self.total}, {time.perf_counter() - self.begun:.0f} s] {line}")

    def _aside(self, line: str) -> None:
        self.report(f"    {line}")

    def _silent(self, line: str) -> None:
        pass


def _training(augmentation: str, alpha: float | None) -> dict[str, Any]:
    """Arguments on top of the plain run's."""
    averaging = {} if alpha is None else {"averaging": "pretrained", "averaging_kwargs": {"alpha": alpha}}
    return {**CANDIDATES[augmentation], **averaging}


def _cost(run: Run) -> dict[str, Any]:
    return {"steps": run.timing.get("steps"), "seconds": run.timing.get("training_seconds")}


def _queries(run: Run) -> int:
    results: Sequence[Sequence[Mapping[str, Any]]] = [part for _, part in run.attacks.values()]
    return sum(result["queries"] for part in results for result in part)
