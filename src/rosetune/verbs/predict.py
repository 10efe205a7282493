"""Label texts with a run's model, or any saved classifier."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rosetune.data.outputs import OUTPUT_SUFFIXES
from rosetune.runs.config import RunConfig
from rosetune.runs.values import RunError, check_output
from rosetune.verbs._shared import add_fields, telling_new_folders

EPILOG = """\
Written are all columns of the input, then label and probability_<label> for each label (in JSON
Lines the object probabilities); of a multi-label model labels, those of at least 0.5; of a
regression value. A blank line is a row like any other, and it is said how many there are. On a
terminal the first 50 rows are shown. In a pipe every row is a line with tabs between its fields;
a tab, line end or backslash in a field is written as \\t, \\n, \\r, \\\\.

examples:
  rosetune predict runs/my-run --text "a fine film"
  rosetune predict runs/my-run --input_file new.csv --output_file labelled.csv
  cat texts.txt | rosetune predict user/model-on-the-hub > labelled.tsv
"""


STRAY = "a file of texts is given with --input_file, a text with --text"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("model", metavar="RUN", help="folder of a run or of a saved classifier, or a hub id")
    parser.add_argument("--text", action="append", help="a text; may be given several times")
    parser.add_argument("--text_pair", action="append", help="the second text of a pair, one for each --text")
    parser.add_argument(
        "--input_file",
        metavar="FILE",
        help=".txt with a text a line (a pair with a tab between), CSV, TSV, JSON, JSON Lines, Parquet; - or nothing: "
        "lines on standard input",
    )
    parser.add_argument("--text_columns", metavar="A[,B]", help="columns of the input file (default: the run's)")
    add_fields(parser, RunConfig, ("encoding", "delimiter"))
    parser.add_argument("--output_file", metavar="FILE", help=f"write to this file, {', '.join(OUTPUT_SUFFIXES)}")
    parser.add_argument(
        "--batch_size", type=int, metavar="N", help="texts at a time (default: 16 on the CPU, 128 elsewhere)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON Lines")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Predict, and print or write."""
    source = known.input_file
    if known.text is None and source is None and sys.stdin is not None and not sys.stdin.isatty():
        source = "-"
    if known.output_file is not None:
        _check_output(known.output_file, source)

    from rosetune.data.outputs import json_line, write_table
    from rosetune.experiments.predict import predict_texts
    from rosetune.report.predictions import columns_of, piped_lines

    predictions = predict_texts(
        known.model,
        texts=known.text,
        text_pairs=known.text_pair,
        input_file=source,
        text_columns=known.text_columns,
        encoding=getattr(known, "encoding", None),
        delimiter=getattr(known, "delimiter", None),
        batch_size=known.batch_size,
    )
    rows = predictions.rows
    if known.output_file is not None:
        with telling_new_folders(known.output_file):
            write_table(Path(known.output_file).expanduser(), columns_of(rows), rows)
        print(f"{len(rows)} predictions written to {known.output_file}", file=sys.stderr)
    elif known.json:
        _print(map(json_line, rows))
    elif _on_terminal():
        _show(predictions)
    else:
        _print(piped_lines(rows))


def _print(lines: Iterable[str]) -> None:
    try:
        print(*lines, sep="\n")
    except UnicodeEncodeError as error:
        held = ascii(error.object[error.start : error.end])
        raise RunError(
            f"standard output, in {error.encoding}, cannot hold {held} of the input: correct it, or give --output_file"
        ) from error


def _on_terminal() -> bool:
    return sys.stdout.isatty()


def _show(predictions: Any) -> None:
    from rosetune.report.console import console
    from rosetune.report.predictions import SHOWN, predictions_table

    out, count = console(), len(predictions.rows)
    out.print(predictions_table(predictions.rows, predictions.text_columns, out.width))
    if count > SHOWN:
        print(f"... and {count - SHOWN} more; --output_file or --json gives all {count}")


def _check_output(path: str, source: str | None) -> None:
    """Find out before predicting whether the result can be written.

    Raises:
        RunError: another ending, the input itself, or a place that cannot be written to.
    """
    file = check_output("--output_file", path)
    if file.suffix.lower() not in OUTPUT_SUFFIXES:
        raise RunError(f"--output_file {path}: let its name end in one of {', '.join(OUTPUT_SUFFIXES)}")
    if source is not None and file.exists() and Path(source).expanduser().exists() and file.samefile(source):
        raise RunError(f"--output_file {path} is the input itself: name another file")
