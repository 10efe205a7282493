"""Rows of a table against a baseline: a t-test over seeds, Holm's correction over the table, a sign-flip test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from rosetune.robustness.significance import holm, paired_t_test, sign_flip_test, welch_t_test
from rosetune.runs.figures import Cell, Column
from rosetune.runs.groups import Group
from rosetune.runs.values import RunError, guess

__all__ = ["TESTS", "Row", "Tested", "against_baselines", "choose_baselines"]

TESTS = ("welch", "paired")
_DEFAULT = "vanilla"


@dataclass(frozen=True)
class Tested:
    """One figure of a row against that of the baseline; every p is one-sided, of "the row is better".

    Attributes:
        difference: mean of the row minus mean of the baseline, over the common seeds; without any, over all.
        common: the seeds that both have.
        p: of the t-test: Welch's is over all seeds of both, the paired one over the common ones. None where it cannot
            be made: too few seeds, or no spread.
        p_holm: the same, adjusted over all t-tests that are made together.
        p_sign_flip: paired by seed, over the common ones; None without any.
    """

    difference: float
    common: tuple[int, ...]
    p: float | None
    p_sign_flip: float | None
    p_holm: float | None = None


@dataclass(frozen=True)
class Row:
    """One method: its runs, its figures, and its tests against the baseline of its model."""

    group: Group
    cells: dict[Column, Cell]
    tests: dict[Column, Tested] = field(default_factory=dict)


def choose_baselines(groups: Sequence[Group], wanted: str | None) -> tuple[dict[str, str], list[str]]:
    """The row that others are tested against, by model, and notes on models without one.

    Args:
        wanted: name of a row, or a method that has one row; None: vanilla; "none": no row.

    Raises:
        RunError: no model has the row, or several fit.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    if wanted == "none":
        return found, notes
    asked = wanted or _DEFAULT
    for model in dict.fromkeys(group.model for group in groups):
        own = [group for group in groups if group.model == model]
        fitting = [g for g in own if g.name == asked] or [g for g in own if g.method == asked]
        if len(fitting) == 1:
            found[model] = fitting[0].name
        elif fitting:
            fullest = max(fitting, key=lambda group: (not group.control, sum(map(len, group.runs.values()))))
            told = f"{model} has {len(fitting)} rows of {asked}: name one with --baseline '{fullest.name}'"
            if wanted is not None:
                raise RunError(told)
            notes.append(f"Nothing is tested: {told}.")
        else:
            remedy = _other_baselines(own) if wanted is None or len(own) == 1 else ""
            notes.append(f"Nothing is tested for {model}: it has no row {asked}{remedy}.")
    if wanted is not None and not found:
        known = dict.fromkeys(group.name for group in sorted(groups, key=lambda group: group.control))
        raise RunError(f"no row is called {wanted!r}: {guess(wanted, known)}")
    return found, notes


def _other_baselines(own: Sequence[Group]) -> str:
    """What can be done where a model lacks the row that others are tested against."""
    if len(own) == 1:
        return f", only {own[0].name}; `rosetune compare A B` sets two models against each other"
    methods = dict.fromkeys(group.method for group in own if not group.control)
    return f"; name one with --baseline {' or '.join(methods)}" if methods else ""


def against_baselines(
    rows: Sequence[Row], baselines: Mapping[str, str], signs: Mapping[Column, int], test: str = "welch"
) -> list[Row]:
    """The rows with their tests against the baseline of their model.

    Args:
        baselines: from :func:`choose_baselines`.
        signs: of the columns to test, 1 where more is better, and -1 where less is.
        test: "welch", for independent samples of unequal variance: the paper says "1-tailed t-test" over 5 seeds and
            names neither pairs nor the seeds. "paired": by seed, over the common ones.

    Raises:
        RunError: an unknown test.
    """
    if test not in TESTS:
        raise RunError(f"no test is called {test!r}: choose {' or '.join(TESTS)}")
    against = {row.group.model: row for row in rows if baselines.get(row.group.model) == row.group.name}
    found = [
        row
        if (base := against.get(row.group.model)) is None or base is row
        else replace(
            row,
            tests={
                column: tested
                for column, cell in row.cells.items()
                if column in signs
                and column in base.cells
                and (tested := _tested(base.cells[column], cell, signs[column], test)) is not None
            },
        )
        for row in rows
    ]
    made = [(i, column, tested.p) for i, row in enumerate(found) for column, tested in row.tests.items()]
    asked = [(i, column, p) for i, column, p in made if p is not None]
    for (i, column, _), adjusted in zip(asked, holm([p for *_, p in asked]), strict=True):
        found[i].tests[column] = replace(found[i].tests[column], p_holm=adjusted)
    return found


def _tested(base: Cell, own: Cell, sign: int, test: str) -> Tested | None:
    before, after = dict(zip(base.seeds, base.values, strict=True)), dict(zip(own.seeds, own.values, strict=True))
    common = tuple(seed for seed in own.seeds if seed in before)
    a, b = ([sign * side[seed] for seed in common] for side in (before, after))
    gains = [y - x for x, y in zip(a, b, strict=True)]
    flips = sign_flip_test(gains).b_better if common else None
    difference = sign * sum(gains) / len(common) if common else own.mean - base.mean
    if test == "welch":
        p = welch_t_test([sign * value for value in base.values], [sign * value for value in own.values])
        return Tested(difference, common, p, flips)
    if not common:
        return None
    return Tested(difference, common, paired_t_test(a, b).b_better if len(common) > 1 else None, flips)
