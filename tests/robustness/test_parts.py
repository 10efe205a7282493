"""Results by length and by group."""

from typing import Any

import pytest
from scipy.stats import binomtest

from rosetune.robustness.detection import choose_threshold
from rosetune.robustness.parts import MISSING, band_of, by_band, by_group, count_words

LABELS = ("ham", "spam")


def row(i: int, gold: str | None, score: float) -> dict[str, Any]:
    return {"set": "s", "id": i, "gold": gold, "prediction": LABELS[score > 0], "logits": [0.0, score]}


ROWS = [row(0, "spam", 1.0), row(1, "spam", -1.0), row(2, "ham", -1.0), row(3, "ham", -2.0), row(4, None, 1.0)]


@pytest.mark.parametrize(
    ("words", "band"),
    [(0, "up to 8"), (8, "up to 8"), (9, "9 to 16"), (64, "33 to 64"), (128, "65 to 128"), (129, "over 128")],
)
def test_bands(words: int, band: str) -> None:
    assert band_of(words) == band
    assert count_words(("one two", " three\n")) == 3


def test_bands_hold_every_labelled_row_once() -> None:
    found = by_band(ROWS, {"0": 200, "1": 3, "2": 3, "3": 20, "4": 3})
    assert [(part["band"], part["n"], part["accuracy"]) for part in found] == [
        ("up to 8", 2, 0.5),
        ("17 to 32", 1, 1.0),
        ("over 128", 1, 1.0),
    ]
    assert sum(part["n"] for part in found) == 4


def test_holes_are_a_group_of_their_own() -> None:
    found = by_group(ROWS, {"0": "en", "1": None, "2": "de"})
    assert [(part["group"], part["n"]) for part in found] == [("de", 1), ("en", 1), (MISSING, 2)]
    exact = binomtest(1, 1).proportion_ci(0.95, method="exact")
    assert (found[0]["low"], found[0]["high"]) == (pytest.approx(exact.low), 1.0)  # one row says little, and shows it
    assert "recall" not in found[0]


def test_groups_have_the_recall_of_the_same_threshold() -> None:
    threshold = choose_threshold([-5.0, 0.5], 0.01)
    options = {"labels": LABELS, "positive": "spam", "threshold": threshold}
    english, other = by_group(ROWS, {"0": "en", "2": "en"}, **options)
    assert (english["positives"], english["recall"]["value"]) == (1, 1.0)
    assert (other["positives"], other["recall"]["value"]) == (1, 0.0)
    (ham,) = by_group(ROWS[2:4], {}, **options)
    assert (ham["positives"], ham["recall"]) == (0, None)


def test_a_regression_has_its_squared_error_by_group() -> None:
    numbers = [{"set": "s", "id": i, "gold": float(i), "prediction": float(i) + 2 * (i > 1)} for i in range(4)]
    found = by_group(numbers, {"0": "a", "1": "a", "2": "b", "3": "b"})
    assert [part["mse"] for part in found] == [0.0, 4.0]
