"""A claim beside its controls: what shows the same gain, and so may be its cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.experiments.along_training import Point, kept_points
from rosetune.experiments.claim import differing
from rosetune.experiments.compare import ALPHA, Comparison, common_rows, compare, compare_sets
from rosetune.experiments.config import RunError
from rosetune.experiments.controls import CONTROLS, found_controls
from rosetune.experiments.equal_clean import clean_set
from rosetune.experiments.sets import ORIGINALS
from rosetune.experiments.sides import ATTACK, Side, make_side, paired_sides
from rosetune.robustness.flip_control import flip_control
from rosetune.robustness.metrics import constant_predictor
from rosetune.robustness.rows import paired_correctness
from rosetune.robustness.statistics import paired_t_test

__all__ = ["Beside", "beside", "not_tried", "sentences", "trained_controls"]

NEAR = 0.01  # of clean accuracy: what still counts as equal
Found = dict[str, list["Beside"]]


@dataclass(frozen=True)
class Beside:
    """One control beside the claim on one robust set.

    Attributes:
        control: its name in :data:`~rosetune.experiments.controls.CONTROLS`, or that of a further run.
        seeds: pairs of runs.
        clean, accuracy: of the control; clean is None for what has none.
        gain: control minus baseline. gains: whether that is shown to be above 0.
        difference, low, high: claim minus control with its 95% interval, on the same examples.
        claim_better: whether the claim is shown to be better than the control.
    """

    control: str
    seeds: int
    clean: float | None
    accuracy: float
    gain: float
    gains: bool
    difference: float
    low: float
    high: float
    claim_better: bool

    @property
    def answer(self) -> str:
        """Whether it shows a gain of the claim too: "yes", "in part", "no", or "not told apart"."""
        if self.claim_better:
            return "in part" if self.gains else "no"
        return "yes" if self.gains else "not told apart"


def trained_controls(a: Side, b: Side, named: Sequence[str] = ()) -> dict[str, list[str]]:
    """Control runs at hand by name: those in ``controls`` of the claim's runs, and further ones.

    Args:
        named: further ones as NAME=RUN, which go before those of the same name.

    Raises:
        RunError: not NAME=RUN; a run in ``controls`` is not the control of its name; a further one differs from the
            claim in more than method and length of training.
    """
    found: dict[str, list[str]] = {}
    for run in b.runs:
        for name, path in found_controls(run).items():
            found.setdefault(name, []).append(str(path))
    for text in named:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise RunError(f"--controls takes NAME=RUN, not {text!r}")
        other = [option for option in differing(b.runs[0], folder, method=False) if option != "seed"]
        if other:
            raise RunError(f"{folder} is no control of {b.runs[0]}: it differs in {', '.join(other)}")
        found[name] = [folder]
    return found


def robust_names(names: Sequence[str]) -> list[str]:
    """The sets on which robustness is claimed: all but clean sets, AdvGLUE's originals and the noise curve."""
    return [name for name in names if not name.startswith(("clean", ORIGINALS)) and "@" not in name]


def beside(a: Side, b: Side, trained: Mapping[str, Sequence[str]]) -> Found:
    """Every control at hand beside the claim b on each robust set, with a as the baseline.

        constant         predicts the most frequent label; under an attack it keeps what has that label
        flip             see :func:`~rosetune.robustness.flip_control.flip_control`; not under attacks
        early_stopping   the checkpoint of the baseline whose clean accuracy is nearest to the claim's, if it lies
                         within a point; of several seeds, of every one
        others           trained runs; of several seeds those that have the control

    Args:
        trained: folders of control runs by name.
    """
    comparisons = compare_sets(a, b)
    sides = {name: make_side(list(runs)) for name, runs in trained.items()}
    return {name: _on_set(a, b, sides, name) for name in robust_names(list(comparisons))}


def not_tried(a: Side, b: Side, trained: Mapping[str, Sequence[str]], found: Found) -> list[str]:
    """What is missing for a verdict, as sentences with the command that brings it."""
    absent = [name for name, control in CONTROLS.items() if control.training and name not in trained]
    absent = [name for name in absent if not (name == "vanilla" and a.title == "vanilla")]
    said = []
    if absent:
        said.append(f"Controls not at hand: {', '.join(absent)} (`rosetune controls {b.runs[0]}` trains them).")
    where: dict[tuple[str, ...], list[str]] = {}  # the sets that some controls lack
    for name, controls in found.items():
        lacking = tuple(control for control in trained if control not in {c.control for c in controls})
        where.setdefault(lacking, []).append(name)
    said += [
        f"Not evaluated on {', '.join(names)} (`rosetune evaluate`, `rosetune attack`): {', '.join(lacking)}."
        for lacking, names in where.items()
        if lacking
    ]
    robust = [name for name in found if not name.startswith(ATTACK)]
    without = [name for name in robust if "early_stopping" not in {c.control for c in found[name]}]
    if without:
        said.append(
            f"No early stopping on {', '.join(without)}: {a.title} has no predictions along training there (`rosetune "
            "evaluate --along_training`), or no checkpoint within a point of the claim's clean accuracy."
        )
    return said


