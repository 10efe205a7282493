"""Compare vanilla fine-tuning with normalised texts, noise augmentation, and ROSE-Ensemble and its control."""

import argparse

from rosetune.runs.config import RunConfig
from rosetune.verbs._shared import add_fields


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    task = {"default": "demo", "metavar": "TASK"}
    add_fields(parser, RunConfig, ("task", "data_dir", "text_columns", "label_column"), task=task)
    parser.add_argument("--model_name_or_path", metavar="MODEL", default="demo", help="(default: the embedded MiniLM)")
    parser.add_argument("--output_dir", metavar="DIR", default="runs/demo", help="(default: runs/demo)")
    parser.add_argument("--max_train_samples", type=int, metavar="N", default=1800, help="(default: 1800)")
    parser.add_argument("--seed", type=int, metavar="N", default=42, help="(default: 42)")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Make what is not there yet and print the table."""
    from rosetune.experiments.demo import run_demo
    from rosetune.report.console import console
    from rosetune.report.demo import print_demo

    runs = run_demo(
        task=known.task,
        data_dir=getattr(known, "data_dir", None),
        text_columns=getattr(known, "text_columns", None),
        label_column=getattr(known, "label_column", None),
        model_name_or_path=known.model_name_or_path,
        output_dir=known.output_dir,
        samples=known.max_train_samples,
        seed=known.seed,
    )
    print_demo(console(), runs, known.task)
