"""Calibration before and after temperature scaling: a control that moves no prediction."""

from typing import Any

import numpy as np

from rosetune.data.split import shuffled
from rosetune.experiments.sides import ATTACK, Side
from rosetune.robustness.calibration import calibration_metrics, fit_temperature

__all__ = ["calibrations"]


def calibrations(side: Side) -> dict[str, dict[str, Any]]:
    """ECE and Brier score of each labelled set before and after temperature scaling; for the side's first run.

    The temperature is fitted on clean examples: on the other half of them, drawn by their ids, for the clean set and
    sets with the same examples, on all for any other. (AdvGLUE's items stem from clean ones; a single number learns
    little from them.)

    Returns:
        By set ``temperature`` (the mean over its examples), ``before`` and ``after`` (see
        :func:`~rosetune.robustness.calibration.calibration_metrics`); nothing with fewer than four clean examples.
    """
    rows, index = side.rows[0], {label: i for i, label in enumerate(side.labels)}
    clean = [row for row in rows.get("clean", ()) if row["gold"] is not None]
    if len(clean) < 4:
        return {}
    order = shuffled([(str(row["id"]),) for row in clean], 0)
    half = {key: i % 2 for i, key in enumerate(order)}

    def fitted(part: list[dict[str, Any]]) -> float | None:
        return fit_temperature([row["logits"] for row in part], [index[row["gold"]] for row in part])

    of_other_half = [fitted([row for row in clean if half[(str(row["id"]),)] != i]) for i in (0, 1)]
    of_all = fitted(clean)
    if of_all is None or None in of_other_half:
        return {}  # without an error on clean examples there is nothing to fit a temperature to
    found = {}
    for name, part in rows.items():
        scored = [row for row in part if row["gold"] is not None]
        if name.startswith(ATTACK) or "@" in name or not scored:
            continue
        keys = [(str(row["id"]),) for row in scored]
        same = "advglue" not in name and all(key in half for key in keys)
        temperatures = np.array([of_other_half[half[key]] if same else of_all for key in keys])
        logits, gold = np.array([row["logits"] for row in scored]), [index[row["gold"]] for row in scored]
        found[name] = {
            "temperature": float(temperatures.mean()),
            "before": calibration_metrics(logits, gold),
            "after": calibration_metrics(logits / temperatures[:, None], gold),
        }
    return found
