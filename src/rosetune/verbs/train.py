"""Fine-tune a classifier with any objective and update mask."""

import argparse
from typing import Any

from rosetune.verbs._shared import SETS_HELP, TASKS_HELP

EPILOG = """\
Arguments of transformers' Trainer follow under their own names (--learning_rate 2e-5 --seed 1 ...);
`rosetune train --help_all` lists them. A killed run resumes when the same command is given again.

examples:
  rosetune train --task demo --model_name_or_path demo --update_mask rose
  rosetune train --recipe rose-ensemble/roberta-base/rte --data_dir glue/
  rosetune train --task my.csv --text_columns premise,hypothesis --label_column y \\
      --model_name_or_path FacebookAI/roberta-base \\
      --objective r_drop --objective_kwargs '{"alpha": 0.5}'
  accelerate launch -m rosetune train --task sst2 --update_mask rose \\
      --model_name_or_path FacebookAI/roberta-base
"""

_RUN_OPTIONS: dict[str, dict[str, Any]] = {
    "task": {"help": TASKS_HELP},
    "data_dir": {"metavar": "DIR", "help": "folder with GLUE's and AdvGLUE's files; without it, the hub"},
    "text_columns": {"metavar": "A[,B]", "help": "text columns of a user's file"},
    "label_column": {"metavar": "COLUMN", "help": "label column of a user's file"},
    "validation_file": {"metavar": "FILE", "help": "validation data of a user's task"},
    "test_file": {"metavar": "FILE", "help": "test data of a user's task"},
    "model_name_or_path": {"metavar": "MODEL", "help": "a hub id, a folder, or demo for the embedded MiniLM"},
    "max_length": {"metavar": "N", "help": "tokens of a text; longer ones are cut (default: 128)"},
    "max_train_samples": {"metavar": "N", "help": "train on a seeded random subset"},
    "validation_from_train": {
        "metavar": "SHARE",
        "help": "cut this share off the training data and report the checkpoint that is best on it",
    },
    "sets": {"metavar": "A,B", "help": f"evaluate on these at the end, {SETS_HELP}"},
    "output_dir": {"metavar": "DIR", "help": "the run's folder (default: runs/<task>/<method>/<hash>)"},
}
_METHOD_OPTIONS: dict[str, dict[str, Any]] = {
    "objective": {"metavar": "NAME", "help": "which loss is minimised (rosetune list methods)"},
    "objective_kwargs": {"metavar": "JSON", "help": "its options; those of --recipe and --config stay beside them"},
    "update_mask": {"metavar": "NAME", "help": "which updates are applied (rosetune list methods), or none"},
    "update_mask_kwargs": {"metavar": "JSON", "help": "its options, likewise"},
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's own flags; the Trainer's follow under their own names."""
    parser.add_argument("--config", metavar="FILE", help="YAML of options; the command line goes on top")
    parser.add_argument("--recipe", metavar="NAME", help="published values, e.g. rose-ensemble/roberta-base/rte")
    parser.add_argument("--help_all", action="store_true", help="show the Trainer's arguments as well, and exit")
    for title, options in (("data, model and run", _RUN_OPTIONS), ("method", _METHOD_OPTIONS)):
        group = parser.add_argument_group(title)
        for name, kwargs in options.items():
            group.add_argument(f"--{name}", default=argparse.SUPPRESS, **kwargs)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Train and print the metrics."""
    from rosetune.experiments.options import make_config

    if known.help_all:
        _help_all()
        return
    given = {name: value for name, value in vars(known).items() if name in _RUN_OPTIONS | _METHOD_OPTIONS}
    config = make_config(recipe=known.recipe, config_file=known.config, options=given, arguments=rest)

    from rosetune.experiments.train import is_main_process, read_metrics, train_run
    from rosetune.experiments.tables import console, metrics_table

    folder = train_run(config)
    if is_main_process():
        console().print(metrics_table(str(folder), read_metrics(folder)))


def _help_all() -> None:
    from rosetune.experiments.options import training_help

    parser = argparse.ArgumentParser(prog="rosetune train", formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    print(parser.format_help())
    print(training_help())
