"""What is read of the methods' source is what the methods are."""

import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from rosetune.augmentation import AUGMENTATIONS
from rosetune.experiments.quick_methods import check_methods, method_options
from rosetune.methods import OBJECTIVES, UPDATE_MASKS, build, build_from

TABLES = {"objective": OBJECTIVES, "update_mask": UPDATE_MASKS, "augmentation": AUGMENTATIONS}


@pytest.mark.parametrize(("axis", "name"), [(axis, name) for axis in TABLES for name in TABLES[axis]])
def test_options_and_their_values_are_those_of_the_class(axis: str, name: str) -> None:
    kind: Any = TABLES[axis][name]
    hints = get_type_hints(kind.__init__)
    values = {option: get_args(hint) if get_origin(hint) is Literal else () for option, hint in hints.items()}
    found = method_options(axis, name)
    assert found == {option: values[option] for option in inspect.signature(kind).parameters}
    assert [*found] == [*inspect.signature(kind).parameters]
    for option, allowed in found.items():
        for value in allowed:
            check_methods({axis: name, f"{axis}_kwargs": {option: value}})


@pytest.mark.parametrize(
    ("axis", "name", "options"),
    [
        ("objective", "rdrop", {}),
        ("objective", "rose", {}),
        ("update_mask", "smart", {}),
        ("augmentation", "noize", {}),
        ("update_mask", "rose", {"uper": 0.5}),
        ("objective", "freelb", {"variant": "paper"}),
        ("update_mask", "child_tuning", {"mode": "d"}),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_methods(axis: str, name: str, options: dict[str, Any]) -> None:
    said = []
    for call in (
        lambda: check_methods({axis: name, f"{axis}_kwargs": options}),
        lambda: build_from(axis, AUGMENTATIONS, name) if axis == "augmentation" else build(axis, name, options),
    ):
        with pytest.raises(ValueError, match=f"unknown {axis}|has no option|must be one of") as caught:
            call()
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_what_is_right_passes() -> None:
    check_methods({})
    check_methods({"objective": "cross_entropy", "update_mask": None, "learning_rate": 1.0})
    check_methods({"update_mask": "rose", "update_mask_kwargs": {"upper": {"first": 0.5}, "order": "first"}})
