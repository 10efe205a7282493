"""A run's model on evaluation sets: a prediction per example is kept, and metrics follow from those alone."""

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rosetune._files import read_json_lines, write_json, write_json_lines
from rosetune.data.sources import TaskData
from rosetune.data.tasks import find_task
from rosetune.experiments.config import RunConfig, RunError
from rosetune.experiments.models import load_trained, quiet_libraries, trained_labels
from rosetune.experiments.options import read_run_config
from rosetune.experiments.sets import ORIGINALS, evaluation_sets, kind_of, load_data
from rosetune.experiments.tables import progress
from rosetune.robustness.advglue import advglue_report, average_and_drop, official_score
from rosetune.robustness.evaluation import predict
from rosetune.robustness.rows import prediction_rows, set_metrics

__all__ = [
    "checked_data",
    "config_now",
    "evaluate_again",
    "evaluate_run",
    "of_kinds",
    "over_tasks",
    "read_identity",
    "read_metrics",
    "read_predictions",
]

Rows = dict[str, list[dict[str, Any]]]
MANY = 10_000  # rows of which the person who waits is told also where there is no bar


def evaluate_run(
    folder: str | Path, data: TaskData, kinds: Iterable[str], *, data_dir: str | None = None
) -> list[str]:
    """Evaluate a run's model and bring its ``metrics.json`` up to date; what was predicted before is kept.

    Args:
        kinds: of :data:`~rosetune.experiments.config.KINDS`.
        data_dir: of AdvGLUE's file.

    Returns:
        The kinds that were not there before.

    Raises:
        RunError: the folder holds no trained model, or one with other labels than the data.
    """
    folder = Path(folder)
    rows = read_predictions(folder)
    missing = _missing(rows, kinds)
    if missing:
        _predict_kinds(folder, data, missing, rows, data_dir)
    _write_metrics(folder, rows)
    return missing


def evaluate_again(run: str | Path, kinds: Sequence[str] | str, **moved: str | None) -> dict[str, Any]:
    """Evaluate a finished run on more sets; sets that it was evaluated on before are not predicted again.

    Args:
        kinds: of :data:`~rosetune.experiments.config.KINDS`.
        moved: where data lies now, if not where it was for training: ``task``, ``data_dir``, ``validation_file``,
            ``test_file``.

    Returns:
        All metrics of the run.

    Raises:
        RunError: the run is not finished, or the data is not the data it was trained on.
    """
    read_metrics(run)
    config = config_now(run, kinds, moved)
    elsewhere = any(value is not None for value in moved.values())
    if not elsewhere and not _missing(read_predictions(run), config.sets):
        _write_metrics(Path(run), read_predictions(run))
        return read_metrics(run)
    evaluate_run(run, checked_data(run, config), config.sets, data_dir=config.data_dir)
    return read_metrics(run)


def config_now(run: str | Path, kinds: Sequence[str] | str, moved: Mapping[str, str | None]) -> RunConfig:
    """A run's configuration for another evaluation: on these kinds of sets, with its data where it lies now.

    Args:
        moved: ``task``, ``data_dir``, ``validation_file``, ``test_file``; None: where it was.
    """
    given: dict[str, Any] = {"sets": kinds, **{name: value for name, value in moved.items() if value is not None}}
    return dataclasses.replace(read_run_config(run), **given)


def checked_data(run: str | Path, config: RunConfig, loaded: TaskData | None = None) -> TaskData:
    """The data of a run, or what was loaded of it already.

    Raises:
        DataError: it cannot be read.
        RunError: it is not what the run was trained on.
    """
    data, trained_on = loaded or load_data(config), read_identity(run)["data_fingerprint"]
    if data.fingerprint != trained_on:
        raise RunError(
            f"the data of {config.task} is not what {run} was trained on: its training, validation and test files "
            f"together have the fingerprint {data.fingerprint[:12]}, then it was {trained_on[:12]}; point --task, "
            "--data_dir, --validation_file and --test_file to the same files, or train anew"
        )
    return data


def of_kinds(metrics: dict[str, Any], kinds: Sequence[str]) -> dict[str, Any]:
    """The part of a run's metrics that is about these kinds of sets."""
    kept = {name: m for name, m in metrics["sets"].items() if kind_of(name) in kinds}
    return {name: m for name, m in metrics.items() if name != "advglue" or "advglue" in kinds} | {"sets": kept}


