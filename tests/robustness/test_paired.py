import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from rosetune.robustness.paired import PairedDifference, paired_difference, sign_test


def shares(right: int, n: int) -> np.ndarray:
    return np.arange(n) < right


def outcomes(both, only_a, only_b, neither):
    counts = [both, only_a, only_b, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


class TestSignTest:
    @pytest.mark.parametrize(("only_a", "only_b"), [(1, 9), (9, 1), (5, 5), (0, 6), (12, 20), (300, 360)])
    def test_without_clusters_it_is_mcnemar(self, only_a, only_b):
        result = sign_test(*outcomes(40, only_a, only_b, 7))
        n = only_a + only_b
        assert result.two_sided == pytest.approx(binomtest(only_b, n).pvalue)
        assert result.b_better == pytest.approx(binomtest(only_b, n, alternative="greater").pvalue)
        assert result.a_better == pytest.approx(binomtest(only_a, n, alternative="greater").pvalue)
        assert result.two_sided == pytest.approx(statsmodels_mcnemar([[40, only_a], [only_b, 7]], exact=True).pvalue)

    @pytest.mark.parametrize(("only_a", "only_b"), [(1, 9), (9, 1), (5, 5), (0, 6), (12, 20)])
    def test_against_binomial_sums(self, only_a, only_b):
        n = only_a + only_b
        pmf = [math.comb(n, k) / 2**n for k in range(n + 1)]
        result = sign_test(*outcomes(3, only_a, only_b, 2))
        assert result.two_sided == pytest.approx(min(1, 2 * sum(pmf[: min(only_a, only_b) + 1])))
        assert result.b_better == pytest.approx(sum(pmf[only_b:]))

    def test_clusters_against_all_signs(self):
        rng = np.random.default_rng(0)
        for _ in range(20):
            a, b = rng.random(40) < 0.4, rng.random(40) < 0.6
            keys = rng.integers(0, 9, 40)
            d = [int(b[keys == k].sum()) - int(a[keys == k].sum()) for k in range(9)]
            sums = [
                sum(s * x for s, x in zip(signs, d, strict=True)) for signs in itertools.product((1, -1), repeat=9)
            ]
            above, below = np.mean(np.array(sums) >= sum(d)), np.mean(np.array(sums) <= sum(d))
            result = sign_test(a, b, clusters=keys.tolist())
            assert (result.b_better, result.a_better) == pytest.approx((above, below))
            assert result.two_sided == pytest.approx(min(1, 2 * min(above, below)))

    def test_duplicated_items_count_once(self):
        a, b = outcomes(40, 2, 9, 7)
        keys = np.repeat(np.arange(58), 3).tolist()
        once, thrice = sign_test(a, b), sign_test(np.repeat(a, 3), np.repeat(b, 3), clusters=keys)
        assert thrice.two_sided == pytest.approx(once.two_sided)
        assert sign_test(np.repeat(a, 3), np.repeat(b, 3)).two_sided < once.two_sided / 10

    def test_equal_models_and_refusals(self):
        result = sign_test([1, 0], [1, 0])
        assert (result.two_sided, result.b_better, result.a_better) == (1, 1, 1)
        with pytest.raises(ValueError, match="different lengths or no examples"):
            sign_test([], [])
        with pytest.raises(ValueError, match="different lengths"):
            sign_test([1], [1, 0])
        with pytest.raises(ValueError, match="different lengths"):
            sign_test([1, 0], [1, 0], clusters=["x"])
        with pytest.raises(ValueError, match="0 or 1"):
            sign_test([0.5], [1])


class TestPairedDifference:
    def test_by_hand(self):
        # both right 50, only a 10, only b 25, both wrong 15
        a = np.repeat([1, 1, 0, 0], [50, 10, 25, 15])
        b = np.repeat([1, 0, 1, 0], [50, 10, 25, 15])
        result = paired_difference(a, b)
        assert (result.n, result.only_a, result.only_b) == (100, 10, 25)
        assert result.difference == pytest.approx(0.15)
        assert result.p_value == pytest.approx(binomtest(10, 35).pvalue)
        assert result.p_b_better == pytest.approx(binomtest(25, 35, alternative="greater").pvalue)
        assert result.p_a_better == pytest.approx(binomtest(10, 35, alternative="greater").pvalue)
        error = math.sqrt((0.35 - 0.15**2) / 100)  # standard error of a paired difference
        assert (result.low, result.high) == pytest.approx((0.15 - 1.96 * error, 0.15 + 1.96 * error), abs=0.015)
        assert not result.within_noise

    def test_swapping_the_models_turns_the_sign(self):
        a, b = shares(40, 100), np.roll(shares(45, 100), 20)
        forth, back = paired_difference(a, b, resamples=100_000), paired_difference(b, a, resamples=100_000)
        assert back.difference == -forth.difference
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=0.011)
        assert back.p_value == pytest.approx(forth.p_value)

    def test_pairing_is_narrower_than_two_separate_samples(self):
        rng = np.random.default_rng(0)
        a = rng.random(400) < 0.6
        b = np.where(rng.random(400) < 0.05, ~a, a)
        paired = paired_difference(a, b)
        separate = 1.96 * math.sqrt(a.var() / 400 + b.var() / 400)
        assert (paired.high - paired.low) / 2 < separate / 2

    def test_clusters_widen(self):
        rng = np.random.default_rng(1)
        a, b = np.repeat(rng.random(60) < 0.5, 3), np.repeat(rng.random(60) < 0.65, 3)
        naive = paired_difference(a, b)
        clustered = paired_difference(a, b, clusters=np.repeat(np.arange(60), 3).tolist())
        assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)
        assert clustered.p_value > naive.p_value

    def test_identical_models_are_within_noise_and_not_certain(self):
        result = paired_difference(shares(60, 100), shares(60, 100))
        bound = binomtest(0, 100).proportion_ci().high
        assert (result.low, result.high) == pytest.approx((-bound, bound))
        assert result == PairedDifference(0.0, result.low, result.high, 100, 0, 0, 1.0, 1.0, 1.0)
        assert result.within_noise

    @pytest.mark.parametrize("n", [1, 4, 5, 6, 10])
    def test_where_b_always_wins_the_interval_agrees_with_mcnemar(self, n):
        result = paired_difference([0] * n, [1] * n)
        assert (result.difference, result.high) == (1.0, 1.0)
        assert result.within_noise == (result.p_value > 0.05)

    def test_one_cluster_shows_nothing(self):
        assert paired_difference([0, 0, 0, 1], [1, 1, 1, 1], clusters=["x"] * 4).within_noise

    def test_refusals(self):
        with pytest.raises(ValueError, match="different lengths"):
            paired_difference([1], [1, 0])
        with pytest.raises(ValueError, match="no examples"):
            paired_difference([], [])
        with pytest.raises(ValueError, match="0 or 1"):
            paired_difference([0.5], [1])
