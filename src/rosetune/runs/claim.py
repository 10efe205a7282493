"""A claim beside its controls: what shows the same gain, and so may be its cause."""

from collections.abc import Mapping, Sequence

import numpy as np

from rosetune._numbers import fixed, in_percent
from rosetune.robustness.statistics import Difference
from rosetune.runs.along import accuracy
from rosetune.runs.claimed_run import ClaimedRun
from rosetune.runs.compare import check_seeds, common_sets, paired, rows_of, side_names
from rosetune.runs.computed import ControlResult, computed_controls, control_result
from rosetune.runs.config import LENGTH, METHOD
from rosetune.runs.controls import CONTROLS, found_controls, left_out
from rosetune.runs.normalized import (
    NormalizedBaseline,
    is_normalized,
    meets_disguises,
    normalized_baseline,
    same_weights,
)
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import group_titles
from rosetune.runs.values import RunError, differences

__all__ = ["ControlResult", "control_results", "differing", "not_tried", "sentences", "trained_controls"]

Results = dict[str, list[ControlResult]]
# Options of a training, which a model that was not trained here cannot share.
_OF_TRAINING = ("training", "max_train_samples", "validation_from_train", "label_noise", "imbalance", "processes")


def differing(a: Run, b: Run) -> list[str]:
    """What two runs differ in beside method, length of training and seed; of a training only where both had one.

    A model and its own weights behind a normalisation differ in nothing else.
    """
    return [] if same_weights(a, b) else _differing(a, b)


def _differing(a: Run, b: Run) -> list[str]:
    sides = [dict(run.identity) for run in (a, b)]
    if a.config.given != b.config.given:
        sides = [{name: value for name, value in side.items() if name not in _OF_TRAINING} for side in sides]
    return list(differences(sides[0], sides[1], ignore=(*METHOD, *LENGTH, "seed")))


def trained_controls(
    claim: Sequence[Run], named: Sequence[str] = (), baseline: Sequence[Run] = ()
) -> dict[str, list[Run]]:
    """Control runs at hand by name: those in ``controls`` of the claim's runs, and further ones.

    Args:
        named: further ones as NAME=RUN, which go before those of the same name; a name that comes again names another
            seed.
        baseline: one of them behind a normalisation of its texts is a control too, see
            :func:`~rosetune.runs.normalized.normalized_baseline`.

    Raises:
        RunError: not NAME=RUN; a run in ``controls`` is not the control of its name; a further one is a side of the
            comparison, or differs from the claim in more than method and length of training, and is no baseline behind
            a normalisation.
    """
    found: dict[str, list[Run]] = {}
    for run in claim:
        for name, control in found_controls(run).items():
            found.setdefault(name, []).append(control)
    further: dict[str, list[Run]] = {}
    for text in named:
        name, equals, folder = text.partition("=")
        if not (name and equals and folder):
            raise RunError(f"--controls takes NAME=RUN, not {text!r}")
        other = Run.open(folder)
        _check_apart(other, baseline, claim)
        further.setdefault(name, []).append(_further(other, claim[0], baseline))
    return found | further


def _check_apart(other: Run, a: Sequence[Run], b: Sequence[Run]) -> None:
    for side, runs in (("A, the baseline", a), ("B, the claim", b)):
        if other.folder.resolve() in {run.folder.resolve() for run in runs}:
            raise RunError(f"{other} is already {side}: leave --controls out, or name a third run")


def _further(other: Run, claim: Run, baseline: Sequence[Run]) -> Run:
    names = _differing(claim, other)
    if not names:
        return other
    normalized = normalized_baseline(other, baseline)
    if normalized is not None:
        return normalized
    hint = ""
    if is_normalized(other) and baseline:
        made = f"`rosetune evaluate --model_name_or_path {baseline[0]} --task T --normalize all`"
        hint = f", and was not made of the baseline, with its data and length, by {made}"
    raise RunError(f"{other} is no control of {claim}: it differs in {', '.join(names)}{hint}")


