"""Tests of two models on the same examples, and of two methods over the same seeds."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom, permutation_test, t, ttest_ind_from_stats

from rosetune.robustness.resampling import Floats, as_table, check_level, cluster_sums

__all__ = [
    "PairedTTest",
    "SignTest",
    "correctness",
    "holm",
    "paired_t_test",
    "sign_flip_test",
    "sign_test",
    "welch_t_test",
]


@dataclass(frozen=True)
class SignTest:
    """p values of "both models are equally good", against "they differ" and against "b is better", "a is better"."""

    two_sided: float
    b_better: float
    a_better: float


def sign_test(correct_a: ArrayLike, correct_b: ArrayLike, *, clusters: Sequence[Hashable] | None = None) -> SignTest:
    """Exact McNemar test of two models on the same examples, for clusters of examples too.

    If both models are equally good, their names may be exchanged within any cluster, which turns the sign of its
    difference d (correct of b minus correct of a). The test counts how often random signs give a sum as extreme:

        p(b is better) = P(sum of +-|d| >= sum of d)         two-sided: twice the smaller side, at most 1

    With every example its own cluster this is McNemar's exact test. The distribution is computed, not sampled.

    Args:
        correct_a, correct_b: shape (n,), 1 or True where the model is right.
        clusters: a key per example, such as the original that it was perturbed from.

    Raises:
        ValueError: no examples, different lengths, or values other than 0 and 1.

    Reference:
        McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    a, b = correctness(correct_a, correct_b)
    sums, _ = cluster_sums(_one_run(b - a), clusters)
    d = sums[0].round().astype(np.int64)
    sizes, counts = np.unique(np.abs(d[d != 0]), return_counts=True)
    law = np.ones(1)  # law[i] = P(sum of |d| over the clusters with a plus sign = i)
    for size, count in zip(sizes, counts, strict=True):
        part = np.zeros(size * count + 1)
        part[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.convolve(law, part)
    plus = int(d[d > 0].sum())
    return _both_sides(min(1.0, float(law[plus:].sum())), min(1.0, float(law[: plus + 1].sum())))


def sign_flip_test(
    gain: ArrayLike, *, clusters: Sequence[Hashable] | None = None, resamples: int = 9_999, seed: int = 0
) -> SignTest:
    """The same test for real-valued gains of b over a, such as the squared error of a minus that of b.

    The signs of the clusters' sums are flipped in all 2^k ways where there are no more of them than ``resamples``, and
    otherwise at random; then the observed signs count as one draw, so that p is never below 1 / (resamples + 1).

    Args:
        gain: shape (n,), above 0 where b is better.
        clusters: as in :func:`sign_test`.

    Raises:
        ValueError: no examples, values that are not finite, or not a key per example.
    """
    sums, _ = cluster_sums(_one_run(as_table(gain)), clusters)
    d = sums[0][sums[0] != 0]
    if len(d) == 0:
        return SignTest(1.0, 1.0, 1.0)
    drawn = 0 if 2 ** min(len(d), 60) <= resamples else 1
    if drawn:
        found = permutation_test(
            (d,),
            lambda x, axis: x.sum(axis=axis),
            permutation_type="samples",
            alternative="greater",
            n_resamples=resamples,
            batch=max(1, 1_000_000 // len(d)),
            vectorized=True,
            rng=np.random.default_rng(seed),
        )
        sums = found.null_distribution
    else:
        # Of few values the signs are written out, which takes a fiftieth of scipy's time.
        sums = (1 - 2 * (np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1)) @ d
    law, slack = sums - d.sum(), 1e-12 * np.abs(d).sum()
    above, below = (int(side.sum()) + drawn for side in (law >= -slack, law <= slack))
    return _both_sides(above / (len(law) + drawn), below / (len(law) + drawn))


@dataclass(frozen=True)
class PairedTTest:
    """Paired t-test over seeds of b minus a.

    Attributes:
        n, mean, sd: number of seeds, mean and standard deviation (of a sample) of the differences.
        low, high: interval of the mean.
        t, two_sided, b_better: the statistic and its p values; like the interval None where all differences are equal:
            the test would claim certainty where it has seen no spread.
    """

    n: int
    mean: float
    sd: float
    low: float | None
    high: float | None
    t: float | None
    two_sided: float | None
    b_better: float | None

    @property
    def a_better(self) -> float | None:
        """One-sided the other way round."""
        return None if self.b_better is None else 1 - self.b_better


def paired_t_test(scores_a: Sequence[float], scores_b: Sequence[float], *, level: float = 0.95) -> PairedTTest:
    """Compare two methods by their scores for the same seeds, in the same order.

        t = mean / (sd / sqrt(n)), with n - 1 degrees of freedom

    It takes the seeds for a sample, and the examples as given: the claim is about this evaluation set only.

    Args:
        scores_a, scores_b: a score per seed.
        level: of confidence, in (0, 1).

    Raises:
        ValueError: fewer than two seeds, different lengths, scores that are not finite, or a level outside (0, 1).
    """
    a, b = np.asarray(scores_a, dtype=float), np.asarray(scores_b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"scores are one per seed and pairs of the same seed, not of shapes {a.shape} and {b.shape}")
    if len(a) < 2:
        raise ValueError(f"a t-test over seeds needs at least two seeds, not {len(a)}: one says nothing of the spread")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a score is not finite")
    check_level(level)
    d = b - a
    n, mean, sd = len(d), float(d.mean()), float(d.std(ddof=1))
    if np.ptp(d) < 1e-9 * max(np.abs(a).max(), np.abs(b).max(), 1e-300):
        return PairedTTest(n, mean, 0.0, None, None, None, None, None)
    error = sd / np.sqrt(n)
    statistic, reach = mean / error, float(t.ppf((1 + level) / 2, n - 1) * error)
    two_sided, b_better = 2 * t.sf(abs(statistic), n - 1), t.sf(statistic, n - 1)
    return PairedTTest(n, mean, sd, mean - reach, mean + reach, float(statistic), float(two_sided), float(b_better))


def welch_t_test(scores_a: Sequence[float], scores_b: Sequence[float]) -> float | None:
    """One-sided p of "b is greater" for two independent samples of unequal variance, such as two methods' seeds.

        t = (mean b - mean a) / sqrt(var a / n a + var b / n b)

    Returns:
        None where a side has fewer than two scores, or neither has any spread.

    Raises:
        ValueError: a score that is not finite.

    Reference:
        Welch, The generalization of "Student's" problem, 1947.
    """
    a, b = np.asarray(scores_a, dtype=float), np.asarray(scores_b, dtype=float)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a score is not finite")
    if min(len(a), len(b)) < 2:
        return None
    if max(np.ptp(a), np.ptp(b)) < 1e-9 * max(np.abs(a).max(), np.abs(b).max(), 1e-300):
        return None
    sides = (part for side in (b, a) for part in (side.mean(), side.std(ddof=1), len(side)))
    return float(ttest_ind_from_stats(*sides, equal_var=False, alternative="greater").pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p values of a family of tests, adjusted so that calling those below alpha errs at all with at most alpha.

        the k-th smallest of m becomes the largest of (m - j + 1) p_j over j <= k, at most 1

    Raises:
        ValueError: a p value outside [0, 1].

    Reference:
        Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    values = np.asarray(p, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("a p value lies in [0, 1]")
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def correctness(correct_a: ArrayLike, correct_b: ArrayLike) -> tuple[Floats, Floats]:
    """Correctness of two sides on the same examples, each of shape (runs, n).

    Raises:
        ValueError: no examples, different shapes, or values other than 0 and 1.
    """
    a, b = same_shape(correct_a, correct_b)
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("correctness is 0 or 1")
    return a, b


def same_shape(side_a: ArrayLike, side_b: ArrayLike) -> tuple[Floats, Floats]:
    """Values of two sides on the same examples, each of shape (runs, n).

    Raises:
        ValueError: no examples, different shapes, or values that are not finite.
    """
    a, b = as_table(side_a), as_table(side_b)
    if a.shape != b.shape:
        raise ValueError(
            f"different lengths: pairs of the same seeds and examples are needed, not shapes {a.shape} and {b.shape}"
        )
    return a, b


def _one_run(table: Floats) -> Floats:
    if len(table) != 1:
        raise ValueError(f"this test takes the examples of one pair of runs, not of {len(table)}")
    return table


def _both_sides(b_better: float, a_better: float) -> SignTest:
    return SignTest(min(1.0, 2 * min(b_better, a_better)), b_better, a_better)
