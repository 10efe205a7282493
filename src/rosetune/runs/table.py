"""Finished runs as two pandas tables: a row per run and set, and a row per example."""

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from rosetune.robustness.attacks.summary import summary
from rosetune.robustness.rows import set_metrics
from rosetune.runs.files import again
from rosetune.runs.identity import task_name
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.texts import texts_of
from rosetune.runs.values import RunError

__all__ = ["EXAMPLE_COLUMNS", "SCORE_COLUMNS", "examples", "scores"]

SCORE_COLUMNS = (
    *("task", "method", "seed", "run", "step", "set", "kind", "n", "accuracy", "low", "high", "f1", "mcc"),
    *("constant", "ece", "brier", "mse", "pearson", "spearman"),
)
EXAMPLE_COLUMNS = (
    *("task", "method", "seed", "run", "step", "set", "kind", "id", "gold", "prediction", "right"),
    *("original_id", "attack"),
)


def scores(runs: Iterable[Run], *, steps: bool = False) -> pd.DataFrame:
    """A row per run and evaluation set, in shares (not percent).

    An attack is a set of the kind "attack": its accuracy is that under attack. What a set does not have is missing:
    F1 of an attack, the accuracy of a regression.

    Args:
        runs: from :func:`rosetune.find_runs`.
        steps: whether each evaluated checkpoint gets rows too; ``step`` is missing for the end of a run.

    Returns:
        The columns :data:`SCORE_COLUMNS`: ``low`` and ``high`` are the 95% interval of accuracy (of a regression: of
        ``mse``), ``constant`` what the best constant prediction gets; for ``kind`` see
        :class:`~rosetune.runs.sets.SetName`. A ``task`` whose training labels were changed says so, as "sst2
        (label_noise=0.1)".

    Raises:
        RunError: a file of a run is damaged.

    Example:
        table = rosetune.scores(rosetune.find_runs("runs/**"))
        table[table.set == "clean"].groupby("method").accuracy.agg(["mean", "std", "count"])
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        for name in run.sets():
            rows.append({**_about(run, name, None), **_scores(run, name)})
        for step in run.steps if steps else ():
            for name in run.sets(step):
                rows.append({**_about(run, name, step), **_flat(set_metrics(run.rows(name, step), run.labels))})
    return _table(rows, SCORE_COLUMNS)


def examples(runs: Iterable[Run], *, texts: bool = False, steps: bool = False) -> pd.DataFrame:
    """A row per run, evaluation set and example.

    Args:
        runs: from :func:`rosetune.find_runs`.
        texts: whether the texts are joined, in the columns of the task; the data is read anew, and noise is drawn
            again by its seed. Of an attack it is the adversarial text. A text column that is called as one of this
            table's comes as ``text_<its name>``.
        steps: whether each evaluated checkpoint gets rows too.

    Returns:
        The columns :data:`EXAMPLE_COLUMNS`, and the texts. ``gold`` and ``prediction`` are label names, or numbers of
        a regression; of an attack ``gold`` is "robust" and ``prediction`` one of "robust", "broken", "wrong" before.
        ``original_id`` is the original that an item of AdvGLUE stems from, ``attack`` the method that made it, or the
        name of the attack.

    Raises:
        RunError: a file of a run is damaged, or its data is not what it was trained on.
        DataError: the data cannot be read.
    """
    rows: list[dict[str, Any]] = []
    for run in runs:
        places: list[tuple[str, int | None]] = [(name, None) for name in run.sets()]
        places += [(name, step) for step in (run.steps if steps else ()) for name in run.sets(step)]
        found = texts_of(run, [name for name, _ in places]) if texts else {}
        for name, step in places:
            about, of_set = _about(run, name, step), found.get(name, {})
            by = SetName.parse(name).attack
            rows += [
                {**about, **_example(row, by), **_beside(of_set.get(str(row["id"]), {}))}
                for row in run.rows(name, step)
            ]
    extra = dict.fromkeys(key for row in rows for key in row if key not in EXAMPLE_COLUMNS)
    return _table(rows, (*EXAMPLE_COLUMNS, *extra))


def _table(rows: list[dict[str, Any]], columns: Iterable[str]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns))
    return table.astype({"step": "Int64", "seed": "Int64"})


def _about(run: Run, name: str, step: int | None) -> dict[str, Any]:
    about = {"task": task_name(run.identity), "method": run.method, "seed": run.seed, "run": str(run), "step": step}
    return {**about, "set": name, "kind": SetName.parse(name).kind}


def _scores(run: Run, name: str) -> dict[str, Any]:
    attack = SetName.parse(name).attack
    if attack is None:
        known = run.metrics["sets"].get(name)
        if known and not isinstance(known.get("calibration") or {}, dict):
            raise RunError(f"{run}: metrics.json is damaged at {name}: evaluate again: {again(run.folder)}")
        return _flat(known or set_metrics(run.rows(name), run.labels))
    header, results = run.attacks[attack]
    figures = summary(results, header.get("budget"))
    kept = {"n": "n", "accuracy": "accuracy_under_attack", "low": "accuracy_under_attack_low"}
    return {name: figures[figure] for name, figure in {**kept, "high": "accuracy_under_attack_high"}.items()}


def _flat(metrics: dict[str, Any]) -> dict[str, Any]:
    constant, calibration = metrics["constant"], metrics.get("calibration") or {}
    found = {name: metrics[name] for name in metrics if name in SCORE_COLUMNS}
    found["constant"] = constant.get("accuracy", constant.get("mse"))
    return found | {name: calibration[name] for name in ("ece", "brier") if name in calibration}


def _beside(texts: Mapping[str, str]) -> dict[str, str]:
    return {f"text_{name}" if name in EXAMPLE_COLUMNS else name: text for name, text in texts.items()}


def _example(row: dict[str, Any], attack: str | None) -> dict[str, Any]:
    kept: dict[str, Any] = {name: row[name] for name in ("id", "gold", "prediction", "original_id") if name in row}
    right = None if row["gold"] is None or isinstance(row["gold"], float) else row["gold"] == row["prediction"]
    return {**kept, "right": right, "attack": attack or row.get("method")}
