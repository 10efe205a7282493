"""A claim beside its controls: what shows the same gain, and so may be its cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.experiments.along_training import Point, kept_points
from rosetune.experiments.compare import ATTACK, Comparison, Side, compare_sets, paired_sides, read_side
from rosetune.experiments.config import RunError
from rosetune.experiments.controls import found_controls
from rosetune.experiments.equal_clean import at_equal_clean, clean_set
from rosetune.experiments.evaluate import Rows
from rosetune.experiments.sets import ORIGINALS
from rosetune.robustness.calibration import calibration_metrics, fit_temperature
from rosetune.robustness.flip_control import flip_control
from rosetune.robustness.metrics import constant_predictor
from rosetune.robustness.rows import compare_rows, paired_correctness, set_metrics

__all__ = ["Beside", "beside", "calibrations", "robust_names", "sentences", "trained_controls"]


@dataclass(frozen=True)
class Beside:
    """One control beside the claim on one evaluation set.

    Attributes:
        control: its name in :data:`~rosetune.experiments.controls.CONTROLS`, or that of a further run.
        accuracy: of the control.
        difference, low, high: claim minus control with its 95% interval, on the same examples.
        clean: the control's clean accuracy; None for what has none.
    """

    control: str
    accuracy: float
    difference: float
    low: float
    high: float
    clean: float | None

    @property
    def shows_it_too(self) -> bool:
        """Whether the claim is not shown to be better than the control."""
        return self.low <= 0


def trained_controls(claim: Side, named: Sequence[str] = ()) -> dict[str, str]:
    """The control runs at hand: those in ``controls`` of the claim's runs, with commas between those of several seeds.

    Args:
        named: further ones as NAME=RUN, which go before those of the same name.

    Raises:
        RunError: not NAME=RUN, or a control that does not fit its claim.
    """
    found: dict[str, list[str]] = {}
    for run in claim.runs:
        for name, path in found_controls(run).items():
            found.setdefault(name, []).append(str(path))
    for text in named:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise RunError(f"--controls takes NAME=RUN, not {text!r}")
        found[name] = [folder]
    return {name: ",".join(folders) for name, folders in found.items()}


def robust_names(comparisons: Mapping[str, Comparison]) -> list[str]:
    """The sets on which robustness is claimed: all but clean sets, AdvGLUE's originals and the noise curve."""
    return [name for name in comparisons if not name.startswith(("clean", ORIGINALS)) and "@" not in name]


def beside(a: Side, b: Side, trained: Mapping[str, str]) -> dict[str, list[Beside]]:
    """Every control beside the claim b on each robust set, with a as the baseline.

    Computed controls stand for the first pair of runs. The label flips take the baseline down to the claim's clean
    accuracy (see :func:`~rosetune.robustness.flip_control.flip_control`); early stopping is the baseline's checkpoint
    of the nearest clean accuracy, where its predictions along training are kept.

    Args:
        trained: folders of control runs by name, with commas between those of several seeds.
    """
    names = robust_names(compare_sets(a, b))
    found: dict[str, list[Beside]] = {name: _computed(a, b, name) for name in names}
    for control, runs in trained.items():
        side, claim = paired_sides(read_side(runs), b)
        comparisons = compare_sets(side, claim)
        for name in names:
            if name in comparisons:
                c, clean = comparisons[name], comparisons.get(clean_set(name, comparisons))
                found[name].append(Beside(control, c.a, c.difference, c.low, c.high, clean.a if clean else None))
    return found


def sentences(
    baseline: str, title: str, comparisons: Mapping[str, Comparison], found: Mapping[str, list[Beside]]
) -> dict[str, str]:
    """By robust set: whether the claim gains on the baseline, and which controls show that gain too."""
    said = {}
    for name, controls in found.items():
        c = comparisons[name]
        gain = f"{100 * c.difference:+.1f} points [{100 * c.low:+.1f}, {100 * c.high:+.1f}] against {baseline}"
        if c.low <= 0:
            kind = "worse" if c.high < 0 else "no gain that is more than noise"
            said[name] = f"{title}: {kind}, {gain}."
            continue
        same = [control.control for control in controls if control.shows_it_too]
        less = [control.control for control in controls if not control.shows_it_too]
        said[name] = (
            f"{title}: a gain, {gain}. "
            + (
                f"Not shown to be more than {', '.join(same)} give{'' if len(same) > 1 else 's'}. "
                if same
                else "No control at hand gives as much. "
            )
            + (f"More than {', '.join(less)}." if less else "")
        )
    return said


