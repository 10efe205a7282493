"""Train the controls that a run's gain has to beat."""

import argparse

EPILOG = """\
Each control is a run of its own in RUN/controls/NAME: RUN's data, model, seed and training
arguments, another method, and the same evaluation sets. A killed call goes on when it is
given again; a run that is there already, trained with the same options by `rosetune train`,
counts as done.

examples:
  rosetune controls runs/rose --list
  rosetune controls runs/rose --only vanilla,two_pass,random_fresh
  rosetune controls runs/rose --trace_of runs/rose-other-seed
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("claim", metavar="RUN", help="folder of the finished run that a gain is claimed for")
    parser.add_argument("--only", metavar="A,B", help="these controls (default: every one that suits the run)")
    parser.add_argument("--output_dir", metavar="DIR", help="folder of the controls (default: RUN/controls)")
    parser.add_argument(
        "--trace_of",
        metavar="RUN2",
        help="the same run with another seed, for replay (default: it is trained in the folder of the controls)",
    )
    parser.add_argument("--list", action="store_true", help="say what they are and which are there, and train nothing")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Train and print, or list."""
    import json
    import sys
    from pathlib import Path

    from rosetune.report.console import console, print_grid
    from rosetune.report.controls import control_states, left_out_lines, named_set_table, not_attacked, results_grid
    from rosetune.runs.claimed_run import ClaimedRun
    from rosetune.runs.controls import found_controls
    from rosetune.runs.run import Run

    folder = None if known.output_dir is None else Path(known.output_dir).expanduser()
    out, claim = console(), ClaimedRun(Run.open(known.claim), folder, known.trace_of)
    states = control_states(claim)
    if known.list:
        if known.json:
            print(json.dumps(states, indent=2, ensure_ascii=False))
        else:
            out.print(named_set_table(claim.run, states))
            out.print("\n".join(left_out_lines(states)))
        return
    names = None if known.only is None else [part.strip() for part in known.only.split(",") if part.strip()]

    from rosetune.experiments.controls import train_controls

    train_controls(claim, names, report=lambda line: print(line, file=sys.stderr))
    found = found_controls(claim.run, folder)
    if known.json:
        print(json.dumps({name: run.metrics for name, run in found.items()}, indent=2, ensure_ascii=False))
        return
    print_grid(out, results_grid(claim.run, found))
    for line in not_attacked(claim.run, found):
        out.print(line, markup=False)
    if names is None:
        out.print("\n".join(left_out_lines(states)))
