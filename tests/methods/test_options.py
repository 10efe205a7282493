"""Options of every method: values of the wrong kind are named at once, and a resume takes the same ones."""

import inspect
import json
import re

import numpy as np
import pytest
from transformers import DataCollatorWithPadding

from helpers import arguments, dataset, make_tokenizer, train, write_synonyms
from rosetune.augmentation import AUGMENTATIONS
from rosetune.averaging import AVERAGINGS
from rosetune.mask_trace import MaskTrace
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build, build_from
from rosetune.report.listing import methods_text
from rosetune.runs.identity import _AVERAGED_BY

NONSENSE = ("nonsense", float("nan"), float("-inf"), -1.5, [], {"a": 1}, True)
# Options that take a text, a path, or the value True.
EXCEPT = {
    "synonyms": ("nonsense",),
    "frozen": ("nonsense",),
    "trace": ("nonsense", True),
    "target_parameters": ("nonsense",),
    "norm_parameters": ("nonsense",),
    "sync_dropout": (True,),
    "balanced_batches": (True,),
    "skip_gradients": (True,),
}


def cases():
    for axis, methods in (("objective", OBJECTIVES), ("update_mask", UPDATE_MASKS)):
        for name, kind in methods.items():
            for option in inspect.signature(kind).parameters:
                yield from ((axis, name, option, value) for value in NONSENSE if value not in EXCEPT.get(option, ()))


@pytest.mark.parametrize(("axis", "name", "option", "value"), list(cases()))
def test_a_value_of_the_wrong_kind_is_refused_by_name(tmp_path, axis, name, option, value):
    options = {"synonyms": write_synonyms(tmp_path)} if name == "rift" else {}
    options |= {"upper": 0.5} if name == "static" and option in ("match", "seed", "target_parameters") else {}
    if name == "replay":
        MaskTrace(("layer.0.weight",), np.ones(1), np.ones((1, 1))).save(tmp_path / "mask_trace.npz")
        options["trace"] = str(tmp_path)
    if name == "child_tuning" and option == "seed":
        options["mode"] = "F"
    with pytest.raises(ValueError, match=option) as caught:
        build(axis, name, {**options, option: value})
    assert "not supported between" not in str(caught.value)


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize(
    ("name", "option"), [(name, option) for name, kind in AUGMENTATIONS.items() for option in kind.__annotations__]
)
def test_an_augmentation_refuses_a_value_of_the_wrong_kind(name, option, value):
    if option in inspect.signature(AUGMENTATIONS[name]).parameters:
        with pytest.raises(ValueError, match=option):
            build_from("augmentation", AUGMENTATIONS, name, {option: value})


@pytest.mark.parametrize("value", NONSENSE)
@pytest.mark.parametrize(("name", "option"), [("ema", "decay"), ("checkpoints", "last"), ("pretrained", "alpha")])
def test_an_averaging_refuses_a_value_of_the_wrong_kind(name, option, value):
    assert [*inspect.signature(AVERAGINGS[name]).parameters] == [option]
    with pytest.raises(ValueError, match=option):
        build_from("averaging", AVERAGINGS, name, {option: value})


def test_a_run_is_named_after_the_defaults_of_its_averaging():
    for name, (option, default) in _AVERAGED_BY.items():
        assert inspect.signature(AVERAGINGS[name]).parameters[option].default == default
    assert _AVERAGED_BY.keys() == AVERAGINGS.keys()


@pytest.mark.parametrize("name", [*OBJECTIVES, *UPDATE_MASKS, *AUGMENTATIONS, *AVERAGINGS])
def test_every_option_is_described_in_one_docstring_and_listed_from_there(name):
    kind = {**OBJECTIVES, **UPDATE_MASKS, **AUGMENTATIONS, **AVERAGINGS}[name]
    listed = methods_text(name)
    for option in inspect.signature(kind).parameters:
        entry = re.compile(rf"^ +(?:\w+, )*{option}(?:, \w+)*: ([^`:\n]{{3,20}})", re.MULTILINE)
        sections = [(each.__doc__ or "").partition("Args:\n")[2].partition("Raises:")[0] for each in kind.__mro__]
        (beginning,) = [words for section in sections for words in entry.findall(section)]
        assert re.search(rf"^    {option} = .*\n        {re.escape(beginning)}", listed, re.MULTILINE), option


def test_a_description_of_several_paragraphs_is_listed_whole():
    listed = " ".join(methods_text("smart").split())
    assert "delta <- (delta + eta g) / (max over the width of |delta + eta g| + 1e-6), without" in listed
    assert "step size of 1e-5: give `bregman_weight=0, step_size=1e-5`. sync_dropout = false" in listed


def run(tmp_path, tiny_model, resume=None, **method):
    tokenizer = make_tokenizer()
    args = arguments(tmp_path, max_steps=4, save_strategy="steps", save_steps=2, **method)
    collator = DataCollatorWithPadding(tokenizer)
    return train(tiny_model(), args, dataset(), resume, processing_class=tokenizer, data_collator=collator)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ({"objective": "smart"}, {"objective": "freelb"}, "saved with Smart, but the objective is FreeLB"),
        ({"objective": "freelb"}, {"objective": "smart"}, "saved with FreeLB, but the objective is Smart"),
        ({"objective": "smart"}, {}, "saved with Smart, but the objective is CrossEntropy"),
        ({}, {"objective": "r_drop"}, "saved with CrossEntropy, but the objective is RDrop"),
        (
            {"objective": "smart"},
            {"objective": "smart", "objective_kwargs": {"momentum": [0.5, 0.5]}},
            r"saved by a Smart with other options \(momentum: \[0.99, 0.999\] there, \[0.5, 0.5\] here\)",
        ),
        (
            {"update_mask": "random"},
            {"update_mask": "random", "update_mask_kwargs": {"upper": 0.1}},
            "saved by a RandomMask with other options",
        ),
    ],
)
def test_a_resume_with_another_method_is_refused(tmp_path, tiny_model, first, then, message):
    run(tmp_path, tiny_model, **first)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, tiny_model, resume=str(tmp_path / "checkpoint-2"), **then)


def test_synonyms_may_have_moved(tmp_path, tiny_model):
    def options(folder):
        folder.mkdir()
        return {"objective": "rift", "objective_kwargs": json.dumps({"synonyms": write_synonyms(folder), "steps": 1})}

    run(tmp_path, tiny_model, **options(tmp_path / "here"))
    run(tmp_path, tiny_model, resume=str(tmp_path / "checkpoint-2"), **options(tmp_path / "there"))


@pytest.mark.parametrize("options", [{"label_smoothing": 0.1}, {"class_weights": [1.0, 2.0]}])
def test_a_regression_has_no_classes_to_smooth_or_weigh(tmp_path, tiny_model, options):
    args = arguments(tmp_path, objective_kwargs=options)
    with pytest.raises(ValueError, match="label_smoothing and class_weights are for classes"):
        train(tiny_model(num_labels=1), args, dataset(num_labels=1))
