"""Put many runs into one of the paper's tables, with tests over seeds."""

import argparse

from rosetune.verbs._shared import telling_new_folders

EPILOG = """\
Runs of one model and method that differ in nothing but the seed make one row, task by task.
What else they differ in within a task makes rows of its own, named by it. Controls stand apart.

examples:
  rosetune table runs --baseline vanilla
  rosetune table runs --sets clean,advglue,noise --paper
  rosetune table runs --layout table3 --option gamma -o gamma.tex
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("runs", metavar="RUNS", nargs="+", help="folders of runs, or patterns; a folder is searched")
    parser.add_argument(
        "--layout",
        metavar="NAME",
        default="table1",
        help="table1: methods by tasks (default); table2: what is added to a method; table3: by values of --option",
    )
    parser.add_argument(
        "--option", metavar="NAME", default="gamma", help="of table3, a column per value (default: gamma)"
    )
    parser.add_argument(
        "--sets",
        metavar="A,B",
        help="kinds (clean, advglue, noise, noise_curve, file, attack) or names of sets (default: clean,advglue; "
        "where no run has AdvGLUE clean,noise,file)",
    )
    parser.add_argument(
        "--metric",
        metavar="A,B",
        default="accuracy",
        help="of each task the first that it has: accuracy, f1, mcc, pearson, spearman, mse, brier, ece",
    )
    parser.add_argument(
        "--baseline", metavar="ROW", help="the row that others are tested against, or none (default: vanilla)"
    )
    parser.add_argument(
        "--test",
        metavar="NAME",
        default="welch",
        help="t-test over seeds: welch, of independent samples (default), or paired by seed",
    )
    parser.add_argument(
        "--paper",
        metavar="MODEL",
        nargs="?",
        const=True,
        default=False,
        help="set the paper's own figures beside those of its models, or the figures of that MODEL beside all",
    )
    parser.add_argument(
        "--held_out", action="store_true", help="show the trial runs of a search, which are left out otherwise"
    )
    parser.add_argument("--format", metavar="NAME", help="markdown, latex, csv or json (default: the terminal's)")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write there; the ending says the format (.md, .tex, ...)"
    )


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Read, aggregate, print or write."""
    import sys

    from rosetune.report.console import console
    from rosetune.report.export import check_format, ending_format, table_text, write_table
    from rosetune.report.paper import print_table, table
    from rosetune.runs.run import find_runs
    from rosetune.runs.values import check_output, names

    form = check_format(known.format)
    if known.output is not None:
        known.output = check_output("--output", known.output)
        form = form or ending_format(known.output)
    shown = table(
        find_runs(known.runs, report=lambda line: print(f"rosetune: {line}", file=sys.stderr)),
        known.layout,
        sets=names("sets", known.sets),
        metric=names("metric", known.metric) or (),
        baseline=known.baseline,
        test=known.test,
        option=known.option,
        paper=known.paper,
        held_out=known.held_out,
    )
    if form == "csv":  # which has no place for them
        print("\n".join(shown.data_notes), file=sys.stderr)
    if known.output is not None:
        with telling_new_folders(known.output):
            write_table(known.output, shown, form)
        print(f"written to {known.output}", file=sys.stderr)
    elif form is not None:
        print(table_text(shown, form), end="")
    else:
        print_table(console(), shown)
