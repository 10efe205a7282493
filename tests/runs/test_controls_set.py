"""What the floor that reads knows of methods and Trainer by heart, since neither is loaded there."""

import dataclasses
import inspect
from itertools import product
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
from transformers import TrainingArguments

from made_runs import ROSE, outcomes, write_run
from rosetune.experiments.training import training_defaults
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build
from rosetune.runs.claimed_run import ClaimedRun, rose_needs, same_method
from rosetune.runs.config import DEFAULT_SEED, LENGTH, METHOD, RUN_DEFAULTS, RUN_OPTIONS
from rosetune.runs.controls import CONTROLS, control_config, control_names, found_controls, left_out
from rosetune.runs.values import RunError

DEFAULTS = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
HINTS = get_type_hints(UPDATE_MASKS["rose"].__init__)
CHOICES = {  # every option that takes one of some names
    name: get_args(HINTS[name])
    for name in inspect.signature(UPDATE_MASKS["rose"]).parameters
    if get_origin(HINTS[name]) is Literal
}
COMBINATIONS = [
    {option: value for option, value in zip(CHOICES, values, strict=True) if value is not None}
    for values in product(*((None, *allowed) for allowed in CHOICES.values()))
]


def test_rose_asks_for_what_is_known_of_it():
    assert {"order", "risk", "keep", "second_order"} <= {*CHOICES}
    known, tried = 0, 0
    for options in COMBINATIONS:
        try:
            needs = build("update_mask", "rose", options).needs
        except ValueError:  # options that do not go together make no run
            continue
        tried += 1
        assert rose_needs(options) == needs, options
        known |= 1 << (2 * ("consistency" in needs) + ("task_loss" in needs))
    assert tried > 20
    assert known.bit_count() == 3  # either loss alone, and both


def test_options_that_do_not_name_a_loss_do_not_count():
    for options in ({"upper": 0.3}, {"trace": True}, {"target_parameters": "dense"}):
        assert rose_needs(options) == build("update_mask", "rose", options).needs == rose_needs({})


def test_the_trainers_own_defaults():
    assert DEFAULTS["seed"] == DEFAULT_SEED
    ours = training_defaults()
    assert {*METHOD, *LENGTH, *RUN_DEFAULTS} <= {*ours, *RUN_OPTIONS}
    assert ours["num_train_epochs"] == DEFAULTS["num_train_epochs"]


def claim(path, **training):
    run = write_run(path, {"clean": outcomes(3, 1)}, {**ROSE, **training}, metrics=True)
    return ClaimedRun(run)


def test_the_same_compute_multiplies_the_trainers_epochs(tmp_path):
    """Where none are given the Trainer's default is multiplied: on two labels ROSE-Ensemble takes two passes."""
    assert claim(tmp_path / "a").longer() == {"num_train_epochs": 2 * DEFAULTS["num_train_epochs"]}
    assert claim(tmp_path / "b", num_train_epochs=2).longer() == {"num_train_epochs": 4}
    assert claim(tmp_path / "c", max_steps=10).longer() == {"max_steps": 20}
    assert claim(tmp_path / "d", max_steps=-1).longer()["num_train_epochs"] == 2 * DEFAULTS["num_train_epochs"]


def test_what_makes_no_difference_is_no_other_method():
    assert same_method({"update_mask": "rose", "update_mask_kwargs": {"trace": True}}, {"update_mask": "rose"})
    assert same_method({"objective": "cross_entropy", "learning_rate": 1}, {"learning_rate": 2})
    assert not same_method({"update_mask": "rose"}, {})
    assert not same_method({"num_train_epochs": 1}, {"num_train_epochs": 2})


def test_names_of_controls():
    trained = control_names(None)
    assert trained == [name for name, control in CONTROLS.items() if control.training is not None]
    assert control_names(["uniform", "vanilla"]) == ["vanilla", "uniform"]
    with pytest.raises(RunError, match="no control is called 'unform': did you mean uniform"):
        control_names(["unform"])
    with pytest.raises(RunError, match="flip is not trained: `rosetune compare` computes it"):
        control_names(["flip"])


def test_a_control_names_methods_that_there_are(tmp_path):
    """Of a claim without a trace those that need one are left out, and said to be."""
    own = claim(tmp_path / "a")
    without = left_out(own)
    assert {*without} == {"random_fresh", "random_fixed", "static", "replay", "uniform"}
    assert all("recorded no trace" in reason for reason in without.values())
    for name in control_names(None):
        if name not in without:
            training = control_config(own, name).training
            assert training.get("objective", "cross_entropy") in OBJECTIVES
            assert training.get("update_mask", "rose") in UPDATE_MASKS


def test_plain_fine_tuning_claims_nothing(tmp_path):
    run = write_run(tmp_path / "a", {"clean": outcomes(3, 1)}, metrics=True)
    with pytest.raises(RunError, match="is plain fine-tuning, which claims nothing"):
        ClaimedRun(run)


def test_the_length_of_an_earlier_control_of_the_same_compute_is_left_open(tmp_path):
    """A step of ROSE took three passes in the version before."""
    sets = {"clean": [1, 0, 1, 1]}
    run = write_run(tmp_path / "a", sets, {**ROSE, "max_steps": 10})
    control = write_run(tmp_path / "a" / "controls" / "same_compute", sets, {"max_steps": 30})
    assert found_controls(run)["same_compute"].folder == control.folder
    write_run(tmp_path / "a" / "controls" / "vanilla", sets, {"max_steps": 30})
    with pytest.raises(RunError, match="is not the control vanilla"):
        found_controls(run)
