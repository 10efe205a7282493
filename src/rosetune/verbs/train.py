"""Fine-tune a classifier with any objective and update mask."""

import argparse
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rosetune._axes import AXES
from rosetune.runs.config import RUN_OPTIONS, RunConfig
from rosetune.runs.values import RunError
from rosetune.verbs._shared import add_fields, seeds_of

EPILOG = """\
Arguments of transformers' Trainer follow under their own names (--learning_rate 2e-5 ...);
`rosetune train --help_all` lists them. A killed run resumes when the same command is given again.

Checkpoints, each three times the size of the model: one every five minutes beside a log line, the newest is kept,
and a finished run has none. --save_total_limit N keeps the last N of about ten, with --save_steps N as often as
that; --save_strategy no saves none.

examples:
  rosetune train --task demo --model_name_or_path demo --update_mask rose \\
      --seed 1,2,3
  rosetune train --recipe rose-ensemble/roberta-base/rte --data_dir glue/
  rosetune train --task my.csv --text_columns premise,hypothesis \\
      --label_column y --model_name_or_path FacebookAI/roberta-base \\
      --objective r_drop --objective_kwargs '{"alpha": 0.5}'
  accelerate launch -m rosetune train --task sst2 --update_mask rose \\
      --model_name_or_path FacebookAI/roberta-base
"""

_RUN = tuple(name for name in RUN_OPTIONS if name not in ("given", "labels"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own flags; the Trainer's follow under their own names."""
    parser.add_argument("--config", metavar="FILE", help="YAML of options; the command line goes on top")
    parser.add_argument("--recipe", metavar="NAME", help="published values, e.g. rose-ensemble/roberta-base/rte")
    parser.add_argument("--seed", metavar="N[,N]", help="of the training; several train one run each (default: 42)")
    parser.add_argument("--overwrite", action="store_true", help="delete a run that the folder holds, and train anew")
    parser.add_argument("--help_all", action="store_true", help="show the Trainer's arguments as well, and exit")
    add_fields(parser.add_argument_group("data, model and run"), RunConfig, _RUN)
    group = parser.add_argument_group("method")
    for name, text in AXES.items():
        metavar = "JSON" if name.endswith("_kwargs") else "NAME"
        group.add_argument(f"--{name}", default=argparse.SUPPRESS, metavar=metavar, help=text)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Train and print the metrics."""
    if known.help_all:
        _help_all()
        return
    done, data = _done(known, rest)
    if done is None:
        from rosetune._torch import is_main_process
        from rosetune.experiments.options import parse_training
        from rosetune.experiments.train import train_run

        def say(line: str) -> None:
            print(line, file=sys.stderr)

        configs = _configs(known, rest, parse_training)
        done = []
        for config in configs:
            if len(configs) > 1 and is_main_process():
                say(f"seed {config.seed}:")
            done.append(train_run(config, say, overwrite=known.overwrite, data=data))
        if not is_main_process():
            return
    from rosetune.report.console import console, print_grid
    from rosetune.report.metrics import metrics_grid
    from rosetune.runs.run import Run

    for folder in done:
        print_grid(console(), metrics_grid(str(folder), Run.open(folder).metrics))


def _done(known: argparse.Namespace, rest: list[str]) -> tuple[list[Path] | None, Any]:
    """The folders of the runs where all are finished, and the data; what is wrong is said before torch is loaded.

    Raises:
        ValueError: a method or an option of one that there is not.
        RunError: an option that there is not, a file or folder that is not there, or a training without a step.
        DataError: the data cannot be read.
    """
    from rosetune.experiments.quick import check_length, check_paths, finished, parse_words
    from rosetune.experiments.quick_methods import check_methods

    plain = True
    try:
        configs = _configs(known, rest, parse_words)
    except RunError:
        raise
    except (ValueError, KeyError):  # a value that takes the Trainer's own parser, which speaks first
        try:
            plain, configs = False, _configs(known, [], lambda options, words: {})
        except RunError:
            return None, None
    for config in configs:
        check_methods(config.training)
        check_paths(config)
        check_length(config.training.get("num_train_epochs", 1), config.training.get("max_steps", -1))
    from rosetune.experiments.data import load_data

    data = load_data(configs[0])  # seeds share it
    if known.overwrite or not plain:
        return None, data
    folders = [finished(config, data) for config in configs]
    if not all(folders):
        return None, data
    for folder in folders:
        print(f"{folder} is finished; nothing to do", file=sys.stderr)
    return [folder for folder in folders if folder is not None], data


def _configs(known: argparse.Namespace, rest: list[str], parse: Callable[..., dict[str, Any]]) -> list[RunConfig]:
    """One for each seed."""
    from rosetune.experiments.options import make_config

    given = {name: value for name, value in vars(known).items() if name in (*_RUN, *AXES)}

    def config(seed: int | None) -> RunConfig:
        words = [*rest, *([] if seed is None else [f"--seed={seed}"])]
        return make_config(recipe=known.recipe, config_file=known.config, options=given, arguments=words, parse=parse)

    if known.seed is None:
        return [config(None)]
    configs = [config(seed) for seed in seeds_of(known.seed)]
    if len(configs) > 1 and configs[0].output_dir is not None:
        return [dataclasses.replace(c, output_dir=f"{c.output_dir}/seed-{c.seed}") for c in configs]
    return configs


def _help_all() -> None:
    from rosetune.experiments.options import training_help

    parser = argparse.ArgumentParser(prog="rosetune train", formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    print(parser.format_help())
    print(training_help())
