"""The one bootstrap behind every interval: whole clusters of examples are drawn anew, and of several runs the runs."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

__all__ = ["Floats", "as_table", "clopper_pearson", "cluster_sums", "mean_interval", "quantiles", "resampled_means"]

Floats = NDArray[np.float64]

BLOCK = 2_000_000  # bootstrap counts held in memory at once (16 MB)


def as_table(values: ArrayLike) -> Floats:
    """Values per example, shape (n,), or per run and example, shape (runs, n), in the latter shape.

    Raises:
        ValueError: another shape, no values, or values that are not finite.
    """
    try:
        table = np.atleast_2d(np.asarray(values, dtype=float))
    except ValueError as error:
        raise ValueError("runs of different lengths: each must hold a value for every example") from error
    if table.ndim != 2:
        raise ValueError(f"values have the shape (examples) or (seeds, examples), not {table.shape}")
    if table.size == 0:
        raise ValueError("no examples in values")
    if not np.isfinite(table).all():
        raise ValueError("a value is not finite")
    return table


def cluster_sums(table: Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Each row's sum over every cluster of examples, shape (rows, clusters), and the clusters' sizes.

    Args:
        table: shape (rows, n).
        clusters: a key per example; None takes every example for its own cluster.

    Raises:
        ValueError: not a key per example.
    """
    n = table.shape[1]
    keys: Sequence[Hashable] = range(n) if clusters is None else clusters
    if len(keys) != n:
        raise ValueError(f"different lengths: {n} examples and {len(keys)} clusters")
    index: dict[Hashable, int] = {}
    cluster = [index.setdefault(key, len(index)) for key in keys]
    sums = np.stack([np.bincount(cluster, weights=row) for row in table]).astype(np.float64)
    return sums, np.bincount(cluster).astype(np.float64)


def mean_interval(
    sums: Floats, sizes: Floats, *, level: float, resamples: int, seed: int
) -> tuple[float, float] | None:
    """Percentile interval of the mean over runs and clusters; None where all have the same mean.

    A resample draws clusters and, of several runs, independently the runs; its mean is the sum of what was drawn over
    the number of its examples. Where every resample would be alike the bootstrap knows nothing of the spread.

    Args:
        sums, sizes: from :func:`cluster_sums`, a row per run.

    Raises:
        ValueError: a level outside (0, 1).

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13; Owen, The pigeonhole bootstrap, 2007.
    """
    check_level(level)
    if np.ptp(sums / sizes) < 1e-12:
        return None
    runs = len(sums)
    rng, share = np.random.default_rng(seed), np.full(runs, 1 / runs)

    def over_runs(rows: Floats, count: Floats) -> Floats:
        if runs == 1:
            return count @ rows[0]
        return np.einsum("rs,sk,rk->r", rng.multinomial(runs, share, size=len(count)), rows, count, optimize=True)

    return quantiles(resampled_means(sums, sizes, resamples, rng, over_runs) / runs, level)


def resampled_means(
    sums: Floats,
    sizes: Floats,
    resamples: int,
    rng: np.random.Generator,
    add: Callable[[Floats, Floats], Floats],
) -> Floats:
    """Means over draws of clusters, the draws along the last axis.

    Args:
        sums, sizes: from :func:`cluster_sums`.
        add: weighs the sums, shape (rows, sorts), by how often each sort was drawn, shape (draws, sorts).
    """
    # Clusters of equal sums and size are interchangeable, so it is enough to draw how often each sort comes up:
    # two sorts for independent 0/1 values, four for a pair of them, whatever their number.
    table, members = np.unique(np.concatenate([sums, sizes[None]]), axis=1, return_counts=True)
    rows, size_of = table[:-1], table[-1]
    block = max(1, BLOCK // len(size_of))
    means = []
    for start in range(0, resamples, block):
        draws = min(block, resamples - start)
        count = rng.multinomial(members.sum(), members / members.sum(), size=draws).astype(np.float64)
        means.append(add(rows, count) / (count @ size_of))
    return np.concatenate(means, axis=-1)


def quantiles(draws: Floats, level: float) -> tuple[float, float]:
    """The two ends of the middle ``level`` of the draws."""
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clopper_pearson(successes: float, n: int, level: float) -> tuple[float, float]:
    """Exact binomial interval of a share, also for a number of successes that is not whole."""
    # binomtest(...).proportion_ci takes whole successes only; the share of alike clusters times k need not be whole.
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)


def check_level(level: float) -> None:
    """A confidence level lies in (0, 1), or a ValueError says so."""
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
