"""Compare two methods on the same examples, with controls beside every gain."""

import argparse

from rosetune.verbs._shared import print_json

EPILOG = """\
Everything is computed from what was predicted: evaluate and attack the runs first.
Several seeds of a method are named with commas.

examples:
  rosetune evaluate VANILLA ROSE --sets clean,noise,advglue
  rosetune attack VANILLA ROSE --attack deepwordbug
  rosetune controls ROSE
  rosetune compare VANILLA ROSE
  rosetune compare vanilla-1,vanilla-2 rose-1,rose-2
  rosetune compare VANILLA NOISE --controls normalize=NORMALIZED
"""


STRAY = "two are compared; several seeds of one method are joined by commas, A1,A2 B1,B2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("baseline", metavar="RUN_A", help="folder of a finished run, or several seeds: A,B")
    parser.add_argument("claim", metavar="RUN_B", help="the run that is claimed to be better, or several seeds")
    parser.add_argument(
        "--controls",
        metavar="NAME=RUN",
        nargs="+",
        default=[],
        help="further runs to set beside the claim, beside those in RUN_B/controls: of another method, or RUN_A "
        "behind a normalisation; of several seeds the name again for each",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Compare and print."""
    from rosetune.report.compare import compared_as_json, print_compared
    from rosetune.report.console import console
    from rosetune.runs.claim import trained_controls
    from rosetune.runs.compare import open_group, paired

    a, b = paired(open_group(known.baseline), open_group(known.claim))
    trained = trained_controls(b, known.controls, a)
    if known.json:
        print_json(compared_as_json(a, b, trained))
    else:
        print_compared(console(), a, b, trained)
