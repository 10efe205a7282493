import math

import numpy as np
import pytest

from rosetune.robustness.metrics import accuracy, classification_metrics, constant_predictor, regression_metrics


class TestAccuracyAndConstant:
    def test_accuracy_by_hand(self):
        assert accuracy(["yes", "no", "no", "yes"], ["yes", "no", "yes", "yes"]) == 0.75
        assert accuracy([1], [0]) == 0.0

    def test_constant_predictor_by_hand(self):
        assert constant_predictor(["no"] * 46 + ["yes"] * 32) == ("no", 46 / 78)  # AdvGLUE's QQP: 59.0
        assert constant_predictor([1, 0, 1, 2]) == (1, 0.5)

    def test_ties_do_not_depend_on_order(self):
        assert constant_predictor(["b", "a"]) == constant_predictor(["a", "b"]) == ("a", 0.5)

    def test_nothing_to_score_or_different_lengths(self):
        with pytest.raises(ValueError, match="no examples"):
            accuracy([], [])
        with pytest.raises(ValueError, match="different lengths"):
            accuracy([1], [1, 0])
        with pytest.raises(ValueError, match="no examples"):
            constant_predictor([])


class TestClassificationMetrics:
    def test_binary_by_hand(self):
        # true positives 2, false positives 1, false negatives 1, true negatives 2
        gold = [1, 1, 1, 0, 0, 0]
        logits = np.eye(2)[[1, 1, 0, 1, 0, 0]]
        metrics = classification_metrics(gold, logits, ["no", "yes"])
        assert metrics == pytest.approx({"accuracy": 4 / 6, "f1": 2 * 2 / (2 * 2 + 1 + 1), "mcc": (4 - 1) / 9})

    def test_three_classes_by_hand(self):
        gold = [0, 0, 1, 1, 2, 2]
        logits = np.eye(3)[[0, 1, 1, 1, 2, 0]]
        metrics = classification_metrics(gold, logits, ["a", "b", "c"])
        assert metrics["f1"] == pytest.approx((2 / 4 + 4 / 5 + 2 / 3) / 3)
        # (c s - sum t_k p_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)), c = 4 right of s = 6
        assert metrics["mcc"] == pytest.approx((4 * 6 - 12) / math.sqrt((36 - 14) * (36 - 12)))

    @pytest.mark.filterwarnings("error")
    def test_undefined_is_zero_and_absent_classes_do_not_count(self):
        constant = classification_metrics([0, 0], np.eye(2)[[0, 0]], ["no", "yes"])
        assert constant == {"accuracy": 1.0, "f1": 0.0, "mcc": 0.0}
        assert classification_metrics([0, 1], np.eye(3)[[0, 1]], ["a", "b", "c"])["f1"] == 1.0

    def test_labels_must_fit(self):
        with pytest.raises(ValueError, match="do not fit 3 labels"):
            classification_metrics([0], np.zeros((1, 2)), ["a", "b", "c"])
        with pytest.raises(ValueError, match="different lengths"):
            classification_metrics([0, 1], np.zeros((1, 2)), ["a", "b"])


class TestRegressionMetrics:
    def test_by_hand(self):
        gold, predicted = [0.0, 1.0, 2.0, 5.0], [1.0, 1.0, 4.0, 3.0]
        metrics = regression_metrics(gold, predicted)
        assert metrics["mse"] == pytest.approx((1 + 0 + 4 + 4) / 4)
        # Deviations from the means 2 and 2.25: -2 -1 0 3 and -1.25 -1.25 1.75 0.75.
        product, own, other = 2.5 + 1.25 + 0 + 2.25, 4 + 1 + 0 + 9, 2 * 1.25**2 + 1.75**2 + 0.75**2
        assert metrics["pearson"] == pytest.approx(product / math.sqrt(own * other))
        # Ranks 1 2 3 4 and 1.5 1.5 4 3, both of mean 2.5.
        product, own, other = 1.5 + 0.5 + 0.75 + 0.75, 2.25 + 0.25 + 0.25 + 2.25, 1 + 1 + 2.25 + 0.25
        assert metrics["spearman"] == pytest.approx(product / math.sqrt(own * other))

    @pytest.mark.parametrize(("gold", "predicted"), [([1.0], [2.0]), ([1, 2], [3, 3]), ([1, 1], [2, 3])])
    def test_an_undefined_correlation_is_none(self, gold, predicted):
        metrics = regression_metrics(gold, predicted)
        assert (metrics["pearson"], metrics["spearman"]) == (None, None)
        assert metrics["mse"] == pytest.approx(np.mean((np.array(gold) - predicted) ** 2))

    def test_refusals(self):
        with pytest.raises(ValueError, match="no examples"):
            regression_metrics([], [])
        with pytest.raises(ValueError, match="different lengths"):
            regression_metrics([1], [1, 2])
        with pytest.raises(ValueError, match="not finite"):
            regression_metrics([1, 2], [1, math.nan])
