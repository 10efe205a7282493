import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel

from rosetune.robustness.flip_control import flip_control, flipped_accuracy, robust_at_equal_clean
from rosetune.robustness.metrics import bootstrap_interval
from rosetune.robustness.paired import paired_difference
from rosetune.robustness.statistics import (
    paired_t_test,
    seeds_difference,
    seeds_interval,
)


def outcomes(both, only_a, only_b, neither):
    counts = [both, only_a, only_b, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


class TestPairedTTest:
    @pytest.mark.parametrize("n", [2, 3, 5, 20])
    def test_against_scipy(self, n):
        rng = np.random.default_rng(n)
        a = rng.normal(0.8, 0.02, n)
        b = a + rng.normal(0.01, 0.01, n)
        result, reference = paired_t_test(a, b), ttest_rel(b, a)
        assert (result.t, result.two_sided) == pytest.approx((reference.statistic, reference.pvalue))
        assert result.b_better == pytest.approx(ttest_rel(b, a, alternative="greater").pvalue)
        interval = reference.confidence_interval(0.95)
        assert (result.low, result.high) == pytest.approx((interval.low, interval.high))
        assert (result.n, result.mean, result.sd) == (
            n,
            pytest.approx((b - a).mean()),
            pytest.approx((b - a).std(ddof=1)),
        )

    def test_by_hand(self):
        result = paired_t_test([0, 0, 0], [1, 2, 3], level=0.9)
        assert (result.mean, result.sd, result.t) == pytest.approx((2, 1, 2 * math.sqrt(3)))
        assert result.high - result.mean == pytest.approx(2.919986 / math.sqrt(3))  # t_0.95 with 2 degrees of freedom

    def test_without_spread_nothing_is_claimed(self):
        for gain in (0.0, 0.1):
            a = np.array([0.3, 0.7, 0.123])
            result = paired_t_test(a, a + gain)
            assert result.mean == pytest.approx(gain)
            assert result.sd == 0
            assert (result.low, result.high, result.t, result.two_sided, result.b_better) == (None,) * 5

    def test_refusals(self):
        with pytest.raises(ValueError, match="at least two seeds, not 1"):
            paired_t_test([1.0], [2.0])
        with pytest.raises(ValueError, match="at least two seeds, not 0"):
            paired_t_test([], [])
        with pytest.raises(ValueError, match="pairs of the same seed"):
            paired_t_test([1.0, 2.0], [2.0])
        with pytest.raises(ValueError, match="not finite"):
            paired_t_test([1.0, math.nan], [2.0, 1.0])
        with pytest.raises(ValueError, match="between 0 and 1"):
            paired_t_test([1.0, 2.0], [2.0, 1.0], level=95)


class TestSeeds:
    def test_against_a_literal_resampling(self):
        rng = np.random.default_rng(0)
        keys = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        table = (rng.random((4, len(keys))) < rng.random((4, 1)) * rng.random(30)[keys]).astype(float)
        means = []
        for _ in range(4000):
            items = np.concatenate([np.flatnonzero(keys == key) for key in rng.integers(0, 30, 30)])
            means.append(table[rng.integers(0, 4, 4)][:, items].mean())
        low, high = seeds_interval(table, clusters=keys.tolist())
        assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)
        assert low < table.mean() < high

    def test_equal_seeds_are_one_seed(self):
        row = np.arange(148) < 60
        assert seeds_interval([row] * 3) == pytest.approx(bootstrap_interval(row), abs=0.01)
        a, b = outcomes(50, 10, 25, 15)
        one = paired_difference(a, b)
        assert seeds_difference([a] * 3, [b] * 3) == pytest.approx((one.difference, one.low, one.high), abs=0.015)

    def test_spread_over_seeds_widens(self):
        rng = np.random.default_rng(1)
        table = rng.random((5, 2000)) < np.array([0.2, 0.35, 0.5, 0.65, 0.8])[:, None]
        low, high = seeds_interval(table)
        assert high - low > 5 * np.diff(bootstrap_interval(table[2]))[0]
        # The variance of a mean of five draws from five seeds: their population variance over 5.
        assert high - low == pytest.approx(2 * 1.96 * np.std([0.2, 0.35, 0.5, 0.65, 0.8]) / math.sqrt(5), rel=0.15)

    def test_pairing_takes_out_what_seeds_share(self):
        rng = np.random.default_rng(2)
        a = rng.random((5, 1000)) < np.array([0.3, 0.4, 0.5, 0.6, 0.7])[:, None]
        b = a | (rng.random((5, 1000)) < 0.05)
        difference, low, high = seeds_difference(a, b)
        assert difference == pytest.approx(b.mean() - a.mean())
        assert 0 < low < difference < high < 0.06

    def test_no_spread_falls_back(self):
        assert seeds_interval(np.ones((3, 20))) == pytest.approx(tuple(binomtest(20, 20).proportion_ci()))
        bound = binomtest(0, 20).proportion_ci().high
        same = np.arange(20) < 9
        assert seeds_difference([same] * 2, [same] * 2) == pytest.approx((0, -bound, bound))

    def test_does_not_depend_on_blocks_of_memory_much(self, monkeypatch):
        table = np.random.default_rng(3).random((3, 50)) < 0.5
        whole = seeds_interval(table)
        monkeypatch.setattr("rosetune.robustness.statistics.BLOCK", 7_000)
        assert seeds_interval(table) == pytest.approx(whole, abs=0.02)

    def test_refusals(self):
        with pytest.raises(ValueError, match="at least two seeds; bootstrap_interval"):
            seeds_interval([[1, 0]])
        with pytest.raises(ValueError, match=r"\(seeds, examples\)"):
            seeds_interval([1, 0])
        with pytest.raises(ValueError, match="not finite"):
            seeds_interval([[1, 0], [math.nan, 0]])
        with pytest.raises(ValueError, match="different lengths"):
            seeds_interval([[1, 0], [1, 0]], clusters=["x"])
        with pytest.raises(ValueError, match="same seeds and examples"):
            seeds_difference(np.ones((2, 3)), np.ones((3, 3)))
        with pytest.raises(ValueError, match="0 or 1"):
            seeds_difference(np.ones((2, 3)), np.full((2, 3), 0.5))


