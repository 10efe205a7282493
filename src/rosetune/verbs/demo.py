"""Compare vanilla fine-tuning with ROSE-Ensemble, with controls."""

import argparse

from rosetune.verbs._shared import TASKS_HELP


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("--task", default="demo", help=f"{TASKS_HELP} (default: demo, Rotten Tomatoes)")
    parser.add_argument("--data_dir", metavar="DIR", help="folder with GLUE's and AdvGLUE's files; adds AdvGLUE")
    parser.add_argument("--text_columns", metavar="A[,B]", help="text columns of a user's file")
    parser.add_argument("--label_column", metavar="COLUMN", help="label column of a user's file")
    parser.add_argument("--model_name_or_path", metavar="MODEL", default="demo", help="(default: the embedded MiniLM)")
    parser.add_argument("--output_dir", metavar="DIR", default="runs/demo", help="(default: runs/demo)")
    parser.add_argument("--max_train_samples", type=int, metavar="N", default=1800, help="(default: 1800)")
    parser.add_argument("--seed", type=int, metavar="N", default=42, help="(default: 42)")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Train what is not there yet and print the table."""
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
