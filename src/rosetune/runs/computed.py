"""Controls that nobody trains: computed from what the runs that are compared have predicted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rosetune.robustness.flip_control import FlipControl, flip_control, flip_control_under_attack
from rosetune.robustness.metrics import constant_predictor
from rosetune.robustness.rows import paired_correctness
from rosetune.robustness.statistics import ALPHA, paired_t_test
from rosetune.runs.along import accuracy, nearest_step
from rosetune.runs.attacked import usual_label
from rosetune.runs.compare import common_rows, rows_difference, rows_of
from rosetune.runs.files import Rows
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName

__all__ = ["ControlResult", "computed_controls", "control_result"]

NEAR = 0.01  # of clean accuracy: what still counts as equal


@dataclass(frozen=True)
class ControlResult:
    """One control beside the claim on one robust set.

    Attributes:
        control: its name in :data:`~rosetune.runs.controls.CONTROLS`, or that of a further run.
        seeds: pairs of runs.
        clean, accuracy: of the control; clean is None for what has none.
        gain: control minus baseline. gains: whether that is shown to be above 0.
        difference, low, high: claim minus control with its 95% interval, on the same examples.
        claim_better: whether the claim is shown to be better than the control. control_better: the other way round.
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
    control_better: bool = False

    @property
    def answer(self) -> str:
        """Whether it shows a gain of the claim too: "yes", "in part", "no", or "not told apart"."""
        if self.claim_better:
            return "in part" if self.gains else "no"
        return "yes" if self.gains else "not told apart"


def computed_controls(a: Sequence[Run], b: Sequence[Run], name: str) -> list[ControlResult]:
    """The constant, the flips and the early stopping of :func:`~rosetune.runs.claim.control_results` on one set."""
    constant = [_constant(run, name) for run in b]
    found = [control_result("constant", None, rows_of(a, name), constant, rows_of(b, name), name)]
    return [*found, *_flips(a, b, name), *_stopped(a, b, name)]


def control_result(
    control: str, clean: float | None, rows_a: list[Rows], rows_c: list[Rows], rows_b: list[Rows], name: str
) -> ControlResult:
    """A control's rows c beside those of baseline a and claim b, a list for each seed."""
    if SetName.parse(name).attack is not None:
        rows_a, rows_c, rows_b = common_rows(rows_a, rows_c, rows_b)
    gain, left = rows_difference(rows_a, rows_c, name), rows_difference(rows_c, rows_b, name)
    return ControlResult(
        control=control,
        seeds=left.seeds,
        clean=clean,
        accuracy=left.a.value,
        gain=gain.value,
        gains=gain.verdict > 0,
        difference=left.value,
        low=left.low,
        high=left.high,
        claim_better=left.verdict > 0,
        control_better=left.verdict < 0,
    )


def _constant(run: Run, name: str) -> Rows:
    """The rows as the most frequent label would have them; an attack cannot move it."""
    rows = run.rows(name)
    if SetName.parse(name).attack is not None:
        label = usual_label(run, name)
        return [{**row, "prediction": "robust" if row["label"] == label else "wrong"} for row in rows]
    label, _ = constant_predictor([row["gold"] for row in rows if row["gold"] is not None])
    return [{**row, "prediction": label} for row in rows]


def _flips(a: Sequence[Run], b: Sequence[Run], name: str) -> list[ControlResult]:
    clean = SetName.parse(name).clean(a[0].sets())
    if not all(clean in run.sets() for run in (*a, *b)):
        return []
    each, level, plain = [], [], []
    for run_a, run_b in zip(a, b, strict=True):
        (clean_a, clean_b), _ = paired_correctness(run_a.rows(clean), run_b.rows(clean))
        if np.mean(clean_a) <= 1 / len(run_a.labels):
            return []
        control, before = _flip(run_a, run_b, name, clean_a, clean_b)
        each.append(control)
        plain.append(before)
        level.append(min(np.mean(clean_a), np.mean(clean_b)))
    flipped, robust = (float(np.mean([getattr(one, key) for one in each])) for key in ("flipped", "robust"))
    # Flips are computed, not observed: there is no exact test of them, and the interval alone decides for one seed.
    low, high, better, gains = each[0].low, each[0].high, each[0].low > 0, each[0].gain_low > 0
    if len(each) > 1:
        t = paired_t_test([one.flipped for one in each], [one.robust for one in each])
        low, high = (t.mean if end is None else end for end in (t.low, t.high))
        better = t.b_better is not None and t.b_better <= ALPHA
        own = paired_t_test(plain, [one.flipped for one in each]).b_better
        gains = own is not None and own <= ALPHA
    gain, excess = flipped - float(np.mean(plain)), robust - flipped
    return [ControlResult("flip", len(each), float(np.mean(level)), flipped, gain, gains, excess, low, high, better)]


def _flip(
    run_a: Run, run_b: Run, name: str, clean_a: Sequence[bool], clean_b: Sequence[bool]
) -> tuple[FlipControl, float]:
    """The control for one pair of runs, and the accuracy of the first on the set."""
    classes, clean = len(run_a.labels), SetName.parse(name).clean(run_a.sets())
    rows_a, rows_b = run_a.rows(name), run_b.rows(name)
    if SetName.parse(name).attack is None:
        (set_a, set_b), clusters = paired_correctness(rows_a, rows_b)
        same = [row["id"] for row in run_a.rows(clean)] == [row["id"] for row in rows_a]
        found = flip_control(clean_a, clean_b, set_a, set_b, classes, clusters=clusters, same_examples=same)
        return found, float(np.mean(set_a))
    (rows_a,), (rows_b,) = common_rows([rows_a], [rows_b])
    wrong = [{**row, "prediction": "robust" if row["prediction"] == "wrong" else "broken"} for row in rows_a]
    (set_a, set_b, was_wrong), clusters = paired_correctness(rows_a, rows_b, wrong)
    found = flip_control_under_attack(clean_a, clean_b, set_a, was_wrong, set_b, classes, clusters=clusters)
    return found, float(np.mean(set_a))


def _stopped(a: Sequence[Run], b: Sequence[Run], name: str) -> list[ControlResult]:
    clean, rows_c, levels = SetName.parse(name).clean(b[0].sets()), [], []
    for run_a, run_b in zip(a, b, strict=True):
        if SetName.parse(name).attack is not None or clean not in run_b.sets():
            return []
        wanted = accuracy(run_b, clean)
        step = nearest_step(run_a, wanted, clean, name)
        if step is None or abs(accuracy(run_a, clean, step) - wanted) > NEAR + 1e-9:
            return []
        rows_c.append(run_a.rows(name, step))
        levels.append(accuracy(run_a, clean, step))
    return [control_result("early_stopping", float(np.mean(levels)), rows_of(a, name), rows_c, rows_of(b, name), name)]
