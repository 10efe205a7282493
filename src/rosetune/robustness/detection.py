"""How well one class is told from the rest: ROC AUC, and recall at a false-positive rate by a threshold that stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logsumexp
from scipy.stats import norm, rankdata

from rosetune.robustness.resampling import Floats, clopper_pearson, cluster_sums, quantiles, resampled_means
from rosetune.robustness.rows import clusters_of
from rosetune.robustness.statistics import Estimate, estimate

__all__ = ["Threshold", "choose_threshold", "detection_metrics", "log_odds", "recall", "roc_auc", "scores_by_class"]

Rows = Sequence[Mapping[str, Any]]


def log_odds(logits: ArrayLike, positive: int) -> Floats:
    """log(p / (1 - p)) for the probability p of one class, which does not saturate as p does.

    Args:
        logits: shape (n, classes), with at least two classes.
        positive: index of the class.
    """
    table = np.asarray(logits, dtype=float)
    others: Floats = logsumexp(np.delete(table, positive, axis=1), axis=1)
    return table[:, positive] - others


def scores_by_class(rows: Rows, labels: Sequence[str], positive: str) -> tuple[Floats, Floats]:
    """The log-odds of one class, of the rows that have it and of the other labelled rows.

    Args:
        rows: prediction rows of one set.
        labels: in the order of the logits.
        positive: one of them.
    """
    known = [row for row in rows if row["gold"] is not None]
    scores = log_odds(np.array([row["logits"] for row in known]).reshape(-1, len(labels)), labels.index(positive))
    has_it = np.array([row["gold"] == positive for row in known], dtype=bool)
    return scores[has_it], scores[~has_it]


@dataclass(frozen=True)
class Threshold:
    """A row is called positive where its log-odds lie above the value.

    Attributes:
        value: in log-odds; the smallest with which no larger share of the negatives lies above it.
        rate: the false-positive rate that was asked for.
        chosen_on: the rows that it was chosen on, see :func:`choose_threshold`.
        negatives: their log-odds, in descending order.
    """

    value: float
    rate: float
    chosen_on: str
    negatives: Floats

    def draws(self, n: int, rng: np.random.Generator) -> Floats:
        """What the threshold would be on so many other draws of as many negatives.

        A draw's threshold is the (k + 1)-th largest of m negatives drawn with replacement, k = floor(rate m); the
        rank of that one follows from the order statistic of m uniform numbers, which is Beta(k + 1, m - k).
        """
        m = len(self.negatives)
        k = _allowed(self.rate, m)
        ranks = np.floor(m * rng.beta(k + 1, m - k, size=n)).astype(int)
        return self.negatives[np.minimum(ranks, m - 1)]


def choose_threshold(negatives: ArrayLike, rate: float = 0.01, chosen_on: str = "validation") -> Threshold | None:
    """The threshold at a false-positive rate: the (k + 1)-th largest score of m negatives, k = floor(rate m).

    Then at most k of them, a share of at most ``rate``, lie above it. Below 1 / rate negatives k is 0, and the rate
    cannot be told from zero.

    Args:
        negatives: log-odds of the rows of the other classes.
        rate: in (0, 1).
        chosen_on: "validation" (rows that are neither trained on nor reported), "held_out" (training rows that also
            chose the checkpoint) or "clean" (the set that is reported, so that the rate on it is met by construction).

    Returns:
        None without negatives.

    Raises:
        ValueError: a rate outside (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"a false-positive rate lies between 0 and 1, not at {rate}")
    ordered = np.sort(np.asarray(negatives, dtype=float))[::-1]
    if not len(ordered):
        return None
    return Threshold(float(ordered[_allowed(rate, len(ordered))]), rate, chosen_on, ordered)


def _allowed(rate: float, m: int) -> int:
    return int(np.floor(rate * m + 1e-9))


