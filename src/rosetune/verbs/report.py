"""Write a page about finished runs: one file that needs no network."""

import argparse

from rosetune.verbs._shared import telling_new_folders

EPILOG = """\
The page holds what was run, accuracy with intervals, clean against robust accuracy, attacks,
noise curves, training curves, masks, cost, failures, and examples to look through.

examples:
  rosetune report runs -o report.html
  rosetune report runs/sst2 runs/rte -o report.html --baseline vanilla
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", nargs="+", metavar="RUNS", help="folders of runs, or patterns such as 'runs/**'")
    parser.add_argument(
        "-o", "--output", default="report.html", metavar="FILE", help="the page (default: report.html)"
    )
    parser.add_argument(
        "--baseline",
        metavar="METHOD",
        help="method that the others are set against (default: vanilla)",
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Write it, and say where it is."""
    import sys

    from rosetune.report.html.page import write_report

    with telling_new_folders(known.output):
        path = write_report(
            known.runs, known.output, baseline=known.baseline, report=lambda line: print(line, file=sys.stderr)
        )
    print(path)
