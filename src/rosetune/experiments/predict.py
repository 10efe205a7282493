"""Labels and probabilities for new texts."""

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from scipy.special import expit, softmax

from rosetune._progress import progress
from rosetune.data.assemble import obvious_texts
from rosetune.data.inputs import read_columns, read_inputs, split_lines
from rosetune.data.rows import make_dataset
from rosetune.data.tables import DataError, flaw_of, names_of
from rosetune.experiments.lengths import Cut
from rosetune.experiments.quick import check_model
from rosetune.runs.files import read_identity
from rosetune.runs.values import RunError, names

__all__ = ["STANDARD_INPUT", "Predictions", "predict_texts"]

STANDARD_INPUT = "-"
THRESHOLD = 0.5  # of a multi-label model: a text has a label from this probability on


@dataclass(frozen=True)
class Predictions:
    """What a model says of some texts.

    Args:
        rows: one dict per text: all columns of the input, then ``label`` and ``probabilities`` by label name; of a
            multi-label model ``labels``, those of at least 0.5, and ``probabilities``; of a regression ``value``. A
            column of the input with one of these names, or one that begins with "probability_", is ``input_<name>``.
        text_columns: which of the columns hold the texts.
    """

    rows: list[dict[str, Any]]
    text_columns: tuple[str, ...]


def predict_texts(
    model: str,
    *,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    input_file: str | None = None,
    text_columns: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    batch_size: int | None = None,
    report: Callable[[str], Any] | None = None,
) -> Predictions:
    """Labels and probabilities for texts, or for the rows of a file.

    The probabilities of a single-label model are its softmax; those of a multi-label model the sigmoid of each logit,
    each for itself; a regression has a value and none.

    Args:
        model: a run's folder, any folder with a saved classifier, or a hub id.
        texts, text_pairs: the texts, and the second text of each for a model of pairs.
        input_file: a .txt with a text a line (a pair with a tab between), CSV, TSV, JSON, JSON Lines, Parquet, or "-"
            for lines on standard input.
        text_columns: "a" or "a,b", of the input file; None: those the run was trained on, and for other models those
            whose names leave no doubt (text, or premise and hypothesis).
        encoding, delimiter: of the input file, see :func:`~rosetune.data.readers.read_table`.
        batch_size: texts at a time; None: 16 on the CPU, 128 elsewhere.
        report: takes a line of text for the person who waits; None prints it on standard error.

    Raises:
        RunError: not exactly one of texts and input_file, pairs where the model takes single texts, a text that holds
            half a character, or no model.
        DataError: the file cannot be read.
    """
    if (texts is None) == (input_file is None):
        raise RunError("give either --text (one or more) or --input_file")
    if batch_size is not None and batch_size < 1:
        raise RunError(f"--batch_size must be at least 1, not {batch_size}")
    say = report or (lambda line: print(line, file=sys.stderr))
    check_model(model)
    columns = _given_columns(model, text_columns)
    kept: dict[str, Any] = {}
    if texts is not None:
        columns = columns or (("text", "text_pair") if text_pairs is not None else ("text",))
        dataset = _given(columns, texts, text_pairs)
    elif input_file == STANDARD_INPUT:
        columns = columns or ("text",)
        dataset = _dataset(columns, split_lines("standard input", _standard_input(encoding), columns))
    else:
        kept = read_columns(str(input_file), encoding=encoding, delimiter=delimiter)
        columns = columns or _obvious(str(input_file), kept)
        dataset = read_inputs(str(input_file), columns, encoding=encoding, delimiter=delimiter)
    if not len(dataset):
        return Predictions([], columns)
    if texts is None:  # --text "" is meant
        _warn_of_blanks(dataset, columns, say)
    # After the texts: what is wrong with these is said before torch is loaded.
    from rosetune.experiments.models import is_unnamed, quiet_libraries
    from rosetune.experiments.opened import open_model, told_steps

    quiet_libraries()
    opened = open_model(model)
    labels = opened.labels
    if is_unnamed(labels):
        say(f"{model} does not name its labels: they are shown as {labels[0]} to {labels[-1]}")
    normalised = told_steps(model)
    if normalised is not None:
        say(normalised)
    cut = opened.cut(dataset, columns)
    if cut is not None:
        say(_said_of(cut, columns))
    with progress("predicting") as bar:
        logits = opened.logits(dataset, columns, bar, batch_size)
    if not np.isfinite(logits).all():
        raise RunError(f"{model} gives logits that are not finite: a diverged model")
    told = _told(logits, labels, opened.multi_label)
    kept = kept or {column: dataset[column][:] for column in columns}
    called = _called(kept, {*told[0], "probabilities"}, say)
    cells_of = zip(*kept.values(), strict=True)
    answered = [
        {**dict(zip(called.values(), cells, strict=True)), **answer}
        for cells, answer in zip(cells_of, told, strict=True)
    ]
    return Predictions(answered, tuple(called[column] for column in columns))


