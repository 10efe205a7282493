"""Train, evaluate and attack all runs of a plan."""

import argparse
import sys
from typing import Any

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


def add_executor_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of whatever does many runs."""
    group = parser.add_argument_group("where it runs")
    group.add_argument("--jobs", type=int, metavar="N", default=1, help="runs at a time (default: 1)")
    group.add_argument(
        "--threads", type=int, metavar="N", help="of each run (default: the plan's, or the cores over --jobs)"
    )
    group.add_argument("--shard", metavar="I/N", help="only the i-th of n shares of the runs, by what they are")
    group.add_argument(
        "--executor", choices=("local", "ray"), default="local", help="processes here, or Ray (default: local)"
    )
    group.add_argument("--address", metavar="ADDRESS", help="of a Ray cluster (default: one is started here)")
    group.add_argument("--gpus", type=float, metavar="X", help="GPU share of a run on Ray (default: 1 if there are any)")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Show or do what the plan says."""
    import dataclasses

    from rosetune.experiments.plan_reader import read_plan

    check(known)
    plan = read_plan(known.plan)
    if known.output_dir is not None:
        plan = dataclasses.replace(plan, output_dir=known.output_dir)
    if not do_plan(known, plan, known.plan, dry_run=known.dry_run):
        sys.exit(1)


def check(known: argparse.Namespace) -> None:
    """What can be said of the flags before anything is loaded.

    Raises:
        RunError: a value out of its range, or flags that do not go together.
    """
    from rosetune.runs.values import RunError

    for name in ("jobs", "threads"):
        value = getattr(known, name)
        if value is not None and value < 1:
            raise RunError(f"--{name} must be at least 1, not {value}")
    for name in ("address", "gpus"):
        if getattr(known, name) is not None and known.executor != "ray":
            raise RunError(f"--{name} is for Ray: give --executor ray as well")
    if known.gpus is not None and known.gpus < 0:
        raise RunError(f"--gpus must be at least 0, not {known.gpus:g}")
    shard(known.shard)


def shard(text: str | None) -> tuple[int, int]:
    """``3/8`` as two numbers; all runs where none is given.

    Raises:
        RunError: it is no share.
    """
    from rosetune.runs.values import RunError

    if text is None:
        return 1, 1
    number, slash, shards = text.partition("/")
    if not slash or not number.isdigit() or not shards.isdigit() or not 1 <= int(number) <= int(shards):
        raise RunError(f"--shard must be such as 3/8, the third of eight, not {text!r}")
    return int(number), int(shards)


def do_plan(known: argparse.Namespace, plan: Any, title: str, *, dry_run: bool = False) -> bool:
    """Do the runs of a plan, or show them; whether none failed."""
    from rosetune.experiments.planned import planned_runs, shard_of
    from rosetune.experiments.sweep import Sweep, log_file
    from rosetune.report.console import console, print_grid
    from rosetune.report.sweep import Watcher, print_failures, sweep_grid

    runs = shard_of(planned_runs(plan), *shard(known.shard))
    sweep, out = Sweep(runs), console()
    about = {run.key: (run.task, run.method, str(run)) for run in runs}
    if dry_run:
        print_grid(out, sweep_grid(f"the plan {title}", sweep.state, about))
        _estimate(known.jobs, known.threads or plan.threads, [run for run in runs if sweep.state[run.key] == "left"], out)
        return True
    with Watcher(f"the plan {title}", about) as watcher:
        if "left" in sweep.state.values():
            executor = _executor(known, known.threads or plan.threads)
            sweep.run(executor, lambda now, run: watcher.see(now.state, now.started, run and run.key))
    print_grid(out, sweep_grid(f"the plan {title}", sweep.state, about))
    print_failures(out, {str(run): (sweep.failures[run.key], log_file(run)) for run in runs if run.key in sweep.failures})
    return not sweep.failures


def _executor(known: argparse.Namespace, threads: int | None) -> Any:
    if known.executor == "ray":
        from rosetune.experiments.ray_executor import RayExecutor

        return RayExecutor(known.address, jobs=known.jobs, threads=threads, gpus=known.gpus)
    from rosetune.experiments.executors import LocalExecutor

    return LocalExecutor(known.jobs, threads)


def _estimate(jobs: int, threads: int | None, left: list[Any], out: Any) -> None:
    from rosetune.experiments.estimate import measure
    from rosetune.report.sweep import print_estimate

    lines = [
        (f"{m.run.task} {m.run.method}", m.runs, m.step, m.steps, m.total)
        for m in measure(left, jobs, threads)
    ]
    attacks = any(run.attacks for run in left)
    print_estimate(out, lines, jobs, attacks)
