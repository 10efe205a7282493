"""One class told from the rest: area, threshold and recall against sklearn, scipy and brute force."""

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import beta, binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from rosetune.robustness.detection import choose_threshold, detection_metrics, log_odds, recall, roc_auc
from rosetune.runs.threshold import ties_note

RNG = np.random.default_rng(5)
POSITIVES, NEGATIVES = RNG.normal(1.2, 1.0, 40), RNG.normal(0.0, 1.0, 130)


def test_log_odds_are_those_of_the_probability() -> None:
    logits = RNG.normal(size=(20, 3))
    p = softmax(logits, axis=1)[:, 2]
    np.testing.assert_allclose(log_odds(logits, 2), np.log(p / (1 - p)), rtol=1e-9)
    assert log_odds([[0.0, 800.0], [0.0, 900.0]], 1).tolist() == [800.0, 900.0]  # where both probabilities are 1


@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05, 0.2])
def test_recall_is_the_best_that_the_roc_curve_has_at_the_rate(rate: float) -> None:
    threshold = choose_threshold(NEGATIVES, rate)
    assert threshold is not None
    fpr, tpr, _ = roc_curve([1] * 40 + [0] * 130, [*POSITIVES, *NEGATIVES], drop_intermediate=False)
    assert recall(POSITIVES, threshold).value == pytest.approx(tpr[fpr <= rate].max())
    assert np.mean(threshold.value < NEGATIVES) <= rate


def test_tied_scores_never_exceed_the_rate() -> None:
    threshold = choose_threshold([0.0] * 50 + [1.0] * 50, 0.3)
    assert threshold is not None
    assert threshold.value == 1.0  # below it half of them would count
    assert choose_threshold([], 0.3) is None


def test_the_interval_of_recall_is_that_of_a_bootstrap_over_both_choices_of_rows() -> None:
    threshold = choose_threshold(NEGATIVES, 0.05)
    assert threshold is not None
    found = recall(POSITIVES, threshold)
    rng, draws = np.random.default_rng(1), []
    for _ in range(4000):
        negatives = np.sort(rng.choice(NEGATIVES, 130))[::-1]
        draws.append(np.mean(rng.choice(POSITIVES, 40) > negatives[6]))  # floor(0.05 * 130) = 6 may lie above
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    fixed = np.quantile(np.random.default_rng(2).binomial(40, found.value, 4000) / 40, [0.025, 0.975])
    assert found.high - found.low > fixed[1] - fixed[0] + 0.02  # the threshold's own luck is in it


def test_clusters_of_positives_are_drawn_whole() -> None:
    threshold = choose_threshold(NEGATIVES, 0.05)
    assert threshold is not None
    alone = recall(POSITIVES, threshold)
    repeated = recall(np.repeat(POSITIVES, 5), threshold, clusters=[i // 5 for i in range(200)])
    assert repeated.value == alone.value
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), abs=0.03)


def test_all_found_has_the_exact_interval() -> None:
    threshold = choose_threshold([-1.0] * 30, 0.1)
    assert threshold is not None
    exact = binomtest(12, 12).proportion_ci(0.95, method="exact")
    found = recall([3.0] * 12, threshold)
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(exact.low), 1.0)


def test_none_found_is_not_certain_though_a_rare_draw_of_the_negatives_finds_one() -> None:
    """The threshold falls below the positive where none of the seven largest negatives is drawn: once in 2,000 draws.

    The bootstrap alone has 0 at both ends.
    """
    negatives = np.arange(50.0)
    threshold = choose_threshold(negatives, 0.01, "validation")
    assert threshold is not None
    found = recall([-1.0] * 7 + [42.5], threshold)
    exact = binomtest(0, 8).proportion_ci(method="exact")
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(exact.high)


def test_the_area_and_its_interval_are_sklearns_and_delongs() -> None:
    found = roc_auc(POSITIVES, NEGATIVES)
    area = roc_auc_score([1] * 40 + [0] * 130, [*POSITIVES, *NEGATIVES])
    assert found.value == pytest.approx(area)
    above = np.array([np.mean([(x > y) + (x == y) / 2 for y in NEGATIVES]) for x in POSITIVES])
    below = np.array([np.mean([(x > y) + (x == y) / 2 for x in POSITIVES]) for y in NEGATIVES])
    sd = np.sqrt(np.var(above) / 40 + np.var(below) / 130)
    ends = np.log(area / (1 - area)) + norm.ppf([0.025, 0.975]) * sd / (area * (1 - area))
    assert (found.low, found.high) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))


