"""Label texts with a run's model."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's flags."""
    parser.add_argument("model", metavar="RUN", help="folder of a run, or of a saved classifier")
    parser.add_argument("--text", action="append", help="a text; may be given several times")
    parser.add_argument("--text_pair", action="append", help="the second text of a pair, one for each --text")
    parser.add_argument("--input_file", metavar="FILE", help=".txt with a text a line, CSV, TSV, JSON Lines, Parquet")
    parser.add_argument("--text_columns", metavar="A[,B]", help="columns of the input file (default: the run's)")
    parser.add_argument("--output_file", metavar="FILE", help="write JSON Lines here instead of a table")
    parser.add_argument(
        "--batch_size", type=int, metavar="N", help="texts at a time (default: 16 on the CPU, 128 elsewhere)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON Lines")


def run(known: argparse.Namespace, rest: list[str]) -> None:
    """Predict, and print or write."""
    import json
    import sys
    from pathlib import Path

    from rosetune._files import write_json_lines
    from rosetune.experiments.predict import check_output_file, predict_texts

    if known.output_file is not None:
        check_output_file(known.output_file)
    rows = predict_texts(
        known.model,
        texts=known.text,
        text_pairs=known.text_pair,
        input_file=known.input_file,
        text_columns=known.text_columns,
        batch_size=known.batch_size,
    )
    if known.output_file is not None:
        write_json_lines(Path(known.output_file).expanduser(), rows)
        print(f"{len(rows)} predictions written to {known.output_file}", file=sys.stderr)
    elif known.json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        from rosetune.report.console import console
        from rosetune.report.predictions import print_predictions

        print_predictions(console(), rows)
