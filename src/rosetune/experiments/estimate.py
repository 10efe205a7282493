"""How long a plan takes on this machine, from a few measured steps of each of its methods."""

import math
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rosetune._files import write_json
from rosetune.data.rows import TaskData
from rosetune.experiments.data import load_data
from rosetune.experiments.executors import LocalExecutor
from rosetune.experiments.models import quiet_libraries
from rosetune.experiments.planned import ROWS, WEIGHTS, PlannedRun
from rosetune.experiments.training import Training, training_arguments
from rosetune.methods import PreparedMask
from rosetune.robustness.evaluation import predict
from rosetune.robustness.sets import evaluation_sets
from rosetune.runs.config import RunConfig
from rosetune.runs.files import read_json
from rosetune.runs.values import RunError

__all__ = ["Measured", "Probe", "measure"]

_QUERIES_A_WORD = 4
STEPS, PREDICTED = 6, 64  # measured steps, of which the first warms up; rows that are predicted
# What a step's cost depends on beside task, model and method.
_COST = ("per_device_train_batch_size", "gradient_accumulation_steps", "objective_kwargs", "update_mask_kwargs")


@dataclass(frozen=True)
class Measured:
    """Seconds of one kind of run.

    Attributes:
        run: the one that was measured.
        runs: how many of its kind are left.
        step: of an optimizer step.
        steps: that its training takes.
        total: of one run: data, model, what the mask prepares, training, evaluation; without attacks.
        attacks: on one run, and on training rows for others. Rough: see :func:`attack_seconds`.
    """

    run: PlannedRun
    runs: int
    step: float
    steps: int
    total: float
    attacks: float


def attack_seconds(query: float, words: float, attacks: int, budget: int | None) -> float:
    """Seconds of attacks on a row, guessed from the number of its words.

    How many texts an attack asks for depends on the model. DeepWordBug asks for two texts a word to rank words, and
    then for four replacements of some of them. A search that tries synonyms asks for more.

    Args:
        query: seconds of a text that is predicted.
        words: of a row, on average.
        attacks: how many there are.
        budget: largest number of texts for a row.
    """
    texts = _QUERIES_A_WORD * words
    return query * attacks * (texts if budget is None else min(budget, texts))


def measure(
    runs: Sequence[PlannedRun],
    jobs: int = 1,
    threads: int | None = None,
    report: Callable[[str], Any] = lambda line: None,
) -> list[Measured]:
    """Train each kind of run for some steps, as many at a time as the sweep would.

    Args:
        runs: those that are left.
        jobs, threads: as in :class:`~rosetune.experiments.executors.LocalExecutor`.
        report: takes a line of text for the person who waits.

    Raises:
        RunError: a kind cannot be trained; the message has the last line of what it said.
    """
    kinds: dict[str, list[PlannedRun]] = {}
    for run in runs:
        kinds.setdefault(_kind(run), []).append(run)
    executor, found = LocalExecutor(jobs, threads), list[Measured]()
    with tempfile.TemporaryDirectory(prefix="rosetune-") as place:
        waiting = {str(number): of_kind for number, of_kind in enumerate(kinds.values())}
        left = list(waiting)
        try:
            while left or not executor.has_room() or len(found) < len(kinds):
                while left and executor.has_room():
                    key = left.pop(0)
                    run = waiting[key][0]
                    report(f"measuring {int(key) + 1} of {len(kinds)}: {run.task} {run.method}")
                    probe = Probe(run.config, str(Path(place, key)))
                    Path(place, f"{key}.log").touch()
                    executor.start_work(key, probe, Path(place, f"{key}.log"))
                for key, error in executor.finished(1.0).items():
                    if error is not None:
                        said = Path(place, f"{key}.log").read_text(encoding="utf-8").strip().splitlines()[-1:]
                        raise RunError(f"{waiting[key][0]} cannot be measured: {' '.join(said) or error}")
                    found.append(_measured(waiting[key], read_json(Path(place, key, "probe.json"), "measure again")))
        finally:
            executor.stop()
    return found


def _kind(run: PlannedRun) -> str:
    config = run.config
    options = [config.training.get(name) for name in _COST]
    return repr((run.task, run.model, run.method, config.max_length, config.sets, options))


def _measured(runs: Sequence[PlannedRun], told: Mapping[str, float]) -> Measured:
    each = [
        told["fixed"]
        + told["evaluation"] * _evaluations(run)
        + told["prepare_row"] * _rows(run)
        + told["step"] * _steps(run)
        for run in runs
    ]
    attacks = sum(_attacks(run, told["query"]) for run in runs) / len(runs)
    return Measured(runs[0], len(runs), told["step"], _steps(runs[0]), sum(each) / len(each), attacks)


