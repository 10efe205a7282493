"""How good a model is, and whether another is better: each number with its interval, and one rule for the verdict."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import astuple, dataclass
from functools import cached_property, partial
from typing import Any

from numpy.typing import ArrayLike

from rosetune.robustness.resampling import Floats, as_table, clopper_pearson, cluster_sums, mean_interval
from rosetune.robustness.significance import (
    PairedTTest,
    SignTest,
    correctness,
    paired_t_test,
    same_shape,
    sign_flip_test,
    sign_test,
)

__all__ = [
    "ALPHA",
    "Difference",
    "Estimate",
    "PairedTTest",
    "SignTest",
    "difference",
    "difference_of_errors",
    "estimate",
    "paired_t_test",
    "sign_flip_test",
    "sign_test",
]

ALPHA = 0.025  # one-sided: a 95% interval leaves as much on either side


@dataclass(frozen=True)
class Estimate:
    """A mean over n examples, and over seeds where there are several, with its 95% interval."""

    n: int
    value: float
    low: float
    high: float


class _Side(Estimate):
    """One side of a difference: its interval, which few ask for, is drawn when it is asked for."""

    _draw: Callable[[], Estimate]

    def __init__(self, values: Floats, draw: Callable[[], Estimate]) -> None:
        for name, value in (("n", values.shape[1]), ("value", float(values.mean())), ("_draw", draw)):
            object.__setattr__(self, name, value)  # as a frozen dataclass does

    @cached_property
    def _drawn(self) -> Estimate:
        return self._draw()

    @property
    def low(self) -> float:
        return self._drawn.low

    @property
    def high(self) -> float:
        return self._drawn.high

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Estimate) and astuple(self) == astuple(other)

    __hash__ = Estimate.__hash__


@dataclass(frozen=True)
class Difference:
    """How b differs from a on the same examples.

    Attributes:
        n, seeds: examples, and pairs of runs.
        a, b: each side by itself.
        value, low, high: by how much b is better, with its 95% interval: accuracy of b minus accuracy of a, or for
            regression the mean squared error of a minus that of b.
        only_a, only_b: on how many examples only a, only b is right (for regression: has the smaller error), summed
            over the seeds.
        p, p_b_better, p_a_better: two-sided and one-sided. Of one pair of runs from :func:`sign_test` (for regression
            :func:`sign_flip_test`), of several from :func:`paired_t_test` over the seeds, None where all their
            differences are equal.
        sd: standard deviation of the differences over the seeds; None for one pair of runs.
        per_seed: the two-sided p of each pair of runs by itself.
    """

    n: int
    seeds: int
    a: Estimate
    b: Estimate
    value: float
    low: float
    high: float
    only_a: int
    only_b: int
    p: float | None
    p_b_better: float | None
    p_a_better: float | None
    sd: float | None = None
    per_seed: tuple[float, ...] = ()

    @property
    def verdict(self) -> int:
        """1: b is shown to be better, -1: worse, 0: neither.

        The interval must exclude zero, and the one-sided test must have p <= 0.025. The bootstrap over two or three
        seeds alone would call a gain far too often, and the test over seeds knows nothing of the choice of examples.
        """
        if self.low > 0 and self.p_b_better is not None and self.p_b_better <= ALPHA:
            return 1
        return -1 if self.high < 0 and self.p_a_better is not None and self.p_a_better <= ALPHA else 0


def estimate(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Mean of per-example values with its percentile bootstrap interval.

    With clusters, whole clusters are drawn, and a resample's mean is the sum of its values over the number of its
    examples: examples that stem from one original are not independent, and counting them singly flatters. Of several
    seeds, all evaluated on the same examples, a resample draws the seeds too, independently of the examples. Of few
    seeds the spread is understated, by the factor (S - 1) / S of its variance; the interaction of seeds and examples
    is overstated.

    Where all seeds and clusters have the same mean, every resample is alike and the bootstrap would claim certainty.
    For values in [0, 1], such as correctness, the interval is then the exact one of Clopper and Pearson for that share
    of as many trials as there are clusters: 0 or k successes of k, for independent 0/1 values.

    Args:
        values: shape (n,) or (seeds, n), for instance 1 where the prediction is right and 0 elsewhere.
        clusters: a key per example; None takes every example for its own cluster.
        level: of confidence, in (0, 1).
        resamples: number of bootstrap draws.
        seed: of the draws; the order of the examples does not matter.

    Raises:
        ValueError: no values, values that are not finite, another shape, not a key per example, or a level outside
            (0, 1).

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; Owen, The pigeonhole bootstrap, 2007.
    """
    table = as_table(values)
    sums, sizes = cluster_sums(table, clusters)
    interval = mean_interval(sums, sizes, level=level, resamples=resamples, seed=seed)
    if interval is None:
        mean, k = float(sums[0].sum() / sizes.sum()), len(sizes)
        shares = table.min() >= 0 and table.max() <= 1
        interval = clopper_pearson(mean * k, k, level) if shares else (mean, mean)
    return Estimate(table.shape[1], float(table.mean()), *interval)


def difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Compare two models, or two methods over the same seeds, by which examples they get right.

    The interval is that of :func:`estimate` for the differences per example. Where the models differ alike in all
    clusters and seeds, the bootstrap would claim certainty. With k clusters the interval is then [-u, u] for a
    difference of 0, u being the Clopper-Pearson bound of 0 of k; and otherwise
    2 [Clopper-Pearson of the share (1 + difference) / 2 of k] - 1.

    Args:
        correct_a, correct_b: shape (n,) or (seeds, n), 1 or True where the model is right; row i of both is one seed.
        clusters, level, resamples, seed: as in :func:`estimate`.

    Raises:
        ValueError: as there, different shapes, or values other than 0 and 1.
    """
    a, b = correctness(correct_a, correct_b)

    def without_spread(value: float, k: int) -> tuple[float, float]:
        if value == 0:
            bound = clopper_pearson(0, k, level)[1]
            return -bound, bound
        low, high = clopper_pearson((1 + value) / 2 * k, k, level)
        return 2 * low - 1, 2 * high - 1

    def test(one_a: Floats, one_b: Floats) -> SignTest:
        return sign_test(one_a, one_b, clusters=clusters)

    return _difference(a, b, 1, without_spread, test, clusters, level, resamples, seed)


def difference_of_errors(
    squared_a: ArrayLike,
    squared_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """The same for regression, by the squared errors: lower is better, so that the value is MSE of a minus MSE of b.

    A positive value thus says that b is better, as everywhere. The test of one pair of runs is :func:`sign_flip_test`.
    Where the errors differ alike in all clusters, the interval is that one number: of errors without a bound nothing
    more is known, and the test, whose p cannot fall below 1 / 2^k, alone decides.

    Args:
        squared_a, squared_b: shape (n,) or (seeds, n), at least 0; row i of both is one seed.
        clusters, level, resamples, seed: as in :func:`estimate`.

    Raises:
        ValueError: as there, different shapes, or a negative value.
    """
    a, b = same_shape(squared_a, squared_b)
    if min(a.min(), b.min()) < 0:
        raise ValueError("a squared error is not negative")

    def test(one_a: Floats, one_b: Floats) -> SignTest:
        return sign_flip_test(one_a - one_b, clusters=clusters, seed=seed)

    return _difference(a, b, -1, lambda value, k: (value, value), test, clusters, level, resamples, seed)


def _difference(
    a: Floats,
    b: Floats,
    sign: int,
    without_spread: Callable[[float, int], tuple[float, float]],
    test: Callable[[Floats, Floats], SignTest],
    clusters: Sequence[Hashable] | None,
    level: float,
    resamples: int,
    seed: int,
) -> Difference:
    """Both sides, shape (seeds, n), of which more is better for a sign of 1 and less for -1."""
    gain = sign * (b - a)
    value, (sums, sizes) = float(gain.mean()), cluster_sums(gain, clusters)
    interval = mean_interval(sums, sizes, level=level, resamples=resamples, seed=seed)
    low, high = interval or without_spread(value, len(sizes))
    each = [test(one_a, one_b) for one_a, one_b in zip(a, b, strict=True)]
    tests: PairedTTest | SignTest = each[0]
    if len(each) > 1:
        tests = paired_t_test((sign * a).mean(axis=1).tolist(), (sign * b).mean(axis=1).tolist(), level=level)
    options: dict[str, Any] = {"clusters": clusters, "level": level, "resamples": resamples, "seed": seed}
    side_a, side_b = (_Side(side, partial(estimate, side, **options)) for side in (a, b))
    return Difference(
        n=a.shape[1],
        seeds=len(a),
        a=side_a,
        b=side_b,
        value=value,
        low=low,
        high=high,
        only_a=int((gain < 0).sum()),
        only_b=int((gain > 0).sum()),
        p=tests.two_sided,
        p_b_better=tests.b_better,
        p_a_better=tests.a_better,
        sd=tests.sd if isinstance(tests, PairedTTest) else None,
        per_seed=tuple(one.two_sided for one in each),
    )
