import itertools
import math

import numpy as np
import pytest
from scipy.stats import binomtest, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from rosetune.robustness.statistics import paired_t_test, sign_flip_test, sign_test


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
        with pytest.raises(ValueError, match="no examples"):
            sign_test([], [])
        with pytest.raises(ValueError, match="different lengths"):
            sign_test([1], [1, 0])
        with pytest.raises(ValueError, match="different lengths"):
            sign_test([1, 0], [1, 0], clusters=["x"])
        with pytest.raises(ValueError, match="0 or 1"):
            sign_test([0.5], [1])


class TestSignFlipTest:
    def all_flips(self, d):
        sums = [
            sum(s * x for s, x in zip(signs, d, strict=True)) for signs in itertools.product((1, -1), repeat=len(d))
        ]
        above, below = np.mean(np.array(sums) >= sum(d) - 1e-9), np.mean(np.array(sums) <= sum(d) + 1e-9)
        return above, below

    @pytest.mark.parametrize("n", [1, 2, 5, 10])
    def test_few_examples_against_all_flips(self, n):
        gain = np.random.default_rng(n).normal(0.3, 1, n)
        result = sign_flip_test(gain)
        above, below = self.all_flips(gain)
        assert (result.b_better, result.a_better) == pytest.approx((above, below))
        assert result.two_sided == pytest.approx(min(1, 2 * min(above, below)))

    def test_clusters_flip_together(self):
        rng = np.random.default_rng(0)
        gain, keys = rng.normal(0.2, 1, 40), rng.integers(0, 8, 40)
        result = sign_flip_test(gain, clusters=keys.tolist())
        assert result.b_better == pytest.approx(self.all_flips([gain[keys == k].sum() for k in range(8)])[0])

    def test_many_examples_agree_with_the_normal_distribution(self):
        gain = np.random.default_rng(1).normal(0, 1, 500)
        gain += 1.7 / math.sqrt(500) - gain.mean()
        z = gain.sum() / math.sqrt((gain**2).sum())
        result = sign_flip_test(gain)
        assert result.b_better == pytest.approx(math.erfc(z / math.sqrt(2)) / 2, abs=0.01)
        assert 0.01 < result.b_better < 0.1
        assert sign_flip_test(-gain).a_better == pytest.approx(result.b_better, abs=0.01)

    def test_drawn_signs_never_give_a_p_of_zero(self):
        assert sign_flip_test(np.ones(100)).b_better == pytest.approx(1 / 10_000)

    def test_equal_errors_and_refusals(self):
        result = sign_flip_test([0.0, 0.0])
        assert (result.two_sided, result.b_better, result.a_better) == (1, 1, 1)
        with pytest.raises(ValueError, match="no examples"):
            sign_flip_test([])
        with pytest.raises(ValueError, match="not finite"):
            sign_flip_test([1.0, math.nan])
        with pytest.raises(ValueError, match="one pair of runs"):
            sign_flip_test([[1.0], [2.0]])


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
