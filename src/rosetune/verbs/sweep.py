"""Train, evaluate and attack all runs of a plan."""

import argparse

from rosetune.verbs._plans import add_plan_arguments

EPILOG = """\
A plan is a YAML file: tasks, models, methods, seeds, grids (docs/how-to/sweeps.md).
What is done is not repeated, what was killed goes on, and a run that fails leaves
the others alone; what it said is in OUTPUT_DIR/logs. Exit code 1 if any failed.

examples:
  rosetune sweep plan.yaml --dry_run
  rosetune sweep plan.yaml --jobs 2
  rosetune sweep plan.yaml --shard 3/8
  rosetune sweep plan.yaml --executor ray --address auto
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("plan", metavar="PLAN", help="YAML file")
    add_plan_arguments(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Show or do what the plan says."""
    from rosetune.experiments.plan_reader import read_plan
    from rosetune.verbs._plans import carry_out, check_executor

    check_executor(known)
    carry_out(known, read_plan(known.plan))
