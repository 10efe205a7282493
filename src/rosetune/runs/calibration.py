"""Calibration before and after temperature scaling: a control that moves no prediction."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rosetune.data.split import shuffled
from rosetune.robustness.calibration import calibration_metrics, fit_temperature
from rosetune.runs.files import Rows
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["calibrations"]


def calibrations(group: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """ECE and Brier score of each labelled set before and after temperature scaling; the mean over several seeds.

    The temperature is fitted on clean examples: on the other half of them, drawn by their ids, for the clean set and
    sets with the same examples, on all for any other. (AdvGLUE's items stem from clean ones; a single number learns
    little from them.)

    Returns:
        By set ``temperature`` (the mean over its examples), ``before`` and ``after`` (see
        :func:`~rosetune.robustness.calibration.calibration_metrics`); nothing with fewer than four clean examples, or
        of a regression. Where a model, or one of several seeds, makes no error on what a temperature is fitted to,
        any small one would do: ``temperature`` and ``after`` are None.
    """
    each = [_of_run(run) for run in group]
    return {name: _mean([found[name] for found in each]) for name in each[0] if all(name in found for found in each)}


def _of_run(run: Run) -> dict[str, dict[str, Any]]:
    index, names = {label: i for i, label in enumerate(run.labels)}, run.sets()
    clean = _scored(run, "clean") if "clean" in names and index else []
    if len(clean) < 4:
        return {}
    order = shuffled([(str(row["id"]),) for row in clean], 0)
    half = {key: i % 2 for i, key in enumerate(order)}

    def fitted(part: Rows) -> float | None:
        return fit_temperature([row["logits"] for row in part], [index[row["gold"]] for row in part])

    of_other_half = [fitted([row for row in clean if half[(str(row["id"]),)] != i]) for i in (0, 1)]
    of_all, found = fitted(clean), {}
    for name in names:
        parsed = SetName.parse(name)
        part = [] if parsed.kind in ("attack", "noise_curve") else _scored(run, name)
        if not part:
            continue
        keys = [(str(row["id"]),) for row in part]
        same = parsed.kind in ("clean", "noise") and all(key in half for key in keys)
        temperatures = [of_other_half[half[key]] if same else of_all for key in keys]
        logits, gold = np.array([row["logits"] for row in part]), [index[row["gold"]] for row in part]
        known = [t for t in temperatures if t is not None]
        whole = len(known) == len(temperatures)
        found[name] = {
            "temperature": float(np.mean(known)) if whole else None,
            "before": calibration_metrics(logits, gold),
            "after": calibration_metrics(logits / np.array(known)[:, None], gold) if whole else None,
        }
    return found


def _scored(run: Run, name: str) -> Rows:
    return [row for row in run.rows(name) if row["gold"] is not None]


def _mean(each: Sequence[Any]) -> Any:
    if any(one is None for one in each):
        return None
    if isinstance(each[0], dict):
        return {name: _mean([one[name] for one in each]) for name in each[0]}
    return float(np.mean(each))
