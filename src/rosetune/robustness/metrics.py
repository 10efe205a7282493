"""Metrics of one model on one set of examples."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import pearsonr, spearmanr

__all__ = ["accuracy", "classification_metrics", "constant_predictor", "regression_metrics"]


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
    from sklearn.metrics import f1_score, matthews_corrcoef  # a second that reading finished runs need not pay

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


def regression_metrics(gold: ArrayLike, predicted: ArrayLike) -> dict[str, float | None]:
    """Mean squared error, and Pearson's and Spearman's correlation (as GLUE scores STS-B).

    A correlation is None where it is undefined: fewer than two examples, or all golds or all predictions alike.

    Args:
        gold, predicted: shape (n,).

    Returns:
        ``{"mse", "pearson", "spearman"}``.

    Raises:
        ValueError: nothing to score, different lengths, or values that are not finite.
    """
    true, found = np.asarray(gold, dtype=float), np.asarray(predicted, dtype=float)
    check_lengths(gold=true, predicted=found)
    if not (np.isfinite(true).all() and np.isfinite(found).all()):
        raise ValueError("a gold number or a prediction is not finite")
    defined = np.ptp(true) > 0 and np.ptp(found) > 0
    return {
        "mse": float(np.mean((found - true) ** 2)),
        "pearson": float(pearsonr(true, found).statistic) if defined else None,
        "spearman": float(spearmanr(true, found).statistic) if defined else None,
    }


def check_lengths(**named: Any) -> None:
    """A ValueError for what is empty or of different lengths, by name."""
    lengths = {name: len(values) for name, values in named.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"different lengths: {lengths}")
    if 0 in lengths.values():
        raise ValueError(f"no examples in {', '.join(named)}")
