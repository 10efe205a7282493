"""Accuracy after at most so many changed words, read off results by hand."""

from typing import Any

import pytest

from rosetune.robustness.attacks.changed_words import AT_MOST, changed_words, within


def result(i: int, status: str, changed: int = 0, words: int = 20) -> dict[str, Any]:
    return {"id": i, "status": status, "words": words, "changes": [[at, "a", "b"] for at in range(changed)]}


# Of ten texts one is wrong before, three withstand, six are broken by 1, 1, 2, 3, 5 and 4 words.
RESULTS = [
    *(result(0, "skipped"), result(1, "failed"), result(2, "failed"), result(3, "failed")),
    *(result(4, "success", 1), result(5, "success", 1), result(6, "success", 2), result(7, "success", 3)),
    *(result(8, "success", 5), result(9, "success", 4, words=40)),
]


def test_what_is_left_at_each_number_of_words() -> None:
    found = changed_words(RESULTS)
    assert list(found) == list(AT_MOST)
    # Right before are 9; 10% of 20 words are 2, of 40 words 4; 20% are 4 and 8.
    assert {limit: round(10 * share["value"]) for limit, share in found.items()} == {
        **{"1": 7, "2": 6, "3": 5, "10%": 5, "20%": 4}
    }
    for share in found.values():
        assert 0 <= share["low"] <= share["value"] <= share["high"] <= 1


def test_more_words_never_leave_more() -> None:
    values = [changed_words(RESULTS, [str(k)])[str(k)]["value"] for k in range(1, 8)]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 0.3  # the accuracy under the attack itself


def test_a_share_of_a_short_text_may_allow_no_change() -> None:
    assert not within(result(0, "success", 1, words=9), "10%")
    assert within(result(0, "success", 1, words=10), "10%")
    assert within(result(0, "success", 3, words=30), "10%")
    assert not within(result(0, "failed", 0), "3")


@pytest.mark.parametrize("limit", ["0", "-1", "1.5", "x", "0%", "120%", "%"])
def test_what_is_no_limit(limit: str) -> None:
    with pytest.raises(ValueError, match="changed words"):
        within(result(0, "success", 1), limit)
