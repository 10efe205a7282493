"""A run as it lies in its folder, read when it is asked for."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

from rosetune.robustness.attacks.run import attack_row, read_results
from rosetune.runs.config import RunConfig
from rosetune.runs.files import (
    Rows,
    again,
    anew,
    read_fingerprints,
    read_identity,
    read_json,
    read_lines,
    read_predictions,
    reason,
    rows_by_set,
)
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["Run", "RunError", "find_folders", "find_runs", "find_unfinished", "is_damaged"]


def _unfinished(path: str | os.PathLike[str]) -> str:
    """What to do about a folder without metrics: it may hold the runs of a study, or one that was killed."""
    said = f"{path} is no finished run (no metrics.json)"
    inside = sorted(file.parent for file in Path(path).glob("*/metrics.json"))
    if inside:
        return f"{said}: give a run in it, such as {' or '.join(map(str, inside[:2]))}"
    return f"{said}: start or resume it with `rosetune train`"


@dataclass(frozen=True)
class Run:
    """A finished run; each part of its folder is read once, when it is first asked for.

    Args:
        folder: as the user named it.

    Raises:
        RunError: from any attribute, a file that is missing or damaged, with the remedy.
    """

    folder: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "Run":
        """The finished run in a folder.

        Raises:
            RunError: there is no folder, no run in it, or one that is not finished.
        """
        run = cls(Path(path))
        if not os.fspath(path) or not run.folder.is_dir():  # an empty name would be the working folder
            raise RunError(f"there is no folder {path or repr(path)}: give the folder of a finished run")
        if not (run.folder / "metrics.json").is_file():
            raise RunError(_unfinished(path))
        # Its identity first: where that is not there, the metrics are those of some other program.
        _ = run.identity, run.metrics, run.method, run.seed
        return run

    def __str__(self) -> str:
        return str(self.folder)

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All metrics by evaluation set; written last, so that it says that the run is done."""
        remedy = f"evaluate again: {again(self.folder)}"
        metrics = read_json(self.folder / "metrics.json", remedy)
        sets = metrics.get("sets") if isinstance(metrics, dict) else None
        if not isinstance(sets, dict) or not all(isinstance(part, dict) for part in sets.values()):
            raise RunError(f"{self.folder}/metrics.json holds no metrics: {remedy}")
        return metrics

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decided the result: task, text columns, fingerprint of the data, model, training arguments."""
        return read_identity(self.folder, anew(self.folder))

    @cached_property
    def config(self) -> RunConfig:
        """The configuration that it was started with."""
        if not (self.folder / "config.yaml").is_file():
            raise RunError(f"{self.folder} has no config.yaml: {anew(self.folder)}")
        return RunConfig.read(self.folder)

    @property
    def method(self) -> str:
        """See :meth:`~rosetune.runs.config.RunConfig.method`."""
        return self.config.method()

    @property
    def seed(self) -> int | None:
        """Of its training; None for a model that was not trained here."""
        return None if self.config.given else self.config.seed

    @property
    def task(self) -> str:
        """The name of its task."""
        return str(self.identity["task"])

    @property
    def labels(self) -> tuple[str, ...]:
        """Label names in the order of the logits; none for a regression."""
        if "labels" not in self.metrics:
            raise RunError(f"{self.folder}: metrics.json names no labels; evaluate again: {again(self.folder)}")
        return tuple(self.metrics["labels"])

    @cached_property
    def timing(self) -> dict[str, Any]:
        """Seconds of its training; empty for a model that was not trained here."""
        path = self.folder / "timing.json"
        return read_json(path, "remove it") if path.is_file() else {}

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, platform and device of its training."""
        path = self.folder / "environment.json"
        return read_json(path, "remove it") if path.is_file() else {}

    @cached_property
    def log(self) -> Rows:
        """The log lines of its training, in their order."""
        path = self.folder / "log.jsonl"
        return read_lines(path, "remove it") if path.is_file() else []

    @property
    def trace_file(self) -> Path | None:
        """The record of its mask's multipliers, where the mask kept one."""
        path = self.folder / "mask_trace.npz"
        return path if path.is_file() else None

    @cached_property
    def steps(self) -> dict[int, dict[str, Any]]:
        """Its evaluated checkpoints by step, in the order of training: ``epoch``, and ``end`` for the reported one."""
        found = {step: about for step, (about, _) in self.steps_before.items()}
        for path in (self.folder / "predictions").glob("step-*/step.json"):
            step, about = path.parent.name.removeprefix("step-"), read_json(path, "remove its folder")
            if not step.isdigit() or not isinstance(about, dict) or not {"epoch", "end"} <= about.keys():
                raise RunError(f"{path} is of no evaluated checkpoint: remove its folder")
            found[int(step)] = about
        return dict(sorted(found.items()))

    @cached_property
    def attacks(self) -> dict[str, tuple[dict[str, Any], Rows]]:
        """The attacks on it by the name of their file, as header and results; no model is needed.

        The header is that of the results' file with what ``NAME.json`` adds: ``recipe``, ``set``, ``labels``,
        ``text_column``, ``max_share``, ``protected``, ``synonyms``, where they were given ``words`` and ``noises``,
        and ``rows``, the number that was asked for; and ``finished``. A killed attack holds the rows that were done
        first: the easy ones. Results have an ``original_id`` where the set knows originals.
        """
        found = {}
        for path in sorted((self.folder / "attacks").glob("*.jsonl")):
            beside = path.with_suffix(".json")
            about = read_json(beside, "remove it and attack again") if beside.is_file() else {}
            if not isinstance(about, dict):
                raise RunError(f"{beside} describes no attack: remove it and attack again")
            originals = about.pop("originals", {})
            try:
                header, results = read_results(path)
            except ValueError as error:
                raise RunError(f"{error}; remove it and attack again") from error
            finished = bool(results) and "rows" in about and len(results) >= about["rows"]
            if originals:
                results = [{**result, "original_id": originals.get(str(result["id"]))} for result in results]
            found[path.stem] = ({**about, **header, "finished": finished}, results)
        return found

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """By set a hash of what was predicted: ids, texts, labels; empty of a run of an earlier version."""
        return read_fingerprints(self.folder / "predictions")

    def sets(self, step: int | None = None) -> list[str]:
        """The names of the sets that it was evaluated on, finished attacks among them; or those of a checkpoint."""
        place = self._place(step)
        names = {path.stem for path in self._predictions(place).glob("*.jsonl")} | self._before(place).keys()
        attacks = self.attacks if step is None else {}
        suffered = [SetName.of_attack(name).name for name, (header, _) in attacks.items() if header["finished"]]
        return [*sorted(names, key=lambda name: SetName.parse(name).sort_key), *suffered]

    def rows(self, name: str, step: int | None = None) -> Rows:
        """The prediction rows of one set. Of an attack a row is "robust", "broken", or "wrong" before it.

        Raises:
            RunError: it was not evaluated on that set.
        """
        step = self._place(step)
        if (name, step) not in self._read:
            self._read[name, step] = self._load(name, step)
        return self._read[name, step]

    @cached_property
    def _read(self) -> dict[tuple[str, int | None], Rows]:
        return {}

    def _load(self, name: str, step: int | None) -> Rows:
        path = self._predictions(step) / f"{name}.jsonl"
        if path.is_file():
            return read_predictions(path)
        attack = SetName.parse(name).attack
        if attack is not None and step is None and attack in self.attacks and self.attacks[attack][0]["finished"]:
            results = self.attacks[attack][1]
            return [{**attack_row(name, result), "label": result["gold"]} for result in results]
        if name in self._before(step):
            return self._before(step)[name]
        raise RunError(
            f"{self.folder} was not evaluated on {name}: `rosetune evaluate` or `rosetune attack` does that"
        )

    def _place(self, step: int | None) -> int | None:
        """The step whose own files are meant: the end's are those of the run."""
        return None if step is None or self.steps.get(step, {"end": False})["end"] else step

    def _predictions(self, step: int | None) -> Path:
        folder = self.folder / "predictions"
        return folder if step is None else folder / f"step-{step}"

    def _before(self, step: int | None) -> dict[str, Rows]:
        return self.sets_before if step is None else self.steps_before.get(step, ({}, {}))[1]

    @cached_property
    def sets_before(self) -> dict[str, Rows]:
        """Prediction rows as the version before kept them: all sets in one file."""
        path = self.folder / "predictions.jsonl"
        return rows_by_set(read_predictions(path)) if path.is_file() else {}

    @cached_property
    def steps_before(self) -> dict[int, tuple[dict[str, Any], dict[str, Rows]]]:
        """Those of checkpoints as the version before kept them, with what is known of the step."""
        path = self.folder / "along_training.jsonl"
        steps: dict[int, tuple[dict[str, Any], Rows]] = {}
        for row in read_predictions(path, "step", "epoch", "end") if path.is_file() else []:
            step, epoch, end = (row.pop(name) for name in ("step", "epoch", "end"))
            steps.setdefault(step, ({"epoch": epoch, "end": end}, []))[1].append(row)
        return {step: (about, rows_by_set(rows)) for step, (about, rows) in steps.items()}


