"""Evaluate finished runs, or a model that was trained elsewhere, on clean, noisy and adversarial sets."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosetune.robustness.functions import is_function_name
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError, flag
from rosetune.verbs._shared import add_fields, given_fields, kinds_of, print_json

if TYPE_CHECKING:
    from rosetune.runs.measures import Measures

EPILOG = """\
A model that was trained elsewhere becomes a run, with which attack, compare and predict work:
  rosetune evaluate --task sst2 \\
      --model_name_or_path textattack/roberta-base-SST-2

So does a Python function from a list of texts to a row of probabilities each, by the
name of its module (guard.py in the working folder) and its own:
  rosetune evaluate --model_name_or_path guard:predict --labels ham,spam \\
      --task my.csv --test_file my.csv

A file that comes alone is split as for a training, and a tenth of it is evaluated;
given as --test_file too, all of its rows are.

The same model behind a normalisation of its texts, which needs no training:
  rosetune evaluate --model_name_or_path RUN --task sst2 --normalize all

Where a run's data has moved since training, --task, --data_dir and --validation_file
say where it lies now.
"""

_GIVEN = (
    *("model_name_or_path", "task", "data_dir", "text_columns", "label_column", "validation_file", "test_file"),
    *("task_type", "encoding", "delimiter", "drop_empty", "drop_unlabelled", "max_length", "output_dir"),
    *("normalize", "labels"),
)
_MOVED = ("task", "data_dir", "validation_file")
_MEASURES = ("positive_label", "false_positive_rate", "group_column")
_READING = ("drop_empty", "drop_unlabelled", "encoding", "delimiter")  # of a further file, if not as the run's own


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", nargs="*", metavar="RUN", help="folder of a finished run")
    add_fields(parser, RunConfig, ("sets", "noises"), sets={"default": None}, noises={"default": None})
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    parser.add_argument(
        "--along_training",
        action="store_true",
        help="follow robust against clean accuracy over the checkpoints of the first run that keeps some (trained "
        "with --save_total_limit), and set the ends of all runs beside it at equal clean accuracy",
    )
    parser.add_argument("--figure", metavar="FILE", help="draw that curve into this .svg, .png or .pdf")
    add_fields(parser.add_argument_group("what is measured beside accuracy"), RunConfig, _MEASURES)
    group = parser.add_argument_group("data, and a model that was trained elsewhere")
    test = {"help": "another labelled file, as a set of its own name; of a model from elsewhere its test data"}
    model = {"help": "a hub id, a folder, or a Python function as MODULE:FUNCTION"}
    add_fields(group, RunConfig, _GIVEN, test_file=test, model_name_or_path=model)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Evaluate and print."""
    fields = given_fields(known, RunConfig)
    given = {name: value for name, value in fields.items() if name in _GIVEN}
    asked = {name: value for name, value in fields.items() if name in _MEASURES}
    kinds, noises = kinds_of("clean,noise" if known.sets is None else known.sets, known.noises)
    if known.figure is not None and not known.along_training:
        raise RunError("--figure draws the curve of --along_training: give both")
    if "model_name_or_path" in given:
        if known.runs or "task" not in given or known.along_training:
            raise RunError("--model_name_or_path takes a model that was trained elsewhere: give --task, and no run")
        config = RunConfig(**given, **asked, sets=kinds, noises=noises, given=True)
        if "max_length" in given and is_function_name(config.model_name_or_path):
            raise RunError("--max_length counts a tokenizer's tokens; a function gets whole texts: leave it out")
        from rosetune.experiments.quick import check_paths

        check_paths(config)
        from rosetune.experiments.data import load_data

        data = load_data(config)  # what is wrong with it is said before torch is loaded
        from rosetune.experiments.given import evaluate_given

        folder = evaluate_given(config, _say, data=data)
        _print([str(folder)], kinds, known.json)
        return
    if not known.runs:
        raise RunError("name the folder of a finished run, or --model_name_or_path and --task")
    if "labels" in given:
        raise RunError("--labels belongs to --model_name_or_path MODULE:FUNCTION: give both, and no run")
    if "normalize" in given:
        raise RunError(
            "--normalize makes a model of its own of a run: give --model_name_or_path RUN and --task, and no run"
        )
    reading = _reading(given) if "test_file" in given else {}
    strange = [name for name in given if name not in (*_MOVED, "test_file", *reading)]
    if strange:
        raise RunError(f"--{strange[0]} belongs to the run, which knows it: leave it out")
    moved = {name: given.get(name) for name in _MOVED}
    from rosetune.runs.measures import Measures
    from rosetune.runs.run import Run, is_damaged

    measures = Measures.of(RunConfig(task="-", model_name_or_path="-", **asked))
    for folder in known.runs:  # what is wrong is said before torch is loaded, and before any work
        if is_damaged(folder):
            from rosetune.experiments.evaluate import restore_metrics

            restore_metrics(Path(folder))
        run = Run.open(folder)
        if measures.positive_label is not None:
            measures.positive(run.labels)
    if known.along_training:
        if asked:
            raise RunError(f"--along_training follows accuracy: ask for --{next(iter(asked))} in a call of its own")
        if "test_file" in given:
            raise RunError("--along_training follows the sets of --sets: evaluate on --test_file in a call of its own")
        from rosetune.runs.along import check_followed

        check_followed([Run.open(folder) for folder in known.runs])
        _along(known, kinds, noises, moved)
        return
    _evaluate(known, (kinds, noises), measures, given.get("test_file"), reading, moved)
    _print(known.runs, (*kinds, "file") if "test_file" in given else kinds, known.json)


