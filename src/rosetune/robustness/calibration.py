"""Whether a model's confidence can be believed: calibration error, proper scores, temperature scaling."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

__all__ = [
    "brier_score",
    "calibration_metrics",
    "expected_calibration_error",
    "fit_temperature",
    "mean_confidence",
    "negative_log_likelihood",
]

TEMPERATURES = (0.01, 100.0)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def expected_calibration_error(
    logits: ArrayLike, gold: Sequence[int], *, bins: int = 15, equal_mass: bool = False
) -> float:
    """Mean distance between confidence and accuracy over bins of the confidence, in [0, 1].

        sum over bins b of n_b / n |accuracy_b - confidence_b|,    confidence = largest probability

    The bins (i/bins, (i+1)/bins] of equal width leave most bins of a confident model empty; with ``equal_mass`` each
    bin holds about n / bins items, and equal confidences share a bin. Either way the estimate of a finite sample is
    too large: a calibrated model on the 148 items of AdvGLUE's SST-2 shows several points.

    Args:
        logits: shape (n, classes).
        gold: class indices.
        bins: at least 1.

    Raises:
        ValueError: no items, shapes that do not fit, logits that are not finite, an unknown class, or no bin.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, 2017, Eq. 3; equal mass: Nguyen and O'Connor, 2015.
    """
    if not isinstance(bins, int) or bins < 1:
        raise ValueError(f"bins is a whole number of at least 1, not {bins!r}")
    confidence, right = _confidence_and_right(*_check(logits, gold))
    if equal_mass:
        rank = np.searchsorted(np.sort(confidence), confidence)
        index = rank * bins // len(confidence)
    else:
        index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    # n_b cancels: the gaps are sums.
    gaps = np.bincount(index, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))


def brier_score(logits: ArrayLike, gold: Sequence[int]) -> float:
    """Mean squared distance between the probabilities and the one-hot gold label, in [0, 2].

        1/n sum over items and classes of (p - [class is gold])^2

    For two classes this is twice the score of the positive class alone, which other programs print.

    Args:
        logits, gold: as in :func:`expected_calibration_error`.

    Raises:
        ValueError: as there.

    Reference:
        Brier, Verification of forecasts expressed in terms of probability, 1950.
    """
    scores, true = _check(logits, gold)
    error = np.exp(log_softmax(scores, axis=1))
    error[np.arange(len(true)), true] -= 1
    return float(np.square(error).sum(axis=1).mean())


def negative_log_likelihood(logits: ArrayLike, gold: Sequence[int]) -> float:
    """Mean of -log p(gold label), in nats.

    Args:
        logits, gold: as in :func:`expected_calibration_error`.

    Raises:
        ValueError: as there.
    """
    return _nll(*_check(logits, gold))


def mean_confidence(logits: ArrayLike, gold: Sequence[int]) -> tuple[float | None, float | None]:
    """Mean of the largest probability on the items predicted right and on those predicted wrong; None without any.

    Args:
        logits, gold: as in :func:`expected_calibration_error`.

    Raises:
        ValueError: as there.
    """
    confidence, right = _confidence_and_right(*_check(logits, gold))
    groups = (confidence[right == 1], confidence[right == 0])
    on_right, on_wrong = (float(group.mean()) if len(group) else None for group in groups)
    return on_right, on_wrong


def fit_temperature(logits: ArrayLike, gold: Sequence[int]) -> float | None:
    """The temperature T that minimises the negative log likelihood of logits / T; None where nothing is wrong.

    For calibration only: dividing by T > 0 changes no prediction and hence no accuracy. Fit it on other items than the
    ones whose calibration is reported. T stays in [0.01, 100]; the upper end is reached where the logits say nothing
    about the label. Where every item is predicted right, the smaller T the better, and no number would mean anything.

    Args:
        logits, gold: as in :func:`expected_calibration_error`.

    Raises:
        ValueError: as there.

    Reference:
        Guo et al., On Calibration of Modern Neural Networks, 2017, section 4.2.
    """
    scores, true = _check(logits, gold)
    if (scores.argmax(axis=1) == true).all():
        return None
    low, high = TEMPERATURES
    # The loss is convex in 1/T, so that a search over log T meets no second valley.
    found = minimize_scalar(
        lambda log_t: _nll(scores / np.exp(log_t), true),
        bounds=(np.log(low), np.log(high)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    return float(np.clip(np.exp(found.x), low, high))


def calibration_metrics(
    logits: ArrayLike, gold: Sequence[int], *, temperature: float = 1.0, bins: int = 15
) -> dict[str, Any]:
    """All of this page for one evaluation set, of logits / temperature.

    Args:
        logits, gold, bins: as in :func:`expected_calibration_error`.
        temperature: from :func:`fit_temperature` on other items; 1 leaves the logits as they are.

    Returns:
        ``{"ece", "ece_equal_mass", "brier", "nll", "confidence_right", "confidence_wrong"}``.

    Raises:
        ValueError: as there, or a temperature that is not above 0.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"a temperature is a finite number above 0, not {temperature!r}")
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    on_right, on_wrong = mean_confidence(scaled, gold)
    return {
        "ece": expected_calibration_error(scaled, gold, bins=bins),
        "ece_equal_mass": expected_calibration_error(scaled, gold, bins=bins, equal_mass=True),
        "brier": brier_score(scaled, gold),
        "nll": negative_log_likelihood(scaled, gold),
        "confidence_right": on_right,
        "confidence_wrong": on_wrong,
    }


def _check(logits: ArrayLike, gold: Sequence[int]) -> tuple[Floats, Ints]:
    scores, true = np.asarray(logits, dtype=np.float64), np.asarray(gold)
    if scores.ndim != 2 or true.shape != scores.shape[:1]:
        raise ValueError(f"logits of shape {scores.shape} do not fit {true.size} gold labels")
    if scores.size == 0:
        raise ValueError("no items to calibrate on")
    if not np.isfinite(scores).all():
        raise ValueError("a logit is not finite")
    if not np.issubdtype(true.dtype, np.integer) or true.min() < 0 or true.max() >= scores.shape[1]:
        raise ValueError(f"gold labels are class indices from 0 to {scores.shape[1] - 1}; leave out unlabelled items")
    return scores, true.astype(np.int64)


def _confidence_and_right(scores: Floats, true: Ints) -> tuple[Floats, Floats]:
    return np.exp(log_softmax(scores, axis=1).max(axis=1)), (scores.argmax(axis=1) == true).astype(np.float64)


def _nll(scores: Floats, true: Ints) -> float:
    return float(-log_softmax(scores, axis=1)[np.arange(len(true)), true].mean())