def _evaluations(run: PlannedRun) -> int:
    """How often a run is evaluated: at its end, and where it is followed at each of its checkpoints."""
    if not run.along:
        return 1
    steps, training = _steps(run), run.config.training
    every = training.get("save_steps") or max(1, steps // 10)
    saved = math.ceil(steps / (every if every >= 1 else math.ceil(steps * every)))
    return min(saved, training.get("save_total_limit") or saved)


def _attacks(run: PlannedRun, query: float) -> float:
    """Seconds of attacks on a run, and on its training rows where others need what fooled it."""
    clean, seconds = run.data.clean[1], 0.0
    words = statistics.fmean(len(str(text).split()) for text in clean[run.data.text_columns[-1]][:PREDICTED])
    for options in run.attacks:
        rows = min(options.examples or len(clean), len(clean))
        seconds += rows * attack_seconds(query, words, len(options.attack), options.budget)
    if run.adversarial is not None:
        attacked = run.adversarial.attacked(_rows(run))
        seconds += attacked * attack_seconds(query, words, len(run.adversarial.attack), run.adversarial.budget)
    return seconds


def _rows(run: PlannedRun) -> int:
    config, rows = run.config, len(run.data.splits["train"])
    rows = min(rows, config.max_train_samples or rows)
    rows -= round(rows * (config.validation_from_train or 0))
    options = run.needs[ROWS].adversarial if ROWS in run.needs else None
    return rows + (0 if options is None else options.attacked(rows) // 2)  # as if half of them fooled the model


def _steps(run: PlannedRun) -> int:
    if WEIGHTS in run.needs:
        return 0
    args = training_arguments(_probed(run.config, steps=None))
    if args.max_steps > 0:
        return args.max_steps
    batches = math.ceil(_rows(run) / args.train_batch_size)
    return math.ceil(max(1, math.ceil(batches / args.gradient_accumulation_steps)) * args.num_train_epochs)


def _probed(config: RunConfig, steps: int | None) -> RunConfig:
    """The same run, without what is written down, and short where a number of steps is given."""
    kept = {"save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    training = {**config.training, **kept, **({"max_steps": steps} if steps else {})}
    if training.get("averaging") in ("checkpoints", "pretrained"):  # which cost nothing while it trains
        training |= {"averaging": None, "averaging_kwargs": None}
    kwargs = training.get("update_mask_kwargs") or {}
    if isinstance(kwargs.get("trace"), dict | str):
        # The trace is not there yet: what a mask withholds costs the same whichever tensors these are.
        training |= {"update_mask": "random", "update_mask_kwargs": {}}
    return replace(config, validation_from_train=None, training=training)


@dataclass(frozen=True)
class Probe:
    """Some steps of a run, in a process of its own, on its own data and with its own batches.

    ``probe.json`` in the folder then holds seconds: ``step``, ``prepare_row`` (of a mask that looks at the training
    data first, for each row of it), ``query`` (a text that is predicted), ``evaluation`` (on all sets) and ``fixed``
    (data, model).
    """

    config: RunConfig
    folder: str

    def __call__(self) -> None:
        """Measure."""
        quiet_libraries()
        start = time.perf_counter()
        config = _probed(self.config, STEPS)
        data = load_data(config)
        args = training_arguments(config)
        args.output_dir = self.folder
        rows = STEPS * args.train_batch_size * args.gradient_accumulation_steps
        rows = min(rows, config.max_train_samples or rows, len(data.splits["train"]))
        training = Training(replace(config, max_train_samples=rows), data, args)
        ready = time.perf_counter()
        training.run(None)
        trained = time.perf_counter()
        seconds = training.step_seconds
        prepared = isinstance(training.trainer.update_mask, PreparedMask)
        query, predicted = self._evaluation(data, training.trainer)
        aside = (trained - ready - sum(seconds)) if prepared else 0.0
        write_json(
            Path(self.folder, "probe.json"),
            {
                "step": sum(seconds[1:]) / max(1, len(seconds) - 1),
                "prepare_row": aside / rows,
                "query": query,
                "evaluation": predicted,
                "fixed": ready - start,
            },
        )

    def _evaluation(self, data: TaskData, trainer: Any) -> tuple[float, float]:
        """Seconds for a text and for all sets, from some rows of the clean one."""
        sets = [
            part.dataset
            for kind in self.config.sets
            for part in evaluation_sets(data, kind, data_dir=self.config.data_dir, noises=self.config.noises).values()
        ]
        rows = sets[0].select(range(min(PREDICTED, len(sets[0]))))
        start = time.perf_counter()
        predict(trainer.model, trainer.processing_class, rows, data.text_columns)
        query = (time.perf_counter() - start) / len(rows)
        return query, query * sum(map(len, sets))