def _evaluate(
    known: argparse.Namespace,
    asked: tuple[tuple[str, ...], tuple[str, ...] | None],
    measures: "Measures",
    test_file: str | None,
    reading: dict[str, Any],
    moved: dict[str, str | None],
) -> None:
    """Evaluate runs on sets, and on a further file, or on their own test file where it lies now."""
    kinds, noises = asked
    from rosetune.experiments.data import further_file
    from rosetune.experiments.lock import check_free
    from rosetune.experiments.quick import missing_kinds
    from rosetune.runs.run import Run

    read = {}
    for run in map(Run.open, known.runs if test_file is not None else ()):
        own = run.config.test_file
        if reading or own is None or Path(own).exists():
            # What is wrong is said before torch is loaded.
            read[str(run)] = further_file(run, str(test_file), reading, measures.group_column)
    for run in map(Run.open, known.runs):
        if test_file is not None or missing_kinds(run.folder / "predictions", kinds, noises):
            check_free(run.folder)
    from rosetune.experiments.evaluate import evaluate_again

    for run in map(Run.open, known.runs):
        folder = str(run)
        if test_file is not None and folder not in read:
            evaluate_again(
                folder, kinds, noises, measures, **moved, test_file=test_file
            )  # the run's own, which has moved
            continue
        if test_file is None or known.sets is not None:
            evaluate_again(folder, kinds, noises, measures, **moved)
        if test_file is not None:
            from rosetune.experiments.given import evaluate_file

            evaluate_file(folder, test_file, _say, reading=reading, read=read[folder], measures=measures)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _reading(given: dict[str, Any]) -> dict[str, Any]:
    """How a further file is read, where that is not how the run's own files are."""
    found = {name: given[name] for name in _READING if name in given}
    return {name: flag(name, value) if name.startswith("drop_") else value for name, value in found.items()}


def _print(folders: list[str], kinds: tuple[str, ...], as_json: bool) -> None:
    import json

    from rosetune._numbers import in_percent
    from rosetune.report.console import console
    from rosetune.report.metrics import print_metrics
    from rosetune.runs.metrics import over_tasks, select_kinds
    from rosetune.runs.run import Run

    runs = [Run.open(folder) for folder in folders]
    results = {str(run): select_kinds(run.metrics, kinds) for run in runs}
    if as_json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
        return
    out = console()
    for name, metrics in results.items():
        print_metrics(out, name, metrics)
    tasks = {run.task: results[str(run)] for run in runs}
    found = over_tasks(tasks) if len(tasks) == len(results) else None
    if found is not None:
        average, drop = found
        out.print(
            f"Over {len(tasks)} tasks: average {in_percent(average)} of clean and AdvGLUE's accuracy, "
            f"drop {in_percent(drop)} points from the first to the second."
        )


def _along(
    known: argparse.Namespace, kinds: tuple[str, ...], noises: tuple[str, ...] | None, moved: dict[str, str | None]
) -> None:
    from rosetune.report.drawing import check_figure
    from rosetune.report.figures import draw_curve

    if known.figure is not None:
        check_figure(known.figure)

    from rosetune.experiments.along import evaluate_along
    from rosetune.report.along import followed_as_json, print_along
    from rosetune.report.console import console
    from rosetune.runs.along import Followed

    runs = [evaluate_along(run, kinds, _say, noises, **moved) for run in known.runs]
    followed = Followed(runs, kinds)
    if known.figure is not None:
        draw_curve(followed, known.figure)
        print(f"figure written to {known.figure}", file=sys.stderr)
    if known.json:
        print_json(followed_as_json(followed))
    else:
        print_along(console(), followed)
