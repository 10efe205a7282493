"""Labels and probabilities for new texts."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from rich.table import Table
from rich.text import Text

from rosetune._files import write_json_lines
from rosetune._progress import progress
from rosetune.data.inputs import read_inputs
from rosetune.data.rows import make_dataset
from rosetune.experiments.models import load_trained, quiet_libraries
from rosetune.report.console import console
from rosetune.robustness.evaluation import predict
from rosetune.runs.files import read_identity
from rosetune.runs.values import RunError

__all__ = ["check_output_file", "predict_texts", "print_predictions"]

SHOWN = 50  # rows of a table on the terminal


def predict_texts(
    model: str,
    *,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    input_file: str | None = None,
    text_columns: str | None = None,
    batch_size: int | None = None,
) -> list[dict[str, Any]]:
    """Labels and probabilities for texts, or for the rows of a file.

    Args:
        model: a run's folder, or any folder with a saved classifier.
        texts, text_pairs: the texts, and the second text of each for a model of pairs.
        input_file: a .txt with a text a line, or CSV, TSV, JSON, JSON Lines, Parquet.
        text_columns: "a" or "a,b", of the input file; None: those the run was trained on.
        batch_size: texts at a time; None: 16 on the CPU, 128 elsewhere.

    Returns:
        One dict per text: its text columns, ``label``, and ``probabilities`` by label name.

    Raises:
        RunError: not exactly one of texts and input_file, pairs where the model takes single texts, or no model.
        DataError: the file cannot be read.
    """
    if (texts is None) == (input_file is None):
        raise RunError("give either --text (one or more) or --input_file")
    if batch_size is not None and batch_size < 1:
        raise RunError(f"--batch_size must be at least 1, not {batch_size}")
    quiet_libraries()
    columns = _columns(model, text_columns, pairs=text_pairs is not None)
    dataset = _given(columns, texts, text_pairs) if input_file is None else read_inputs(input_file, columns)
    classifier, tokenizer, labels = load_trained(model)
    with progress("predicting") as bar:
        logits = predict(classifier, tokenizer, dataset, columns, batch_size=batch_size, progress=bar)
    if not np.isfinite(logits).all():
        raise RunError(f"{model} gives logits that are not finite: a diverged model")
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    return [
        {
            **dict(zip(columns, row, strict=True)),
            "label": labels[int(p.argmax())],
            "probabilities": dict(zip(labels, p.round(6).tolist(), strict=True)),
        }
        for row, p in zip(zip(*(dataset[column][:] for column in columns), strict=True), probabilities, strict=True)
    ]


def check_output_file(path: str) -> None:
    """Find out before predicting whether the result can be written.

    Raises:
        RunError: it is a folder, or its folder cannot be made or written to.
    """
    folder = Path(path).expanduser().parent
    if Path(path).expanduser().is_dir():
        raise RunError(f"--output_file {path} is a folder: name a file")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot write to {path}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise RunError(f"cannot write to {path}: the folder is not yours to write to")


def print_predictions(rows: list[dict[str, Any]], output_file: str | None, as_json: bool) -> None:
    """A table on the terminal, or JSON Lines on it or in a file."""
    if output_file is not None:
        write_json_lines(Path(output_file).expanduser(), rows)
        print(f"{len(rows)} predictions written to {output_file}", file=sys.stderr)
    elif as_json:
        for row in rows:
            print(json.dumps(row, ensure_ascii=False))
    else:
        columns = [name for name in rows[0] if name not in ("label", "probabilities")] if rows else []
        table = Table(*columns, "label", "probability")
        for row in rows[:SHOWN]:
            probability = row["probabilities"][row["label"]]
            table.add_row(*(_shortened(row[name]) for name in columns), Text(row["label"]), f"{probability:.3f}")
        console().print(table)
        if len(rows) > SHOWN:
            print(f"... and {len(rows) - SHOWN} more; --output_file or --json gives all {len(rows)}")


def _given(columns: Sequence[str], texts: Sequence[str] | None, text_pairs: Sequence[str] | None) -> Dataset:
    given = [list(part) for part in (texts, text_pairs) if part is not None]
    if len(given) != len(columns) or len({len(part) for part in given}) != 1:
        counts = " and ".join(
            f"{len(part)} {name}" for part, name in zip(given, ("--text", "--text_pair"), strict=False)
        )
        wanted = "a --text each" if len(columns) == 1 else "a --text and a --text_pair each"
        raise RunError(f"the model reads {' and '.join(columns)}, so it takes {wanted}, but got {counts}")
    return make_dataset(map(str, range(len(given[0]))), dict(zip(columns, given, strict=True)))


def _shortened(text: str) -> Text:
    return Text(text if len(text) <= 200 else text[:199] + "…")


def _columns(model: str, text_columns: str | None, pairs: bool) -> tuple[str, ...]:
    if text_columns is not None:
        return tuple(part.strip() for part in text_columns.split(",") if part.strip())
    if (Path(model) / "run.json").is_file():
        return tuple(read_identity(Path(model))["text_columns"])
    return ("text", "text_pair") if pairs else ("text",)