def find_runs(
    patterns: str | os.PathLike[str] | Iterable[str | os.PathLike[str]], report: Callable[[str], Any] | None = None
) -> list[Run]:
    """Every finished run that some patterns name, in the order of the patterns and then of the names.

    Args:
        patterns: folders of runs, or patterns such as "runs/**". A folder that is no run is searched.
        report: is told of each run that is damaged and left out, and of each pattern without a run; None: a warning.

    Raises:
        RunError: nothing was found.
    """
    given = [patterns] if isinstance(patterns, str | os.PathLike) else list(patterns)
    say = report or (lambda line: warnings.warn(line, stacklevel=3))
    found: dict[Path, Run] = {}
    for pattern in [os.fspath(pattern) for pattern in given]:
        folders = _folders(pattern)
        if not folders and len(given) > 1:
            say(_nothing_in(pattern))
        for folder in folders:
            try:
                found.setdefault(folder.resolve(), Run.open(folder))
            except RunError as error:
                say(f"{folder} is left out: {reason(folder, error)}")
    if not found:
        raise RunError("; ".join(_nothing_in(os.fspath(pattern)) for pattern in given))
    return list(found.values())


def _nothing_in(pattern: str) -> str:
    there = Path(pattern).is_dir() or any(sign in pattern for sign in "*?[")
    return f"there is no {'finished run in' if there else 'folder'} {pattern}"


