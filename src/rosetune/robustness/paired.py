"""Two models on the same examples: the difference, its interval, and the exact test of it."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom

from rosetune.robustness.metrics import Floats, all_alike, clopper_pearson, percentiles, totals

__all__ = ["PairedDifference", "SignTest", "pair", "paired_difference", "sign_test"]


@dataclass(frozen=True)
class PairedDifference:
    """How two models differ on the same examples: b minus a.

    Attributes:
        difference: accuracy of b minus accuracy of a, in [-1, 1]. ``low`` and ``high``: its interval.
        n: number of examples.
        only_a, only_b: how many only one of the two gets right.
        p_value, p_b_better, p_a_better: of :func:`sign_test`, two-sided and one-sided, with the interval's clusters.
    """

    difference: float
    low: float
    high: float
    n: int
    only_a: int
    only_b: int
    p_value: float
    p_b_better: float
    p_a_better: float

    @property
    def within_noise(self) -> bool:
        """Whether neither model is shown to be better: the interval contains 0, or the test does not reject at 5%."""
        return self.low <= 0.0 <= self.high or self.p_value > 0.05


def paired_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same examples: difference of accuracies, its bootstrap interval, exact McNemar's p.

    Where the models differ alike in all clusters (or examples), the bootstrap would claim certainty. With k clusters
    the interval is then [-u, u] for a difference of 0, u being the Clopper-Pearson bound of 0 of k; and otherwise
    2 [Clopper-Pearson of the share (1 + difference) / 2 of k] - 1.

    Args:
        correct_a, correct_b: shape (n,), 1 or True where the model is right.
        clusters, level, resamples, seed: as in :func:`bootstrap_interval`.

    Raises:
        ValueError: no examples, different lengths, or values other than 0 and 1.
    """
    a, b = pair(correct_a, correct_b)
    sums, sizes = totals(b - a, clusters, level)
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    difference, k = (only_b - only_a) / len(a), len(sums)
    if not all_alike(sums, sizes):
        low, high = percentiles(sums, sizes, level, resamples, seed)
    elif difference == 0:
        high = clopper_pearson(0, k, level)[1]
        low = -high
    else:
        low, high = (2 * bound - 1 for bound in clopper_pearson((1 + difference) / 2 * k, k, level))
    test = sign_test(a, b, clusters=clusters)
    p_values = (test.two_sided, test.b_better, test.a_better)
    return PairedDifference(difference, low, high, len(a), only_a, only_b, *p_values)


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
    a, b = pair(correct_a, correct_b)
    d = totals(b - a, clusters, 0.95)[0].round().astype(np.int64)
    sizes, counts = np.unique(np.abs(d[d != 0]), return_counts=True)
    law = np.ones(1)  # law[i] = P(sum of |d| over the clusters with a plus sign = i)
    for size, count in zip(sizes, counts, strict=True):
        part = np.zeros(size * count + 1)
        part[::size] = binom.pmf(np.arange(count + 1), count, 0.5)
        law = np.convolve(law, part)
    plus = int(d[d > 0].sum())
    b_better, a_better = min(1.0, float(law[plus:].sum())), min(1.0, float(law[: plus + 1].sum()))
    return SignTest(min(1.0, 2 * min(b_better, a_better)), b_better, a_better)


def pair(correct_a: ArrayLike, correct_b: ArrayLike) -> Floats:
    """Both sides as the two rows of one array."""
    a, b = np.asarray(correct_a, dtype=float), np.asarray(correct_b, dtype=float)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(f"different lengths or no examples: correctness of shapes {a.shape} and {b.shape}")
    pair = np.stack([a, b])
    if not np.isin(pair, (0, 1)).all():
        raise ValueError("correctness is 0 or 1")
    return pair