def test_copies_of_rows_add_nothing_to_the_area() -> None:
    alone = roc_auc(POSITIVES, NEGATIVES)
    keys = [i // 3 for i in range(120)], [100 + i // 3 for i in range(390)]
    copied = roc_auc(np.repeat(POSITIVES, 3), np.repeat(NEGATIVES, 3), clusters=keys)
    assert (copied.value, copied.low, copied.high) == pytest.approx((alone.value, alone.low, alone.high))


def test_a_perfect_area_is_not_certain() -> None:
    found = roc_auc([2.0] * 8, [1.0] * 50)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(binomtest(8, 8).proportion_ci(0.95, method="exact").low)
    with pytest.raises(ValueError, match="positives and negatives"):
        roc_auc([], [1.0])


@pytest.mark.parametrize(("m", "n"), [(8, 50), (7, 3)])
def test_the_area_of_a_constant_score_is_not_certain(m: int, n: int) -> None:
    found, pairs = roc_auc([0.3] * m, [0.3] * n), min(m, n)
    exact = beta.ppf([0.025, 0.975], [pairs / 2, pairs / 2 + 1], [pairs / 2 + 1, pairs / 2])
    assert (found.value, found.low, found.high) == pytest.approx((0.5, *exact))


def test_clusters_whose_rows_outweigh_each_other_leave_no_variance() -> None:
    """Each cluster holds a positive and a negative that are alike: their parts in the variance cancel."""
    scores, keys = np.arange(6.0), list(range(6))
    found = roc_auc(scores, scores, clusters=(keys, keys))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, *beta.ppf([0.025, 0.975], [3, 4], [4, 3])))


@pytest.mark.parametrize("score", [2.0, 1.0])
def test_copies_of_rows_add_nothing_where_there_is_no_variance(score: float) -> None:
    alone = roc_auc([score] * 8, [1.0] * 50)
    keys = [i // 3 for i in range(24)], [100 + i // 3 for i in range(150)]
    copied = roc_auc([score] * 24, [1.0] * 150, clusters=keys)
    assert (copied.value, copied.low, copied.high) == (alone.value, alone.low, alone.high)


def rows(golds: str, scores: list[float]) -> list[dict[str, Any]]:
    named = {"+": "spam", "-": "ham", "?": None}
    return [
        {"set": "s", "id": i, "gold": named[g], "logits": [0.0, s]}
        for i, (g, s) in enumerate(zip(golds, scores, strict=True))
    ]


def test_metrics_of_a_set_by_hand() -> None:
    threshold = choose_threshold([0.0, 1.0], 0.5, "clean")  # one of two may lie above: the value is 0
    found = detection_metrics(rows("++--?", [2.0, -1.0, 0.5, -2.0, 9.0]), ["ham", "spam"], "spam", threshold)
    assert (found["positives"], found["negatives"]) == (2, 2)
    assert found["auc"]["value"] == 0.75
    assert found["recall"]["value"] == 0.5
    assert found["false_positive_rate"]["value"] == 0.5
    assert found["threshold"] == {
        **{"log_odds": 0.0, "probability": 0.5, "false_positive_rate": 0.5, "chosen_on": "clean", "negatives": 2}
    }


def test_a_set_of_one_class_has_what_it_can_have() -> None:
    threshold = choose_threshold([0.0], 0.5)
    only = detection_metrics(rows("++", [2.0, -1.0]), ["ham", "spam"], "spam", threshold)
    assert (only["auc"], only["false_positive_rate"], only["recall"]["value"]) == (None, None, 0.5)
    none = detection_metrics(rows("--", [2.0, -1.0]), ["ham", "spam"], "spam", threshold)
    assert (none["auc"], none["recall"], none["false_positive_rate"]["value"]) == (None, None, 0.5)
    assert detection_metrics(rows("+-", [2.0, -1.0]), ["ham", "spam"], "spam")["recall"] is None


def test_positives_with_the_very_score_of_the_threshold_are_counted():
    """A list of rules has two answers: at most rates its threshold is one of them, and nothing lies above."""
    threshold = choose_threshold([2.0, -2.0, -2.0, -2.0], 0.1)
    found = detection_metrics(rows("+++--", [2.0, 2.0, -2.0, -2.0, -2.0]), ["ham", "spam"], "spam", threshold)
    assert (found["recall"]["value"], found["at_threshold"]) == (0.0, 2)
    said = ties_note({"clean": found, "typos_1": {**found, "at_threshold": 0}})
    assert "do not count as found: 2 of 3 on clean. " in said
    assert ties_note({"clean": {**found, "at_threshold": 0}}) == ""
    before = {name: value for name, value in found.items() if name != "at_threshold"}  # as earlier versions kept it
    assert ties_note({"clean": before}) == ""