def control_results(a: Sequence[Run], b: Sequence[Run], trained: Mapping[str, Sequence[Run]]) -> Results:
    """Every control at hand beside the claim b on each robust set, with a as the baseline.

    Disguises of the noise curve count as robust sets where a control is the baseline behind a normalisation.

        constant         predicts the most frequent label; under an attack it keeps what has that label
        flip             see :func:`~rosetune.robustness.flip_control.flip_control`; under an attack the most that
                         flips can leave, see :func:`~rosetune.robustness.flip_control.flip_control_under_attack`
        early_stopping   the checkpoint of the baseline whose clean accuracy is nearest to the claim's, if it lies
                         within a point; of several seeds, of every one; not under attacks, which search on the model
                         at hand: no checkpoint was attacked, and what fools another model says little of it
        others           trained runs, and the baseline behind a normalisation; of several seeds those that have the
                         control

    A regression has only the trained ones. No clean accuracy is equal where there is none.

    Args:
        trained: control runs by name.
    """
    disguised = _has_normalized(trained)
    names = [
        name for name in common_sets(a, b) if SetName.parse(name).robust or (disguised and meets_disguises([name]))
    ]
    return {name: _on_set(a, b, trained, name) for name in names}


def not_tried(a: Sequence[Run], b: Sequence[Run], trained: Mapping[str, Sequence[Run]], results: Results) -> list[str]:
    """What is missing for a verdict, as sentences with the command that brings it."""
    (baseline, _), claim = side_names(a, b), b[0]
    absent = [name for name in _suitable(claim) if name not in trained]
    absent = [name for name in absent if not (name == "vanilla" and a[0].method == "vanilla")]
    said = []
    if absent:
        said.append(f"Controls not at hand: {', '.join(absent)} (`rosetune controls {claim}` trains them).")
    if meets_disguises(common_sets(a, b)) and not (_has_normalized(trained) or _is_normalized(a, b)):
        said.append(
            f"Normalisation without training is not at hand: make a run of {a[0]} by `rosetune evaluate "
            f"--model_name_or_path {a[0]} --task T --normalize all`, and name it with `--controls normalize=RUN`."
        )
    titles = group_titles(a, b)
    where: dict[tuple[str, ...], list[str]] = {}  # the sets that some controls lack
    for name, found in results.items():
        lacking = tuple(control for control in trained if control not in {result.control for result in found})
        where.setdefault(lacking, []).append(titles[name])
    said += [
        f"Without results on {', '.join(without)} (`rosetune evaluate`, `rosetune attack`): {', '.join(lacking)}."
        for lacking, without in where.items()
        if lacking
    ]
    plain = [name for name in results if SetName.parse(name).attack is None and claim.labels]
    without = [name for name in plain if "early_stopping" not in {result.control for result in results[name]}]
    if without:
        on = ", ".join(titles[name] for name in without)
        said.append(
            f"No early stopping on {on}: {baseline} has no predictions along training there (`rosetune "
            "evaluate --along_training`), or no checkpoint within a point of the claim's clean accuracy."
        )
    return said


def _has_normalized(trained: Mapping[str, Sequence[Run]]) -> bool:
    return any(isinstance(run, NormalizedBaseline) for runs in trained.values() for run in runs)


def _is_normalized(a: Sequence[Run], b: Sequence[Run]) -> bool:
    """Whether the baseline reads its texts behind a normalisation, or the claim is the baseline that does."""
    return a[0].config.normalize is not None or same_weights(a[0], b[0])


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
    (baseline, claim), unit = side_names(a, b), "points" if b[0].labels else "of squared error"

    def shown(value: float) -> str:
        return in_percent(value, "+") if b[0].labels else fixed(value, sign="+")

    points = f"{shown(d.value)} {unit} [{shown(d.low)}, {shown(d.high)}] against {baseline}"
    if d.verdict <= 0:
        return f"{claim} is {'worse' if d.verdict else 'not shown to be better'}: {points}."
    ahead = ", ".join(f"{r.control} ({shown(r.gain)})" for r in results if r.control_better)
    parts = [f"{claim} gains {points}.", *([f"Shown to be better than it: {ahead}."] if ahead else [])]
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
        found = computed_controls(a, b, name)
    for control, runs in trained.items():
        own, claim = paired(check_seeds([*runs]), b)
        baseline = a if len(a) == 1 else [run for c in claim for run in a if run.seed == c.seed]
        if name in common_sets(own, claim) and name in common_sets(baseline, own):
            clean = SetName.parse(name).clean(own[0].sets())
            known = own[0].labels and all(clean in run.sets() for run in own)
            level = float(np.mean([accuracy(run, clean) for run in own])) if known else None
            before, middle, after = (rows_of(part, name) for part in (baseline, own, claim))
            found.append(control_result(control, level, before, middle, after, name))
    return found