def sentences(a: Side, b: Side, comparisons: Mapping[str, Comparison], found: Found) -> dict[str, str]:
    """By robust set: whether the claim gains on the baseline, and which controls show that gain too."""
    said = {}
    for name, controls in found.items():
        c = comparisons[name]
        points = f"{100 * c.difference:+.1f} points [{100 * c.low:+.1f}, {100 * c.high:+.1f}] against {a.title}"
        if c.verdict <= 0:
            said[name] = f"{b.title} is {'worse' if c.verdict else 'not shown to be better'}: {points}."
            continue
        parts = [f"{b.title} gains {points}."]
        kinds = {"yes": "Shown as well by", "in part": "Shown in part by", "not told apart": "Not told apart from"}
        for answer, words in (*kinds.items(), ("no", "Not shown by")):
            named = [
                f"{control.control} ({100 * control.gain:+.1f})" for control in controls if control.answer == answer
            ]
            parts += [f"{words} {', '.join(named)}."] if named else []
        said[name] = " ".join(parts if controls else [*parts, "No control was tried on it."])
    return said


def _on_set(a: Side, b: Side, sides: Mapping[str, Side], name: str) -> list[Beside]:
    rows_a, rows_b = ([rows[name] for rows in side.rows] for side in (a, b))
    constant = [_constant(rows) for rows in rows_b]
    found = [_beside("constant", None, rows_a, constant, rows_b, name), *_flips(a, b, name), *_stopped(a, b, name)]
    for control, side in sides.items():
        own, claim = paired_sides(side, b)
        baseline = a if len(a.runs) == 1 else a.take(claim.seeds)
        comparable = compare_sets(own, claim).keys() & compare_sets(baseline, own).keys()
        if name in comparable:
            clean = _accuracy(own, clean_set(name, own.rows[0]))
            before, middle, after = ([rows[name] for rows in part.rows] for part in (baseline, own, claim))
            found.append(_beside(control, clean, before, middle, after, name))
    return found


def _beside(control: str, clean: float | None, rows_a: Any, rows_c: Any, rows_b: Any, name: str) -> Beside:
    if name.startswith(ATTACK):
        rows_a, rows_c, rows_b = common_rows(rows_a, rows_c, rows_b)
    gain, left = compare(rows_a, rows_c, name), compare(rows_c, rows_b, name)
    return Beside(
        control=control,
        seeds=left.seeds,
        clean=clean,
        accuracy=left.a,
        gain=gain.difference,
        gains=gain.verdict > 0,
        difference=left.difference,
        low=left.low,
        high=left.high,
        claim_better=left.verdict > 0,
    )


def _constant(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows as the most frequent label would have them; an attack cannot move it."""
    if "label" in rows[0]:
        label, _ = constant_predictor([row["label"] for row in rows])
        return [{**row, "prediction": "robust" if row["label"] == label else "wrong"} for row in rows]
    label, _ = constant_predictor([row["gold"] for row in rows if row["gold"] is not None])
    return [{**row, "prediction": label} for row in rows]


def _flips(a: Side, b: Side, name: str) -> list[Beside]:
    clean = clean_set(name, a.rows[0])
    if name.startswith(ATTACK) or not all(clean in rows for rows in (*a.rows, *b.rows)):
        return []
    classes, each, level = len(a.labels), [], []
    for rows_a, rows_b in zip(a.rows, b.rows, strict=True):
        (clean_a, clean_b), _ = paired_correctness(rows_a[clean], rows_b[clean])
        (set_a, set_b), clusters = paired_correctness(rows_a[name], rows_b[name])
        if np.mean(clean_a) <= 1 / classes:
            return []
        same = [row["id"] for row in rows_a[clean]] == [row["id"] for row in rows_a[name]]
        each.append(flip_control(clean_a, clean_b, set_a, set_b, classes, clusters=clusters, same_examples=same))
        level.append(min(np.mean(clean_a), np.mean(clean_b)))
    flipped, robust = (float(np.mean([getattr(one, key) for one in each])) for key in ("flipped", "robust"))
    low, high, better = each[0].low, each[0].high, each[0].low > 0
    if len(each) > 1:
        t = paired_t_test([one.flipped for one in each], [one.robust for one in each])
        low, high = (t.mean if end is None else end for end in (t.low, t.high))
        better = t.b_better is not None and t.b_better <= ALPHA
    gain = flipped - _mean_accuracy(a, name)
    return [
        Beside("flip", len(each), float(np.mean(level)), flipped, gain, gain > 0, robust - flipped, low, high, better)
    ]


def _stopped(a: Side, b: Side, name: str) -> list[Beside]:
    if name.startswith(ATTACK):
        return []
    clean, rows_c, levels = clean_set(name, b.rows[0]), [], []
    for run, rows_b in zip(a.runs, b.rows, strict=True):
        curve = [point for point in kept_points(run) if {clean, name} <= point.rows.keys()]
        if not curve or clean not in rows_b:
            return []
        wanted = np.mean(paired_correctness(rows_b[clean])[0])
        nearest: Point = min(curve, key=lambda point: abs(point.accuracy(clean) - wanted))
        if abs(nearest.accuracy(clean) - wanted) > NEAR + 1e-9:
            return []
        rows_c.append(nearest.rows[name])
        levels.append(nearest.accuracy(clean))
    before, after = ([rows[name] for rows in side.rows] for side in (a, b))
    return [_beside("early_stopping", float(np.mean(levels)), before, rows_c, after, name)]


def _accuracy(side: Side, name: str) -> float | None:
    return _mean_accuracy(side, name) if all(name in rows for rows in side.rows) else None


def _mean_accuracy(side: Side, name: str) -> float:
    return float(np.mean([paired_correctness(rows[name])[0] for rows in side.rows]))
