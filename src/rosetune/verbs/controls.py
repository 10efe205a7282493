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

    from rosetune.experiments.controls import found_controls, train_controls
    from rosetune.experiments.controls_table import control_states, left_out_lines, named_set_table, results_table
    from rosetune.experiments.evaluate import read_metrics
    from rosetune.experiments.tables import console

    out, places = console(), (known.output_dir, known.trace_of)
    states = control_states(known.claim, *places)
    if known.list:
        if known.json:
            print(json.dumps(states, indent=2, ensure_ascii=False))
        else:
            out.print(named_set_table(known.claim, states))
            out.print("\n".join(left_out_lines(states)))
        return
    names = None if known.only is None else [part.strip() for part in known.only.split(",") if part.strip()]
    train_controls(known.claim, names, *places, report=lambda line: print(line, file=sys.stderr))
    found = found_controls(known.claim, known.output_dir)
    if known.json:
        print(json.dumps({name: read_metrics(path) for name, path in found.items()}, indent=2, ensure_ascii=False))
        return
    out.print(results_table(known.claim, found, out.width))
    if names is None:
        out.print("\n".join(left_out_lines(states)))
