"""Metrics of one model on one set of examples, and their intervals."""

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta
from sklearn.metrics import f1_score, matthews_corrcoef

__all__ = [
    "accuracy",
    "bootstrap_interval",
    "classification_metrics",
    "constant_predictor",
]

BLOCK = 2_000_000  # bootstrap counts held in memory at once (16 MB)

Floats = NDArray[np.float64]


def accuracy(gold: Sequence[Any], predicted: Sequence[Any]) -> float:
    """Share of examples whose prediction equals the gold label, in [0, 1].

    Raises:
        ValueError: nothing to score, or different lengths.
    """
    check_lengths(gold=gold, predicted=predicted)
    return sum(bool(g == p) for g, p in zip(gold, predicted, strict=True)) / len(gold)


def constant_predictor(gold: Sequence[Any]) -> tuple[Any, float]:
    """The label that is right most often when always predicted, and its accuracy; of equals, the first in order.

    Raises:
        ValueError: no labels.
    """
    check_lengths(gold=gold)
    counts = Counter(gold)
    label = max(sorted(counts), key=lambda name: counts[name])
    return label, counts[label] / len(gold)


def classification_metrics(gold: Sequence[int], logits: ArrayLike, labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, F1 and Matthews correlation of the arg-max predictions.

    F1 is that of the class at index 1 for two labels (as GLUE scores QQP and MRPC), and otherwise the unweighted mean
    over the classes that occur in gold or predictions. What is undefined (no positive at all, a single class) is 0.

    Args:
        gold: class indices.
        logits: shape (n, labels).
        labels: class names, in the order of the logits.

    Returns:
        ``{"accuracy", "f1", "mcc"}``.

    Raises:
        ValueError: nothing to score, different lengths, or as many logits as there are not labels.
    """
    scores = np.asarray(logits)
    check_lengths(gold=gold, logits=scores)
    if scores.shape[1:] != (len(labels),):
        raise ValueError(f"logits of shape {scores.shape} do not fit {len(labels)} labels")
    true, predicted = np.asarray(gold), scores.argmax(axis=1)
    scored = [1] if len(labels) == 2 else np.union1d(true, predicted)
    mcc = float(matthews_corrcoef(true, predicted)) if len(np.union1d(true, predicted)) > 1 else 0.0
    return {
        "accuracy": float(np.mean(true == predicted)),
        "f1": float(f1_score(true, predicted, labels=scored, average="macro", zero_division=0)),
        "mcc": mcc,
    }


def bootstrap_interval(
    values: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of per-example values.

    With clusters, whole clusters are drawn, and a resample's mean is the sum of its values over the number of its
    examples: examples that stem from one original are not independent, and counting them singly flatters.

    Where all clusters (or examples) have the same mean, every resample is alike and the bootstrap would claim
    certainty. For values in [0, 1], such as correctness, the interval is then the exact one of Clopper and Pearson for
    that share of as many trials as there are clusters: 0 or k successes of k, for independent 0/1 values.

    Args:
        values: shape (n,), for instance 1 where the prediction is right and 0 elsewhere.
        clusters: a key per example; None takes every example for its own cluster.
        level: of confidence, in (0, 1).
        resamples: number of bootstrap draws.
        seed: of the draws; the order of the examples does not matter.

    Raises:
        ValueError: no values, values that are not finite, different lengths, or a level outside (0, 1).

    Reference:
        Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    sums, sizes = totals(values, clusters, level)
    if not all_alike(sums, sizes):
        return percentiles(sums, sizes, level, resamples, seed)
    mean = float(sums.sum() / sizes.sum())
    flat = np.asarray(values, dtype=float)
    if flat.min() < 0 or flat.max() > 1:
        return mean, mean
    return clopper_pearson(mean * len(sums), len(sums), level)


def check_lengths(**named: Any) -> None:
    """A ValueError for what is empty or of different lengths, by name."""
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"different lengths: {lengths}")
    if 0 in lengths.values():
        raise ValueError(f"no examples in {', '.join(named)}")


def totals(values: ArrayLike, clusters: Sequence[Hashable] | None, level: float) -> tuple[Floats, Floats]:
    """Sum of the values and number of examples of each cluster."""
    flat = np.asarray(values, dtype=float)
    keys: Sequence[Hashable] = range(len(flat)) if clusters is None else clusters
    check_lengths(values=flat, clusters=keys)
    if not np.isfinite(flat).all():
        raise ValueError("a value is not finite")
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
    index: dict[Hashable, int] = {}
    cluster = [index.setdefault(key, len(index)) for key in keys]
    return np.bincount(cluster, weights=flat).astype(np.float64), np.bincount(cluster).astype(np.float64)


def all_alike(sums: Floats, sizes: Floats) -> bool:
    """Whether all clusters have the same mean, so that a bootstrap would see no spread."""
    return bool(np.ptp(sums / sizes) < 1e-12)


def percentiles(sums: Floats, sizes: Floats, level: float, resamples: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, from each cluster's sum and size."""
    # Clusters of equal sum and size are interchangeable, so it is enough to draw how often each sort comes up:
    # two sorts for independent 0/1 values, whatever their number.
    sorts, members = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // len(sorts))
    means = np.empty(resamples)
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.multinomial(len(sums), members / len(sums), size=size)
        means[start : start + size] = (drawn @ sorts[:, 0]) / (drawn @ sorts[:, 1])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def clopper_pearson(successes: float, n: int, level: float) -> tuple[float, float]:
    """Exact binomial interval of a share, also for a number of successes that is not whole."""
    # binomtest(...).proportion_ci takes whole successes only; the share of alike clusters times k need not be whole.
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)
