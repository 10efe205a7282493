"""What a plan says of the options that it chose."""

from io import StringIO

import pytest
from rich.console import Console

from rosetune.report.sweep import print_choices

RATES = {"5e-05": 0.7, "0.0001": 0.8, "0.0002": 0.75}


def said(*choices):
    out = StringIO()
    print_choices(Console(file=out, width=200), choices)
    return " ".join(out.getvalue().split())


def test_a_value_at_an_end_of_what_was_tried_is_named():
    inside = ("sst2", "vanilla", "learning_rate", 1e-4, RATES)
    smallest = ("sst2", "rose", "learning_rate", 5e-5, RATES)
    greatest = ("qqp", "rose", "update_mask_kwargs.upper", 0.9, {"0.3": 0.5, "0.9": 0.6})
    ends = "a value beyond may be better: sst2 rose learning_rate, qqp rose upper."
    assert ends in said(inside, smallest, greatest)


@pytest.mark.parametrize(
    ("value", "scores"),
    [(1e-4, RATES), ("auto", {"auto": 0.7, "0.3": 0.6}), (0.3, {"auto": 0.7, "0.3": 0.8}), (0.3, {"0.3": 0.8})],
    ids=["inside", "a name", "beside a name", "the only one"],
)
def test_no_end_is_named_elsewhere(value, scores):
    assert "a value beyond" not in said(("sst2", "rose", "upper", value, scores))
