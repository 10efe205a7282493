"""The models that an analysis compares, and the rows that it compares them on."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rosetune._numbers import in_percent
from rosetune.analysis.batches import make_batches, one_batch
from rosetune.analysis.weights import MeanLoss
from rosetune.data.rows import TaskData
from rosetune.data.split import shuffled
from rosetune.experiments.analysis_options import AnalysisOptions
from rosetune.experiments.checkpoints import checkpoints_of, end_step, step_of
from rosetune.experiments.data import checked_data, config_now
from rosetune.experiments.models import load_trained, quiet_libraries
from rosetune.runs.along import accuracy, nearest_step
from rosetune.runs.analysed import Analysis, analysed_steps, analysis_file
from rosetune.runs.compare import OF_THE_SEED
from rosetune.runs.identity import identity_hash
from rosetune.runs.run import Run, RunError
from rosetune.runs.values import flat

__all__ = [
    *("Material", "Subject", "clean_accuracy", "equal_accuracy", "identity_of", "kept_steps", "last_step"),
    *("open_subjects", "place", "read_kept"),
]

EQUAL = 0.01  # clean accuracies that differ by more are not called equal


@dataclass(frozen=True)
class Subject:
    """The end of a run, or one of the checkpoints that it keeps."""

    run: Run
    step: int | None = None

    def __str__(self) -> str:
        return str(self.run) if self.step is None else f"{self.run}@{self.step}"

    @property
    def model(self) -> Path:
        """The folder of its model.

        Raises:
            RunError: the checkpoint is not kept.
        """
        if self.step is None:
            return self.run.folder
        folder = self.run.folder / f"checkpoint-{self.step}"
        if not folder.is_dir():
            kept = ", ".join(map(str, kept_steps(self.run))) or "none"
            raise RunError(
                f"{self.run} does not keep the checkpoint of step {self.step} (kept: {kept}): train with "
                "--save_steps and --save_total_limit so that it stays"
            )
        return folder


def open_subjects(words: Sequence[str]) -> list[Subject]:
    """Models by name: RUN, or RUN@STEP for a checkpoint.

    Raises:
        RunError: no finished run, or a checkpoint that is neither kept nor has been analysed.
    """
    subjects = []
    for word in words:
        folder, at, step = word.rpartition("@")
        named = at and step.isdigit() and not os.path.isdir(word)
        subject = Subject(Run.open(folder), int(step)) if named else Subject(Run.open(word))
        if subject.step not in analysed_steps(subject.run.folder):
            _ = subject.model
        subjects.append(subject)
    return subjects


def kept_steps(run: Run) -> list[int]:
    """Steps of the checkpoints that a run keeps."""
    return [step_of(path) for path in checkpoints_of(run.folder)]


def last_step(run: Run) -> int | None:
    """The step of the model that a run reports; None where nothing tells."""
    checkpoints = {step_of(path): path for path in checkpoints_of(run.folder)}
    return end_step(run.folder, checkpoints)[0] if checkpoints else run.timing.get("steps")


def clean_accuracy(subject: Subject) -> float | None:
    """Of a model on the clean set; None where it was not evaluated there, or is a regression."""
    run = subject.run
    return accuracy(run, "clean", subject.step) if run.labels and "clean" in run.sets(subject.step) else None


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def equal_accuracy(subjects: Sequence[Subject], report: Callable[[str], object] = _say) -> list[Subject]:
    """The subjects, and the first run's checkpoints whose clean accuracy is nearest to that of each other subject.

    An under-trained model is flat for free: only at equal clean accuracy does a flatter surface speak for a method.

    Args:
        report: takes a line where the nearest is off by more than :data:`EQUAL`.

    Raises:
        RunError: a regression, the first run's checkpoints were not evaluated, or the one that is wanted is not kept.
    """
    first = subjects[0].run
    for subject in subjects:
        if not subject.run.labels:
            raise RunError(f"{subject.run} is a regression, which has no accuracy: leave out --equal_accuracy")
    added = []
    for other in subjects[1:]:
        if other.run.folder.resolve() == first.folder.resolve():
            continue
        level = accuracy(other.run, "clean", other.step)
        step = nearest_step(first, level, "clean")
        if step is None:
            raise RunError(
                f"no checkpoint of {first} was evaluated: train it with --save_steps and --save_total_limit so that "
                f"checkpoints stay, then rosetune evaluate {first} --along_training"
            )
        end = first.steps[step]["end"]
        added.append(Subject(first, None if end else step))
        off = accuracy(first, "clean", step) - level
        if abs(off) > EQUAL + 1e-9:
            points = in_percent(off, "+")
            report(
                f"{added[-1]} is the nearest in clean accuracy to {other}, and is off by {points} points: keep more "
                "checkpoints (--save_steps)"
            )
    new = [subject for subject in dict.fromkeys(map(str, added)) if subject not in {*map(str, subjects)}]
    return [*subjects, *open_subjects(new)]


def place(kind: str, subject: Subject, settings: Mapping[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Where an analysis with these settings is kept, and what is known of its model.

    Its ``setting`` is that of every run which differs in nothing but the seed.
    """
    decided = {**settings, "step": subject.step}
    run = subject.run
    about: dict[str, Any] = {
        "kind": kind,
        "name": str(subject),
        "method": run.method,
        "task": run.task,
        "run_seed": run.seed,
        "setting": identity_hash(flat(run.identity, OF_THE_SEED)),
    }
    about["guess"] = math.log(len(run.labels)) if run.labels else None
    return analysis_file(run.folder, kind, decided), {**about, "settings": decided}


