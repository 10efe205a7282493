"""When a step of hardening is taken, on made-up numbers."""

from typing import Any

import pytest

import made_runs
from rosetune.experiments import harden
from rosetune.experiments.harden_options import CANDIDATES, HardenOptions
from rosetune.experiments.harden_rules import Judged, best_candidate, is_taken, judge, why
from rosetune.runs.values import RunError

PLAIN = Judged("none", 0.90, 0.80, 0.40)  # score 0.75


def test_the_score_is_half_clean_and_half_robust() -> None:
    assert PLAIN.score == pytest.approx((0.90 + (0.80 + 0.40) / 2) / 2)


@pytest.mark.parametrize(
    ("new", "taken"),
    [
        ((0.90, 0.80, 0.42), True),  # 0.5 points of score, as much as it takes
        ((0.90, 0.80, 0.41), False),
        ((0.88, 0.90, 0.90), True),  # two points of clean accuracy, as many as it may cost
        ((0.87, 1.00, 1.00), False),
        ((0.90, 0.80, 0.40), False),
        ((0.95, 0.70, 0.30), False),  # what is won on clean rows is lost on the others
    ],
)
def test_a_step_must_gain_and_may_not_cost_more_than_it_is_allowed(new: tuple[float, ...], taken: bool) -> None:
    one = Judged("new", *new)
    assert is_taken(one, PLAIN, PLAIN, HardenOptions()) is taken
    said = why(one, PLAIN, PLAIN, HardenOptions())
    assert any(words in said for words in ("less than 0.5", "no gain", "clean accuracy falls")) is not taken


def test_without_a_least_gain_an_equal_is_still_not_taken() -> None:
    options = HardenOptions(min_gain=0.0)
    assert not is_taken(Judged("new", 0.90, 0.80, 0.40), PLAIN, PLAIN, options)
    assert is_taken(Judged("new", 0.90, 0.80, 0.401), PLAIN, PLAIN, options)


def test_clean_accuracy_is_counted_from_the_plain_model_not_from_the_best_so_far() -> None:
    best = Judged("round-1", 0.885, 0.85, 0.60)
    assert not is_taken(Judged("round-2", 0.87, 0.90, 0.90), best, PLAIN, HardenOptions())
    assert is_taken(Judged("round-2", 0.88, 0.90, 0.90), best, PLAIN, HardenOptions())


def test_the_best_candidate_is_the_first_of_equals_and_none_where_nothing_gains() -> None:
    good, same, costly = (Judged(n, *f) for n, f in {
        "a": (0.90, 0.85, 0.50), "b": (0.90, 0.85, 0.50), "c": (0.80, 1.0, 1.0),
    }.items())  # fmt: skip
    assert best_candidate([PLAIN, costly, good, same], HardenOptions()) is good
    assert best_candidate([PLAIN, costly], HardenOptions()) is PLAIN
    assert best_candidate([PLAIN], HardenOptions()) is PLAIN


@pytest.mark.parametrize("alphas", [(0.5, 0.75, 0.9), (0.9, 0.75, 0.5)])
def test_the_best_point_on_the_line_is_taken_in_whatever_order(alphas: tuple[float, ...]) -> None:
    """Each must gain on the weights as they were tuned, not on another point."""
    scores = {0.5: 0.43, 0.75: 0.44, 0.9: 0.40}  # under attack; 0.75 has more by less than the least gain
    made: Any = harden._Hardening.__new__(harden._Hardening)  # what it does before trains
    step: Any = harden._Step  # of which this reads no run
    made.options, made.plain, made.trials = HardenOptions(alphas=alphas), PLAIN, [{"name": "none", "taken": True}]

    def trial(name: str, *about: Any) -> Any:
        made.trials.append({"name": name})
        return step(Judged(name, 0.90, 0.80, scores[about[-1]]), None, *about)

    made._say, made._trial = lambda line: None, trial
    kept = made._averaged(step(PLAIN, None, "none"))
    assert kept.alpha == 0.75
    told = {trial["name"]: (trial["taken"], trial["why"]) for trial in made.trials[1:]}
    assert told == {
        "alpha-0.5": (False, "+0.8 points of score over none; alpha-0.75 has more"),
        "alpha-0.75": (True, "+1.0 points of score over none"),
        "alpha-0.9": (False, "+0.0 points of score over none, no gain"),
    }


def test_a_trial_is_judged_on_held_out_rows_alone(tmp_path) -> None:
    sets = {
        "clean": made_runs.outcomes(8, 2),
        "typos_1": made_runs.outcomes(6, 4),
        "typos_2": made_runs.outcomes(4, 6),
    }
    run = made_runs.write_run(tmp_path / "t", sets, config={"held_out": 10}, metrics=True)
    made_runs.write_attack(run, ["failed", "success", "skipped", "success"], "deepwordbug")
    found = judge(run, "t", ("deepwordbug",))
    assert (found.clean, found.noise, found.attack) == pytest.approx((0.8, 0.5, 0.25))
    with pytest.raises(RunError, match="was not attacked with random"):
        judge(run, "t", ("random",))
    reported = made_runs.write_run(tmp_path / "r", sets, metrics=True)
    with pytest.raises(RunError, match="nothing is chosen on it"):
        judge(reported, "r", ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": "noize"}, "did you mean noise"),
        ({"attack": "deepwordbugg"}, "did you mean deepwordbug"),
        ({"attack": "textfooler"}, "give --synonyms"),
        ({"attack": "textattack:pwws"}, "cannot be held to a share of changed words"),
        ({"attack": ""}, "names no attack"),
        ({"alphas": "1.5"}, "--alphas takes shares in"),
        ({"rounds": 6}, "--rounds must lie between 0 and 5, not 6"),
        ({"max_share": 0.0}, "--max_share must lie in"),
        ({"attack_share": 1.5}, "--attack_share must lie in"),
        ({"examples": 0}, "--examples must be at least 1"),
        ({"min_gain": -0.1}, "--min_gain must lie in"),
        ({"max_clean_drop": float("nan")}, "--max_clean_drop must lie in"),
    ],
)
def test_a_mistaken_option_is_refused(options: dict, message: str) -> None:
    with pytest.raises(RunError, match=message):
        HardenOptions(**options)


def test_shares_of_an_averaging_come_from_numbers_or_words() -> None:
    assert HardenOptions(alphas="0.5,0.75,0.5").alphas == (0.5, 0.75)
    assert HardenOptions(alphas=(0.5,)).alphas == (0.5,)
    assert HardenOptions(alphas="none").alphas == ()


def test_none_is_always_among_the_candidates_and_comes_first() -> None:
    assert HardenOptions(candidates="noise,none").candidates == ("none", "noise")
    assert HardenOptions(candidates=("none",)).candidates == ("none",)
    assert {*HardenOptions().candidates} <= {*CANDIDATES}