def is_damaged(folder: str | os.PathLike[str]) -> bool:
    """Whether a run's ``metrics.json`` is there and cannot be used, while its model and predictions may be whole."""
    run = Run(Path(folder))
    try:
        return (run.folder / "metrics.json").is_file() and "labels" not in run.metrics
    except RunError:
        return True


def find_unfinished(patterns: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The folders of runs that have begun and are not done, found as :func:`find_runs` finds those that are."""
    found = [folder for pattern in patterns for folder in _folders(os.fspath(pattern), "run.json")]
    return [folder for folder in dict.fromkeys(found) if not (folder / "metrics.json").is_file()]


def find_folders(patterns: Iterable[str]) -> list[Path]:
    """The folders of all runs, finished or not, whether their files can be read or are damaged."""
    files = ("run.json", "metrics.json")
    return list(dict.fromkeys(folder for pattern in patterns for file in files for folder in _folders(pattern, file)))


def _folders(pattern: str, file: str = "metrics.json") -> Sequence[Path]:
    """The folders with that file that a pattern names, or that lie below a folder without it."""
    expanded = os.path.expanduser(pattern)
    named = (
        [Path(expanded)]
        if Path(expanded).exists()
        else [Path(path) for path in sorted(glob(expanded, recursive=True))]
    )
    found: list[Path] = []
    for path in named:
        if (path / file).is_file():
            found.append(path)
        elif path.is_dir() and path == Path(expanded):
            found += sorted(inner.parent for inner in path.rglob(file))
    return found
