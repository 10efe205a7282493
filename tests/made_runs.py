"""Finished runs that nobody trained: folders with the files that are read, importable as ``made_runs``."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rosetune.runs.metrics import run_metrics
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

LABELS = ("bad", "good")
ROSE: dict[str, Any] = {"update_mask": "rose", "update_mask_kwargs": {"order": "ensemble"}}
# Prediction rows, or for each example whether it is predicted right.
Part = Any


def outcomes(*counts: int) -> np.ndarray:
    """1 for so many right examples, then 0 for so many wrong ones, and so on in turns."""
    return np.concatenate([np.full(n, 1 - i % 2) for i, n in enumerate(counts)])


def make_rows(
    name: str, right: Sequence[Any] | np.ndarray, *, labels: Sequence[str] = LABELS, logit: float = 2.0, **columns: Any
) -> list[dict[str, Any]]:
    """Prediction rows of a set; the gold labels take turns, and a wrong prediction is the next label.

    Args:
        right: for each example whether it is predicted right.
        logit: of the predicted label; the others have 0.
        columns: further ones, such as ``original_id``.
    """
    rows = []
    for i, ok in enumerate(right):
        gold = i % len(labels)
        said = gold if ok else (gold + 1) % len(labels)
        row = {"set": name, "id": str(i), "gold": labels[gold], "prediction": labels[said]}
        row["logits"] = [logit * (label == said) for label in range(len(labels))]
        rows.append({**row, **{column: values[i] for column, values in columns.items()}})
    return rows


def number_rows(name: str, gold: Sequence[float], predicted: Sequence[float]) -> list[dict[str, Any]]:
    """Prediction rows of a regression."""
    return [
        {"set": name, "id": str(i), "gold": float(g), "prediction": float(p), "logits": [float(p)]}
        for i, (g, p) in enumerate(zip(gold, predicted, strict=True))
    ]


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def write_run(
    folder: Path,
    sets: Mapping[str, Part],
    training: Mapping[str, Any] | None = None,
    *,
    steps: Mapping[int, Mapping[str, Part]] | None = None,
    end: int | None = None,
    labels: Sequence[str] = LABELS,
    config: Mapping[str, Any] | None = None,
    metrics: bool = False,
    before: bool = False,
    **identity: Any,
) -> Run:
    """The files of a finished run, as far as they are read without its model.

    Args:
        sets: by name.
        training: arguments, among them method and seed.
        steps, end: what its checkpoints predicted, by step; and the step that is the end.
        config: further options of ``config.yaml``.
        metrics: whether ``metrics.json`` holds the metrics of the sets, which takes a moment.
        before: in the layout of the version before: all sets in one file, all checkpoints in another.
        identity: further entries of ``run.json``.
    """
    training = dict(training or {})
    folder.mkdir(parents=True)
    described = {"task": "my", "text_columns": ["text"], "data_fingerprint": "x", "training": training, **identity}
    write_json(folder / "run.json", described)
    options = {"task": "my.csv", "model_name_or_path": "model", "sets": ["clean"], **training, **(config or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
    along = {step: _rows(parts, labels) for step, parts in (steps or {}).items()}
    about = {step: {"epoch": step / 100, "end": step == end} for step in sorted({*along, *({end} - {None})})}
    if before:
        _write_before(folder, _rows(sets, labels), along, about)
    else:
        _write_sets(folder / "predictions", _rows(sets, labels))
        for step, described in about.items():
            place = folder / "predictions" / f"step-{step}"
            _write_sets(place, {} if described["end"] else along[step])
            write_json(place / "step.json", described)
    found = run_metrics(folder, labels) if metrics else {"labels": list(labels), "sets": {}}
    write_json(folder / "metrics.json", found)
    return Run.open(folder)


def write_attack(
    run: Run,
    statuses: Sequence[str],
    name: str = "pwws",
    *,
    budget: int = 100,
    rows: int | None = None,
    about: Mapping[str, Any] | None = None,
) -> None:
    """An attack on a run; before its attacks are read for the first time.

    Args:
        statuses: "failed" (the row is robust), "success" or "skipped" (it is wrong before), a row each.
        name: of its file, and of the attack.
        rows: number that was asked for.
        about: further entries of its description.
    """
    recipe = {"type": "Recipe", "name": name}
    header = {"attack": recipe, "budget": budget, "seed": 0, "column": 0, "model": str(run)}
    results = [_result(i, status) for i, status in enumerate(statuses)]
    write_lines(run.folder / "attacks" / f"{name}.jsonl", [header, *results])
    description = {"recipe": name, "set": "clean", "rows": rows or len(statuses), **(about or {})}
    write_json(run.folder / "attacks" / f"{name}.json", description)


def _result(i: int, status: str) -> dict[str, Any]:
    gold, right, wrong = i % 2, [0.1, 0.1], [0.9, 0.9]
    right[gold], wrong[gold] = 0.9, 0.1
    before, after = (wrong if status == "skipped" else right), (right if status == "failed" else wrong)
    return {
        "id": str(i),
        "status": status,
        "gold": gold,
        "prediction": int(np.argmax(before)),
        "probabilities": before,
        "perturbed_prediction": int(np.argmax(after)),
        "perturbed_probabilities": after,
        "queries": 1 if status == "skipped" else 10 + i,
        "column": 0,
        "words": 4,
        "changes": [[0, "the", "teh"]] if status == "success" else [],
        "texts": [f"the film number {i}"],
        "perturbed": [f"teh film number {i}" if status == "success" else f"the film number {i}"],
    }


def _rows(sets: Mapping[str, Part], labels: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    return {
        name: part if isinstance(part, list) else make_rows(name, part, labels=labels) for name, part in sets.items()
    }


def _write_sets(place: Path, sets: Mapping[str, list[dict[str, Any]]]) -> None:
    for name, rows in sets.items():
        write_lines(place / f"{name}.jsonl", rows)
    kinds: dict[str, list[str]] = {}
    for name in sets:
        kinds.setdefault(SetName.parse(name).kind, []).append(name)
    for kind, names in kinds.items():
        write_json(place / f"{kind}.json", dict.fromkeys(names, 0))


def _write_before(
    folder: Path,
    sets: Mapping[str, list[dict[str, Any]]],
    along: Mapping[int, Mapping[str, list[dict[str, Any]]]],
    about: Mapping[int, dict[str, Any]],
) -> None:
    write_lines(folder / "predictions.jsonl", [row for rows in sets.values() for row in rows])
    lines = [
        {"step": step, **described, **row}
        for step, described in about.items()
        for rows in (sets if described["end"] else along[step]).values()
        for row in rows
    ]
    if lines:
        write_lines(folder / "along_training.jsonl", lines)
