import math

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.metrics import brier_score_loss, log_loss

from rosetune.robustness.calibration import (
    brier_score,
    calibration_metrics,
    expected_calibration_error,
    fit_temperature,
    mean_confidence,
    negative_log_likelihood,
)

# Probabilities .9 .8 .8 .6 for the class 0, which is right, wrong, right, right.
LOGITS = np.log([[0.9, 0.1], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]])
GOLD = [0, 1, 0, 0]


def noisy(n=400, classes=3, scale=2.0, seed=0):
    """Logits of a model that knows its own uncertainty, and labels drawn from its probabilities."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * scale
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return logits, [int(rng.choice(classes, p=row)) for row in p]


class TestCalibrationError:
    def test_by_hand(self):
        # Five bins: .6 alone in (.4, .6]; .8 .8 in (.6, .8], one right; .9 alone in (.8, 1].
        by_hand = (0.4 + 2 * abs(0.5 - 0.8) + 0.1) / 4
        assert expected_calibration_error(LOGITS, GOLD, bins=5) == pytest.approx(by_hand)
        assert expected_calibration_error(LOGITS, GOLD, bins=1) == pytest.approx(abs(0.75 - 0.775))

    def test_equal_mass_by_hand(self):
        # Two bins by rank: .6 .8 .8 (equal confidences stay together; two of three right) and .9 (right).
        by_hand = (abs(2 - 2.2) + 0.1) / 4
        assert expected_calibration_error(LOGITS, GOLD, bins=2, equal_mass=True) == pytest.approx(by_hand)

    @pytest.mark.parametrize("equal_mass", [False, True])
    def test_order_does_not_matter(self, equal_mass):
        logits, gold = noisy()
        logits[::3], order = np.log([0.6, 0.3, 0.1]), np.random.default_rng(1).permutation(400)
        shuffled = expected_calibration_error(logits[order], np.array(gold)[order], equal_mass=equal_mass)
        assert shuffled == pytest.approx(expected_calibration_error(logits, gold, equal_mass=equal_mass))

    def test_against_a_loop_over_bins(self):
        logits, gold = noisy()
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        confidence, right = p.max(axis=1), p.argmax(axis=1) == gold
        expected = 0.0
        for low in np.arange(15) / 15:
            inside = (confidence > low) & (confidence <= low + 1 / 15)
            if inside.any():
                expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
        assert expected_calibration_error(logits, gold) == pytest.approx(expected)

    @pytest.mark.parametrize("equal_mass", [False, True])
    def test_extremes(self, equal_mass):
        sure = np.array([[1000.0, 0.0]] * 10)  # a confidence of exactly 1
        assert expected_calibration_error(sure, [0] * 10, equal_mass=equal_mass) == 0
        assert expected_calibration_error(sure, [1] * 10, equal_mass=equal_mass) == 1
        logits, gold = noisy(20_000)
        assert expected_calibration_error(logits, gold, equal_mass=equal_mass) < 0.02
        assert expected_calibration_error(5 * logits, gold, equal_mass=equal_mass) > 0.1


class TestScores:
    def test_brier_by_hand(self):
        assert brier_score(LOGITS, GOLD) == pytest.approx(2 * (0.1**2 + 0.8**2 + 0.2**2 + 0.4**2) / 4)
        assert brier_score(np.log([[0.5, 0.3, 0.2]]), [1]) == pytest.approx(0.25 + 0.49 + 0.04)
        assert brier_score([[1000, 0]], [1]) == 2

    def test_against_sklearn(self):
        logits, gold = noisy(classes=2)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert brier_score(logits, gold) == pytest.approx(2 * brier_score_loss(gold, p[:, 1]))
        assert negative_log_likelihood(logits, gold) == pytest.approx(log_loss(gold, p))

    def test_likelihood_of_extreme_logits_is_finite(self):
        assert negative_log_likelihood([[1e4, 0.0]], [1]) == pytest.approx(1e4)

    def test_confidence_on_right_and_wrong(self):
        assert mean_confidence(LOGITS, GOLD) == pytest.approx(((0.9 + 0.8 + 0.6) / 3, 0.8))
        assert mean_confidence(LOGITS[:1], [0]) == (pytest.approx(0.9), None)
        assert mean_confidence(LOGITS[:1], [1]) == (None, pytest.approx(0.9))


class TestTemperature:
    def test_closed_form(self):
        # Logits (+-2, 0) of which 3 of 4 are right: sigmoid(2 / T) = 3/4, T = 2 / log 3.
        assert fit_temperature([[2, 0], [2, 0], [0, 2], [2, 0]], [0, 0, 1, 1]) == pytest.approx(2 / math.log(3))

    @pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
    def test_the_slope_of_the_loss_is_zero_there(self, scale):
        logits, gold = noisy()
        logits = logits * scale

        def slope(beta):  # of the mean loss by 1/T
            p = np.exp(beta * logits - (beta * logits).max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            return float(((p * logits).sum(axis=1) - logits[np.arange(len(gold)), gold]).mean())

        assert fit_temperature(logits, gold) == pytest.approx(1 / brentq(slope, 1e-3, 100), rel=1e-4)

    def test_undoes_a_scale_and_changes_no_prediction(self):
        logits, gold = noisy(5000)
        temperature = fit_temperature(6 * logits, gold)
        assert temperature == pytest.approx(6, rel=0.1)
        np.testing.assert_array_equal((6 * logits / temperature).argmax(axis=1), logits.argmax(axis=1))
        before, after = (calibration_metrics(6 * logits, gold, temperature=t) for t in (1.0, temperature))
        assert after["ece"] < before["ece"] / 4
        assert after["nll"] < before["nll"]

    def test_without_an_error_there_is_none(self):
        assert fit_temperature(LOGITS[:1], [0]) is None
        logits, _ = noisy()
        assert fit_temperature(logits, logits.argmax(axis=1)) is None

    def test_ends(self):
        assert fit_temperature(LOGITS[:1], [1]) == pytest.approx(100, rel=1e-3)
        assert 0.01 <= fit_temperature(np.zeros((3, 2)), [0, 1, 0]) <= 100


def test_all_at_once():
    metrics = calibration_metrics(LOGITS, GOLD, temperature=2.0, bins=5)
    assert metrics == {
        "ece": expected_calibration_error(LOGITS / 2, GOLD, bins=5),
        "ece_equal_mass": expected_calibration_error(LOGITS / 2, GOLD, bins=5, equal_mass=True),
        "brier": brier_score(LOGITS / 2, GOLD),
        "nll": negative_log_likelihood(LOGITS / 2, GOLD),
        "confidence_right": mean_confidence(LOGITS / 2, GOLD)[0],
        "confidence_wrong": mean_confidence(LOGITS / 2, GOLD)[1],
    }


@pytest.mark.parametrize("score", [expected_calibration_error, brier_score, negative_log_likelihood, fit_temperature])
def test_refusals(score):
    for logits, gold, message in (
        (LOGITS, [0], "do not fit 1 gold labels"),
        (np.zeros((0, 2)), [], "no items"),
        ([[np.nan, 0]], [0], "not finite"),
        (LOGITS, [0, 1, 2, 0], "from 0 to 1"),
        (LOGITS, [0, 1, -1, 0], "unlabelled"),
        (LOGITS, [0.0, 1.0, 0.0, 0.0], "class indices"),
    ):
        with pytest.raises(ValueError, match=message):
            score(logits, gold)


def test_options():
    for bins in (0, -1, 2.5):
        with pytest.raises(ValueError, match="at least 1"):
            expected_calibration_error(LOGITS, GOLD, bins=bins)
    for temperature in (0, -1, math.nan, math.inf):
        with pytest.raises(ValueError, match="above 0"):
            calibration_metrics(LOGITS, GOLD, temperature=temperature)