class TestFlipControl:
    @pytest.mark.parametrize("classes", [2, 3])
    @pytest.mark.parametrize("q", [0.05, 0.3])
    def test_against_flips_that_are_really_drawn(self, classes, q):
        rng = np.random.default_rng(0)
        n = 400_000
        accuracies = []
        for right in (0.865, 0.338):
            gold = rng.integers(0, classes, n)
            wrong = (gold + rng.integers(1, classes, n)) % classes
            predicted = np.where(rng.random(n) < right, gold, wrong)
            flipped = np.where(rng.random(n) < q, (predicted + rng.integers(1, classes, n)) % classes, predicted)
            accuracies.append(float((flipped == gold).mean()))
        assert flipped_accuracy(0.865, accuracies[0], 0.338, classes) == pytest.approx(accuracies[1], abs=0.005)

    def test_by_hand(self):
        # The trial of the issue: 86.5 / 33.8 against a clean accuracy of 85.2.
        assert flipped_accuracy(0.865, 0.852, 0.338, 2) == pytest.approx(0.5 - 0.162 * 0.352 / 0.365)
        assert flipped_accuracy(0.9, 0.8, 0.5, 2) == 0.5
        assert flipped_accuracy(0.9, 0.8, 0.7, 2) < 0.7  # above chance noise does not help

    def test_bounds(self):
        assert flipped_accuracy(0.8, 0.85, 0.3, 2) == pytest.approx(0.3)  # nothing was paid
        assert flipped_accuracy(0.8, 0.5, 0.3, 2) == flipped_accuracy(0.8, 0.4, 0.3, 2) == 0.5
        assert flipped_accuracy(0.8, 1 / 3, 0.1, 3) == pytest.approx(1 / 3)

    def test_control_by_hand_and_its_interval(self):
        clean_plain, clean_robust = outcomes(780, 60, 40, 120)  # 0.84, 0.82
        plain, robust = outcomes(40, 10, 25, 73)  # 50 and 65 of 148
        result = flip_control(clean_plain, clean_robust, plain, robust, 2)
        flipped = 0.5 + (50 / 148 - 0.5) * 0.32 / 0.34
        assert (result.flipped, result.robust) == pytest.approx((flipped, 65 / 148))
        assert result.excess == pytest.approx(65 / 148 - flipped)
        assert result.low < result.excess < result.high
        # 2 points of clean accuracy: (1 - q) .84 + q .16 = .82
        assert result.flip_rate == pytest.approx(0.02 / 0.68)
        # Delta method: the gradient of r - .5 - (v - .5) k by (v, r, a', a), k = (a' - .5) / (a - .5).
        v, r, k, gap = 50 / 148, 65 / 148, 0.32 / 0.34, 0.34
        vrs = np.array([-k, 1.0])
        own = vrs @ np.cov(np.stack([plain, robust]), ddof=0) @ vrs / 148
        assert r > v
        slope = np.array([(v - 0.5) * k / gap, -(v - 0.5) / gap])
        other = slope @ np.cov(np.stack([clean_plain, clean_robust]), ddof=0) @ slope / 1000
        assert result.high - result.low == pytest.approx(2 * 1.96 * math.sqrt(own + other), rel=0.1)

    def test_clusters_widen(self):
        clean = outcomes(780, 60, 40, 120)
        plain, robust = (np.repeat(side, 4) for side in outcomes(10, 3, 6, 18))
        naive = flip_control(*clean, plain, robust, 2)
        clustered = flip_control(*clean, plain, robust, 2, clusters=np.repeat(np.arange(37), 4).tolist())
        assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)
        assert clustered.excess == naive.excess

    def test_a_clean_accuracy_that_is_hardly_above_chance_does_not_explode(self):
        a, b = outcomes(5, 6, 5, 4)
        result = flip_control(a, b, *outcomes(3, 2, 2, 10), 2)
        assert -1 <= result.low <= result.high <= 1

    def test_refusals(self):
        with pytest.raises(ValueError, match="chance for 2 classes"):
            flipped_accuracy(0.5, 0.4, 0.3, 2)
        with pytest.raises(ValueError, match=r"in \[0, 1\], of at least two"):
            flipped_accuracy(86.5, 85.2, 33.8, 2)
        with pytest.raises(ValueError, match=r"in \[0, 1\], of at least two"):
            flipped_accuracy(0.9, 0.8, 0.3, 1)
        with pytest.raises(ValueError, match="different lengths"):
            flip_control([1, 1], [1], [0], [1], 2)