def calibrations(side: Side) -> dict[str, dict[str, Any]]:
    """ECE and Brier score of each labelled set before and after temperature scaling; for the side's first run.

    The temperature is fitted on clean examples: on the other half of them for the clean set and sets with the same
    examples, on all for any other. (AdvGLUE's items stem from clean ones; a single number learns little from them.)

    Returns:
        By set ``temperature`` (the mean of two halves), ``before`` and ``after`` (see
        :func:`~rosetune.robustness.calibration.calibration_metrics`); nothing without a clean set.
    """
    rows, index = side.rows[0], {label: i for i, label in enumerate(side.labels)}
    clean = [row for row in rows.get("clean", ()) if row["gold"] is not None]
    if len(clean) < 4:
        return {}
    half = {row["id"]: i % 2 for i, row in enumerate(clean)}

    def fitted(part: list[dict[str, Any]]) -> float:
        return fit_temperature([row["logits"] for row in part], [index[row["gold"]] for row in part])

    of_other_half = [fitted([row for row in clean if half[row["id"]] != i]) for i in (0, 1)]
    of_all = fitted(clean)
    found = {}
    for name, part in rows.items():
        scored = [row for row in part if row["gold"] is not None]
        if name.startswith(ATTACK) or "@" in name or not scored:
            continue
        same = all(row["id"] in half for row in scored) and "advglue" not in name
        temperatures = np.array([of_other_half[half[row["id"]]] if same else of_all for row in scored])
        logits, gold = np.array([row["logits"] for row in scored]), [index[row["gold"]] for row in scored]
        found[name] = {
            "temperature": float(temperatures.mean()),
            "before": calibration_metrics(logits, gold),
            "after": calibration_metrics(logits / temperatures[:, None], gold),
        }
    return found


def _computed(a: Side, b: Side, name: str) -> list[Beside]:
    if name.startswith(ATTACK):
        return []
    rows_a, rows_b, clean = a.rows[0], b.rows[0], clean_set(name, a.rows[0])
    found = [_constant(rows_b[name])]
    if clean in rows_a and clean in rows_b:
        found += [*_flips(rows_a, rows_b, clean, name, len(a.labels)), *_early_stopping(a, b, name)]
    return found


def _constant(rows: list[dict[str, Any]]) -> Beside:
    label, accuracy = constant_predictor([row["gold"] for row in rows if row["gold"] is not None])
    d = compare_rows([{**row, "prediction": label} for row in rows], rows)
    return Beside("constant", accuracy, d.difference, d.low, d.high, None)


def _flips(rows_a: Rows, rows_b: Rows, clean: str, name: str, classes: int) -> list[Beside]:
    right_clean, _ = paired_correctness(rows_a[clean], rows_b[clean])
    right, clusters = paired_correctness(rows_a[name], rows_b[name])
    before, after = (float(np.mean(side)) for side in right_clean)
    if before <= 1 / classes:
        return []
    control = flip_control(right_clean[0], right_clean[1], right[0], right[1], classes, clusters=clusters)
    return [Beside("flip", control.flipped, control.excess, control.low, control.high, min(before, after))]


def _early_stopping(a: Side, b: Side, name: str) -> list[Beside]:
    curve = kept_points(a.runs[0])
    if not all(name in point.rows for point in curve) or len(curve) < 2:
        return []
    clean = clean_set(name, b.rows[0])
    rows = {kind: b.rows[0][kind] for kind in (clean, name)}
    end = Point(None, None, True, rows, {kind: set_metrics(part, b.labels) for kind, part in rows.items()})
    at = at_equal_clean(curve, end, name)
    d = at.robust_difference
    return [
        Beside("early_stopping", at.nearest.accuracy(name), d.difference, d.low, d.high, at.nearest.accuracy(clean))
    ]
