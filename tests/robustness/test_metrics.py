import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, bootstrap

from rosetune.robustness.metrics import (
    accuracy,
    bootstrap_interval,
    classification_metrics,
    constant_predictor,
)


def shares(right: int, n: int) -> np.ndarray:
    return np.arange(n) < right


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


class TestBootstrapInterval:
    @pytest.mark.parametrize("values", [shares(60, 148), shares(800, 872), np.random.default_rng(0).gamma(2, 1, 80)])
    def test_agrees_with_scipy(self, values):
        reference = bootstrap(
            (values.astype(float),), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
        ).confidence_interval
        width = reference.high - reference.low
        assert bootstrap_interval(values) == pytest.approx(tuple(reference), abs=0.05 * width)

    def test_independent_shares_agree_with_the_binomial_distribution(self):
        # The bootstrap of k of n is Binomial(n, k/n) / n, whose quantiles scipy has in closed form.
        low, high = bootstrap_interval(shares(60, 148), resamples=200_000)
        exact = binom(148, 60 / 148)
        assert (low, high) == pytest.approx((exact.ppf(0.025) / 148, exact.ppf(0.975) / 148), abs=1.01 / 148)

    def test_level(self):
        narrow = bootstrap_interval(shares(60, 148), level=0.8)
        wide = bootstrap_interval(shares(60, 148), level=0.99)
        assert wide[0] < narrow[0] < narrow[1] < wide[1]

    @pytest.mark.parametrize(("right", "n"), [(0, 20), (20, 20), (1, 1), (0, 1), (148, 148)])
    def test_all_right_or_all_wrong_is_not_certain(self, right, n):
        reference = binomtest(right, n).proportion_ci(0.9)
        assert bootstrap_interval(shares(right, n), level=0.9) == pytest.approx((reference.low, reference.high))

    def test_order_of_examples_does_not_matter_and_seeds_do_little(self):
        values = shares(60, 148)
        shuffled = np.random.default_rng(3).permutation(values)
        assert bootstrap_interval(values) == bootstrap_interval(shuffled)
        assert bootstrap_interval(values, seed=1) == pytest.approx(bootstrap_interval(values, seed=2), abs=0.01)

    def test_clusters_of_one_are_no_clusters(self):
        values = shares(30, 70)
        assert bootstrap_interval(values, clusters=[f"c{i}" for i in range(70)]) == bootstrap_interval(values)

    def test_duplicated_examples_count_once(self):
        values = shares(60, 148)
        four = np.repeat(values, 4)
        keys = np.repeat(np.arange(148), 4).tolist()
        assert bootstrap_interval(four, clusters=keys) == bootstrap_interval(values)
        naive, clustered = np.diff(bootstrap_interval(four))[0], np.diff(bootstrap_interval(four, clusters=keys))[0]
        assert clustered == pytest.approx(2 * naive, rel=0.1)

    def test_unequal_clusters_agree_with_a_literal_resampling(self):
        rng = np.random.default_rng(5)
        keys = np.repeat(np.arange(40), rng.integers(1, 6, 40))
        values = (rng.random(len(keys)) < rng.random(40)[keys]).astype(float)
        means = []
        for _ in range(4000):
            drawn = np.concatenate([values[keys == key] for key in rng.integers(0, 40, 40)])
            means.append(drawn.mean())
        reference = np.quantile(means, [0.025, 0.975])
        assert bootstrap_interval(values, clusters=keys.tolist()) == pytest.approx(tuple(reference), abs=0.02)

    def test_clustered_interval_covers_where_the_naive_one_does_not(self):
        rng = np.random.default_rng(0)
        covered = {"naive": 0, "clustered": 0}
        keys = np.repeat(np.arange(50), 3).tolist()
        for _ in range(300):
            values = np.repeat(rng.random(50) < 0.6, 3)  # three variants of one original fall together
            intervals = {
                "naive": bootstrap_interval(values, resamples=1000),
                "clustered": bootstrap_interval(values, clusters=keys, resamples=1000),
            }
            for name, (low, high) in intervals.items():
                covered[name] += low <= 0.6 <= high
        assert covered["clustered"] / 300 > 0.90
        assert covered["naive"] / 300 < 0.85

    def test_alike_clusters_fall_back_to_their_number(self):
        reference = binomtest(5, 5).proportion_ci()
        right = bootstrap_interval([1] * 15, clusters=[i // 3 for i in range(15)])
        assert right == pytest.approx((reference.low, reference.high))
        low, high = bootstrap_interval([1, 0, 1, 0], clusters=["a"] * 4)  # one original says next to nothing
        assert low < 0.05
        assert high > 0.95

    def test_constant_values_outside_shares_have_no_spread(self):
        assert bootstrap_interval([3.5, 3.5]) == (3.5, 3.5)

    def test_many_distinct_values_stay_within_memory(self, monkeypatch):
        values = np.random.default_rng(0).normal(size=300)
        whole = bootstrap_interval(values, resamples=1000)
        monkeypatch.setattr("rosetune.robustness.metrics.BLOCK", 10_000)
        assert bootstrap_interval(values, resamples=1000) == whole

    def test_refusals(self):
        with pytest.raises(ValueError, match="no examples"):
            bootstrap_interval([])
        with pytest.raises(ValueError, match="different lengths"):
            bootstrap_interval([1, 0], clusters=["a"])
        with pytest.raises(ValueError, match="not finite"):
            bootstrap_interval([1, math.nan])
        with pytest.raises(ValueError, match="between 0 and 1"):
            bootstrap_interval([1, 0], level=95)