def over_tasks(metrics: Mapping[str, dict[str, Any]]) -> tuple[float, float] | None:
    """Average and drop over the tasks of several runs, as the ROSE paper's Table 1 has them.

    Args:
        metrics: of one run per task, by task.

    Returns:
        See :func:`~rosetune.robustness.advglue.average_and_drop`; None for fewer than two tasks, or where a run has
        not been evaluated on both its clean set and AdvGLUE.
    """
    sets = {task: m["sets"] for task, m in metrics.items()}
    if len(sets) < 2 or not all({"clean", "advglue"} <= s.keys() for s in sets.values()):
        return None
    clean, adversarial = ({task: s[name]["accuracy"] for task, s in sets.items()} for name in ("clean", "advglue"))
    return average_and_drop(clean, adversarial)


def read_identity(run: str | Path) -> dict[str, Any]:
    """What decided a run's result: task, text columns, data fingerprint, model, training arguments.

    Raises:
        RunError: the folder holds no run.
    """
    path = Path(run) / "run.json"
    if not path.is_file():
        raise RunError(f"{run} is no run (no run.json): give a folder that `rosetune train` wrote")
    return json.loads(path.read_text(encoding="utf-8"))


def read_predictions(run: str | Path) -> Rows:
    """The prediction rows of a run by evaluation set; empty where there are none yet."""
    path = Path(run) / "predictions.jsonl"
    sets: Rows = {}
    for row in read_json_lines(path) if path.is_file() else []:
        sets.setdefault(row["set"], []).append(row)
    return sets


def read_metrics(run: str | Path) -> dict[str, Any]:
    """The metrics of a finished run.

    Raises:
        RunError: it is not finished, or no run.
    """
    path = Path(run) / "metrics.json"
    if not Path(run).is_dir():
        raise RunError(f"there is no folder {run}: give the folder of a finished run")
    if not path.is_file():
        raise RunError(f"{run} is no finished run (no metrics.json): start or resume it with `rosetune train`")
    return json.loads(path.read_text(encoding="utf-8"))


def _missing(rows: Rows, kinds: Iterable[str]) -> list[str]:
    done = {kind_of(name) for name in rows}
    return [kind for kind in kinds if kind not in done]


def _predict_kinds(folder: Path, data: TaskData, kinds: Sequence[str], rows: Rows, data_dir: str | None) -> None:
    quiet_libraries()
    model, tokenizer, labels = load_trained(folder)
    if labels != data.labels:
        raise RunError(
            f"the model of {folder} tells apart {', '.join(labels)}, the data {', '.join(data.labels)}: "
            "give data with the same label names in the same order"
        )
    for kind in kinds:
        for name, dataset in evaluation_sets(data, kind, data_dir=data_dir).items():
            if len(dataset) > MANY:
                print(f"evaluating {len(dataset)} rows of {name}", file=sys.stderr)
            with progress(f"evaluating {name}") as bar:
                logits = predict(model, tokenizer, dataset, data.text_columns, progress=bar)
            rows[name] = prediction_rows(name, dataset, logits, labels)
        # A kind is what a killed evaluation goes on from.
        write_json_lines(folder / "predictions.jsonl", (row for part in rows.values() for row in part))


def _write_metrics(folder: Path, rows: Rows) -> None:
    labels = trained_labels(folder)
    metrics: dict[str, Any] = {"labels": list(labels)}
    metrics["sets"] = {name: set_metrics(part, labels) for name, part in rows.items()}
    metrics |= _advglue_metrics(read_identity(folder)["task"], rows, metrics["sets"])
    path = folder / "metrics.json"
    if not path.is_file() or json.loads(path.read_text(encoding="utf-8")) != metrics:
        write_json(path, metrics)


def _advglue_metrics(task: str, rows: Rows, sets: dict[str, Any]) -> dict[str, Any]:
    """AdvGLUE's score, the paper's drop from clean accuracy, and its sets in detail; nothing where there are none."""
    parts = [name for name in rows if kind_of(name) == "advglue" and not name.startswith(ORIGINALS)]
    if not parts:
        return {}
    reports = {
        name: advglue_report(rows[name], rows.get(name.replace("advglue", ORIGINALS), ())).as_json() for name in parts
    }
    complete = len(parts) == len(getattr(find_task(task), "advglue", ()))
    score = official_score(task, rows) if complete else None
    drop = sets["clean"]["accuracy"] - sets["advglue"]["accuracy"] if {"clean", "advglue"} <= sets.keys() else None
    return {"advglue": {"official_score": score, "drop": drop, "sets": reports}}
