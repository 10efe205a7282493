"""What several verbs share."""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rosetune._axes import AXES
from rosetune._numbers import tidy
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError

_MOVED = ("task", "data_dir", "validation_file", "test_file")


def add_fields(parser: Any, kind: type, names: Iterable[str] | None = None, **overrides: dict[str, Any]) -> None:
    """A flag for each field of a dataclass, with the help of its metadata; what is not given stays unset.

    Args:
        parser: or a group of one.
        names: of the fields; None: all that have a help.
        overrides: by field, options of ``add_argument`` that go before.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name in fields if names is None else names:
        about = fields[name].metadata
        if "help" not in about:
            continue
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": about["help"]}
        if about.get("metavar"):
            options["metavar"] = about["metavar"]
        if fields[name].type in (bool, "bool"):
            options |= {"nargs": "?", "const": True, "metavar": "BOOL"}
        parser.add_argument(f"--{name}", **{**options, **overrides.get(name, {})})


@contextmanager
def telling_new_folders(*files: str | Path | None) -> Iterator[None]:
    """Says on standard error which folders were made for files that the block writes: a name may be mistyped."""
    parents = [Path(file).expanduser().parent for file in files if file is not None]
    new = [folder for folder in dict.fromkeys(parents) if not folder.exists()]
    yield
    for folder in new:
        if folder.is_dir():
            print(f"made the folder {folder}", file=sys.stderr)


def given_fields(known: argparse.Namespace, kind: type) -> dict[str, Any]:
    """What was given for them."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in vars(known).items() if name in names}


def add_run_arguments(
    parser: argparse.ArgumentParser, names: Iterable[str], axes: Iterable[str], **texts: str
) -> None:
    """Flags for the runs of a study: their layers, data and model, and method.

    Args:
        names: fields of :class:`~rosetune.runs.config.RunConfig`.
        axes: names of :data:`~rosetune._axes.AXES`.
        texts: by field, what its help says in the study.
    """
    parser.add_argument("--config", metavar="FILE", help="YAML of a run's options; the command line goes on top")
    parser.add_argument("--recipe", metavar="NAME", help="published values, e.g. rose-ensemble/roberta-base/rte")
    own = {name: {"help": text} for name, text in texts.items()}
    add_fields(parser.add_argument_group("data, model and run"), RunConfig, names, **own)
    group = parser.add_argument_group("method")
    for name in axes:
        metavar = "JSON" if name.endswith("_kwargs") else "NAME"
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=metavar, help=AXES[name])


def run_config(known: argparse.Namespace, names: Collection[str], rest: list[str]) -> RunConfig:
    """What was given for the runs of a study; what is wrong is said before transformers is loaded, where that can be.

    Args:
        names: of fields and axes, as in :func:`add_run_arguments`.
        rest: arguments of the Trainer.
    """
    from rosetune.experiments.options import make_config, parse_training
    from rosetune.experiments.quick import check_paths, parse_words
    from rosetune.experiments.quick_methods import check_methods

    given = {name: value for name, value in vars(known).items() if name in names}

    def config(parse: Any) -> RunConfig:
        return make_config(recipe=known.recipe, config_file=known.config, options=given, arguments=rest, parse=parse)

    try:
        quick = config(parse_words)
    except (KeyError, ValueError) as error:  # a value that takes the Trainer's own parser
        if type(error) not in (KeyError, ValueError):
            raise
    else:
        check_methods(quick.training)
        check_paths(quick)
    return config(parse_training)


def print_json(value: Any) -> None:
    """What ``--json`` prints of computed figures: indented, without the error of their floats.

    JSON has no number that is not finite: null stands for it.
    """
    print(json.dumps(_finite(tidy(value)), indent=2, ensure_ascii=False, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    return [_finite(part) for part in value] if isinstance(value, list) else value


def add_moved(parser: argparse.ArgumentParser) -> None:
    """Flags for where a run's data lies now."""
    group = parser.add_argument_group("where the data lies now, if it has moved since training")
    add_fields(group, RunConfig, _MOVED)


def moved_data(known: argparse.Namespace) -> dict[str, str | None]:
    """What was given for them."""
    return {name: getattr(known, name, None) for name in _MOVED}


def kinds_of(text: str, noises: str | None = None) -> tuple[tuple[str, ...], tuple[str, ...] | None]:
    """The kinds of sets in a comma-separated list, and the noises of the noise curve in another.

    Raises:
        RunError: an unknown one, or noises without a noise curve.
    """
    asked: dict[str, Any] = {"sets": text, "noises": noises}
    config = RunConfig(task="-", model_name_or_path="-", **asked)
    return config.sets, config.noises


def seeds_of(text: str | None) -> list[int]:
    """The seeds in a comma-separated list; none where nothing is given.

    Raises:
        RunError: no whole numbers, or one of them twice.
    """
    if text is None:
        return []
    seeds = [part.strip() for part in text.split(",") if part.strip()]
    if not seeds or not all(part.isdigit() for part in seeds) or len({*seeds}) < len(seeds):
        raise RunError(f"--seed takes a whole number, or different ones with commas between, not {text!r}")
    return [int(seed) for seed in seeds]


__all__ = ["add_fields", "add_moved", "given_fields", "kinds_of", "moved_data", "print_json", "seeds_of"]
