"""From recipe, YAML file and command line to one configuration; the later of them wins."""

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from rosetune.experiments.quick import option_error
from rosetune.experiments.ranges import check_ranges
from rosetune.recipes import load_recipe
from rosetune.runs.config import RUN_DEFAULTS, RUN_OPTIONS, RunConfig
from rosetune.runs.values import RunError, as_mapping, read_yaml

__all__ = ["make_config", "merged_layers", "parse_training", "training_help"]

# What a layer below says of its own files means nothing to a named task.
_OF_OWN_DATA = (
    *("text_columns", "label_column", "validation_file", "test_file"),
    *("task_type", "encoding", "delimiter", "drop_empty", "drop_unlabelled", "group_column", "positive_label"),
)
Parse = Callable[[Mapping[str, Any], Sequence[str]], dict[str, Any]]
_AXES = {"objective": "cross_entropy", "update_mask": None, "augmentation": None, "averaging": None}


def make_config(
    *,
    recipe: str | None = None,
    config_file: str | None = None,
    options: Mapping[str, Any] | None = None,
    arguments: Sequence[str] = (),
    parse: Parse | None = None,
) -> RunConfig:
    """The configuration of one run.

    Args:
        recipe: name of a recipe, the lowest layer.
        config_file: YAML on top of it. ``null`` takes a recipe's value back.
        options: on top of that, by name.
        arguments: words of the command line for the Trainer, on the same level.
        parse: makes typed training arguments of a mapping and of words; None: :func:`parse_training`.

    The options of a method are merged one by one as long as the method stays the same, those of a model always; a
    layer that names another objective or mask starts from that one's defaults. A layer that names a task of
    rosetune's own, which brings its columns, takes back the columns and files that a layer below gave for its data.

    Raises:
        RunError: an unknown option, a value of the wrong type, or a missing task or model.
        DataError: from the data options.
    """
    parse, layers = parse or parse_training, []
    if recipe is not None:
        layers.append(_typed(load_recipe(recipe), f"recipe {recipe}: ", parse))
    if config_file is not None:
        layers.append(_typed(read_yaml(config_file), f"{config_file}: ", parse))
    layers.append({**_typed(options or {}, "", parse), **parse({}, arguments)})
    merged = merged_layers(layers)
    for name in ("task", "model_name_or_path"):
        if name not in merged:
            raise RunError(f"--{name} is missing: give it here, in --config, or through a --recipe")
    return RunConfig.from_options(merged)


def parse_training(options: Mapping[str, Any], arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Typed training arguments from a mapping and from words of a command line on top of it.

    Only what is given is returned, so that defaults stay the Trainer's.

    Raises:
        RunError: an unknown option, a value of the wrong type, or a number outside of its range.
    """
    parser = _silent_parser()
    known = {action.dest: action for action in parser._actions}
    words = []
    for name, value in options.items():
        if name not in known:
            raise option_error(name, {*known, *RUN_OPTIONS})
        if value is not None:
            words += _words(name, as_mapping(name, value), many=known[name].nargs == "+")
    given, rest = parser.parse_known_args([*words, *arguments])
    if rest:
        word = rest[0].partition("=")[0]
        raise option_error(word, {f"--{name}" for name in (*known, *RUN_OPTIONS)})
    check_ranges(vars(given))
    return {name: as_mapping(name, value) for name, value in vars(given).items()}


def training_help() -> str:
    """The Trainer's arguments with the defaults that apply to a run, as argparse prints them."""
    parser = _training_parser()
    parser.set_defaults(**RUN_DEFAULTS)
    return "arguments of the Trainer:\n" + parser.format_help().partition("options:\n")[2]


@cache
def _silent_parser() -> argparse.ArgumentParser:
    """The same without defaults: it returns what is given alone."""
    parser = _training_parser()
    for action in parser._actions:
        action.default = argparse.SUPPRESS
    return parser


def _training_parser() -> argparse.ArgumentParser:
    from transformers import HfArgumentParser

    from rosetune.trainer import RobustTrainingArguments

    class Parser(HfArgumentParser):
        def error(self, message: str) -> Any:
            raise RunError(_reworded(message))

    return Parser(RobustTrainingArguments, allow_abbrev=False, add_help=False)  # type: ignore[arg-type]


def _reworded(message: str) -> str:
    """What argparse says of a value without its own words: the value may stand in a file."""
    found = re.fullmatch(r"argument --(\w+)[^:]*: (.*)", message, re.DOTALL)
    if found is None:
        return message
    name, said = found.groups()
    wrong = re.fullmatch(r"invalid (int|float) value: (.*)", said, re.DOTALL)
    if wrong is None:
        return f"{name}: {said}"
    return f"{name} must be a {'whole number' if wrong[1] == 'int' else 'number'}, not {wrong[2]}"


def _typed(options: Mapping[str, Any], source: str, parse: Parse) -> dict[str, Any]:
    run = {name: value for name, value in options.items() if name in RUN_OPTIONS}
    nothing = {name: None for name, value in options.items() if value is None}
    try:
        training = parse({name: value for name, value in options.items() if name not in run}, ())
    except RunError as error:
        raise RunError(f"{source}{error}") from error
    return {**nothing, **run, **training}


def merged_layers(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Options of several layers, the later on top, as :func:`make_config` says, without those that are None."""
    merged: dict[str, Any] = {}
    for given in layers:
        layer = dict(given)
        moved = "task" in layer and merged.get("task") not in (None, layer["task"])
        if moved and _brings_its_own_columns(layer["task"]):
            merged = {name: value for name, value in merged.items() if name not in _OF_OWN_DATA}
        if layer.get("model_kwargs") is not None:
            given_here = as_mapping("model_kwargs", layer["model_kwargs"])
            layer["model_kwargs"] = {**(merged.get("model_kwargs") or {}), **given_here}
        layer |= {axis: None for axis in ("update_mask", "augmentation", "averaging") if layer.get(axis) == "none"}
        for axis, default in _AXES.items():
            kwargs = f"{axis}_kwargs"
            if axis in layer and layer[axis] != merged.get(axis, default):
                merged.pop(kwargs, None)
            if layer.get(kwargs) is not None:
                layer[kwargs] = {**(merged.get(kwargs) or {}), **layer[kwargs]}
        merged |= layer
    return {name: value for name, value in merged.items() if value is not None}


def _brings_its_own_columns(task: Any) -> bool:
    from rosetune.data.tasks import find_task

    return isinstance(task, str) and find_task(task) is not None


def _words(name: str, value: Any, many: bool) -> list[str]:
    if isinstance(value, Mapping):
        return [f"--{name}={json.dumps(value)}"]
    if many:
        return [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    if isinstance(value, list | tuple):
        raise RunError(f"{name} takes one value, not {value!r}")
    if value is False and name.endswith("_strategy"):
        value = "no"  # which YAML reads as false
    return [f"--{name}={str(value).lower() if isinstance(value, bool) else value}"]