def _warn_of_blanks(dataset: Dataset, columns: Sequence[str], say: Callable[[str], Any]) -> None:
    """Rows stay in line with the input, so that a blank line is predicted like a text; that is said."""
    rows = enumerate(zip(*(dataset[column][:] for column in columns), strict=True), start=1)
    blank = [number for number, texts in rows if not all(map(str.strip, texts))]
    if blank:
        count = f"{len(blank)} of {len(dataset)} rows {'is' if len(blank) == 1 else 'are'} without a text"
        say(f"warning: {count} (the first is row {blank[0]}): what is predicted there says nothing")


def _told(logits: NDArray[np.floating], labels: Sequence[str], multi_label: bool) -> list[dict[str, Any]]:
    """What a model says of each row."""
    if not labels:
        return [{"value": value} for value in logits[:, 0].astype(np.float64).round(6).tolist()]
    z = logits.astype(np.float64)
    probabilities = expit(z) if multi_label else softmax(z, axis=1)
    told = []
    for row in probabilities:
        by_label = dict(zip(labels, row.round(6).tolist(), strict=True))
        if multi_label:
            chosen = [label for label, p in zip(labels, row, strict=True) if p >= THRESHOLD]
            told.append({"labels": chosen, "probabilities": by_label})
        else:
            told.append({"label": labels[int(row.argmax())], "probabilities": by_label})
    return told


def _called(kept: Collection[str], own: set[str], say: Callable[[str], Any]) -> dict[str, str]:
    """What each column of the input is called: another name where a prediction would have the same."""
    called: dict[str, str] = {}
    for name in kept:
        free = name
        while free in own or free.startswith("probability_") or (free != name and free in {*kept, *called.values()}):
            free = f"input_{free}"
        if free != name:
            say(f"the input's column {name!r} is kept as {free!r}, since predictions use that name")
        called[name] = free
    return called


def _said_of(cut: Cut, columns: Sequence[str]) -> str:
    """How many texts are longer than what the model sees of them."""
    what = ("texts" if len(columns) == 1 else "pairs") + (" is" if cut.cut == 1 else " are")
    whose = "it is predicted from its" if cut.cut == 1 else "they are predicted from their"
    return (
        f"{cut.cut} of {cut.total} {what} longer than the {cut.limit} tokens that the model reads (the longest "
        f"{cut.longest}): {whose} beginning"
    )


def _standard_input(encoding: str | None) -> str:
    try:
        text = sys.stdin.buffer.read().decode(encoding or "utf-8-sig")
    except LookupError as error:
        raise DataError(f"{encoding!r} is no encoding that Python knows") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DataError(f"standard input, line {line}: not in {encoding or 'UTF-8'}; pass its --encoding") from error
    if not text.strip("\r\n"):
        raise RunError("give --text (one or more), --input_file, or a text a line on standard input, which is empty")
    return text


def _given(columns: Sequence[str], texts: Sequence[str], text_pairs: Sequence[str] | None) -> Dataset:
    given = [list(part) for part in (texts, text_pairs) if part is not None]
    if len(given) != len(columns) or len({len(part) for part in given}) != 1:
        counts = " and ".join(
            f"{len(part)} {name}" for part, name in zip(given, ("--text", "--text_pair"), strict=False)
        )
        wanted = "a --text each" if len(columns) == 1 else "a --text and a --text_pair each"
        raise RunError(f"the model reads {' and '.join(columns)}, so it takes {wanted}, but got {counts}")
    for part, name in zip(given, ("--text", "--text_pair"), strict=False):
        for number, text in enumerate(part, start=1):
            if flaw := flaw_of(text):  # as a command line in another encoding has it
                raise RunError(f"{name} number {number} {flaw}")
    return _dataset(columns, given)


def _dataset(columns: Sequence[str], texts: Sequence[Sequence[str]]) -> Dataset:
    return make_dataset(map(str, range(len(texts[0]))), dict(zip(columns, texts, strict=True)))


def _given_columns(model: str, text_columns: str | None) -> tuple[str, ...] | None:
    """The columns that the user names, or that a run was trained on; None: neither."""
    chosen = names("--text_columns", text_columns)
    if chosen is not None and len({*chosen}) not in (1, 2):
        raise RunError(f"--text_columns names one column, or two for a model of pairs, not {text_columns!r}")
    if chosen is None and (Path(model) / "run.json").is_file():
        return tuple(read_identity(Path(model))["text_columns"])
    return chosen


def _obvious(path: str, kept: dict[str, Any]) -> tuple[str, ...]:
    if not kept:
        return ("text",)
    found = obvious_texts(kept)
    if not found:
        raise RunError(f"{path}: name its text columns with --text_columns; it has {names_of(list(kept))}")
    return found
