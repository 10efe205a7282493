import math

import numpy as np
import pytest

from rosetune.robustness.flip_control import (
    flip_control,
    flip_control_under_attack,
    flipped_accuracy,
    robust_at_equal_clean,
)


def outcomes(both, only_a, only_b, neither):
    counts = [both, only_a, only_b, neither]
    return np.repeat([1, 1, 0, 0], counts), np.repeat([1, 0, 1, 0], counts)


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


class TestFlipsUnderAttack:
    @pytest.mark.parametrize("classes", [2, 3])
    def test_against_flips_that_are_really_drawn(self, classes):
        """Rows right before, of which some withstand; a flip answers the whole neighbourhood of a row otherwise."""
        rng = np.random.default_rng(0)
        n, q = 100_000, 0.2
        right = rng.random(n) < 0.85
        withstood = right & (rng.random(n) < 0.3)
        flips = rng.random(n) < q
        to_the_right_one = rng.random(n) < 1 / (classes - 1)
        right_after = np.where(flips, ~right & to_the_right_one, right)
        # A row that a flip makes right was attacked by nobody, and counts as withstood: the most there can be.
        withstood_after = np.where(flips, right_after, withstood)
        result = flip_control_under_attack(right, right_after, withstood, ~right, withstood_after, classes)
        assert result.flip_rate == pytest.approx(q, abs=0.005)
        assert result.flipped == pytest.approx(withstood_after.mean(), abs=0.003)
        assert result.low < result.excess < result.high

    def test_by_hand(self):
        # 100 clean rows of which 90 and 82 are right: q = (90 - 82) / (2 (90 - 50)) = 0.1.
        clean, after = (np.repeat([1, 0], counts) for counts in ((90, 10), (82, 18)))
        withstood, wrong, robust = (np.repeat([1, 0], counts) for counts in ((4, 16), (4, 16), (8, 12)))
        wrong = wrong[::-1]
        result = flip_control_under_attack(clean, after, withstood, wrong, robust, 2)
        assert result.flip_rate == pytest.approx(0.1)
        assert result.flipped == pytest.approx(0.9 * 4 / 20 + 0.1 * 4 / 20)
        assert result.excess == pytest.approx(8 / 20 - 0.2)
        free = flip_control_under_attack(clean, clean, withstood, wrong, robust, 2)
        assert (free.flip_rate, free.flipped) == (0, 0.2)  # nothing was paid
