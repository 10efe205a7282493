"""The command line. It parses and calls; heavy imports live inside the verbs, so that --help answers at once."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from rosetune import __version__

TASKS_HELP = "a task's name (see `rosetune list tasks`), a CSV, JSON Lines or Parquet file or folder, or a hub id"
SETS_HELP = "of clean, noise, advglue (default: clean,noise)"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one verb.

    An error that a user can act on is one line on standard error and exit code 2; --traceback shows where it arose.
    """
    words = [_underscored(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    parser = _parser()
    known, rest = parser.parse_known_args(words)
    if rest and known.verb != "train":
        parser.error(f"unknown: {' '.join(rest)}")
    try:
        known.run(known, rest)
    except BrokenPipeError:
        sys.exit(141)
    except KeyboardInterrupt:
        resumes = "; the same command goes on where it stopped" if known.verb in ("train", "demo") else ""
        print(f"\nrosetune: interrupted{resumes}", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError) as error:
        # DataError, RunError, the methods' own and the system's: all say what was wrong.
        if known.traceback:
            raise
        print(f"rosetune: error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def _underscored(word: str) -> str:
    """--data-dir as --data_dir: both spellings do."""
    return re.sub(r"^--[A-Za-z][\w-]*(?=$|=)", lambda match: "--" + match[0][2:].replace("-", "_"), word)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rosetune", description="Robust fine-tuning of pre-trained language models.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"rosetune {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, run: Callable[..., None], text: str, epilog: str | None = None) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=epilog,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(run=run)
        sub.add_argument("--traceback", action="store_true", help="show the traceback of an error")
        return sub

    _add_train(verb("train", _train, "fine-tune a classifier with any objective and update mask", _TRAIN_EPILOG))
    _add_evaluate(verb("evaluate", _evaluate, "evaluate finished runs on clean, noisy and adversarial sets"))
    _add_predict(verb("predict", _predict, "label texts with a run's model"))
    listing = verb("list", _list, "list tasks, methods or recipes")
    listing.add_argument("what", choices=("tasks", "methods", "recipes"))
    listing.add_argument(
        "name",
        nargs="?",
        help="one method, with its options; one recipe, with its sources; or recipes with this in their name",
    )
    _add_demo(verb("demo", _demo, "compare vanilla fine-tuning with ROSE-Ensemble, with controls"))
    return parser


_TRAIN_EPILOG = """\
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


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="YAML of options; the command line goes on top")
    parser.add_argument("--recipe", metavar="NAME", help="published values, e.g. rose-ensemble/roberta-base/rte")
    parser.add_argument("--help_all", action="store_true", help="show the Trainer's arguments as well, and exit")
    run, method = parser.add_argument_group("data, model and run"), parser.add_argument_group("method")
    for group, options in ((run, _RUN_OPTIONS), (method, _METHOD_OPTIONS)):
        for name, kwargs in options.items():
            group.add_argument(f"--{name}", default=argparse.SUPPRESS, **kwargs)


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--sets", metavar="A,B", default="clean,noise", help=SETS_HELP)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    moved = parser.add_argument_group("where the data lies now, if it has moved since training")
    for name in ("task", "data_dir", "validation_file", "test_file"):
        moved.add_argument(f"--{name}", metavar="DIR" if name == "data_dir" else "FILE")


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="RUN", help="folder of a run, or of a saved classifier")
    parser.add_argument("--text", action="append", help="a text; may be given several times")
    parser.add_argument("--text_pair", action="append", help="the second text of a pair, one for each --text")
    parser.add_argument("--input_file", metavar="FILE", help=".txt with a text a line, CSV, TSV, JSON Lines, Parquet")
    parser.add_argument("--text_columns", metavar="A[,B]", help="columns of the input file (default: the run's)")
    parser.add_argument("--output_file", metavar="FILE", help="write JSON Lines here instead of a table")
    parser.add_argument("--batch_size", type=int, metavar="N", default=64, help="texts at a time (default: 64)")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")


def _add_demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="demo", help=f"{TASKS_HELP} (default: demo, Rotten Tomatoes)")
    parser.add_argument("--data_dir", metavar="DIR", help="folder with GLUE's and AdvGLUE's files; adds AdvGLUE")
    parser.add_argument("--text_columns", metavar="A[,B]", help=_RUN_OPTIONS["text_columns"]["help"])
    parser.add_argument("--label_column", metavar="COLUMN", help=_RUN_OPTIONS["label_column"]["help"])
    parser.add_argument("--model_name_or_path", metavar="MODEL", default="demo", help="(default: the embedded MiniLM)")
    parser.add_argument("--output_dir", metavar="DIR", default="runs/demo", help="(default: runs/demo)")
    parser.add_argument("--max_train_samples", type=int, metavar="N", default=1800, help="(default: 1800)")
    parser.add_argument("--seed", type=int, metavar="N", default=42, help="(default: 42)")


def _train(known: argparse.Namespace, rest: list[str]) -> None:
    from rosetune.experiments.options import make_config

    if known.help_all:
        _help_all()
        return
    given = {name: value for name, value in vars(known).items() if name in _RUN_OPTIONS | _METHOD_OPTIONS}
    config = make_config(recipe=known.recipe, config_file=known.config, options=given, arguments=rest)

    from rosetune.experiments.run import is_main_process, read_metrics, train_run
    from rosetune.experiments.tables import console, metrics_table

    folder = train_run(config)
    if is_main_process():
        console().print(metrics_table(str(folder), read_metrics(folder)))


def _help_all() -> None:
    from rosetune.experiments.options import training_help

    parser = _Parser(prog="rosetune train", formatter_class=argparse.RawDescriptionHelpFormatter)
    _add_train(parser)
    print(parser.format_help())
    print(training_help())


def _evaluate(known: argparse.Namespace, rest: list[str]) -> None:
    import json

    from rosetune.experiments.evaluate import evaluate_again
    from rosetune.experiments.tables import console, metrics_table

    moved = {name: getattr(known, name) for name in ("task", "data_dir", "validation_file", "test_file")}
    results = {run: evaluate_again(run, known.sets, **moved) for run in known.runs}
    if known.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
        return
    for run, metrics in results.items():
        console().print(metrics_table(run, metrics))


def _predict(known: argparse.Namespace, rest: list[str]) -> None:
    from rosetune.experiments.predict import check_output_file, predict_texts, print_predictions

    if known.output_file is not None:
        check_output_file(known.output_file)
    rows = predict_texts(
        known.model,
        texts=known.text,
        text_pairs=known.text_pair,
        input_file=known.input_file,
        text_columns=known.text_columns,
        batch_size=known.batch_size,
    )
    print_predictions(rows, known.output_file, known.json)


def _list(known: argparse.Namespace, rest: list[str]) -> None:
    if known.what == "recipes":
        from rosetune.recipes import recipe_names, recipe_text

        if known.name in recipe_names():
            print(recipe_text(known.name), end="")
            return
        print("\n".join(name for name in recipe_names() if (known.name or "") in name))
        return
    from rosetune.experiments.listing import methods_text, tasks_text

    print(tasks_text() if known.what == "tasks" else methods_text(known.name))


def _demo(known: argparse.Namespace, rest: list[str]) -> None:
    from rosetune.experiments.demo import print_demo, run_demo

    arms = run_demo(
        task=known.task,
        data_dir=known.data_dir,
        text_columns=known.text_columns,
        label_column=known.label_column,
        model_name_or_path=known.model_name_or_path,
        output_dir=known.output_dir,
        samples=known.max_train_samples,
        seed=known.seed,
    )
    print_demo(arms, known.task)
