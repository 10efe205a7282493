"""Two methods on the same examples: sets, attacks, AdvGLUE by attack; over one seed or several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rosetune.experiments.config import KINDS, RunError
from rosetune.experiments.sets import kind_of
from rosetune.experiments.sides import ATTACK, Side
from rosetune.robustness.rows import paired_correctness
from rosetune.robustness.statistics import ALPHA, PairedTTest, difference, paired_t_test

__all__ = ["Comparison", "by_attack", "common_rows", "common_success", "compare", "compare_sets", "not_compared"]


@dataclass(frozen=True)
class Comparison:
    """b minus a on the same examples.

    Attributes:
        n, seeds: examples, and pairs of runs.
        a, b: accuracy, the mean over the seeds. a_interval, b_interval: of 95%, over examples and seeds.
        difference, low, high: with its 95% interval: bootstrap over examples (originals, where items stem from some)
            and, of several pairs, over seeds.
        only_a, only_b: examples that one of the two alone gets right, summed over the seeds.
        p_value, p_b_better, p_a_better: exact McNemar (clustered where items stem from originals) for one pair of
            runs; the paired t-test over seeds for several, None where all differences are equal.
        t_test: over the seeds, where there are several.
        per_seed: McNemar's two-sided p of each pair.
    """

    n: int
    seeds: int
    a: float
    b: float
    a_interval: tuple[float, float]
    b_interval: tuple[float, float]
    difference: float
    low: float
    high: float
    only_a: int
    only_b: int
    p_value: float | None
    p_b_better: float | None
    p_a_better: float | None
    t_test: PairedTTest | None = None
    per_seed: tuple[float, ...] = ()

    @property
    def verdict(self) -> int:
        """1: b is shown to be better, -1: worse, 0: neither.

        Interval and one-sided test must both say so. The bootstrap over two or three seeds alone would call a gain far
        too often, and the test over seeds knows nothing of the choice of examples.
        """
        if self.low > 0 and self.p_b_better is not None and self.p_b_better <= ALPHA:
            return 1
        return -1 if self.high < 0 and self.p_a_better is not None and self.p_a_better <= ALPHA else 0

    @property
    def value(self) -> float:
        """The difference."""
        return self.difference


def compare_sets(a: Side, b: Side) -> dict[str, Comparison]:
    """Every labelled evaluation set, and every attack, that all runs of both sides have.

    Of an attack the rows count that all runs have suffered: more examples asked of one run hold those of the other.

    Raises:
        RunError: the runs were not evaluated on the same examples.
    """
    apart, found = not_compared(a, b), {}
    names = [name for name in a.rows[0] if name not in apart]
    names.sort(key=lambda name: len(KINDS) if name.startswith(ATTACK) else KINDS.index(kind_of(name)))
    for name in names:
        sides = [[rows[name] for rows in side.rows] for side in (a, b)]
        before, after = common_rows(*sides) if name.startswith(ATTACK) else sides
        found[name] = compare(before, after, name)
    return found


def not_compared(a: Side, b: Side) -> dict[str, str]:
    """The evaluation sets and attacks of either side that the other lacks, or has otherwise, and why."""
    runs = [*zip(a.runs, a.rows, a.attacks, strict=True), *zip(b.runs, b.rows, b.attacks, strict=True)]
    reasons: dict[str, str] = {}
    for name in dict.fromkeys(name for _, rows, headers in runs for name in (*rows, *headers)):
        missing = [run for run, rows, _ in runs if name not in rows]
        headers = [headers.get(name) for _, _, headers in runs]
        if missing:
            unfinished = any(name in headers for run, _, headers in runs if run in missing)
            reasons[name] = f"{'not finished' if unfinished else 'not there'} for {', '.join(missing)}"
        elif any(header != headers[0] for header in headers):
            plain = [header or {} for header in headers]
            differing = {key for header in plain for key in header if header[key] != plain[0].get(key)}
            reasons[name] = f"not the same attack: it differs in {', '.join(sorted(differing))}"
        elif not any(row["gold"] is not None for row in runs[0][1][name]):
            reasons[name] = "no row has a label"
    return reasons


def by_attack(a: Side, b: Side, name: str) -> dict[str, Comparison]:
    """One AdvGLUE set by kind of attack and by "kind/method"; nothing where its rows are not annotated."""
    groups: dict[str, set[Any]] = {}
    for row in a.rows[0].get(name, ()):
        kind, method = row.get("data_construction"), row.get("method")
        if kind and method and row["gold"] is not None:
            groups.setdefault(kind, set()).add(row["id"])
            groups.setdefault(f"{kind}/{method}", set()).add(row["id"])

    def part(side: Side, ids: set[Any]) -> list[list[dict[str, Any]]]:
        return [[row for row in rows[name] if row["id"] in ids] for rows in side.rows]

    return {group: compare(part(a, ids), part(b, ids), name) for group, ids in sorted(groups.items())}


def common_success(a: Side, b: Side, name: str) -> tuple[int, float | None, float | None]:
    """Attack success on the rows that both models of a pair get right before: their number and both rates.

    A rate over each model's own right rows would compare different rows. Of several pairs the rows are pooled.
    """
    pairs = []
    for rows_a, rows_b in zip(a.rows, b.rows, strict=True):
        other = {row["id"]: row["prediction"] for row in rows_b[name]}
        pairs += [(row["prediction"], other[row["id"]]) for row in rows_a[name] if row["id"] in other]
    both = [pair for pair in pairs if "wrong" not in pair]
    if not both:
        return 0, None, None
    rates = (sum(outcome == "broken" for outcome in side) / len(both) for side in zip(*both, strict=True))
    return len(both), *rates


def compare(sides_a: Sequence[Any], sides_b: Sequence[Any], name: str) -> Comparison:
    """The prediction rows of one set, a list of them for each seed on either side.

    Raises:
        RunError: not the same examples.
    """
    try:
        right, clusters = paired_correctness(*sides_a, *sides_b)
    except ValueError as error:
        raise RunError(f"{name}: {error}") from error
    a, b = np.array(right[: len(sides_a)], dtype=float), np.array(right[len(sides_a) :], dtype=float)
    d = difference(a, b, clusters=clusters)
    several = len(a) > 1
    return Comparison(
        n=d.n,
        seeds=d.seeds,
        a=d.a.value,
        b=d.b.value,
        a_interval=(d.a.low, d.a.high),
        b_interval=(d.b.low, d.b.high),
        difference=d.value,
        low=d.low,
        high=d.high,
        only_a=d.only_a,
        only_b=d.only_b,
        p_value=d.p,
        p_b_better=d.p_b_better,
        p_a_better=d.p_a_better,
        t_test=paired_t_test(a.mean(axis=1).tolist(), b.mean(axis=1).tolist()) if several else None,
        per_seed=d.per_seed,
    )


def common_rows(*sides: Sequence[Any]) -> list[list[Any]]:
    """The rows of an attack that every run of every side has suffered."""
    ids = set.intersection(*({row["id"] for row in rows} for side in sides for rows in side))
    return [[[row for row in rows if row["id"] in ids] for rows in side] for side in sides]
