"""Whether a finished run is good enough: limits on what was measured, each of which holds or not."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import Difference, Estimate, difference, estimate
from rosetune.runs.changed import at_most_words, differences_at_words
from rosetune.runs.compare import not_compared, paired, rows_difference
from rosetune.runs.files import Rows
from rosetune.runs.gate_limits import BASELINE, LIMITS, Limits
from rosetune.runs.gate_sets import absent, reference, selected, to_make
from rosetune.runs.notes import shared_notes
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.values import RunError

__all__ = ["Check", "Verdict", "gate"]


@dataclass(frozen=True)
class Check:
    """One limit on one set.

    Attributes:
        limit: its name, see :class:`~rosetune.runs.gate_limits.Limits`; "baseline" for the rule without a number.
        set: the name of the set.
        value: what was measured, in the unit of the limit, with its 95% interval ``low``, ``high``, of ``n`` rows.
        bound: the limit; None of the rule.
        holds: whether it holds for the value; of the rule, whether the run is not shown to be worse.
        sure: whether the interval lies on one side of the limit.
    """

    limit: str
    set: str
    n: int
    value: float
    low: float
    high: float
    bound: float | None
    holds: bool
    sure: bool


@dataclass(frozen=True)
class Verdict:
    """What a gate says.

    Attributes:
        run, baseline: the folders.
        checks: each limit on each set that it looks at.
        notes: what was not looked at, and why; how a threshold was chosen; texts that the run was trained on.
        words: the largest number of changed words at which attacks were read; None: any number.
    """

    run: str
    baseline: str | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()
    words: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return all(check.holds for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.holds)

    def as_json(self) -> dict[str, Any]:
        """All of it, and whether it passed."""
        return {"passed": self.passed, **dataclasses.asdict(self)}


def gate(
    run: str | os.PathLike[str] | Run, *, baseline: str | os.PathLike[str] | Run | None = None, **limits: Any
) -> Verdict:
    """Judge a finished run by limits; nothing is predicted, and no model is loaded.

    The measured value decides, and its interval stands beside it: a limit within the interval is not sure either way.
    With a baseline the run must not be shown to be worse on any set (see
    :attr:`~rosetune.robustness.statistics.Difference.verdict`), and may have limits on its decline.

    Args:
        run: its folder.
        baseline: the folder of a run on the same data, such as the last release.
        limits: fields of :class:`~rosetune.runs.gate_limits.Limits`.

    Raises:
        RunError: no limit, one out of range, one that needs a baseline, a run that is not finished, or a set that is
            missing; the message says what makes it.

    Example:
        verdict = rosetune.gate("runs/my/vanilla/seed-42-0123456789ab", min_accuracy=0.9, max_drop=5)
        assert verdict.passed, verdict.failed
    """
    wanted = Limits(**limits)
    for given in (run, baseline):
        if not isinstance(given, str | os.PathLike | Run | None):
            raise RunError(
                f"a gate judges a run on disk, not a {type(given).__name__}: give the folder that `rosetune train` or "
                "`rosetune evaluate --model_name_or_path MODEL --output_dir FOLDER` made"
            )
    opened = run if isinstance(run, Run) else Run.open(run)
    before = baseline if baseline is None or isinstance(baseline, Run) else Run.open(baseline)
    wanted.check(with_baseline=before is not None)
    if not opened.labels:
        raise RunError(f"{opened} is a regression: a gate has limits on accuracy, and none on squared errors")
    names, notes = selected(opened, wanted, other=before), wanted.notes()
    checks = [check for limit in wanted.given() for check in _checks(opened, before, limit, names, wanted, notes)]
    if before is not None:
        checks += _baseline_checks(opened, before, names, wanted)
    looked_at = {check.set for check in checks}
    notes += shared_notes({name: figures for name, figures in opened.metrics["sets"].items() if name in looked_at})
    order = (*LIMITS, BASELINE)
    ordered = sorted(checks, key=lambda check: (order.index(check.limit), SetName.parse(check.set).sort_key))
    return Verdict(str(opened), None if before is None else str(before), tuple(ordered), tuple(notes), wanted.words)


def _checks(
    run: Run, baseline: Run | None, limit: str, names: Sequence[str], wanted: Limits, notes: list[str]
) -> Iterator[Check]:
    """One limit that needs no baseline, on all sets that it looks at."""
    measure: dict[str, tuple[list[str], Callable[[str], Estimate | None]]] = {
        "min_accuracy": (_kind(run.sets(), "clean"), partial(_accuracy, run)),
        "min_robust_accuracy": (_no_attack(names), partial(_accuracy, run)),
        "min_accuracy_under_attack": (_kind(names, "attack"), partial(_under_attack, run, wanted.words)),
        "max_success_rate": (_kind(names, "attack"), partial(_success, run, wanted.words)),
        "max_drop": (_no_attack(names), partial(_drop, run)),
        "max_flip_rate": (_no_attack(names), partial(_flips, run)),
        "min_recall": ([*_kind(run.sets(), "clean"), *_no_attack(names)], partial(_recall, run, notes)),
    }
    if limit not in measure:
        return
    looked_at, measured = measure[limit]
    found = {name: measured(name) for name in looked_at}
    if not found:
        raise absent(run, limit, chosen=wanted.sets is not None and limit != "min_accuracy", other=baseline)
    left_out = [f"not {_on(name)}, {_WITHOUT[limit]}" for name, value in found.items() if value is None]
    if len(left_out) == len(found):
        raise RunError(f"{limit} cannot be judged of {run}: {'; '.join(left_out)}")
    notes += [f"{limit}: {reason}." for reason in left_out]
    for name, value in found.items():
        if value is not None:
            yield _check(limit, name, value, getattr(wanted, limit))


def _on(name: str) -> str:
    """A set with its preposition, which the title of an attack brings along."""
    title = SetName.parse(name).title
    return title if SetName.parse(name).kind == "attack" else f"on {title}"


_WITHOUT = {
    "min_accuracy": "of which no row has a label",
    "min_robust_accuracy": "of which no row has a label",
    "max_drop": "which has no unperturbed texts of its own, with labels",
    "max_flip_rate": "which has no unperturbed texts of its own",
    "min_recall": "which holds no row of the class",
    "max_success_rate": "of which no row was right before",
}


def _check(limit: str, name: str, found: Estimate, bound: float) -> Check:
    low, value, high = found.low, found.value, found.high
    least = limit.startswith("min")
    holds = value >= bound - 1e-9 if least else value <= bound + 1e-9
    sure = (low >= bound or high < bound) if least else (high <= bound or low > bound)
    return Check(limit, name, found.n, value, low, high, bound, holds, sure)


def _baseline_checks(run: Run, baseline: Run, names: Sequence[str], wanted: Limits) -> Iterator[Check]:
    """What the run must keep of another: not be shown to be worse, and decline by no more than so many points."""
    a, b = paired([baseline], [run])
    there = {
        *_kind(run.sets(), "clean"),
        *_kind(baseline.sets(), "clean"),
        *names,
        *selected(baseline, wanted, other=run),
    }
    looked_at = sorted(there, key=lambda name: SetName.parse(name).sort_key)
    apart = not_compared(a, b)
    for name in looked_at:
        if name in apart:
            lacking = next((sides for sides in ((baseline, run), (run, baseline)) if name not in sides[0].sets()), None)
            remedy = "evaluate or attack both alike" if lacking is None else to_make(name, *lacking)
            raise RunError(
                f"{SetName.parse(name).title} cannot be compared with the baseline ({apart[name]}): {remedy}, or name "
                "the sets to look at with --sets"
            )
        d = _difference(a, b, name, wanted.words)
        decline = Estimate(d.n, -100 * d.value, -100 * d.high, -100 * d.low)
        yield Check(
            BASELINE, name, d.n, decline.value, decline.low, decline.high, None, d.verdict >= 0, d.verdict != 0
        )
        if wanted.max_decline is not None:
            yield _check("max_decline", name, decline, wanted.max_decline)


def _difference(a: Sequence[Run], b: Sequence[Run], name: str, words: str | None) -> Difference:
    if SetName.parse(name).attack is not None:
        return differences_at_words(a, b, name, [words])[words]
    return rows_difference([a[0].rows(name)], [b[0].rows(name)], name)


def _kind(names: Sequence[str], kind: str) -> list[str]:
    return [name for name in names if SetName.parse(name).kind == kind]


def _no_attack(names: Sequence[str]) -> list[str]:
    return [name for name in names if SetName.parse(name).kind not in ("attack", "clean")]


def _accuracy(run: Run, name: str) -> Estimate | None:
    rows = [row for row in run.rows(name) if row["gold"] is not None]
    return _share([row["prediction"] == row["gold"] for row in rows], rows)


def _share(values: Sequence[bool], rows: Rows) -> Estimate | None:
    return estimate(values, clusters=clusters_of(rows)) if values else None


def _under_attack(run: Run, words: str | None, name: str) -> Estimate | None:
    rows = at_most_words(run, name, words)
    return _share([row["prediction"] == "robust" for row in rows], rows)


def _success(run: Run, words: str | None, name: str) -> Estimate | None:
    rows = [row for row in at_most_words(run, name, words) if row["prediction"] != "wrong"]
    return _share([row["prediction"] == "broken" for row in rows], rows)


def _paired_rows(run: Run, name: str) -> tuple[Rows, Rows] | None:
    """The rows of the unperturbed texts and of the perturbed ones, in one order."""
    other = reference(run, name)
    if other is None:
        return None
    before, after = ({row["id"]: row for row in run.rows(part)} for part in (other, name))
    ids = [row for row in after if row in before]
    return ([before[row] for row in ids], [after[row] for row in ids]) if ids else None


def _drop(run: Run, name: str) -> Estimate | None:
    sides = _paired_rows(run, name)
    if sides is None:
        return None
    pairs = [(b, a) for b, a in zip(*sides, strict=True) if a["gold"] is not None]
    if not pairs:
        return None
    right = ([row["prediction"] == row["gold"] for row in side] for side in zip(*pairs, strict=True))
    d = difference(*right, clusters=clusters_of([row for _, row in pairs]))
    return Estimate(d.n, -100 * d.value, -100 * d.high, -100 * d.low)


def _flips(run: Run, name: str) -> Estimate | None:
    sides = _paired_rows(run, name)
    return sides and _share([b["prediction"] != a["prediction"] for b, a in zip(*sides, strict=True)], sides[1])


def _recall(run: Run, notes: list[str], name: str) -> Estimate | None:
    found = run.metrics["sets"].get(name, {}).get("detection")
    if found is None or found["threshold"] is None:
        raise absent(run, "min_recall")
    how = _CHOSEN[found["threshold"]["chosen_on"]]
    note = f"min_recall: of {found['positive_label']}, by a threshold chosen on {how}."
    if note not in notes:
        notes.append(note)
    hit = found["recall"]
    return None if hit is None else Estimate(found["positives"], hit["value"], hit["low"], hit["high"])


_CHOSEN = {
    "validation": "validation rows",
    "held_out": "held-out training rows",
    "clean": "the clean set itself, where it flatters",
}
