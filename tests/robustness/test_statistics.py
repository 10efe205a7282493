import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, bootstrap, ttest_rel, wilcoxon

from rosetune.robustness.statistics import difference, difference_of_errors, estimate, sign_test


def shares(right: int, n: int) -> np.ndarray:
    return np.arange(n) < right


def outcomes(both, only_a, only_b, neither):
    counts = [both, only_a, only_b, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


def interval(values, **options) -> tuple[float, float]:
    found = estimate(values, **options)
    return found.low, found.high


class TestEstimate:
    @pytest.mark.parametrize("values", [shares(60, 148), shares(800, 872), np.random.default_rng(0).gamma(2, 1, 80)])
    def test_agrees_with_scipy(self, values):
        reference = bootstrap(
            (values.astype(float),), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(1)
        ).confidence_interval
        width = reference.high - reference.low
        assert interval(values) == pytest.approx(tuple(reference), abs=0.05 * width)

    def test_independent_shares_agree_with_the_binomial_distribution(self):
        # The bootstrap of k of n is Binomial(n, k/n) / n, whose quantiles scipy has in closed form.
        low, high = interval(shares(60, 148), resamples=200_000)
        exact = binom(148, 60 / 148)
        assert (low, high) == pytest.approx((exact.ppf(0.025) / 148, exact.ppf(0.975) / 148), abs=1.01 / 148)

    def test_level(self):
        narrow = interval(shares(60, 148), level=0.8)
        wide = interval(shares(60, 148), level=0.99)
        assert wide[0] < narrow[0] < narrow[1] < wide[1]

    @pytest.mark.parametrize(("right", "n"), [(0, 20), (20, 20), (1, 1), (0, 1), (148, 148)])
    def test_all_right_or_all_wrong_is_not_certain(self, right, n):
        reference = binomtest(right, n).proportion_ci(0.9)
        assert interval(shares(right, n), level=0.9) == pytest.approx((reference.low, reference.high))

    def test_order_of_examples_does_not_matter_and_seeds_do_little(self):
        values = shares(60, 148)
        shuffled = np.random.default_rng(3).permutation(values)
        assert interval(values) == interval(shuffled)
        assert interval(values, seed=1) == pytest.approx(interval(values, seed=2), abs=0.01)

    def test_clusters_of_one_are_no_clusters(self):
        values = shares(30, 70)
        assert interval(values, clusters=[f"c{i}" for i in range(70)]) == interval(values)

    def test_duplicated_examples_count_once(self):
        values = shares(60, 148)
        four = np.repeat(values, 4)
        keys = np.repeat(np.arange(148), 4).tolist()
        assert interval(four, clusters=keys) == interval(values)
        naive, clustered = np.diff(interval(four))[0], np.diff(interval(four, clusters=keys))[0]
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
        assert interval(values, clusters=keys.tolist()) == pytest.approx(tuple(reference), abs=0.02)

    def test_clustered_interval_covers_where_the_naive_one_does_not(self):
        rng = np.random.default_rng(0)
        covered = {"naive": 0, "clustered": 0}
        keys = np.repeat(np.arange(50), 3).tolist()
        for _ in range(300):
            values = np.repeat(rng.random(50) < 0.6, 3)  # three variants of one original fall together
            intervals = {
                "naive": interval(values, resamples=1000),
                "clustered": interval(values, clusters=keys, resamples=1000),
            }
            for name, (low, high) in intervals.items():
                covered[name] += low <= 0.6 <= high
        assert covered["clustered"] / 300 > 0.90
        assert covered["naive"] / 300 < 0.85

    def test_alike_clusters_fall_back_to_their_number(self):
        reference = binomtest(5, 5).proportion_ci()
        right = interval([1] * 15, clusters=[i // 3 for i in range(15)])
        assert right == pytest.approx((reference.low, reference.high))
        low, high = interval([1, 0, 1, 0], clusters=["a"] * 4)  # one original says next to nothing
        assert low < 0.05
        assert high > 0.95

    def test_constant_values_outside_shares_have_no_spread(self):
        assert interval([3.5, 3.5]) == (3.5, 3.5)

    def test_many_distinct_values_stay_within_memory(self, monkeypatch):
        values = np.random.default_rng(0).normal(size=300)
        whole = interval(values, resamples=1000)
        monkeypatch.setattr("rosetune.robustness.resampling.BLOCK", 10_000)
        assert interval(values, resamples=1000) == whole

    def test_the_value_is_the_mean(self):
        found = estimate(shares(60, 148))
        assert (found.n, found.value) == (148, 60 / 148)
        assert found.low < found.value < found.high

    def test_refusals(self):
        with pytest.raises(ValueError, match="no examples"):
            estimate([])
        with pytest.raises(ValueError, match=r"\(examples\) or \(seeds, examples\)"):
            estimate(np.ones((2, 2, 2)))
        with pytest.raises(ValueError, match="runs of different lengths"):
            estimate([[1, 0], [1]])
        with pytest.raises(ValueError, match="different lengths"):
            interval([1, 0], clusters=["a"])
        with pytest.raises(ValueError, match="not finite"):
            interval([1, math.nan])
        with pytest.raises(ValueError, match="between 0 and 1"):
            interval([1, 0], level=95)


class TestDifference:
    def test_by_hand(self):
        # both right 50, only a 10, only b 25, both wrong 15
        a = np.repeat([1, 1, 0, 0], [50, 10, 25, 15])
        b = np.repeat([1, 0, 1, 0], [50, 10, 25, 15])
        result = difference(a, b)
        assert (result.n, result.seeds, result.only_a, result.only_b) == (100, 1, 10, 25)
        assert (result.a, result.b) == (estimate(a), estimate(b))
        assert (result.sd, result.per_seed) == (None, (result.p,))
        assert result.value == pytest.approx(0.15)
        assert result.p == pytest.approx(binomtest(10, 35).pvalue)
        assert result.p_b_better == pytest.approx(binomtest(25, 35, alternative="greater").pvalue)
        assert result.p_a_better == pytest.approx(binomtest(10, 35, alternative="greater").pvalue)
        error = math.sqrt((0.35 - 0.15**2) / 100)  # standard error of a paired difference
        assert (result.low, result.high) == pytest.approx((0.15 - 1.96 * error, 0.15 + 1.96 * error), abs=0.015)
        assert result.verdict == 1

    def test_swapping_the_models_turns_the_sign(self):
        a, b = shares(40, 100), np.roll(shares(45, 100), 20)
        forth, back = difference(a, b, resamples=100_000), difference(b, a, resamples=100_000)
        assert back.value == -forth.value
        assert (back.p_a_better, back.p_b_better) == pytest.approx((forth.p_b_better, forth.p_a_better))
        assert (back.low, back.high) == pytest.approx((-forth.high, -forth.low), abs=0.011)
        assert back.p == pytest.approx(forth.p)

    def test_pairing_is_narrower_than_two_separate_samples(self):
        rng = np.random.default_rng(0)
        a = rng.random(400) < 0.6
        b = np.where(rng.random(400) < 0.05, ~a, a)
        paired = difference(a, b)
        separate = 1.96 * math.sqrt(a.var() / 400 + b.var() / 400)
        assert (paired.high - paired.low) / 2 < separate / 2

    def test_clusters_widen(self):
        rng = np.random.default_rng(1)
        a, b = np.repeat(rng.random(60) < 0.5, 3), np.repeat(rng.random(60) < 0.65, 3)
        naive = difference(a, b)
        clustered = difference(a, b, clusters=np.repeat(np.arange(60), 3).tolist())
        assert clustered.high - clustered.low > 1.5 * (naive.high - naive.low)
        assert clustered.p > naive.p

    def test_identical_models_are_within_noise_and_not_certain(self):
        result = difference(shares(60, 100), shares(60, 100))
        bound = binomtest(0, 100).proportion_ci().high
        assert (result.low, result.high) == pytest.approx((-bound, bound))
        assert (result.value, result.only_a, result.only_b) == (0, 0, 0)
        assert (result.p, result.p_b_better, result.p_a_better) == (1, 1, 1)
        assert result.verdict == 0

    @pytest.mark.parametrize("n", [1, 4, 5, 6, 10])
    def test_where_b_always_wins_the_interval_agrees_with_mcnemar(self, n):
        result = difference([0] * n, [1] * n)
        assert (result.value, result.high) == (1.0, 1.0)
        assert result.verdict == (result.p <= 0.05)

    def test_the_interval_alone_is_no_verdict(self):
        # Of 5 differing examples all speak for b: the bootstrap excludes 0, but 1/32 > 0.025.
        result = difference(*outcomes(3, 0, 5, 2))
        assert result.low > 0
        assert result.p_b_better == pytest.approx(1 / 32)
        assert result.verdict == 0
        more = difference(*outcomes(3, 0, 6, 2))
        assert (more.low > 0, more.p_b_better, more.verdict) == (True, pytest.approx(1 / 64), 1)
        assert difference(*outcomes(3, 6, 0, 2)).verdict == -1

    def test_one_cluster_shows_nothing(self):
        assert difference([0, 0, 0, 1], [1, 1, 1, 1], clusters=["x"] * 4).verdict == 0

    def test_refusals(self):
        with pytest.raises(ValueError, match="different lengths"):
            difference([1], [1, 0])
        with pytest.raises(ValueError, match="no examples"):
            difference([], [])
        with pytest.raises(ValueError, match="0 or 1"):
            difference([0.5], [1])


class TestSeeds:
    def test_against_a_literal_resampling(self):
        rng = np.random.default_rng(0)
        keys = np.repeat(np.arange(30), rng.integers(1, 5, 30))
        table = (rng.random((4, len(keys))) < rng.random((4, 1)) * rng.random(30)[keys]).astype(float)
        means = []
        for _ in range(4000):
            items = np.concatenate([np.flatnonzero(keys == key) for key in rng.integers(0, 30, 30)])
            means.append(table[rng.integers(0, 4, 4)][:, items].mean())
        low, high = interval(table, clusters=keys.tolist())
        assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.02)
        assert low < table.mean() < high

    def test_equal_seeds_are_one_seed(self):
        row = np.arange(148) < 60
        assert interval([row] * 3) == pytest.approx(interval(row), abs=0.01)
        a, b = outcomes(50, 10, 25, 15)
        one, three = difference(a, b), difference([a] * 3, [b] * 3)
        assert (three.value, three.low, three.high) == pytest.approx((one.value, one.low, one.high), abs=0.015)

    def test_spread_over_seeds_widens(self):
        rng = np.random.default_rng(1)
        table = rng.random((5, 2000)) < np.array([0.2, 0.35, 0.5, 0.65, 0.8])[:, None]
        low, high = interval(table)
        assert high - low > 5 * np.diff(interval(table[2]))[0]
        # The variance of a mean of five draws from five seeds: their population variance over 5.
        assert high - low == pytest.approx(2 * 1.96 * np.std([0.2, 0.35, 0.5, 0.65, 0.8]) / math.sqrt(5), rel=0.15)

    def test_pairing_takes_out_what_seeds_share(self):
        rng = np.random.default_rng(2)
        a = rng.random((5, 1000)) < np.array([0.3, 0.4, 0.5, 0.6, 0.7])[:, None]
        b = a | (rng.random((5, 1000)) < 0.05)
        found = difference(a, b)
        assert found.value == pytest.approx(b.mean() - a.mean())
        assert 0 < found.low < found.value < found.high < 0.06
        assert (found.a, found.b, found.seeds) == (estimate(a), estimate(b), 5)

    def test_the_p_values_are_those_of_the_seeds(self):
        rng = np.random.default_rng(4)
        a, b = rng.random((4, 300)) < 0.6, rng.random((4, 300)) < 0.66
        found, means = difference(a, b), (b.mean(axis=1), a.mean(axis=1))
        assert found.p == pytest.approx(ttest_rel(*means).pvalue)
        assert found.p_b_better == pytest.approx(ttest_rel(*means, alternative="greater").pvalue)
        assert found.p_a_better == pytest.approx(ttest_rel(*means, alternative="less").pvalue)
        assert found.sd == pytest.approx((means[0] - means[1]).std(ddof=1))
        assert found.per_seed == tuple(sign_test(*pair).two_sided for pair in zip(a, b, strict=True))
        assert (found.only_a, found.only_b) == ((a & ~b).sum(), (b & ~a).sum())

    def test_seeds_that_all_differ_alike_show_nothing(self):
        a, b = outcomes(10, 0, 30, 0)
        found = difference([a] * 3, [b] * 3)
        assert found.low > 0
        assert (found.p, found.p_b_better, found.p_a_better, found.sd, found.verdict) == (None, None, None, 0, 0)

    def test_no_spread_falls_back(self):
        assert interval(np.ones((3, 20))) == pytest.approx(tuple(binomtest(20, 20).proportion_ci()))
        bound = binomtest(0, 20).proportion_ci().high
        same = np.arange(20) < 9
        found = difference([same] * 2, [same] * 2)
        assert (found.value, found.low, found.high) == pytest.approx((0, -bound, bound))

    def test_does_not_depend_on_blocks_of_memory_much(self, monkeypatch):
        table = np.random.default_rng(3).random((3, 50)) < 0.5
        whole = interval(table)
        monkeypatch.setattr("rosetune.robustness.resampling.BLOCK", 7_000)
        assert interval(table) == pytest.approx(whole, abs=0.02)

    def test_refusals(self):
        with pytest.raises(ValueError, match="not finite"):
            estimate([[1, 0], [math.nan, 0]])
        with pytest.raises(ValueError, match="different lengths"):
            estimate([[1, 0], [1, 0]], clusters=["x"])
        with pytest.raises(ValueError, match="same seeds and examples"):
            difference(np.ones((2, 3)), np.ones((3, 3)))
        with pytest.raises(ValueError, match="0 or 1"):
            difference(np.ones((2, 3)), np.full((2, 3), 0.5))
        with pytest.raises(ValueError, match="between 0 and 1"):
            difference([1, 0], [0, 1], level=95)


class TestDifferenceOfErrors:
    def test_lower_is_better(self):
        rng = np.random.default_rng(0)
        gold = rng.normal(size=200)
        a, b = (gold - rng.normal(gold, 1.0)) ** 2, (gold - rng.normal(gold, 0.6)) ** 2
        found = difference_of_errors(a, b)
        assert found.value == pytest.approx(a.mean() - b.mean())
        assert (found.a, found.b) == (estimate(a), estimate(b))
        error = (a - b).std() / math.sqrt(200)
        assert (found.low, found.high) == pytest.approx(
            (found.value - 1.96 * error, found.value + 1.96 * error), abs=0.3 * error
        )
        assert (found.only_a, found.only_b) == ((a < b).sum(), (b < a).sum())
        assert (found.verdict, difference_of_errors(b, a).verdict) == (1, -1)
        assert found.p == pytest.approx(wilcoxon(a, b).pvalue, abs=0.01)

    def test_seeds(self):
        rng = np.random.default_rng(1)
        a, b = rng.gamma(2, 1.0, (4, 50)), rng.gamma(2, 0.9, (4, 50))
        found, means = difference_of_errors(a, b), (a.mean(axis=1), b.mean(axis=1))
        assert found.p_b_better == pytest.approx(ttest_rel(*means, alternative="greater").pvalue)
        assert found.p == pytest.approx(ttest_rel(*means).pvalue)
        assert (found.seeds, len(found.per_seed)) == (4, 4)

    def test_few_examples_show_nothing_however_alike(self):
        found = difference_of_errors([1.0] * 4, [0.5] * 4)
        assert (found.low, found.value, found.high, found.verdict) == (0.5, 0.5, 0.5, 0)
        assert found.p_b_better == pytest.approx(1 / 16)
        assert difference_of_errors([1.0] * 4, [1.0] * 4).verdict == 0

    def test_refusals(self):
        with pytest.raises(ValueError, match="not negative"):
            difference_of_errors([1.0], [-1.0])
        with pytest.raises(ValueError, match="same seeds and examples"):
            difference_of_errors([1.0], [1.0, 2.0])
