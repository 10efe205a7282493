"""Two methods over several seeds: the paired t-test, and intervals over seeds and examples."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t

from rosetune.robustness.metrics import BLOCK, bootstrap_interval, totals
from rosetune.robustness.paired import paired_difference

__all__ = [
    "PairedTTest",
    "paired_t_test",
    "seeds_difference",
    "seeds_interval",
]

Floats = NDArray[np.float64]


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
    _check_level(level)
    d = b - a
    n, mean, sd = len(d), float(d.mean()), float(d.std(ddof=1))
    if np.ptp(d) < 1e-9 * max(np.abs(a).max(), np.abs(b).max(), 1e-300):
        return PairedTTest(n, mean, 0.0, None, None, None, None, None)
    error = sd / np.sqrt(n)
    statistic, reach = mean / error, float(t.ppf((1 + level) / 2, n - 1) * error)
    two_sided, b_better = 2 * t.sf(abs(statistic), n - 1), t.sf(statistic, n - 1)
    return PairedTTest(n, mean, sd, mean - reach, mean + reach, float(statistic), float(two_sided), float(b_better))


def seeds_interval(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean over seeds and examples, both drawn anew in each resample.

    All seeds are evaluated on the same examples, so that a resample draws seeds and, independently, whole clusters of
    examples. Of few seeds the spread is understated, by the factor (S - 1) / S of its variance; the interaction of
    seeds and examples is overstated. Where neither seeds nor clusters differ, the interval is that of
    :func:`~rosetune.robustness.metrics.bootstrap_interval` for one seed.

    Args:
        values: shape (seeds, n), for instance 1 where the model of that seed is right.
        clusters, level, resamples, seed: as in :func:`~rosetune.robustness.metrics.bootstrap_interval`.

    Raises:
        ValueError: fewer than two seeds, no examples, values that are not finite, or a level outside (0, 1).

    Reference:
        Owen, The pigeonhole bootstrap, 2007.
    """
    table = _seed_table(values)
    return _crossed(table, clusters, level, resamples, seed) or bootstrap_interval(
        table[0], clusters=clusters, level=level, resamples=resamples, seed=seed
    )


def seeds_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Accuracy of b minus accuracy of a over seeds and examples, with its interval as in :func:`seeds_interval`.

    Args:
        correct_a, correct_b: shape (seeds, n), 1 where the model is right; row i of both is the same seed.

    Returns:
        The difference, and the two ends of its interval.

    Raises:
        ValueError: as there, different shapes, or values other than 0 and 1.
    """
    a, b = _seed_table(correct_a), _seed_table(correct_b)
    if a.shape != b.shape:
        raise ValueError(f"pairs of the same seeds and examples are needed, not shapes {a.shape} and {b.shape}")
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("correctness is 0 or 1")
    interval = _crossed(b - a, clusters, level, resamples, seed)
    if interval is None:
        one = paired_difference(a[0], b[0], clusters=clusters, level=level, resamples=resamples, seed=seed)
        interval = one.low, one.high
    return float((b - a).mean()), *interval


def _crossed(
    table: Floats, clusters: Sequence[Hashable] | None, level: float, resamples: int, seed: int
) -> tuple[float, float] | None:
    """Interval over seeds and clusters; None where all seeds and clusters have the same mean."""
    sums, sizes, members = cluster_sums(table, clusters, level)
    if np.ptp(sums / sizes) < 1e-12:
        return None
    rng, share = np.random.default_rng(seed), np.full(len(table), 1 / len(table))

    def over_seeds(rows: Floats, count: Floats) -> Floats:
        return np.einsum("rs,sk,rk->r", rng.multinomial(len(rows), share, size=len(count)), rows, count, optimize=True)

    means = resample(sums, sizes, members, resamples, rng, over_seeds) / len(table)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def cluster_sums(
    rows: Floats, clusters: Sequence[Hashable] | None, level: float
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Each row's sum over every sort of cluster, shape (rows, sorts), the sorts' sizes, and how many are of each."""
    per_row = [totals(row, clusters, level) for row in rows]
    # Clusters of equal sums and size are interchangeable: four sorts for a pair of independent 0/1 values.
    table = np.stack([*(sums for sums, _ in per_row), per_row[0][1]])
    sorts, members = np.unique(table, axis=1, return_counts=True)
    return sorts[:-1], sorts[-1], members.astype(np.int64)


def resample(
    sums: Floats,
    sizes: Floats,
    members: NDArray[np.int64],
    resamples: int,
    rng: np.random.Generator,
    add: Callable[[Floats, Floats], Floats],
) -> Floats:
    """Means over draws of clusters; ``add`` weighs the sums by how often each sort was drawn."""
    block = max(1, BLOCK // len(sizes))
    means = []
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        count = rng.multinomial(members.sum(), members / members.sum(), size=size).astype(np.float64)
        means.append(add(sums, count) / (count @ sizes))
    return np.concatenate(means, axis=-1)


def _seed_table(values: ArrayLike) -> Floats:
    table = np.asarray(values, dtype=float)
    if table.ndim != 2 or table.shape[1] == 0:
        raise ValueError(f"values have the shape (seeds, examples), not {table.shape}")
    if len(table) < 2:
        raise ValueError(
            "a bootstrap over seeds needs at least two seeds; bootstrap_interval takes the examples of one"
        )
    return table


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
