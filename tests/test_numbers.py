"""How a number is written: alike wherever it comes from."""

import pytest

from rosetune._numbers import fixed, in_percent, tidy

NOISY = 0.5874999999999999  # 0.5875, as a mean of floats may come


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.5875, "58.8"),
        (NOISY, "58.8"),
        (0.5, "50.0"),
        (1 / 3, "33.3"),
        (0.5865, "58.7"),
        (0.0125, "1.3"),
        (-0.0125, "-1.3"),
    ],
)
def test_a_share_and_the_same_with_noise_are_written_alike(share: float, shown: str) -> None:
    assert in_percent(share) == shown


@pytest.mark.parametrize("noise", [0.0, 1e-15, -1e-15])
@pytest.mark.parametrize("points", [1.25, 0.75, 3.35, 0.05])
def test_a_gain_and_the_loss_of_as_much_have_the_same_figures(points: float, noise: float) -> None:
    gain, loss = in_percent(points / 100 + noise, "+"), in_percent(-points / 100 + noise, "+")
    assert (gain[0], loss[0], gain[1:]) == ("+", "-", loss[1:])


def test_what_is_no_number_or_too_large_to_round_is_written_as_it_is() -> None:
    assert [fixed(value) for value in (float("nan"), float("-inf"), 1e30)] == ["nan", "-inf", f"{1e30:.3f}"]
    assert fixed(0.7575) == "0.758"


def test_zero_has_no_minus() -> None:
    for value in (-0.0, -1e-12, -0.0004):
        assert in_percent(value) == "0.0"
        assert in_percent(value, "+") == "+0.0"
        assert fixed(value) == "0.000"
    assert str(tidy(-0.0)) == "0.0"


def test_files_hold_twelve_digits() -> None:
    assert tidy(0.9429000000000001) == 0.9429
    assert tidy(1 / 3) == 0.333333333333
    assert tidy(1.2345e-20) == 1.2345e-20  # a small p is not zero
    found = tidy({"a": [NOISY, None, "0.9429000000000001"], "n": 3, "yes": True, "b": ({"c": 0.1 + 0.2},)})
    assert found == {"a": [0.5875, None, "0.9429000000000001"], "n": 3, "yes": True, "b": [{"c": 0.3}]}
    assert tidy(float("inf")) == float("inf")