def recall(
    positives: ArrayLike,
    threshold: Threshold,
    *,
    clusters: Sequence[Any] | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Share of the positives above the threshold, with an interval over both choices of rows.

    The percentile bootstrap draws the negatives that the threshold is chosen on, and with it the threshold, and
    independently the positives (clusters of them where there are some). Where all positives lie on one side of the
    threshold, drawing them anew tells nothing of their spread; the interval then reaches at least as far as the exact
    one of Clopper and Pearson, as in :func:`~rosetune.robustness.statistics.estimate`. Of a threshold that lies at the
    largest negative the bootstrap understates the spread.

    Args:
        positives: log-odds.
        clusters: a key per positive.
        level, resamples, seed: as in :func:`~rosetune.robustness.statistics.estimate`.

    Raises:
        ValueError: no positives, or not a key per positive.
    """
    scores = np.asarray(positives, dtype=float)
    if not len(scores):
        raise ValueError("no positives")
    rng = np.random.default_rng(seed)
    thresholds, value = threshold.draws(resamples, rng), float(np.mean(scores > threshold.value))
    draws: Floats
    if clusters is None:  # of n independent positives a draw has a binomial number above its threshold
        above = 1 - np.searchsorted(np.sort(scores), thresholds, side="right") / len(scores)
        draws = rng.binomial(len(scores), above) / len(scores)
    else:
        draws = np.concatenate(
            [
                _draws((scores > one).astype(float), clusters, int(times), rng)
                for one, times in zip(*np.unique(thresholds, return_counts=True), strict=True)
            ]
        )
    low, high = quantiles(draws, level)
    hits, sizes = cluster_sums((scores > threshold.value).astype(float)[None], clusters)
    if np.ptp(hits / sizes) < 1e-12:
        exact = clopper_pearson(value * len(sizes), len(sizes), level)
        low, high = min(low, exact[0]), max(high, exact[1])
    return Estimate(len(scores), value, low, high)


def _draws(hits: Floats, clusters: Sequence[Any], times: int, rng: np.random.Generator) -> Floats:
    sums, sizes = cluster_sums(hits[None], clusters)
    return resampled_means(sums, sizes, times, rng, lambda rows, count: count @ rows[0])


def roc_auc(
    positives: ArrayLike,
    negatives: ArrayLike,
    *,
    clusters: tuple[Sequence[Any], Sequence[Any]] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Area under the ROC curve: the share of pairs whose positive has the higher score, a tie counting half.

        var = sum over clusters of (sum of (V_i - A) / m over its positives + sum of (W_j - A) / n over the others)^2

    V_i is the share of negatives below positive i, W_j that of positives above negative j: without clusters DeLong's
    variance, but for a factor of (m - 1) / m. The interval is normal on the scale of the log-odds of A. Where the
    variance is 0, as for an A of 0 or 1 and where all scores are equal, the rows tell nothing of their spread: the
    interval is then Clopper and Pearson's for min(m, n) independent pairs, of clusters where there are some.

    Args:
        positives, negatives: scores, shapes (m,) and (n,).
        clusters: a key for each positive and for each negative; rows with one key are not independent.
        level: of confidence.

    Returns:
        An estimate whose ``n`` is m + n.

    Raises:
        ValueError: no positives or no negatives.

    Reference:
        DeLong et al., Comparing the areas under two or more correlated ROC curves, 1988; Obuchowski, Nonparametric
        analysis of clustered ROC curve data, 1997.
    """
    x, y = np.asarray(positives, dtype=float), np.asarray(negatives, dtype=float)
    m, n = len(x), len(y)
    if not m or not n:
        raise ValueError("ROC AUC needs positives and negatives")
    ranks = rankdata(np.concatenate([x, y]))
    above = (ranks[:m] - rankdata(x)) / n
    below = 1 - (ranks[m:] - rankdata(y)) / m
    area = float(above.mean())
    influence = np.concatenate([(above - area) / m, (below - area) / n])
    keys = None if clusters is None else [*clusters[0], *clusters[1]]
    sums, _ = cluster_sums(influence[None], keys)
    if not 0 < area < 1 or np.abs(sums).max() * min(m, n) < 1e-12:
        pairs = min(m, n) if clusters is None else min(len({*part}) for part in clusters)
        return Estimate(m + n, area, *clopper_pearson(area * pairs, pairs, level))
    reach = norm.ppf((1 + level) / 2) * np.sqrt((sums**2).sum()) / (area * (1 - area))
    centre = np.log(area / (1 - area))
    return Estimate(m + n, area, float(expit(centre - reach)), float(expit(centre + reach)))


def detection_metrics(
    rows: Rows, labels: Sequence[str], positive: str, threshold: Threshold | None = None
) -> dict[str, Any]:
    """How one class is told from the rest on one set, from its prediction rows.

    Args:
        rows: of one set; those without a gold label do not count.
        labels: in the order of the logits.
        positive: the class that is to be found.
        threshold: chosen on other rows, carried here unchanged; None: only what needs none.

    Returns:
        ``positive_label``, ``positives`` and ``negatives`` (numbers of rows), ``auc``, ``recall`` and
        ``false_positive_rate``, each as ``value``, ``low``, ``high`` or None where a class is missing, and
        ``threshold``: ``log_odds``, ``probability``, ``false_positive_rate`` (the one asked for), ``chosen_on`` and
        ``negatives`` (the number of rows that it was chosen on). ``at_threshold``: how many of the positives have
        exactly that score, and so do not count as found; many where a model gives few different answers.
    """
    known = [row for row in rows if row["gold"] is not None]
    found, others = scores_by_class(known, labels, positive)
    keys = clusters_of(known)
    of_found = keys and [key for key, row in zip(keys, known, strict=True) if row["gold"] == positive]
    of_others = keys and [key for key, row in zip(keys, known, strict=True) if row["gold"] != positive]
    both = (of_found, of_others) if of_found and of_others else None
    auc = roc_auc(found, others, clusters=both) if len(found) and len(others) else None
    hit = recall(found, threshold, clusters=of_found) if threshold is not None and len(found) else None
    alarms = threshold is not None and len(others) and others > threshold.value
    false = estimate(alarms, clusters=of_others) if isinstance(alarms, np.ndarray) else None
    return {
        "positive_label": positive,
        "positives": len(found),
        "negatives": len(others),
        "auc": _interval(auc),
        "recall": _interval(hit),
        "false_positive_rate": _interval(false),
        "at_threshold": 0 if threshold is None else int((found == threshold.value).sum()),
        "threshold": threshold
        and {
            "log_odds": threshold.value,
            "probability": float(expit(threshold.value)),
            "false_positive_rate": threshold.rate,
            "chosen_on": threshold.chosen_on,
            "negatives": len(threshold.negatives),
        },
    }


def _interval(found: Estimate | None) -> dict[str, float] | None:
    return None if found is None else {"value": found.value, "low": found.low, "high": found.high}
