"""Metrics, and the intervals and tests that tell a gain from luck."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta, binomtest
from sklearn.metrics import f1_score, matthews_corrcoef

__all__ = [
    "PairedDifference",
    "accuracy",
    "bootstrap_interval",
    "classification_metrics",
    "constant_predictor",
    "mcnemar",
    "paired_difference",
]

BLOCK = 2_000_000  # bootstrap counts held in memory at once (16 MB)

Floats = NDArray[np.float64]


def accuracy(gold: Sequence[Any], predicted: Sequence[Any]) -> float:
    """Share of examples whose prediction equals the gold label, in [0, 1].

    Raises:
        ValueError: nothing to score, or different lengths.
    """
    _check_lengths(gold=gold, predicted=predicted)
    return sum(bool(g == p) for g, p in zip(gold, predicted, strict=True)) / len(gold)


def constant_predictor(gold: Sequence[Any]) -> tuple[Any, float]:
    """The label that is right most often when always predicted, and its accuracy; of equals, the first in order.

    Raises:
        ValueError: no labels.
    """
    _check_lengths(gold=gold)
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
    _check_lengths(gold=gold, logits=scores)
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
    sums, sizes = _totals(values, clusters, level)
    if not _all_alike(sums, sizes):
        return _percentiles(sums, sizes, level, resamples, seed)
    mean = float(sums.sum() / sizes.sum())
    flat = np.asarray(values, dtype=float)
    if flat.min() < 0 or flat.max() > 1:
        return mean, mean
    return _clopper_pearson(mean * len(sums), len(sums), level)


@dataclass(frozen=True)
class PairedDifference:
    """How two models differ on the same examples: b minus a.

    Attributes:
        difference: accuracy of b minus accuracy of a, in [-1, 1]. ``low`` and ``high``: its interval.
        n: number of examples.
        only_a, only_b: how many only one of the two gets right.
        p_value: two-sided exact McNemar. It takes the examples for independent, also where the interval is clustered.
    """

    difference: float
    low: float
    high: float
    n: int
    only_a: int
    only_b: int
    p_value: float

    @property
    def within_noise(self) -> bool:
        """Whether the interval contains 0, so that neither model is shown to be better."""
        return self.low <= 0.0 <= self.high


def paired_difference(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    *,
    clusters: Sequence[Hashable] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Compare two models on the same examples: difference of accuracies, its bootstrap interval, McNemar's p.

    Where the models differ alike in all clusters (or examples), the bootstrap would claim certainty. With k clusters
    the interval is then [-u, u] for a difference of 0, u being the Clopper-Pearson bound of 0 of k; and otherwise
    2 [Clopper-Pearson of the share (1 + difference) / 2 of k] - 1.

    Args:
        correct_a, correct_b: shape (n,), 1 or True where the model is right.
        clusters, level, resamples, seed: as in :func:`bootstrap_interval`.

    Raises:
        ValueError: no examples, different lengths, or values other than 0 and 1.
    """
    a, b = np.asarray(correct_a, dtype=float), np.asarray(correct_b, dtype=float)
    _check_lengths(correct_a=a, correct_b=b)
    if not (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all()):
        raise ValueError("correctness is 0 or 1")
    sums, sizes = _totals(b - a, clusters, level)
    only_a, only_b = int(np.sum(a > b)), int(np.sum(b > a))
    difference, k = (only_b - only_a) / len(a), len(sums)
    if not _all_alike(sums, sizes):
        low, high = _percentiles(sums, sizes, level, resamples, seed)
    elif difference == 0:
        high = _clopper_pearson(0, k, level)[1]
        low = -high
    else:
        low, high = (2 * bound - 1 for bound in _clopper_pearson((1 + difference) / 2 * k, k, level))
    return PairedDifference(difference, low, high, len(a), only_a, only_b, mcnemar(only_a, only_b)[0])


def mcnemar(only_a: int, only_b: int) -> tuple[float, float]:
    """Exact McNemar test on the discordant pairs: p two-sided, and p one-sided for "b is better".

    If both models are equally good, only_b ~ Binomial(only_a + only_b, 1/2). Without discordant pairs both p are 1.

    Args:
        only_a, only_b: number of examples that only model a, only model b gets right.

    Reference:
        McNemar, Note on the sampling error of the difference between correlated proportions, 1947.
    """
    n = only_a + only_b
    if n == 0:
        return 1.0, 1.0
    return float(binomtest(only_b, n).pvalue), float(binomtest(only_b, n, alternative="greater").pvalue)


def _check_lengths(**named: Any) -> None:
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"different lengths: {lengths}")
    if 0 in lengths.values():
        raise ValueError(f"no examples in {', '.join(named)}")


def _totals(values: ArrayLike, clusters: Sequence[Hashable] | None, level: float) -> tuple[Floats, Floats]:
    """Sum of the values and number of examples of each cluster."""
    flat = np.asarray(values, dtype=float)
    keys: Sequence[Hashable] = range(len(flat)) if clusters is None else clusters
    _check_lengths(values=flat, clusters=keys)
    if not np.isfinite(flat).all():
        raise ValueError("a value is not finite")
    if not 0 < level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {level}")
    index: dict[Hashable, int] = {}
    cluster = [index.setdefault(key, len(index)) for key in keys]
    return np.bincount(cluster, weights=flat).astype(np.float64), np.bincount(cluster).astype(np.float64)


def _all_alike(sums: Floats, sizes: Floats) -> bool:
    return bool(np.ptp(sums / sizes) < 1e-12)


def _percentiles(sums: Floats, sizes: Floats, level: float, resamples: int, seed: int) -> tuple[float, float]:
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


def _clopper_pearson(successes: float, n: int, level: float) -> tuple[float, float]:
    # binomtest(...).proportion_ci takes whole successes only; the share of alike clusters times k need not be whole.
    tail = (1 - level) / 2
    low = beta.ppf(tail, successes, n - successes + 1) if successes > 0 else 0.0
    high = beta.ppf(1 - tail, successes + 1, n - successes) if successes < n else 1.0
    return float(low), float(high)