def read_kept(path: Path, about: Mapping[str, Any]) -> Analysis:
    """An analysis that lies there; what its file does not tell of the model, as an earlier one, is as known now."""
    found = Analysis.read(path)
    told = {name: value for name, value in found.about.items() if value is not None}
    return Analysis(path, {**about, **told}, found.arrays)


def identity_of(subject: Subject) -> str:
    """What tells a run from every other one, wherever it lies."""
    return hashlib.sha256(json.dumps(subject.run.identity, sort_keys=True).encode()).hexdigest()[:16]


class Material:
    """The rows that all subjects are looked at on, read when they are first needed.

    Raises:
        RunError: the runs were trained on other data, or have other labels.
    """

    def __init__(
        self, subjects: Sequence[Subject], options: AnalysisOptions, moved: Mapping[str, str | None] | None = None
    ) -> None:
        self._first, self._options, self._moved = subjects[0].run, options, moved or {}
        for subject in subjects:
            for what in ("data_fingerprint", "text_columns"):
                if subject.run.identity.get(what) != self._first.identity.get(what):
                    raise RunError(
                        f"{subject.run} and {self._first} were trained on different data: only models of one task can "
                        "be compared on the same rows"
                    )
            if subject.run.labels != self._first.labels:
                raise RunError(f"{subject.run} and {self._first} have other labels: compare models of one task")

    @property
    def settings(self) -> dict[str, Any]:
        """What decides which rows these are."""
        options = self._options
        data = self._first.identity["data_fingerprint"][:16]
        return {"examples": options.examples, "split": options.split, "seed": options.seed, "data": data}

    @cached_property
    def rows(self) -> tuple[list[list[str]], list[float]]:
        """Columns of texts, and labels; drawn by seed and id alone, so that the first 100 are among the first 200."""
        data = self._data
        dataset = data.splits["train"] if self._options.split == "train" else data.clean[1]
        ids, labels = dataset["id"][:], dataset["label"][:]
        absent = (None, -1) if data.labels else (None,)
        where: dict[tuple[str, ...], int] = {(ids[i],): i for i, label in enumerate(labels) if label not in absent}
        if not where:
            raise RunError(f"no row of the split {self._options.split!r} has a label: choose another --split")
        chosen = [where[key] for key in shuffled([*where], self._options.seed)[: self._options.examples]]
        part = dataset[chosen]
        return [part[column] for column in data.text_columns], part["label"]

    def model_and_batches(self, subject: Subject, *, eager: bool = False) -> tuple[Any, Any]:
        """A subject's model, and the rows as its tokenizer has them."""
        quiet_libraries()
        texts, labels = self.rows
        model, tokenizer, _ = load_trained(subject.model, "eager" if eager else None)
        return model, make_batches(model, tokenizer, texts, labels, self._options.batch_size)

    def training_batches(self, subject: Subject, size: int) -> tuple[Any, list[dict[str, Any]]]:
        """A subject's model, and the rows in batches of a size as training would see them: not sorted by length."""
        quiet_libraries()
        texts, labels = self.rows
        model, tokenizer, _ = load_trained(subject.model)
        parts = [slice(start, start + size) for start in range(0, len(labels), size)]
        whole = [part for part in parts if len(labels[part]) == size] or parts
        return model, [one_batch(model, tokenizer, [column[part] for column in texts], labels[part]) for part in whole]

    def loss(self, subject: Subject, *, eager: bool = False) -> MeanLoss:
        """Its mean loss over the rows, as a function of its weights."""
        return MeanLoss(*self.model_and_batches(subject, eager=eager))

    @cached_property
    def _data(self) -> TaskData:
        return checked_data(self._first, config_now(self._first, ("clean",), self._moved))
