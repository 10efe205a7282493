"""Evaluate finished runs on clean, noisy and adversarial sets."""

import argparse

from rosetune.verbs._shared import SETS_HELP, add_moved, moved_data


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--sets", metavar="A,B", default="clean,noise", help=SETS_HELP)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    parser.add_argument(
        "--along_training",
        action="store_true",
        help="follow robust against clean accuracy over the checkpoints of the first run that keeps some (trained "
        "with --save_total_limit), and set the ends of all runs beside it at equal clean accuracy",
    )
    parser.add_argument("--figure", metavar="FILE", help="draw that curve into this .svg, .png or .pdf")
    add_moved(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Evaluate and print."""
    import json

    from rosetune.experiments.evaluate import evaluate_again, of_kinds, over_tasks, read_identity
    from rosetune.experiments.tables import console, print_metrics

    kinds = tuple(kind.strip() for kind in known.sets.split(",") if kind.strip())
    moved = moved_data(known)
    if known.along_training:
        from rosetune.experiments.along_report import print_along

        print_along(known.runs, kinds, known.figure, known.json, **moved)
        return
    if known.figure is not None:
        raise ValueError("--figure draws the curve of --along_training: give both")
    results = {run: of_kinds(evaluate_again(run, kinds, **moved), kinds) for run in known.runs}
    if known.json:
        print(json.dumps(results, indent=2, ensure_ascii=False))
        return
    out = console()
    for run, metrics in results.items():
        print_metrics(out, run, metrics)
    tasks = {str(read_identity(run)["task"]): metrics for run, metrics in results.items()}
    found = over_tasks(tasks) if len(tasks) == len(results) else None
    if found is not None:
        average, drop = found
        out.print(
            f"Over {len(tasks)} tasks: average {100 * average:.1f} of clean and AdvGLUE's accuracy, "
            f"drop {100 * drop:.1f} points from the first to the second."
        )
