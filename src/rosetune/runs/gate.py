"""Whether a finished run is good enough: limits on what was measured, each of which holds or not."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rosetune.robustness.statistics import Difference, Estimate
from rosetune.runs.changed import differences_at_words
from rosetune.runs.compare import not_compared, paired, rows_difference
from rosetune.runs.gate_limits import BASELINE, LIMITS, Limits
from rosetune.runs.gate_measures import Measured, measures
from rosetune.runs.gate_notes import left_out, of_small_groups, of_the_threshold, of_vain_rows
from rosetune.runs.gate_sets import absent, check_rows, of_kind, selected, to_make
from rosetune.runs.notes import shared_notes
from rosetune.runs.run import Run
from rosetune.runs.sets import SetName
from rosetune.runs.titles import titles_of
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
        sure: whether the interval lies on one side of the limit, and the figure is not ``flattered``.
        group: of min_group_accuracy, the column and the group that is worst.
        false_positive_rate: of min_recall, on the same set at the same threshold; None where no row is negative.
        flattered: whether the threshold was chosen on the clean set itself, for lack of other rows.
        title: the set as a person calls it, an attack by its recipe.
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
    group: str | None = None
    false_positive_rate: float | None = None
    flattered: bool = False
    title: str = ""


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
        RunError: no limit, one out of range, one that needs a baseline, a run that is not finished, a set that is
            missing, or one whose rows are gone; the message says what makes it.

    Example:
        verdict = rosetune.gate("runs/my/vanilla/seed-42-0123456789ab", min_accuracy=0.9, max_drop=5)
        assert verdict.passed, verdict.failed
    """
    wanted = Limits.of(limits, "rosetune.gate")
    opened, before = _sides(run, baseline, wanted)
    names, notes = selected(opened, wanted, other=before), wanted.notes()
    checks = [check for limit in wanted.given() for check in _checks(opened, before, limit, names, wanted, notes)]
    by_limit = {limit: [check.set for check in checks if check.limit == limit] for limit in wanted.given()}
    notes = [*of_the_threshold(opened, by_limit), *notes]
    if before is not None:
        checks += _baseline_checks(opened, before, names, wanted)
    looked_at = {check.set for check in checks}
    titles = titles_of([opened, *([] if before is None else [before])], {*looked_at, *names})
    notes += shared_notes({name: figures for name, figures in opened.metrics["sets"].items() if name in looked_at})
    notes += of_vain_rows(opened, {name: titles[name] for name in sorted(looked_at)})
    named = names if wanted.sets is not None else ()
    notes += [
        f"Not looked at: {titles[n]}, of which none of these limits speaks." for n in named if n not in looked_at
    ]
    order = (*LIMITS, BASELINE)
    ordered = sorted(checks, key=lambda check: (order.index(check.limit), SetName.parse(check.set).sort_key))
    ordered = [dataclasses.replace(check, title=titles[check.set]) for check in ordered]
    return Verdict(str(opened), None if before is None else str(before), tuple(ordered), tuple(notes), wanted.words)


def _sides(
    run: str | os.PathLike[str] | Run, baseline: str | os.PathLike[str] | Run | None, wanted: Limits
) -> tuple[Run, Run | None]:
    """The run and its baseline, opened; all that refuses them before anything is judged."""
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
    for side in (opened, before):
        if side is not None:
            check_rows(side)
    return opened, before


def _checks(
    run: Run, baseline: Run | None, limit: str, names: Sequence[str], wanted: Limits, notes: list[str]
) -> Iterator[Check]:
    """One limit that needs no baseline, on all sets that it looks at."""
    known = measures(run, names, wanted)
    if limit not in known:
        return
    looked_at, measured = known[limit]
    if limit == "min_group_accuracy" and not any("groups" in run.metrics["sets"].get(n, {}) for n in looked_at):
        raise absent(run, limit)
    found = {name: measured(name) for name in looked_at}
    if not found:
        raise absent(run, limit, chosen=wanted.sets is not None and limit != "min_accuracy", other=baseline)
    without = left_out(run, limit, found, wanted.group_rows)
    if all(value is None for value in found.values()):
        raise RunError(f"{limit} cannot be judged of {run}: {'; '.join(without)}")
    notes += [f"{limit}: {reason}." for reason in without]
    notes += of_small_groups(limit, found, wanted.group_rows)
    for name, value in found.items():
        if value is not None:
            yield _check(limit, name, value, getattr(wanted, limit))


def _check(limit: str, name: str, found: Measured, bound: float) -> Check:
    low, value, high = found.estimate.low, found.estimate.value, found.estimate.high
    least = limit.startswith("min")
    holds = value >= bound - 1e-9 if least else value <= bound + 1e-9
    sure = ((low >= bound or high < bound) if least else (high <= bound or low > bound)) and not found.flattered
    about = (found.group, found.false_positive_rate, found.flattered)
    return Check(limit, name, found.estimate.n, value, low, high, bound, holds, sure, *about)


def _baseline_checks(run: Run, baseline: Run, names: Sequence[str], wanted: Limits) -> Iterator[Check]:
    """What the run must keep of another: not be shown to be worse, and decline by no more than so many points."""
    a, b = paired([baseline], [run])
    there = {
        *of_kind(run.sets(), "clean"),
        *of_kind(baseline.sets(), "clean"),
        *names,
        *selected(baseline, wanted, other=run),
    }
    looked_at = sorted(there, key=lambda name: SetName.parse(name).sort_key)
    apart = not_compared(a, b)
    for name in looked_at:
        if name in apart:
            lacking = next(
                (sides for sides in ((baseline, run), (run, baseline)) if name not in sides[0].sets()), None
            )
            remedy = "evaluate or attack both alike" if lacking is None else to_make(name, *lacking)
            title = titles_of([run, baseline], [name])[name]
            raise RunError(
                f"{title} cannot be compared with the baseline ({apart[name]}): {remedy}, or name "
                "the sets to look at with --sets"
            )
        d = _difference(a, b, name, wanted.words)
        decline = Estimate(d.n, -100 * d.value, -100 * d.high, -100 * d.low)
        yield Check(
            BASELINE, name, d.n, decline.value, decline.low, decline.high, None, d.verdict >= 0, d.verdict != 0
        )
        if wanted.max_decline is not None:
            yield _check("max_decline", name, Measured(decline), wanted.max_decline)


def _difference(a: Sequence[Run], b: Sequence[Run], name: str, words: str | None) -> Difference:
    if SetName.parse(name).attack is not None:
        return differences_at_words(a, b, name, [words])[words]
    return rows_difference([a[0].rows(name)], [b[0].rows(name)], name)
