"""What the verbs share that do the runs of a plan."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from rosetune.verbs._plan_results import print_left_out, print_result


def add_plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of whatever does the runs of a plan."""
    parser.add_argument("--dry_run", action="store_true", help="show the plan and measure how long it takes")
    parser.add_argument("--output_dir", metavar="DIR", help="the folder of all runs (default: the plan's, or runs)")
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
    group.add_argument("--gpus", type=float, metavar="X", help="GPU share of a run on Ray (default: 1 if it has any)")


def check_executor(known: argparse.Namespace) -> None:
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
    _shard(known.shard)


def _shard(text: str | None) -> tuple[int, int]:
    """``3/8`` as two numbers; all runs where none is given."""
    from rosetune.runs.values import RunError

    if text is None:
        return 1, 1
    number, slash, shards = text.partition("/")
    if not slash or not number.isdigit() or not shards.isdigit() or not 1 <= int(number) <= int(shards):
        raise RunError(f"--shard must be such as 3/8, the third of eight, not {text!r}")
    return int(number), int(shards)


def carry_out(known: argparse.Namespace, plan: Any) -> None:
    """Show or do a plan, as the flags have it; exit code 1 where a run failed or a choice must wait."""
    if known.output_dir is not None:
        plan = dataclasses.replace(plan, output_dir=known.output_dir)
    if known.dry_run:
        _show_plan(known, plan)
        print_left_out(plan)
        return
    runs = _do_plan(known, plan)
    if runs is None:
        sys.exit(1)
    print_result(plan, runs)


def _do_plan(known: argparse.Namespace, plan: Any) -> Sequence[Any] | None:
    """Choose what the plan chooses, then do its runs.

    Returns:
        All runs of the plan, those of other shards among them; None where one failed, or where another shard's are
        not done that were needed for a choice.
    """
    from rosetune.experiments.selection import choose
    from rosetune.report.console import console
    from rosetune.report.sweep import print_choices

    if plan.select is not None:
        found = choose(
            plan, lambda trials: _stage(known, trials, f"{plan.title}: trials on held-out rows", whole=True)
        )
        if found is None:
            return None
        plan, choices = found
        print_choices(console(), [(c.task, c.method, c.option, c.value, c.scores) for c in choices])
    return _stage(known, plan, plan.title, whole=False)


def _stage(known: argparse.Namespace, plan: Any, title: str, *, whole: bool) -> Sequence[Any] | None:
    """Do the shard's share of the runs.

    Args:
        whole: whether the runs of the other shards are needed too.
    """
    from rosetune.experiments.expansion import planned_runs
    from rosetune.experiments.planned import shard_of
    from rosetune.experiments.sweep import Sweep, log_file
    from rosetune.report.console import console, print_grid
    from rosetune.report.sweep import Watcher, print_failures, sweep_grid

    all_runs, out = planned_runs(plan), console()
    runs = shard_of(all_runs, *_shard(known.shard))
    sweep, about = Sweep(runs), {run.key: (run.task, run.method, str(run)) for run in runs}
    if "left" in sweep.state.values():
        threads = known.threads or plan.threads
        executor = _executor(known, threads)
        if threads is None:
            told = f"Each run has {executor.threads} of the cores. The last bits of its results depend on that number:"
            out.print(f"{told} `threads: {executor.threads}` in the plan keeps it.", soft_wrap=True)
        with Watcher(title, about) as watcher:
            sweep.run(
                executor,
                lambda now, run: watcher.see(now.state, now.started, None if run is None else run.key),
            )
    print_grid(out, sweep_grid(title, sweep.state, about))
    failures = {str(run): (sweep.failures[run.key], log_file(run)) for run in runs if run.key in sweep.failures}
    print_failures(out, failures)
    if failures:
        return None
    if whole and len(runs) < len(all_runs) and not all(run.is_done() for run in all_runs):
        out.print("Other shards have trials left, on which the choice depends: give this command again after them.")
        return None
    return all_runs


def _executor(known: argparse.Namespace, threads: int | None) -> Any:
    if known.executor == "ray":
        from rosetune.experiments.ray_executor import RayExecutor

        return RayExecutor(known.address, jobs=known.jobs, threads=threads, gpus=known.gpus)
    from rosetune.experiments.executors import LocalExecutor

    return LocalExecutor(known.jobs, threads)


def _show_plan(known: argparse.Namespace, plan: Any) -> None:
    """How many runs there are, and about how long they take: some steps of each method are measured."""
    from collections import Counter

    from rosetune.experiments.estimate import measure
    from rosetune.experiments.planned import shard_of
    from rosetune.experiments.selection import foresee
    from rosetune.experiments.sweep import Sweep
    from rosetune.report.console import console, print_grid
    from rosetune.report.sweep import print_estimate, sweep_grid

    out, foreseen = console(), foresee(plan)
    sweeps = {}
    for title, all_runs in ((f"{plan.title}: trials on held-out rows", foreseen.trials), (plan.title, foreseen.runs)):
        runs = shard_of(all_runs, *_shard(known.shard))
        sweeps[title] = Sweep(runs)
        if all_runs is foreseen.runs and not foreseen.chosen:
            # Their options are not known, so that whatever lies there is not known to be theirs.
            sweeps[title].state = {run.key: "left" for run in runs}
        if all_runs or all_runs is foreseen.runs:  # most plans have no trials
            about = {run.key: (run.task, run.method, str(run)) for run in runs}
            print_grid(out, sweep_grid(title, sweeps[title].state, about))
    trials, runs = ([run for run in sweep.runs if sweep.state[run.key] == "left"] for sweep in sweeps.values())
    # A trial takes about as long as a run of its task and method, and is measured itself only where none is left.
    known_kinds = {(run.task, run.method) for run in runs}
    measured = [*runs, *(run for run in trials if (run.task, run.method) not in known_kinds)]
    before = Counter((run.task, run.method) for run in trials if (run.task, run.method) in known_kinds)
    lines = []
    for kind in measure(measured, known.jobs, known.threads or plan.threads, _say):
        name = kind.run.task, kind.run.method
        counts = (kind.runs, before.pop(name, 0)) if name in known_kinds else (0, kind.runs)
        lines.append((" ".join(name), *counts, kind.step, kind.steps, kind.total, kind.attacks))
    print_estimate(out, lines, known.jobs)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