class TestEqualClean:
    def test_passages_in_order(self):
        points = [(0.5, 0.5), (0.8, 0.44), (0.7, 0.46), (0.9, 0.3)]
        assert robust_at_equal_clean(points, 0.75) == pytest.approx([0.45, 0.45, 0.42])
        assert robust_at_equal_clean(points, 0.6) == pytest.approx([0.48])

    def test_on_a_point_and_out_of_reach(self):
        points = [(0.5, 0.5), (0.8, 0.4), (0.9, 0.3)]
        assert robust_at_equal_clean(points, 0.8) == [0.4]
        assert robust_at_equal_clean(points, 0.5) == [0.5]
        assert robust_at_equal_clean(points, 0.95) == robust_at_equal_clean(points, 0.4) == []
        assert robust_at_equal_clean([(0.8, 0.4)], 0.8) == [0.4]

    def test_a_level_stretch_gives_both_its_ends(self):
        assert robust_at_equal_clean([(0.7, 0.5), (0.8, 0.4), (0.8, 0.3), (0.9, 0.2)], 0.8) == [0.4, 0.3]

    def test_refusals(self):
        for points, level in (([], 0.5), ([(0.5, math.nan)], 0.5), ([(0.5, 0.5)], math.nan)):
            with pytest.raises(ValueError, match="finite"):
                robust_at_equal_clean(points, level)
