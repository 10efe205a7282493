"""Train, evaluate and attack all runs of a plan."""

import argparse
import sys

from rosetune.verbs._plans import add_executor_arguments

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
    parser.add_argument("--dry_run", action="store_true", help="show the plan and measure how long it takes")
    parser.add_argument("--output_dir", metavar="DIR", help="the folder of all runs (default: the plan's, or runs)")
    add_executor_arguments(parser)


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Show or do what the plan says."""
    import dataclasses

    from rosetune.experiments.plan_reader import read_plan
    from rosetune.verbs._plans import check_executor, do_plan, print_left_out, print_result, show_plan

    check_executor(known)
    plan = read_plan(known.plan)
    if known.output_dir is not None:
        plan = dataclasses.replace(plan, output_dir=known.output_dir)
    if known.dry_run:
        show_plan(known, plan)
        print_left_out(plan)
        return
    runs = do_plan(known, plan)
    if runs is None:
        sys.exit(1)
    print_result(plan, runs)
