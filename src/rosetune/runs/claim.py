"""A claim beside its controls: what shows the same gain, and so may be its cause."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.robustness.flip_control import flip_control
from rosetune.robustness.metrics import constant_predictor
from rosetune.robustness.rows import paired_correctness
from rosetune.robustness.statistics import ALPHA, Difference, paired_t_test
from rosetune.runs.along import accuracy, nearest_step
from rosetune.runs.claimed import ClaimedRun
from rosetune.runs.compare import check_seeds, common_rows, common_sets, paired, rows_difference, rows_of
from rosetune.runs.config import LENGTH, METHOD
from rosetune.runs.controls import CONTROLS, found_controls, left_out
from rosetune.runs.files import Rows
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError, differences

__all__ = ["ControlResult", "control_results", "differing", "not_tried", "sentences", "trained_controls"]

NEAR = 0.01  # of clean accuracy: what still counts as equal
Results = dict[str, list["ControlResult"]]


@dataclass(frozen=True)
class ControlResult:
    """One control beside the claim on one robust set.

    Attributes:
        control: its name in :data:`~rosetune.runs.controls.CONTROLS`, or that of a further run.
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


def differing(a: Run, b: Run) -> list[str]:
    """What two runs differ in beside method, length of training and seed."""
    return list(differences(a.identity, b.identity, ignore=(*METHOD, *LENGTH, "seed")))


def trained_controls(claim: Sequence[Run], named: Sequence[str] = ()) -> dict[str, list[Run]]:
    """Control runs at hand by name: those in ``controls`` of the claim's runs, and further ones.

    Args:
        named: further ones as NAME=RUN, which go before those of the same name.

    Raises:
        RunError: not NAME=RUN; a run in ``controls`` is not the control of its name; a further one differs from the
            claim in more than method and length of training.
    """
    found: dict[str, list[Run]] = {}
    for run in claim:
        for name, control in found_controls(run).items():
            found.setdefault(name, []).append(control)
    for text in named:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise RunError(f"--controls takes NAME=RUN, not {text!r}")
        other = Run.open(folder)
        names = differing(claim[0], other)
        if names:
            raise RunError(f"{folder} is no control of {claim[0]}: it differs in {', '.join(names)}")
        found[name] = [other]
    return found


def control_results(a: Sequence[Run], b: Sequence[Run], trained: Mapping[str, Sequence[Run]]) -> Results:
    """Every control at hand beside the claim b on each robust set, with a as the baseline.

        constant         predicts the most frequent label; under an attack it keeps what has that label
        flip             see :func:`~rosetune.robustness.flip_control.flip_control`; not under attacks
        early_stopping   the checkpoint of the baseline whose clean accuracy is nearest to the claim's, if it lies
                         within a point; of several seeds, of every one; not under attacks
        others           trained runs; of several seeds those that have the control

    A regression has only the trained ones. No clean accuracy is equal where there is none.

    Args:
        trained: control runs by name.
    """
    names = [name for name in common_sets(a, b) if SetName.parse(name).robust]
    return {name: _on_set(a, b, trained, name) for name in names}


def not_tried(a: Sequence[Run], b: Sequence[Run], trained: Mapping[str, Sequence[Run]], results: Results) -> list[str]:
    """What is missing for a verdict, as sentences with the command that brings it."""
    baseline, claim = a[0].method, b[0]
    absent = [name for name in _suitable(claim) if name not in trained]
    absent = [name for name in absent if not (name == "vanilla" and baseline == "vanilla")]
    said = []
    if absent:
        said.append(f"Controls not at hand: {', '.join(absent)} (`rosetune controls {claim}` trains them).")
    where: dict[tuple[str, ...], list[str]] = {}  # the sets that some controls lack
    for name, found in results.items():
        lacking = tuple(control for control in trained if control not in {result.control for result in found})
        where.setdefault(lacking, []).append(SetName.parse(name).title)
    said += [
        f"Without results on {', '.join(titles)} (`rosetune evaluate`, `rosetune attack`): {', '.join(lacking)}."
        for lacking, titles in where.items()
        if lacking
    ]
    plain = [name for name in results if SetName.parse(name).attack is None and claim.labels]
    without = [name for name in plain if "early_stopping" not in {result.control for result in results[name]}]
    if without:
        titles = ", ".join(SetName.parse(name).title for name in without)
        said.append(
            f"No early stopping on {titles}: {baseline} has no predictions along training there (`rosetune "
            "evaluate --along_training`), or no checkpoint within a point of the claim's clean accuracy."
        )
    return said


def _suitable(claim: Run) -> list[str]:
    """The controls that `rosetune controls` would train for a run; none for one that claims nothing."""
    try:
        unsuitable = left_out(ClaimedRun(claim))
    except RunError:
        return []
    return [name for name, control in CONTROLS.items() if control.training and name not in unsuitable]


def sentences(
    a: Sequence[Run], b: Sequence[Run], compared: Mapping[str, Difference], results: Results
) -> dict[str, str]:
    """By robust set: whether the claim gains on the baseline, and which controls show that gain too."""
    return {name: _sentence(a, b, compared[name], found) for name, found in results.items()}


def _sentence(a: Sequence[Run], b: Sequence[Run], d: Difference, results: Sequence[ControlResult]) -> str:
    claim, unit = b[0].method, "points" if b[0].labels else "of squared error"

    def shown(value: float) -> str:
        return f"{100 * value:+.1f}" if b[0].labels else f"{value:+.3f}"

    points = f"{shown(d.value)} {unit} [{shown(d.low)}, {shown(d.high)}] against {a[0].method}"
    if d.verdict <= 0:
        return f"{claim} is {'worse' if d.verdict else 'not shown to be better'}: {points}."
    parts = [f"{claim} gains {points}."]
    kinds = {"yes": "Shown as well by", "in part": "Shown in part by", "not told apart": "Not told apart from"}
    for answer, words in (*kinds.items(), ("no", "Not shown by")):
        named = [f"{r.control} ({shown(r.gain)})" for r in results if r.answer == answer]
        parts += [f"{words} {', '.join(named)}."] if named else []
    return " ".join(parts if results else [*parts, "No control was tried on it."])


def _on_set(
    a: Sequence[Run], b: Sequence[Run], trained: Mapping[str, Sequence[Run]], name: str
) -> list[ControlResult]:
    found: list[ControlResult] = []
    if b[0].labels:
        constant = [_constant(rows) for rows in rows_of(b, name)]
        found = [_result("constant", None, rows_of(a, name), constant, rows_of(b, name), name)]
        found += [*_flips(a, b, name), *_stopped(a, b, name)]
    for control, runs in trained.items():
        own, claim = paired(check_seeds([*runs]), b)
        baseline = a if len(a) == 1 else [run for c in claim for run in a if run.seed == c.seed]
        if name in common_sets(own, claim) and name in common_sets(baseline, own):
            clean = SetName.parse(name).clean(own[0].sets())
            known = own[0].labels and all(clean in run.sets() for run in own)
            level = float(np.mean([accuracy(run, clean) for run in own])) if known else None
            before, middle, after = (rows_of(part, name) for part in (baseline, own, claim))
            found.append(_result(control, level, before, middle, after, name))
    return found


def _result(
    control: str, clean: float | None, rows_a: list[Rows], rows_c: list[Rows], rows_b: list[Rows], name: str
) -> ControlResult:
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
    )


def _constant(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """The rows as the most frequent label would have them; an attack cannot move it."""
    if "label" in rows[0]:
        label, _ = constant_predictor([row["label"] for row in rows])
        return [{**row, "prediction": "robust" if row["label"] == label else "wrong"} for row in rows]
    label, _ = constant_predictor([row["gold"] for row in rows if row["gold"] is not None])
    return [{**row, "prediction": label} for row in rows]


def _flips(a: Sequence[Run], b: Sequence[Run], name: str) -> list[ControlResult]:
    clean, classes = SetName.parse(name).clean(a[0].sets()), len(a[0].labels)
    if SetName.parse(name).attack is not None or not all(clean in run.sets() for run in (*a, *b)):
        return []
    each, level = [], []
    for run_a, run_b in zip(a, b, strict=True):
        (clean_a, clean_b), _ = paired_correctness(run_a.rows(clean), run_b.rows(clean))
        (set_a, set_b), clusters = paired_correctness(run_a.rows(name), run_b.rows(name))
        if np.mean(clean_a) <= 1 / classes:
            return []
        same = [row["id"] for row in run_a.rows(clean)] == [row["id"] for row in run_a.rows(name)]
        each.append(flip_control(clean_a, clean_b, set_a, set_b, classes, clusters=clusters, same_examples=same))
        level.append(min(np.mean(clean_a), np.mean(clean_b)))
    flipped, robust = (float(np.mean([getattr(one, key) for one in each])) for key in ("flipped", "robust"))
    low, high, better = each[0].low, each[0].high, each[0].low > 0
    if len(each) > 1:
        t = paired_t_test([one.flipped for one in each], [one.robust for one in each])
        low, high = (t.mean if end is None else end for end in (t.low, t.high))
        better = t.b_better is not None and t.b_better <= ALPHA
    gain, excess = flipped - float(np.mean([accuracy(run, name) for run in a])), robust - flipped
    return [
        ControlResult("flip", len(each), float(np.mean(level)), flipped, gain, gain > 0, excess, low, high, better)
    ]


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
    return [_result("early_stopping", float(np.mean(levels)), rows_of(a, name), rows_c, rows_of(b, name), name)]
